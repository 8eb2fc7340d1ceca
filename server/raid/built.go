package raid

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Built is a raid_config of the logical disks that were built, each as Ironic's raid_config has it: id, name, controller,
// size_gb, raid_level, is_root_volume, root_device_hint.
func Built(disks []any, now time.Time) map[string]any {
	return map[string]any{"logical_disks": disks, "last_updated": now.UTC().Format("2006-01-02 15:04:05.000000")}
}

// Describe says in a node's properties what its root volume is, as Ironic does: local_gb, the capability raid_level, and
// root_device where the volume can be told by it. What an earlier root volume left there goes when that is no more.
func Describe(properties, was, now map[string]any) map[string]any {
	out := maps.Clone(properties)
	if out == nil {
		out = map[string]any{}
	}
	before, after := root(was), root(now)
	if hint := before["root_device_hint"]; hint != nil && reflect.DeepEqual(out["root_device"], hint) {
		delete(out, "root_device")
	}
	if level, _ := before["raid_level"].(string); level != "" && capability(out) == level {
		setCapability(out, "")
	}
	if after == nil {
		return out
	}
	if size, ok := after["size_gb"].(float64); ok {
		out["local_gb"] = size
	}
	if hint := after["root_device_hint"]; hint != nil {
		out["root_device"] = hint
	}
	if level, _ := after["raid_level"].(string); level != "" {
		setCapability(out, level)
	}
	return out
}

func root(config map[string]any) map[string]any {
	list, _ := config["logical_disks"].([]any)
	for _, v := range list {
		if m, _ := v.(map[string]any); m["is_root_volume"] == true {
			return m
		}
	}
	return nil
}

const levelKey = "raid_level"

// capability is raid_level among the capabilities, which are a text ("a:b,c:d") or an object.
func capability(properties map[string]any) string {
	switch c := properties["capabilities"].(type) {
	case string:
		for pair := range strings.SplitSeq(c, ",") {
			if k, v, _ := strings.Cut(pair, ":"); strings.TrimSpace(k) == levelKey {
				return strings.TrimSpace(v)
			}
		}
	case map[string]any:
		s, _ := c[levelKey].(string)
		return s
	}
	return ""
}

// setCapability writes it in the form that is there; "" takes it out.
func setCapability(properties map[string]any, level string) {
	if c, ok := properties["capabilities"].(map[string]any); ok {
		c = maps.Clone(c)
		if c[levelKey] = level; level == "" {
			delete(c, levelKey)
		}
		properties["capabilities"] = c
		return
	}
	text, _ := properties["capabilities"].(string)
	pairs := slices.DeleteFunc(strings.Split(text, ","), func(pair string) bool {
		k, _, _ := strings.Cut(pair, ":")
		return strings.TrimSpace(k) == levelKey || strings.TrimSpace(pair) == ""
	})
	if level != "" {
		pairs = append(pairs, levelKey+":"+level)
	}
	if properties["capabilities"] = strings.Join(pairs, ","); len(pairs) == 0 {
		delete(properties, "capabilities")
	}
}
