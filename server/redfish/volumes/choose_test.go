package volumes

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/raid"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// shelf is a controller with drives: "ssd 100" is one of so many GiB.
func shelf(id string, drives ...string) Controller {
	c := Controller{ID: id, Collection: "/" + id + "/Volumes"}
	for i, d := range drives {
		var kind string
		var gb int64
		if _, err := fmt.Sscanf(d, "%s %d", &kind, &gb); err != nil {
			panic(err)
		}
		bus := map[string]string{"ssd": "SATA", "hdd": "SAS"}[kind]
		c.Drives = append(c.Drives, Drive{Link: fmt.Sprintf("/%s/Drives/%d", id, i), ID: fmt.Sprint(i), Media: strings.ToUpper(kind), Bus: bus, Bytes: gb << 30,
			Disk: inventory.Disk{Serial: fmt.Sprintf("%s-%d", id, i), Size: gb << 30, Rotational: kind == "hdd"}})
	}
	return c
}

// on adds a volume of drives to a controller.
func (c Controller) on(kind string, gb int64, drives ...int) Controller {
	v := Volume{Link: fmt.Sprintf("%s/%d", c.Collection, len(c.Volumes)+1), ID: fmt.Sprint(len(c.Volumes) + 1), Name: fmt.Sprintf("v%d", len(c.Volumes)+1), Type: kind, Bytes: gb << 30}
	for _, d := range drives {
		v.Drives = append(v.Drives, c.Drives[d].place())
	}
	c.Volumes = append(c.Volumes, v)
	return c
}

func wanted(t *testing.T, config string) []raid.Disk {
	t.Helper()
	var c map[string]any
	if err := json.Unmarshal([]byte(`{"logical_disks": [`+config+`]}`), &c); err != nil {
		t.Fatal(err)
	}
	disks, err := raid.ThroughBMC(c)
	if err != nil {
		t.Fatal(err)
	}
	return disks
}

func builds(disks []raid.Disk) (out []Build) {
	for i, d := range disks {
		out = append(out, Build{Disk: d, Of: i})
	}
	return out
}

// chosen is what was chosen, in short: controller, drives and GiB of each.
func chosen(all []Build) string {
	var out []string
	for _, b := range all {
		var ids []string
		for _, d := range b.Drives {
			ids = append(ids, d.ID)
		}
		out = append(out, fmt.Sprintf("%s[%s] %d", b.Controller.ID, strings.Join(ids, " "), b.Expected>>30))
	}
	return strings.Join(out, "; ")
}

