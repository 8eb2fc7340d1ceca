package inventory

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// genDisk draws a disk of few possible values, so that hints, twins and classes collide often.
func genDisk(t *rapid.T, name string) Disk {
	pick := func(what string, from ...string) string { return rapid.SampledFrom(from).Draw(t, what) }
	return Disk{
		Name: name, Serial: pick("serial", "", "s1", "s2", "s3"), WWN: pick("wwn", "", "0x5000000000000001"), Model: pick("model", "", "fast", "slow"),
		Size: rapid.SampledFrom([]int64{0, 1 << 30, 2 << 30}).Draw(t, "size"), Rotational: rapid.Bool().Draw(t, "rotational"),
		Class:      rapid.SampledFrom([]Class{NVMePCIe, SATA, USB, FC, ClassUnknown}).Draw(t, "class"),
		ReadOnly:   rapid.IntRange(0, 9).Draw(t, "ro") == 0,
		BootMedium: rapid.IntRange(0, 9).Draw(t, "boot") == 0,
	}
}

func genHints(t *rapid.T) map[string]any {
	m := map[string]any{}
	if rapid.Bool().Draw(t, "by serial") {
		m["serial"] = rapid.SampledFrom([]string{"s1", "s2", "s3", "s9"}).Draw(t, "hint serial")
	}
	if rapid.Bool().Draw(t, "by model") {
		m["model"] = rapid.SampledFrom([]string{"fast", "slow"}).Draw(t, "hint model")
	}
	if rapid.Bool().Draw(t, "by size") {
		m["size"] = rapid.SampledFrom([]int{1, 2}).Draw(t, "hint size")
	}
	return m
}

// meets is the reference: plain equality, written once more and differently.
func meets(d Disk, hints map[string]any) bool {
	for k, v := range hints {
		switch k {
		case "serial":
			if d.Serial != v {
				return false
			}
		case "model":
			if d.Model != v {
				return false
			}
		case "size":
			if d.Size != int64(v.(int))<<30 {
				return false
			}
		}
	}
	return true
}

func same(a, b Disk) bool {
	return a.Serial == b.Serial && a.WWN == b.WWN && a.Size == b.Size && a.Class == b.Class
}

func genMachine(t *rapid.T) ([]Disk, map[string]any, []any, []Class) {
	var disks []Disk
	for i := range rapid.IntRange(0, 5).Draw(t, "disks") {
		disks = append(disks, genDisk(t, string(rune('a'+i))))
	}
	var skip []any
	for range rapid.IntRange(0, 2).Draw(t, "skips") {
		if h := genHints(t); len(h) > 0 {
			skip = append(skip, h)
		}
	}
	var allow []Class
	if rapid.Bool().Draw(t, "allow usb") {
		allow = append(allow, USB)
	}
	return disks, genHints(t), skip, allow
}

func skippedBy(d Disk, skip []any) bool {
	return slices.ContainsFunc(skip, func(h any) bool { return meets(d, h.(map[string]any)) })
}

func writable(d Disk, allow []Class) bool {
	local := d.Class == NVMePCIe || d.Class == SATA || slices.Contains(allow, d.Class)
	return local && !d.ReadOnly && !d.BootMedium && d.Size > 0
}

// TestI04_RootAgainstReference: the root disk is the only one that a reference finds, or there is none.
func TestI04_RootAgainstReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disks, hints, skip, allow := genMachine(t)
		var fit []Disk
		for _, d := range disks {
			if writable(d, allow) && !skippedBy(d, skip) && meets(d, hints) {
				fit = append(fit, d)
			}
		}
		got, err := Root(disks, hints, skip, allow...)
		certain := len(fit) == 1 && (fit[0].Serial != "" || fit[0].WWN != "")
		for _, d := range disks {
			certain = certain && (d.Name == fit[0].Name || !same(d, fit[0]))
		}
		if certain != (err == nil) || err == nil && !reflect.DeepEqual(got, fit[0]) {
			t.Fatalf("got %+v, %v; the reference finds %+v", got, err, fit)
		}
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Fatalf("got %v", err)
		}
	})
}

// TestI05_TargetsAgainstReference: an erase covers every disk but the skipped ones and the boot medium, or fails.
func TestI05_TargetsAgainstReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disks, _, skip, allow := genMachine(t)
		var want []Disk
		ok := true
		for _, d := range disks {
			if d.BootMedium || skippedBy(d, skip) {
				continue
			}
			want = append(want, d)
			ok = ok && writable(d, allow) && (d.Serial != "" || d.WWN != "")
			for _, o := range disks {
				ok = ok && (o.Name == d.Name || !same(o, d))
			}
		}
		node := map[string]any{"skip_block_devices": skip}
		if len(allow) > 0 {
			node["allow_device_classes"] = []any{"usb"}
		}
		got, err := Targets(Inventory{Disks: disks}, node)
		if (ok && len(want) > 0) != (err == nil) || err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v; want %+v, %v", got, err, want, ok)
		}
	})
}

// A RAID volume may be named in the record, for the steps that know volumes; whoever sees disks alone takes it for a disk that it
// can't tell, and touches none (safety.md I2).
func TestI02_AVolumeIsNamedForThoseWhoKnowIt(t *testing.T) {
	volume := []any{map[string]any{"volume_name": "data"}, map[string]any{"volume_name": "data", "size": "> 5"}, map[string]any{"serial": "S"}}
	if err := CheckSkip(volume); err != nil {
		t.Error(err)
	}
	for _, bad := range []map[string]any{{"volume_name": ""}, {"volume_name": 7.0}, {"volume_name": "a", "colour": "red"}, {}, {"colour": "red"}} {
		if err := CheckSkip([]any{bad}); !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if _, _, _, err := Skipped(nil, volume); !fault.Has(err, fault.RequestInvalid) {
		t.Errorf("disks are told from volumes by name: %v", err)
	}
}
