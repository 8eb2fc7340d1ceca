package api

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"
)

func sampleBoot() BootConfig {
	return BootConfig{
		Version: 1, Server: "https://192.0.2.1:6386",
		Pins:        []string{base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))},
		Certificate: []byte("DER"),
		Node:        "6b1c0e5e-0000-4000-8000-000000000001",
		Secret:      base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32)), Generation: 3,
		NotBefore: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
		Network: &Network{MAC: "52:54:00:12:34:56", Address: "192.0.2.9/24", Gateway: "192.0.2.1",
			Nameservers: []string{"192.0.2.53"}, VLAN: 12, MTU: 1500},
	}
}

// medium is the smallest thing with a volume descriptor and a region.
func medium(region []byte) []byte {
	at := int64(20 * sector)
	m := make([]byte, at+int64(len(region)))
	m[pvdAt] = 1
	copy(m[pvdAt+1:], "CD001")
	m[pvdAt+80] = byte(len(m) / sector)
	copy(m[RegionRecordAt:], RegionRecord(at, int64(len(region))))
	copy(m[at:], region)
	return m
}

func TestBootConfigComesBack(t *testing.T) {
	want := sampleBoot()
	region, err := EncodeBootConfig(want, RegionSize)
	if err != nil {
		t.Fatal(err)
	}
	if len(region) != RegionSize {
		t.Fatalf("region of %d bytes, expected %d", len(region), RegionSize)
	}
	got, err := ReadBootConfig(bytes.NewReader(medium(region)))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %v, wrote %v", got, want)
	}
}

func TestBootRegionRefuses(t *testing.T) {
	good, err := EncodeBootConfig(sampleBoot(), RegionSize)
	if err != nil {
		t.Fatal(err)
	}
	change := func(b []byte, f func([]byte)) []byte { c := bytes.Clone(b); f(c); return c }
	for name, c := range map[string]struct {
		medium []byte
		says   string
	}{
		"nothing":           {nil, "no ISO 9660 volume"},
		"no volume":         {make([]byte, 40*sector), "no ISO 9660 volume"},
		"no record":         {change(medium(good), func(b []byte) { b[RegionRecordAt] = 0 }), "no region record"},
		"offset off sector": {change(medium(good), func(b []byte) { b[RegionRecordAt+8]++ }), "makes no sense"},
		"beyond the volume": {change(medium(good), func(b []byte) { b[pvdAt+80] = 21 }), "makes no sense"},
		"huge offset":       {change(medium(good), func(b []byte) { b[RegionRecordAt+15] = 0xff }), "makes no sense"},
		"never spliced":     {medium(make([]byte, RegionSize)), "carries no configuration"},
		"foreign":           {change(medium(good), func(b []byte) { b[20*sector] = 'x' }), "unknown format"},
		"one bit":           {change(medium(good), func(b []byte) { b[20*sector+regionHead+3] ^= 1 }), "damaged"},
		"length":            {change(medium(good), func(b []byte) { b[20*sector+11] = 0xff }), "announced"},
	} {
		if _, err := ReadBootConfig(bytes.NewReader(c.medium)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, expected %q", name, err, c.says)
		}
	}
}

func TestBootConfigCheck(t *testing.T) {
	for says, spoil := range map[string]func(*BootConfig){
		"version":               func(c *BootConfig) { c.Version = 2 },
		"expected https":        func(c *BootConfig) { c.Server = "http://192.0.2.1" },
		"no pin":                func(c *BootConfig) { c.Pins = nil },
		"base64 SHA-256":        func(c *BootConfig) { c.Pins = []string{"AAAA"} },
		"256 bits":              func(c *BootConfig) { c.Secret = "c2hvcnQ" },
		"hardware address":      func(c *BootConfig) { c.Network.MAC = "eth0" },
		"expected address":      func(c *BootConfig) { c.Network.Address = "192.0.2.9" },
		"is no address":         func(c *BootConfig) { c.Network.Nameservers = []string{"dns"} },
		"expected 1 to 4094":    func(c *BootConfig) { c.Network.VLAN = 5000 },
		"expected 576 to 65535": func(c *BootConfig) { c.Network.MTU = 9 },
	} {
		c := sampleBoot()
		spoil(&c)
		if _, err := EncodeBootConfig(c, RegionSize); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, expected %q", err, says)
		}
	}
	if _, err := EncodeBootConfig(sampleBoot(), 64); err == nil {
		t.Error("a configuration larger than its region was accepted")
	}
}

func TestI22_BootConfigKeepsItsSecret(t *testing.T) {
	c := sampleBoot()
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("boot", "config", c, "pointer", &c)
	out := fmt.Sprintf("%v %+v %#v %s %v", c, c, c, &c, errors.New(c.String())) + log.String()
	if strings.Contains(out, c.Secret) {
		t.Errorf("the secret shows in %s", out)
	}
	c.Network.MAC = "?"
	if err := c.Check(); err == nil || strings.Contains(err.Error(), c.Secret) {
		t.Errorf("check: %v", err)
	}
}

func FuzzZ5_BootRegion(f *testing.F) {
	good, err := EncodeBootConfig(sampleBoot(), 4096)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(medium(good))
	f.Add(medium(make([]byte, 4096)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ReadBootConfig(bytes.NewReader(b))
		if err != nil {
			return
		}
		again, err := EncodeBootConfig(c, RegionMax)
		if err != nil {
			t.Fatalf("what was read can't be written: %v", err)
		}
		if _, err := DecodeBootConfig(again); err != nil {
			t.Fatalf("what was written can't be read: %v", err)
		}
	})
}