// Drives are chosen by Ironic's rules: as few as the level allows, of one kind and size, the smallest room first, none twice
// unless they are shared; named ones as they are named.
func TestChoice(t *testing.T) {
	four := []string{"ssd 100", "ssd 100", "ssd 100", "ssd 100"}
	mixed := []string{"ssd 100", "hdd 500", "ssd 100", "hdd 500", "hdd 500", "hdd 400"}
	for name, c := range map[string]struct {
		on     []Controller
		want   string
		gets   string // or
		refuse string
	}{
		"a mirror":                        {[]Controller{shelf("a", four...)}, `{"raid_level": "1", "size_gb": 50}`, "a[0 1] 50", ""},
		"as few as the level allows":      {[]Controller{shelf("a", four...)}, `{"raid_level": "5", "size_gb": 50}`, "a[0 1 2] 50", ""},
		"more where the size needs more":  {[]Controller{shelf("a", four...)}, `{"raid_level": "5", "size_gb": 250}`, "a[0 1 2 3] 250", ""},
		"as many as are wanted":           {[]Controller{shelf("a", four...)}, `{"raid_level": "0", "size_gb": 50, "number_of_physical_disks": 3}`, "a[0 1 2] 50", ""},
		"ten takes an even number":        {[]Controller{shelf("a", append(four, "ssd 100")...)}, `{"raid_level": "1+0", "size_gb": 150}`, "a[0 1 2 3] 150", ""},
		"fifty":                           {[]Controller{shelf("a", append(four, four...)...)}, `{"raid_level": "5+0", "size_gb": 350}`, "a[0 1 2 3 4 5] 350", ""},
		"sixty":                           {[]Controller{shelf("a", append(four, four...)...)}, `{"raid_level": "6+0", "size_gb": 350}`, "a[0 1 2 3 4 5 6 7] 350", ""},
		"by medium":                       {[]Controller{shelf("a", mixed...)}, `{"raid_level": "1", "size_gb": 90, "disk_type": "hdd"}`, "a[1 3] 90", ""},
		"by bus":                          {[]Controller{shelf("a", mixed...)}, `{"raid_level": "1", "size_gb": 90, "interface_type": "sas"}`, "a[1 3] 90", ""},
		"no two sizes in one":             {[]Controller{shelf("a", mixed...)}, `{"raid_level": "5", "size_gb": 700}`, "a[1 3 4] 700", ""},
		"no two controllers in one":       {[]Controller{shelf("a", "ssd 100"), shelf("b", "ssd 100", "ssd 100")}, `{"raid_level": "1", "size_gb": 90}`, "b[0 1] 90", ""},
		"by controller":                   {[]Controller{shelf("a", four...), shelf("b", four...)}, `{"raid_level": "1", "size_gb": 90, "controller": "b"}`, "b[0 1] 90", ""},
		"two, each its own":               {[]Controller{shelf("a", four...)}, `{"raid_level": "1", "size_gb": 50}, {"raid_level": "1", "size_gb": 50}`, "a[0 1] 50; a[2 3] 50", ""},
		"two that share":                  {[]Controller{shelf("a", "ssd 100", "ssd 100")}, `{"raid_level": "1", "size_gb": 50, "share_physical_disks": true}, {"raid_level": "1", "size_gb": 40, "share_physical_disks": true}`, "a[0 1] 50; a[0 1] 40", ""},
		"sharing has an end":              {[]Controller{shelf("a", "ssd 100", "ssd 100")}, `{"raid_level": "1", "size_gb": 50, "share_physical_disks": true}, {"raid_level": "1", "size_gb": 60, "share_physical_disks": true}`, "", "no drives are left"},
		"the first leaves room":           {[]Controller{shelf("a", "ssd 100", "ssd 100", "ssd 100", "hdd 400", "hdd 400")}, `{"raid_level": "1", "size_gb": 90}, {"raid_level": "5", "size_gb": 150}`, "a[3 4] 90; a[0 1 2] 150", ""},
		"what is named is not for others": {[]Controller{shelf("a", four...)}, `{"raid_level": "1", "size_gb": 50}, {"raid_level": "1", "size_gb": 60, "controller": "a", "physical_disks": ["0", "1"]}`, "a[2 3] 50; a[0 1] 60", ""},
		"all the room":                    {[]Controller{shelf("a", four...)}, `{"raid_level": "6", "size_gb": "MAX", "controller": "a", "physical_disks": ["3", "2", "1", "0"]}`, "a[3 2 1 0] 200", ""},
		"what is left of it":              {[]Controller{shelf("a", "ssd 100", "ssd 100")}, `{"raid_level": "1", "size_gb": "MAX", "controller": "a", "physical_disks": ["0", "1"]}, {"raid_level": "1", "size_gb": 30, "controller": "a", "physical_disks": ["0", "1"]}`, "a[0 1] 70; a[0 1] 30", ""},
		"filled last":                     {[]Controller{shelf("a", "ssd 100", "ssd 100")}, `{"raid_level": "1", "size_gb": "MAX", "share_physical_disks": true, "controller": "a", "physical_disks": ["0", "1"]}, {"raid_level": "1", "size_gb": 30, "share_physical_disks": true}`, "a[0 1] 70; a[0 1] 30", ""},
		"by hints":                        {[]Controller{shelf("a", mixed...)}, `{"raid_level": "1", "size_gb": 90, "controller": "a", "physical_disks": [{"size": "> 450"}, {"size": "> 450"}]}`, "a[1 3] 90", ""},
		"beside a volume":                 {[]Controller{shelf("a", four...).on("RAID1", 100, 0, 1)}, `{"raid_level": "1", "size_gb": 50}`, "a[2 3] 50", ""},
		"on what a volume leaves":         {[]Controller{shelf("a", "ssd 100", "ssd 100").on("RAID1", 60, 0, 1)}, `{"raid_level": "1", "size_gb": 40, "share_physical_disks": true}`, "a[0 1] 40", ""},
		"not alone on what a volume uses": {[]Controller{shelf("a", "ssd 100", "ssd 100").on("RAID1", 60, 0, 1)}, `{"raid_level": "1", "size_gb": 40}`, "", "no drives are left"},
		"too large":                       {[]Controller{shelf("a", four...)}, `{"raid_level": "1", "size_gb": 101}`, "", "no drives are left"},
		"a name that is not there":        {[]Controller{shelf("a", four...)}, `{"raid_level": "1", "size_gb": 50, "controller": "a", "physical_disks": ["0", "9"]}`, "", "no drive of the RAID controller a is 9"},
		"a drive twice":                   {[]Controller{shelf("a", four...)}, `{"raid_level": "1", "size_gb": 50, "controller": "a", "physical_disks": ["0", "0"]}`, "", "twice"},
		"too few for the level":           {[]Controller{shelf("a", four...)}, `{"raid_level": "6", "size_gb": 50, "controller": "a", "physical_disks": ["0", "1", "2"]}`, "", "takes 4 or more drives, not 3"},
		"too many for a mirror":           {[]Controller{shelf("a", four...)}, `{"raid_level": "1", "size_gb": 50, "controller": "a", "physical_disks": ["0", "1", "2"]}`, "", "takes 2 drives, not 3"},
		"an odd number for ten":           {[]Controller{shelf("a", append(four, "ssd 100")...)}, `{"raid_level": "1+0", "size_gb": 50, "controller": "a", "physical_disks": ["0", "1", "2", "3", "4"]}`, "", "not 5"},
		"named of the wrong kind":         {[]Controller{shelf("a", mixed...)}, `{"raid_level": "1", "size_gb": 50, "disk_type": "ssd", "controller": "a", "physical_disks": ["1", "3"]}`, "", "not the disk_type"},
		"no controller of that name":      {[]Controller{shelf("a", four...)}, `{"raid_level": "1", "size_gb": 50, "controller": "c"}`, "", `no RAID controller "c"`},
	} {
		got, err := choose(Layout{Controllers: c.on}, builds(wanted(t, c.want)), nil, nil)
		switch {
		case c.refuse != "" && (err == nil || !strings.Contains(err.Error(), c.refuse)):
			t.Errorf("%s: %s, %v, expected %q", name, chosen(got), err, c.refuse)
		case c.refuse == "" && (err != nil || chosen(got) != c.gets):
			t.Errorf("%s: %s, %v, expected %s", name, chosen(got), err, c.gets)
		}
	}
}

