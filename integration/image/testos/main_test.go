package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The labels that mkfs.vfat and xorriso write are read; anything else has none.
func TestConfigDriveIsFoundByItsLabel(t *testing.T) {
	sys, dev, files := t.TempDir(), t.TempDir(), t.TempDir()
	device := func(name string) string {
		if err := os.WriteFile(filepath.Join(sys, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(dev, name)
		if err := os.WriteFile(at, make([]byte, 4<<20), 0o644); err != nil {
			t.Fatal(err)
		}
		return at
	}
	device("a1")
	if _, err := configDrive(sys, dev); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("found one where there is none: %v", err)
	}
	for _, make := range [][]string{
		{"mformat", "-v", "CONFIG-2", "-i", device("b1"), "::"},
		{"xorriso", "-as", "mkisofs", "-quiet", "-V", "config-2", "-o", device("b1"), files},
	} {
		if out, err := exec.Command(make[0], make[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", make, err, out)
		}
		if got, err := configDrive(sys, dev); got != filepath.Join(dev, "b1") || err != nil {
			t.Errorf("%s: found %q, %v", make[0], got, err)
		}
	}
}

func TestNameIn(t *testing.T) {
	for metadata, want := range map[string]string{
		`{"hostname": "node-1.example", "name": "node-1"}`: "node-1.example",
		`{"name": "node-1"}`: "node-1",
		`{}`:                 "none",
		`{"hostname": 7}`:    "none",
		`nonsense`:           "none",
	} {
		got, err := nameIn([]byte(metadata))
		if got != want || (want == "none") != (err != nil) {
			t.Errorf("%s names %q, %v; want %q", metadata, got, err, want)
		}
	}
}

func TestMarkerIn(t *testing.T) {
	if got := markerIn("console=ttyS0 marker=second quiet"); got != "second" {
		t.Errorf("marker %q", got)
	}
	if got := markerIn("quiet"); got != "none" {
		t.Errorf("marker %q", got)
	}
}
