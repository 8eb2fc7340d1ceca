package softraid

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

func parsed(t *testing.T, text string) ([]Volume, error) {
	t.Helper()
	var c map[string]any
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	return Parse(c)
}

func TestRules(t *testing.T) {
	disk := func(level, size, more string) string {
		return `{"controller": "software", "raid_level": "` + level + `", "size_gb": ` + size + more + `}`
	}
	list := func(disks ...string) string { return `{"logical_disks": [` + strings.Join(disks, ",") + `]}` }
	for text, want := range map[string]string{
		`{}`:                         "",
		`{"logical_disks": []}`:      "",
		list(disk("1", `"MAX"`, "")): "",
		list(disk("1", "100", `, "volume_name": "os", "is_root_volume": true`), disk("0", `"MAX"`, `, "volume_name": "data"`)):    "",
		list(disk("1", "100", ""), disk("5", `"MAX"`, `, "physical_disks": [{"size": "> 1"}, {"size": "> 1"}, {"serial": "s"}]`)): "",
		list(disk("1", "100", ""), disk("1+0", "5", ""), disk("0", "5", "")):                                                      "at most 2",
		list(disk("0", "100", "")):                                                                                          "first logical disk must have raid_level 1",
		list(disk("1", "100", ""), disk("JBOD", "5", "")):                                                                   "can't be built by software",
		list(disk("1", `"MAX"`, ""), disk("0", `"MAX"`, "")):                                                                "2 logical disks have size_gb MAX",
		list(disk("1", "0", "")):                                                                                            "size_gb must be",
		list(disk("1", "1.5", "")):                                                                                          "size_gb must be",
		list(disk("1", `"all"`, "")):                                                                                        "size_gb must be",
		list(disk("1", "9", `, "volume_name": "esp"`)):                                                                      "mirrored EFI system partition",
		list(disk("1", "9", `, "volume_name": "../x"`)):                                                                     "volume_name",
		list(disk("1", "9", `, "volume_name": "-f"`)):                                                                       "volume_name",
		list(disk("1", "9", `, "volume_name": 7`)):                                                                          "volume_name",
		list(disk("1", "9", `, "volume_name": "md1"`), disk("1", "9", "")):                                                  "both logical disks have the name md1",
		list(disk("1", "9", `, "is_root_volume": "yes"`)):                                                                   "is_root_volume",
		list(disk("1", "9", `, "is_root_volume": true`), disk("0", "9", `, "is_root_volume": true`)):                        "root volumes",
		list(disk("1", "9", `, "physical_disks": ["a", "b"]`)):                                                              "object of root device hints",
		list(disk("1", "9", `, "physical_disks": [{"serial": "a"}]`)):                                                       "2 to 64",
		list(disk("1", "9", `, "physical_disks": [{"serial": "a"}, {}]`)):                                                   "object of root device hints",
		list(disk("1", "9", `, "physical_disks": [{"serial": "a"}, {"x": 1}]`)):                                             "not known",
		list(disk("1", "9", ""), disk("6", "9", `, "physical_disks": [{"size": "> 1"}, {"size": "> 1"}, {"size": "> 1"}]`)): "needs 4 physical_disks, 3",
		list(disk("1", "9", `, "disk_type": "ssd"`)):                                                                        "means nothing",
		list(`{"raid_level": "1", "size_gb": 9}`):                                                                           "controller must be software",
		list(`{"raid_level": "1", "size_gb": 9, "controller": "RAID.1"}`):                                                   "controller must be software",
		list(`"a"`):             "must be an object",
		`{"logical_disks": {}}`: "must be a list",
	} {
		switch _, err := parsed(t, text); {
		case want == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want != "" && (!fault.Has(err, fault.RequestInvalid) || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, expected %q", text, err, want)
		}
	}
	got, err := parsed(t, list(disk("1", "2", `, "is_root_volume": true`), disk("5", `"MAX"`, `, "volume_name": "data"`)))
	if err != nil || got[0].Bytes != 2<<30 || got[0].Name != "md0" || got[0].Named || !*got[0].Root || got[1].Bytes != 0 || got[1].Name != "data" || got[1].Root != nil || got[1].Least() != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = parsed(t, list(disk("0", "0", `, "volume_name": ""`)))
	for _, each := range []string{"first logical disk", "size_gb", "volume_name"} { // all at once
		if err == nil || !strings.Contains(err.Error(), each) {
			t.Errorf("%v lacks %q", err, each)
		}
	}
}
