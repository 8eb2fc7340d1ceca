package media

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
)

func TestConfigDriveComesBack(t *testing.T) {
	files := map[string][]byte{
		"openstack/latest/meta_data.json":     []byte(`{"uuid":"1"}`),
		"openstack/latest/network_data.json":  bytes.Repeat([]byte("n"), 2048), // just one sector
		"openstack/latest/user_data":          bytes.Repeat([]byte("u"), 100_000),
		"openstack/latest/vendor_data2.json":  {},
		"openstack/2012-08-10/meta_data.json": []byte("another"),
	}
	iso, err := ConfigDrive(files, ConfigDriveLabel)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "cd.iso")
	if err := os.WriteFile(out, iso, 0o644); err != nil {
		t.Fatal(err)
	}
	b, err := file.OpenFromPath(out, true)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	v, err := iso9660.Read(b, int64(len(iso)), 0, sector)
	if err != nil {
		t.Fatal(err)
	}
	if l := strings.TrimRight(v.Label(), " \x00"); l != ConfigDriveLabel {
		t.Errorf("label %q", l)
	}
	for name, want := range files {
		got, err := fs.ReadFile(v, name)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v; expected %d", name, len(got), err, len(want))
		}
	}
}

func TestConfigDriveRefuses(t *testing.T) {
	for _, name := range []string{"/etc/passwd", "../x", "a/../../x", ".", "", "a//b", "a\x00b"} {
		if _, err := ConfigDrive(map[string][]byte{name: nil}, ConfigDriveLabel); err == nil {
			t.Errorf("path %q was accepted", name)
		}
	}
	if _, err := ConfigDrive(map[string][]byte{"a": make([]byte, ConfigDriveMax+1)}, ConfigDriveLabel); err == nil {
		t.Error("more than the largest config drive was accepted")
	}
	if _, err := ConfigDrive(nil, strings.Repeat("x", 33)); err == nil {
		t.Error("a label of 33 characters was accepted")
	}
}

func FuzzZ5_ConfigDrive(f *testing.F) {
	f.Add("openstack/latest/meta_data.json", []byte("{}"), "config-2")
	f.Add("a/b/c/d/e/f/g/h/i/j", []byte{}, "x")
	f.Fuzz(func(t *testing.T, name string, data []byte, label string) {
		iso, err := ConfigDrive(map[string][]byte{name: data}, label)
		if err == nil && (len(iso) < 17*sector || string(iso[pvdAt+1:pvdAt+6]) != "CD001") {
			t.Fatalf("%d bytes that are no volume", len(iso))
		}
	})
}
