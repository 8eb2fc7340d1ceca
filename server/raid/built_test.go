package raid

import (
	"reflect"
	"testing"
	"time"
)

// What a root volume says of itself goes into the properties, and goes again with it; what an operator wrote there stays.
func TestWhatIsBuiltIsDescribed(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	hint := map[string]any{"wwn": "0x5"}
	root := Built([]any{map[string]any{"id": "1", "raid_level": "5"}, map[string]any{"id": "2", "raid_level": "1", "size_gb": 40.0, "is_root_volume": true, "root_device_hint": hint}}, now)
	if root["last_updated"] != "2026-01-02 03:04:05.000000" {
		t.Errorf("last_updated is %v", root["last_updated"])
	}
	none := Built([]any{}, now)
	for name, c := range map[string]struct{ properties, was, now, want map[string]any }{
		"nothing":                {nil, nil, none, map[string]any{}},
		"a root volume":          {nil, nil, root, map[string]any{"local_gb": 40.0, "root_device": hint, "capabilities": "raid_level:1"}},
		"beside others":          {map[string]any{"capabilities": "boot_mode:uefi,raid_level:5"}, nil, root, map[string]any{"local_gb": 40.0, "root_device": hint, "capabilities": "boot_mode:uefi,raid_level:1"}},
		"as an object":           {map[string]any{"capabilities": map[string]any{"a": "b"}}, nil, root, map[string]any{"local_gb": 40.0, "root_device": hint, "capabilities": map[string]any{"a": "b", "raid_level": "1"}}},
		"it is gone":             {map[string]any{"local_gb": 40.0, "root_device": hint, "capabilities": "raid_level:1"}, root, none, map[string]any{"local_gb": 40.0}},
		"an operator's stays":    {map[string]any{"root_device": map[string]any{"serial": "S"}, "capabilities": "raid_level:6"}, root, none, map[string]any{"root_device": map[string]any{"serial": "S"}, "capabilities": "raid_level:6"}},
		"gone from an object":    {map[string]any{"capabilities": map[string]any{"raid_level": "1"}}, root, none, map[string]any{"capabilities": map[string]any{}}},
		"there is one as before": {map[string]any{"root_device": hint}, root, root, map[string]any{"local_gb": 40.0, "root_device": hint, "capabilities": "raid_level:1"}},
	} {
		if got := Describe(c.properties, c.was, c.now); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, expected %v", name, got, c.want)
		}
	}
}
