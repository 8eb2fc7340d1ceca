package catalog_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/shared/catalog"
)

func TestFirmwareSettings(t *testing.T) {
	type object = map[string]any
	got, err := catalog.FirmwareSettings([]any{
		object{"component": "bmc", "url": "https://192.0.2.1/bmc.bin?sig=a%20b"}, object{"component": "bios", "url": "http://images.test/b", "wait": 600.0},
		object{"component": "nic:Slot.1-1", "url": "http://[2001:db8::1]/n", "wait": 5},
	})
	want := []catalog.Firmware{{Component: "bmc", URL: "https://192.0.2.1/bmc.bin?sig=a%20b"}, {Component: "bios", URL: "http://images.test/b", Wait: 10 * time.Minute},
		{Component: "nic:Slot.1-1", URL: "http://[2001:db8::1]/n", Wait: 5 * time.Second}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	// As upstream: one component may be brought up to date over several versions, in their order.
	steps, err := catalog.FirmwareSettings([]any{object{"component": "bios", "url": "http://h/1"}, object{"component": "bmc", "url": "http://h/2"}, object{"component": "bios", "url": "http://h/3"}})
	if err != nil || len(steps) != 3 || steps[0].URL != "http://h/1" || steps[2].URL != "http://h/3" {
		t.Errorf("%+v, %v", steps, err)
	}
	const canary = "canary-7f3a"
	one := func(component, url any) []any { return []any{object{"component": component, "url": url}} }
	for name, c := range map[string]struct {
		settings any
		says     string
	}{
		"nothing": {nil, "empty"}, "no list": {"x", "empty"}, "empty": {[]any{}, "empty"}, "no object": {[]any{7}, "entry 1 is no object"},
		"no url":            {[]any{object{"component": "bios"}}, "lacks component or url"},
		"no component":      {[]any{object{"url": "http://h/x"}}, "lacks component or url"},
		"another key":       {[]any{object{"component": "bios", "url": "http://h/x", "checksum": canary}}, `the key "checksum"`},
		"unknown component": {one("cpld", "http://h/x"), "none of bios, bmc and nic:ID"}, "no name": {one("nic:", "http://h/x"), "none of bios"},
		"a path for a name": {one("nic:../x", "http://h/x"), "none of bios"}, "control characters": {one("nic:a\nb", "http://h/x"), "none of bios"}, "a number": {one(7, "http://h/x"), "none of bios"},
		"file": {one("bios", "file:///"+canary), `scheme "file"`}, "swift": {one("bios", "swift://"+canary+"/x"), `scheme "swift"`}, "no scheme": {one("bios", canary), "scheme"},
		"password": {one("bios", "http://user:"+canary+"@h/x"), "user or password"}, "user": {one("bios", "http://"+canary+"@h/x"), "user or password"},
		"no host": {one("bios", "http:///"+canary), "no host"}, "fragment": {one("bios", "http://h/x#"+canary), "fragment"}, "spaces": {one("bios", "http://h/"+canary+" x"), "can't be parsed"},
		"lines": {one("bios", "http://h/\n"+canary), "can't be parsed"}, "too long": {one("bios", "http://h/"+strings.Repeat("x", 2048)), "longer than"}, "url a list": {one("bios", []any{canary}), "no text"},
		"waits without end": {[]any{object{"component": "bios", "url": "http://h/1", "wait": 3600}, object{"component": "bmc", "url": "http://h/2", "wait": 3600},
			object{"component": "nic:1", "url": "http://h/3", "wait": 3600}, object{"component": "nic:2", "url": "http://h/4", "wait": 1}}, "the waits are 3h0m1s together, at most 3h0m0s are taken"},
		"no wait":  {[]any{object{"component": "bios", "url": "http://h/1", "wait": 0.0}}, "wait"},
		"half":     {[]any{object{"component": "bios", "url": "http://h/1", "wait": 1.5}}, "wait"},
		"for ever": {[]any{object{"component": "bios", "url": "http://h/1", "wait": 1e12}}, "wait"}, "text": {[]any{object{"component": "bios", "url": "http://h/1", "wait": "9"}}, "wait"},
		"too many": {make([]any, 17), "17 entries are too many"},
	} {
		got, err := catalog.FirmwareSettings(c.settings)
		if err == nil || !strings.Contains(err.Error(), c.says) || len(got) != 0 {
			t.Errorf("%s: %v, %v; expected %q", name, got, err, c.says)
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("I22: %s: the fault repeats what may be a key: %v", name, err)
		}
	}
}
