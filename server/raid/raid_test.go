package raid

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

func checked(t *testing.T, text string) error {
	t.Helper()
	var c map[string]any
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	return Check(c)
}

func TestConfigurations(t *testing.T) {
	disk := func(more string) string {
		return `{"logical_disks": [{"raid_level": "1", "size_gb": 100` + more + `}]}`
	}
	for text, want := range map[string]string{
		`{}`:     "",
		disk(""): "",
		disk(`, "volume_name": "v", "is_root_volume": true, "share_physical_disks": false, "disk_type": "ssd", "interface_type": "sas", "number_of_physical_disks": 2`): "",
		disk(`, "controller": "software", "physical_disks": [{"size": "> 100"}, {"size": "> 100"}]`):                                                                    "",
		disk(`, "controller": "RAID.1", "physical_disks": ["a", "b"]`):                                                                                                  "",
		`{"logical_disks": [{"raid_level": "JBOD", "size_gb": "MAX"}, {"raid_level": "6+0", "size_gb": 0}]}`:                                                            "",
		`{"logical_disks": []}`:                                                 "at least one",
		`{"logical_disks": {}}`:                                                 "at least one",
		`{"disks": []}`:                                                         "logical_disks is",
		`{"logical_disks": ["a"]}`:                                              "must be an object",
		`{"logical_disks": [{"size_gb": 1}]}`:                                   "raid_level is required",
		`{"logical_disks": [{"raid_level": "1"}]}`:                              "size_gb is required",
		`{"logical_disks": [{"raid_level": 1, "size_gb": 1}]}`:                  "raid_level is",
		`{"logical_disks": [{"raid_level": "7", "size_gb": 1}]}`:                "raid_level is",
		`{"logical_disks": [{"raid_level": "1", "size_gb": "big"}]}`:            "size_gb is",
		`{"logical_disks": [{"raid_level": "1", "size_gb": -1}]}`:               "size_gb is",
		`{"logical_disks": [{"raid_level": "1", "size_gb": 1.5}]}`:              "size_gb is",
		disk(`, "colour": "red"`):                                               "colour",
		disk(`, "volume_name": ""`):                                             "volume_name is",
		disk(`, "is_root_volume": "yes"`):                                       "is_root_volume is",
		disk(`, "disk_type": "tape"`):                                           "disk_type is",
		disk(`, "interface_type": "usb"`):                                       "interface_type is",
		disk(`, "number_of_physical_disks": 0`):                                 "number_of_physical_disks is",
		disk(`, "physical_disks": ["a"]`):                                       "needs controller",
		disk(`, "controller": "c", "physical_disks": []`):                       "physical_disks is",
		disk(`, "controller": "c", "physical_disks": [{"size": "> 100"}]`):      "physical_disks is",
		disk(`, "controller": "c", "physical_disks": ["a", {"size": "> 100"}]`): "physical_disks is",
		disk(`, "controller": "c", "physical_disks": [{"x": 1}, {"x": 1}]`):     "physical_disks is",
		`{"logical_disks": [{"raid_level": "1", "size_gb": 1, "is_root_volume": true}, {"raid_level": "1", "size_gb": 1, "is_root_volume": true}]}`: "root volumes",
	} {
		switch err := checked(t, text); {
		case want == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want != "" && (!fault.Has(err, fault.RequestInvalid) || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, expected %q", text, err, want)
		}
	}
}

func TestI25_ListsAreBounded(t *testing.T) {
	one := `{"raid_level": "1", "size_gb": 1}`
	if err := checked(t, `{"logical_disks": [`+strings.Repeat(one+",", maxDisks)+one+`]}`); err == nil {
		t.Error("more logical disks than the bound are taken")
	}
	names := make([]string, maxPhysical+1)
	for i := range names {
		names[i] = fmt.Sprintf("%q", fmt.Sprint(i))
	}
	text := `{"logical_disks": [{"raid_level": "1", "size_gb": 1, "controller": "c", "physical_disks": [%s]}]}`
	if err := checked(t, fmt.Sprintf(text, strings.Join(names, ","))); err == nil {
		t.Error("more physical disks than the bound are taken")
	}
	if err := checked(t, fmt.Sprintf(text, strings.Join(names[1:], ","))); err != nil {
		t.Error(err)
	}
}
