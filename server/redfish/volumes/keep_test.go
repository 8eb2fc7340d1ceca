package volumes

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

func skips(list ...any) map[string]any { return map[string]any{"skip_block_devices": list} }

// A volume that does not tell all its drives may be made of one that is kept; an entry that may mean several things is not
// used up by the first of them.
func TestI02_AVolumeThatMayBeMeantIsKept(t *testing.T) {
	four := []string{"ssd 100", "ssd 100", "ssd 100", "ssd 100"}
	told := shelf("a", four...).on("RAID1", 50, 1, 2)
	told.Drives[0].Disk.Vendor, told.Drives[1].Disk.Vendor, told.Drives[2].Disk.Vendor = "DELL", "SEAGATE", "SEAGATE"
	untold := shelf("a", four...).on("RAID1", 50)
	foreign := shelf("a", four...).on("RAID1", 50, 1)
	foreign.Volumes[0].Drives = append(foreign.Volumes[0].Drives, "/Chassis/1/Drives/0")
	slot := foreign
	slot.Empty = []string{"/Chassis/1/Drives/0"}
	for name, c := range map[string]struct {
		on   Controller
		skip map[string]any
		free bool // it may be deleted
	}{
		"another drive is meant":             {told, map[string]any{"serial": "a-0"}, true},
		"another drive is meant, by two":     {told, map[string]any{"serial": "a-0", "vendor": "DELL"}, true},
		"no drive is told":                   {untold, map[string]any{"serial": "a-0"}, false},
		"a drive is told by another place":   {foreign, map[string]any{"serial": "a-0"}, false},
		"a drive was pulled out":             {slot, map[string]any{"serial": "a-0"}, true},
		"no drive is told, another is named": {untold, map[string]any{"volume_name": "data"}, true},
		"a vendor means more than one":       {told, map[string]any{"vendor": "DELL"}, false},
		"a list of serial numbers, too":      {told, map[string]any{"serial": "<or> a-0 <or> S9"}, false},
		"whatever has not one, too":          {told, map[string]any{"serial": "s!= a-1"}, false},
	} {
		k, err := newKeeper(skips(c.skip), Layout{Controllers: []Controller{c.on}})
		if err != nil {
			t.Fatal(err)
		}
		kept, err := k.volume(c.on, c.on.Volumes[0])
		if free := !kept && err == nil; free != c.free || err != nil && !fault.Has(err, fault.DiskProtected) {
			t.Errorf("%s: kept %t, %v", name, kept, err)
		}
	}
}

// Where a volume that stays is not told, nothing is built: its drives may be any of them.
func TestI02_NothingIsBuiltBesideAVolumeThatDoesNotTellItsDrives(t *testing.T) {
	c := shelf("a", "ssd 100", "ssd 100").on("RAID1", 50)
	l := Layout{Controllers: []Controller{c}}
	disks := builds(wanted(t, `{"raid_level": "1", "size_gb": 50}`))
	if got, err := choose(l, disks, nil, nil); err == nil || !strings.Contains(err.Error(), "v1") {
		t.Errorf("%s, %v", chosen(got), err)
	}
	if got, err := choose(l, disks, nil, c.Volumes); err != nil || chosen(got) != "a[0 1] 50" {
		t.Errorf("it will have gone: %s, %v", chosen(got), err)
	}
}

// A drive that the BMC shows as a volume, too, may be kept by what that says; several drives that make a volume of no level that
// is told are left alone.
func TestI02_AVolumeOfNoLevelIsNotBuiltOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			volume string
			skip   []any
			orders int
		}{
			"a drive":             {`{"Id": "1", "VolumeType": "RawDevice", "Links": {"Drives": [{"@odata.id": "/d/1"}]}}`, nil, 1},
			"a drive with a name": {`{"Id": "1", "Name": "data", "Links": {"Drives": [{"@odata.id": "/d/1"}]}}`, []any{map[string]any{"volume_name": "data"}}, 0},
			"a drive with a name of its own": {`{"Id": "1", "RAIDType": "None", "Identifiers": [{"DurableNameFormat": "NAA", "DurableName": "5000c500a1b2c3d4"}], "Links": {"Drives": [{"@odata.id": "/d/1"}]}}`,
				[]any{map[string]any{"wwn": "0x5000c500a1b2c3d4"}}, 0},
			"two drives": {`{"Id": "1", "Name": "data", "Links": {"Drives": [{"@odata.id": "/d/1"}, {"@odata.id": "/d/2"}]}}`, nil, 0},
		} {
			b := newBoard()
			b.objects["/v"], b.objects["/v/1"] = `["/v/1"]`, c.volume
			b.order = func(b *board, _, _ string) (string, error) { b.volume("2", "a"); return "", nil }
			w := mirror(t, "a")
			w.Delete, w.Properties = true, skips(c.skip...)
			if _, err := Run(t.Context(), b, w); len(b.did) != c.orders || (err == nil) != (c.orders == 1) {
				t.Errorf("%s: %v, %v", name, b.did, err)
			}
		}
	})
}

