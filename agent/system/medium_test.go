package system

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/agent/system/systemtest"
	"github.com/bessemer-metal/bessemer/shared/api"
)

func bootConfig(node string) api.BootConfig {
	return api.BootConfig{Version: 1, Server: "https://192.0.2.1:6386", Node: api.NodeID(node),
		Pins:   []string{base64.StdEncoding.EncodeToString(make([]byte, 32))},
		Secret: base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{5}, 32))}
}

// medium is the content of a boot medium for a node; "" gives one that was never spliced.
func medium(t *testing.T, node string) string {
	t.Helper()
	region := make([]byte, api.RegionSize)
	if node != "" {
		var err error
		if region, err = api.EncodeBootConfig(bootConfig(node), api.RegionSize); err != nil {
			t.Fatal(err)
		}
	}
	return systemtest.Medium(region)
}

// device adds a block device to a tree: kind is cd, stick, bigstick, fixedusb or disk.
func device(files map[string]string, name, kind, content string) {
	bus := map[string]string{"disk": "ata1"}[kind]
	if bus == "" {
		bus = "usb1"
	}
	dir := "sys/devices/pci0000:00/" + bus + "/block/" + name + "/"
	files["sys/block/"+name+"->"] = "../devices/pci0000:00/" + bus + "/block/" + name
	typ, removable, size := "0", "1", "100000"
	switch kind {
	case "cd":
		typ = "5"
	case "bigstick":
		size = "8388608" // 4 GiB
	case "fixedusb", "disk":
		removable = "0"
	}
	files[dir+"device/type"], files[dir+"removable"], files[dir+"size"] = typ+"\n", removable+"\n", size+"\n"
	if content != "" {
		files["dev/"+name] = content
	}
}

func find(t *testing.T, devices ...[3]string) (Medium, error) {
	t.Helper()
	files := map[string]string{"sys/block/.keep": ""}
	for _, d := range devices {
		device(files, d[0], d[1], d[2])
	}
	root := systemtest.Tree(t, files)
	if err := os.Remove(filepath.Join(root, "sys/block/.keep")); err != nil {
		t.Fatal(err)
	}
	return FindMedium(root)
}

func TestT13_OnlyTheMediumBootedIsRead(t *testing.T) {
	decoy := medium(t, "decoy")
	for name, d := range map[string][3]string{
		"hard disk":            {"sda", "disk", decoy},
		"removable SATA":       {"sdb", "disk", decoy},
		"USB disk, fixed":      {"sdc", "fixedusb", decoy},
		"USB stick, too large": {"sdd", "bigstick", decoy},
	} {
		if m, err := find(t, d); !errors.Is(err, ErrNoMedium) {
			t.Errorf("%s alone: %v, %v", name, m, err)
		}
		m, err := find(t, d, [3]string{"sr0", "cd", medium(t, "real")})
		if err != nil || m.Config.Node != "real" || m.Name != "sr0" {
			t.Errorf("%s beside the CD: %v, %v", name, m, err)
		}
	}
	if m, err := find(t, [3]string{"sda", "stick", medium(t, "real")}); err != nil || m.Config.Node != "real" {
		t.Errorf("USB stick: %v, %v", m, err)
	}
}

func TestT13_TwoMediaAreNone(t *testing.T) {
	var two *AmbiguousError
	_, err := find(t, [3]string{"sr1", "cd", medium(t, "b")}, [3]string{"sr0", "cd", medium(t, "a")})
	if !errors.As(err, &two) || !strings.Contains(err.Error(), "sr0, sr1") {
		t.Errorf("two media: %v", err)
	}
	// A damaged one beside a good one is as doubtful: which of the two was booted is not known.
	broken := []byte(medium(t, "a"))
	broken[20*2048+100] ^= 1
	if _, err := find(t, [3]string{"sr1", "cd", medium(t, "b")}, [3]string{"sr0", "cd", string(broken)}); !errors.As(err, &two) {
		t.Errorf("a damaged medium beside a good one: %v", err)
	}
}

func TestMediumTrouble(t *testing.T) {
	if _, err := find(t); !errors.Is(err, ErrNoMedium) {
		t.Errorf("no device at all: %v", err)
	}
	if _, err := find(t, [3]string{"sr0", "cd", ""}); !errors.Is(err, ErrNoMedium) {
		t.Errorf("an empty drive: %v", err)
	}
	if _, err := find(t, [3]string{"sr0", "cd", strings.Repeat("x", 100_000)}); !errors.Is(err, ErrNoMedium) {
		t.Errorf("a CD of somebody else: %v", err)
	}
	if _, err := find(t, [3]string{"sr0", "cd", medium(t, "")}); err == nil || !strings.Contains(err.Error(), "carries no configuration") {
		t.Errorf("a medium not served: %v", err)
	}
}

func TestKeptMedium(t *testing.T) {
	root := t.TempDir()
	if _, err := KeptMedium(root); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing kept: %v", err)
	}
	want := Medium{"sr0", bootConfig("n")}
	if err := KeepMedium(root, want); err != nil {
		t.Fatal(err)
	}
	got, err := KeptMedium(root)
	if err != nil || got.Config.Secret != want.Config.Secret || got.Name != "sr0" {
		t.Errorf("%v, %v", got, err)
	}
	file := filepath.Join(root, keptMedium)
	fi, err := os.Stat(file)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
}

func FuzzZ11_KeptMedium(f *testing.F) {
	dir := f.TempDir()
	if err := KeepMedium(dir, Medium{"sr0", bootConfig("n")}); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, keptMedium))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, 0)
	f.Add(whole, len(whole)-1)
	f.Add(whole, 60)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		root := t.TempDir()
		file := filepath.Join(root, keptMedium)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b[:max(0, min(cut, len(b)))], 0o600); err != nil {
			t.Fatal(err)
		}
		if m, err := KeptMedium(root); err == nil {
			if err := m.Config.Check(); err != nil {
				t.Fatalf("a damaged file was believed: %v", err)
			}
		}
	})
}

func TestT13_WhatTheRamdiskCarriesIsItsOwn(t *testing.T) {
	whole, err := api.EncodeBootConfig(bootConfig("n"), api.RegionSize)
	if err != nil {
		t.Fatal(err)
	}
	spoilt := bytes.Clone(whole)
	spoilt[60] ^= 1
	for name, c := range map[string]struct {
		file   string
		there  bool
		none   bool
		damage string
	}{
		"no file":                 {none: true},
		"zeros":                   {file: string(make([]byte, api.RegionSize)), there: true, none: true},
		"a configuration":         {file: string(whole), there: true},
		"a damaged configuration": {file: string(spoilt), there: true, damage: "damaged"},
		"something else":          {file: "hello", there: true, damage: "unknown format"},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"x": ""}
			if c.there {
				files[api.RegionFile] = c.file
			}
			got, err := Carried(systemtest.Tree(t, files))
			switch {
			case c.none:
				if !errors.Is(err, ErrNoMedium) {
					t.Errorf("got %v, expected %v", err, ErrNoMedium)
				}
			case c.damage != "":
				if err == nil || errors.Is(err, ErrNoMedium) || !strings.Contains(err.Error(), c.damage) {
					t.Errorf("got %v, expected that it is %s", err, c.damage)
				}
			case err != nil || got.Name != "" || got.Config.Node != "n" || got.Config.Secret != bootConfig("n").Secret:
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}
