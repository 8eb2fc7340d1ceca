// Package systemtest is what tests of the machine's own parts share: files below a root of their own, and a console to read.
package systemtest

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// Screen keeps what a console is told.
type Screen struct{ bytes.Buffer }

// Close does nothing.
func (*Screen) Close() error { return nil }

// Tree writes files below a new root; a name ending in -> is a symbolic link to what it holds.
func Tree(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, data := range files {
		file := filepath.Join(root, strings.TrimSuffix(name, "->"))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if strings.HasSuffix(name, "->") {
			err = os.Symlink(data, file)
		} else {
			err = os.WriteFile(file, []byte(data), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// Medium is what a boot medium with this region holds.
func Medium(region []byte) string {
	const at = 20 * 2048
	b := make([]byte, at, at+len(region))
	copy(b[16*2048:], "\x01CD001")
	b[16*2048+80] = byte(20 + len(region)/2048)
	copy(b[api.RegionRecordAt:], api.RegionRecord(at, int64(len(region))))
	return string(append(b, region...))
}