// A volume that takes the room that others leave is what was wanted, when it is made and ever after: it is not deleted as none
// of the configuration's.
func TestI08_AVolumeOfAllTheRoomThatIsLeftIsThere(t *testing.T) {
	shared := func(size string) string {
		return fmt.Sprintf(`{"raid_level": "1", "size_gb": %s, "share_physical_disks": true, "controller": "c", "physical_disks": ["1", "2"]}`, size)
	}
	for _, config := range []string{shared(`"MAX"`) + "," + shared("20"), shared("20") + "," + shared(`"MAX"`)} {
		synctest.Test(t, func(t *testing.T) {
			b := newBoard()
			var links []string
			b.make = func(body map[string]any) {
				size, sized := body["CapacityBytes"].(int64)
				if !sized {
					size = 80 << 30
				}
				link := fmt.Sprintf("/v/%d", len(links)+1)
				links = append(links, link)
				b.objects[link] = fmt.Sprintf(`{"Id": %q, "RAIDType": "RAID1", "CapacityBytes": %d, "Links": {"Drives": [{"@odata.id": "/d/1"}, {"@odata.id": "/d/2"}]}}`, link, size)
				all, _ := json.Marshal(links)
				b.objects["/v"] = string(all)
			}
			w := Want{Disks: wanted(t, config), Root: true, NonRoot: true, Delete: true}
			if _, err := Run(t.Context(), b, w); err != nil || len(b.did) != 2 {
				t.Errorf("%s: %v, %v", config, b.did, err)
			}
			b.did = nil
			if _, err := Run(t.Context(), b, w); err != nil || len(b.did) != 0 {
				t.Errorf("%s once more: %v, %v", config, b.did, err)
			}
		})
	}
}

// An attempt after one that was cut off while a deletion was on its way does not ask for it again while it may come about: the
// BMC might have given the place to another volume by the time the second one arrives.
func TestI08_F15_ADeletionThatIsOnItsWayIsNotAskedForAgain(t *testing.T) {
	for _, comes := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := newBoard()
			b.volume("1", "old")
			gone := func(b *board) { delete(b.objects, "/v/1"); b.objects["/v"] = `[]` }
			b.order = func(b *board, _, _ string) (string, error) { gone(b); return "", nil }
			cut, cancel := context.WithCancel(t.Context())
			first := *b
			first.order = func(*board, string, string) (string, error) { cancel(); return "", cut.Err() }
			if _, err := Run(cut, &first, Want{Delete: true}); err == nil {
				t.Error("what was cut off ends well")
			}
			if comes {
				b.goes = time.Now().Add(time.Minute)
			}
			if _, err := Run(t.Context(), b, Want{Delete: true, Noted: first.noted}); err != nil || (len(b.did) == 0) != comes {
				t.Errorf("it comes about: %t; %v, %v", comes, b.did, err)
			}
		})
	}
}

// What is said to be this machine's and is at another one's place is none of ours: nothing is read further.
func TestF26_WhatIsAtAnotherMachinesPlaceIsNotOurs(t *testing.T) {
	for place, foreign := range map[string]string{"/stores": "/x/Systems/2/Storage/1", "/v": "/x/Systems/2/Storage/1/Volumes/1"} {
		b := newBoard()
		b.objects["/x/Systems/1"] = b.objects["/sys"]
		if _, err := Read(b, "/x/Systems/1"); err != nil {
			t.Fatal(err)
		}
		b.volume("1", "a")
		b.objects[foreign] = b.objects[map[string]string{"/stores": "/s", "/v": "/v/1"}[place]]
		b.objects[place] = fmt.Sprintf("[%q]", foreign)
		if _, err := Read(b, "/x/Systems/1"); !fault.Has(err, fault.BMCOtherMachine) {
			t.Errorf("%s: %v", foreign, err)
		}
	}
}

// I25: what is told of one object is bounded, as it is noted and shown.
func TestI25_WhatAVolumeAndAControllerTellIsBounded(t *testing.T) {
	b := newBoard()
	b.objects["/s"] = strings.Replace(b.objects["/s"], `"Id": "c"`, `"Id": "c", "StorageControllers": [{"SupportedRAIDTypes": ["`+strings.Repeat("x", 1<<16)+`"`+strings.Repeat(`, "y"`, 1000)+`]}]`, 1)
	l, err := Read(b, "/sys")
	if err != nil || len(strings.Join(l.Controllers[0].Levels, "")) > 4096 {
		t.Errorf("%d levels, %v", len(l.Controllers[0].Levels), err)
	}
	for what, volume := range map[string]string{
		"drives": `{"Id": "1", "RAIDType": "RAID0", "Links": {"Drives": [` + strings.Repeat(`{"@odata.id": "/d/1"},`, maxDrives) + `{"@odata.id": "/d/2"}]}}`,
		"a link": `{"Id": "1", "RAIDType": "RAID0", "Links": {"Drives": [{"@odata.id": "/d/` + strings.Repeat("x", 1<<16) + `"}]}}`,
	} {
		b = newBoard()
		b.objects["/v"], b.objects["/v/1"] = `["/v/1"]`, volume
		if _, err := Read(b, "/sys"); !fault.Has(err, fault.BMCTooLarge) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