// A level that a controller does not build, drives that are no good, and those that are kept are not taken.
func TestI02_DrivesThatAreLeftAlone(t *testing.T) {
	c := shelf("a", "ssd 100", "ssd 100", "ssd 100", "ssd 100")
	c.Levels = []string{"RAID0", "RAID1"}
	c.Drives[0].Unfit = "it is a spare"
	l := Layout{Controllers: []Controller{c}}
	k, err := newKeeper(map[string]any{"skip_block_devices": []any{map[string]any{"serial": "a-2"}}}, l)
	if err != nil {
		t.Fatal(err)
	}
	got, err := choose(l, builds(wanted(t, `{"raid_level": "1", "size_gb": 50}`)), k, nil)
	if err != nil || chosen(got) != "a[1 3] 50" {
		t.Errorf("%s, %v", chosen(got), err)
	}
	for config, says := range map[string]string{
		`{"raid_level": "0", "size_gb": 250}`:                                                    "it is a spare, a/2: properties.skip_block_devices entry 1 keeps it",
		`{"raid_level": "5", "size_gb": 50}`:                                                     "builds RAID0, RAID1, not RAID5",
		`{"raid_level": "1", "size_gb": 50, "controller": "a", "physical_disks": ["1", "2"]}`:    "entry 1 keeps it",
		`{"raid_level": "1", "size_gb": "MAX", "controller": "a", "physical_disks": ["0", "1"]}`: "it is a spare",
	} {
		if got, err := choose(l, builds(wanted(t, config)), k, nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %s, %v, expected %q", config, chosen(got), err, says)
		}
	}
}

