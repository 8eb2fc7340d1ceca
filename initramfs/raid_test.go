package initramfs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A program comes with its loader and all the libraries that it and they need, or not at all.
func TestLinkedTakesWhatIsNeeded(t *testing.T) {
	program, err := os.ReadFile("/bin/ls") // a program of every Debian and Ubuntu, linked to libraries that are linked to others
	if err != nil {
		t.Fatal(err)
	}
	libraries := map[string][]byte{}
	for _, dir := range []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64"} {
		files, err := filepath.Glob(dir + "/*.so.*")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil && len(b) < 4<<20 {
				libraries[filepath.Base(f)] = b
			}
		}
	}
	records, err := linked("bin/ls", program, libraries)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range records {
		names = append(names, r.Name)
	}
	for _, want := range []string{"bin/ls", "lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu/libc.so.6"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is missing in %v", want, names)
		}
	}
	slices.Sort(names)
	if len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("something is there twice: %v", names)
	}
	delete(libraries, "libc.so.6")
	if _, err := linked("bin/ls", program, libraries); err == nil || !strings.Contains(err.Error(), "needs libc.so.6") {
		t.Errorf("without the C library: %v", err)
	}
	if _, err := linked("bin/ls", []byte("#!/bin/sh"), libraries); err == nil {
		t.Error("a script was taken")
	}
}
