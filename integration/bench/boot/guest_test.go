package boot

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/u-root/mkuimage/cpio"
)

// The archive is what a kernel unpacks: names, modes and contents, each where cpio expects it.
func TestArchive(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.cpio")
	if err := os.WriteFile(file, archive([]byte("program")), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(f))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range records {
		line := fmt.Sprintf("%s %o", r.Name, r.Mode)
		if r.Name == "init" {
			content, err := io.ReadAll(io.NewSectionReader(r, 0, int64(r.FileSize)))
			if err != nil {
				t.Fatal(err)
			}
			line += " " + string(content)
		}
		if r.Name == "dev/console" {
			line += fmt.Sprintf(" %d:%d", r.Rmajor, r.Rminor)
		}
		got = append(got, line)
	}
	if want := []string{"dev 40755", "dev/console 20600 5:1", "init 100755 program"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