// A drive that an entry may mean is not built on, until the BMC shows what else the entry means.
func TestI02_ADriveThatMayBeMeantIsLeftAlone(t *testing.T) {
	c := shelf("a", "ssd 100", "ssd 100", "ssd 100")
	c.Drives[0].Disk.Serial = "" // not told
	l := Layout{Controllers: []Controller{c}}
	for serial, want := range map[string]string{"S9": "a[1 2] 50", "a-2": "a[0 1] 50"} {
		k, err := newKeeper(map[string]any{"skip_block_devices": []any{map[string]any{"serial": serial}}}, l)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := choose(l, builds(wanted(t, `{"raid_level": "1", "size_gb": 50}`)), k, nil); err != nil || chosen(got) != want {
			t.Errorf("%s: %s, %v, expected %s", serial, chosen(got), err, want)
		}
	}
}

// I25: however much is wanted of however many drives, the search ends.
func TestI25_TheSearchForDrivesEnds(t *testing.T) {
	var drives, disks []string
	for i := range 64 {
		drives = append(drives, fmt.Sprintf("ssd %d", 100+i%8))
		disks = append(disks, `{"raid_level": "0", "size_gb": 60, "share_physical_disks": true}`)
	}
	disks[63] = `{"raid_level": "0", "size_gb": 100000}`
	if got, err := choose(Layout{Controllers: []Controller{shelf("a", drives...)}}, builds(wanted(t, strings.Join(disks, ","))), nil, nil); err == nil {
		t.Error(chosen(got))
	}
}

// What is there already is known by name, level, size and drives.
func TestWhatIsThereAlready(t *testing.T) {
	c := shelf("a", "ssd 100", "ssd 100", "ssd 100", "ssd 100").on("RAID1", 50, 0, 1).on("RAID0", 200, 2, 3)
	for config, want := range map[string]string{
		`{"raid_level": "1", "size_gb": 50}`:                                                           "0:1",
		`{"raid_level": "1", "size_gb": 50, "volume_name": "v1"}`:                                      "0:1",
		`{"raid_level": "1", "size_gb": 50, "volume_name": "other"}`:                                   "",
		`{"raid_level": "1", "size_gb": 60}`:                                                           "",
		`{"raid_level": "0", "size_gb": 50}`:                                                           "",
		`{"raid_level": "1", "size_gb": 50, "number_of_physical_disks": 3}`:                            "",
		`{"raid_level": "1", "size_gb": 50, "disk_type": "hdd"}`:                                       "",
		`{"raid_level": "1", "size_gb": 50, "controller": "b"}`:                                        "",
		`{"raid_level": "1", "size_gb": 50, "controller": "a", "physical_disks": ["1", "0"]}`:          "0:1",
		`{"raid_level": "1", "size_gb": 50, "controller": "a", "physical_disks": ["1", "2"]}`:          "",
		`{"raid_level": "0", "size_gb": "MAX", "controller": "a", "physical_disks": ["3", "2"]}`:       "0:2",
		`{"raid_level": "1", "size_gb": "MAX", "controller": "a", "physical_disks": ["0", "1"]}`:       "",
		`{"raid_level": "1", "size_gb": 50}, {"raid_level": "1", "size_gb": 50}`:                       "0:1",
		`{"raid_level": "0", "size_gb": 200, "volume_name": "v2"}, {"raid_level": "1", "size_gb": 50}`: "0:2 1:1",
	} {
		disks := wanted(t, config)
		found := Layout{Controllers: []Controller{c}}.match(disks, nil, all)
		var got []string
		for i := range disks {
			if v, ok := found[i]; ok {
				got = append(got, fmt.Sprintf("%d:%s", i, v.ID))
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, expected %s", config, got, want)
		}
	}
}
