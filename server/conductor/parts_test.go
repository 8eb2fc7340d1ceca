package conductor

import (
	"testing"
	"time"
)

func TestMergedPartsKeepTheirTimes(t *testing.T) {
	at, later := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	a, b, c := "1", "2", "3"
	kept, changed := MergeBIOS(nil, []BIOSSetting{{Name: "B", Value: &b}, {Name: "A", Value: &a}, {Name: "A", Value: &c}}, at)
	if !changed || len(kept) != 2 || kept[0].Name != "A" || kept[0].Created != at {
		t.Fatalf("first: %+v", kept)
	}
	if _, changed = MergeBIOS(kept, []BIOSSetting{{Name: "A", Value: &a}, {Name: "B", Value: &b}}, later); changed {
		t.Error("nothing changed, and it is said to have")
	}
	next, changed := MergeBIOS(kept, []BIOSSetting{{Name: "A", Value: &c}}, later)
	if !changed || len(next) != 1 || next[0].Created != at || next[0].Updated != later {
		t.Errorf("then: %+v", next)
	}
	firmware, changed := MergeFirmware(nil, []FirmwareComponent{{Component: "bmc", Current: "1"}}, at)
	if !changed || firmware[0].Initial != "1" || firmware[0].Flashed != "" {
		t.Fatalf("first: %+v", firmware)
	}
	if _, changed = MergeFirmware(firmware, []FirmwareComponent{{Component: "bmc", Current: "1"}}, later); changed {
		t.Error("nothing changed, and it is said to have")
	}
	firmware, changed = MergeFirmware(firmware, []FirmwareComponent{{Component: "bmc", Current: "2"}}, later)
	if f := firmware[0]; !changed || f.Initial != "1" || f.Current != "2" || f.Flashed != "2" || f.Created != at || f.Updated != later {
		t.Errorf("then: %+v", f)
	}
}

// TestI22_T15_PasswordsOfTheBIOSAreNotKept: of a setting that is a password, by its name or by the registry, it is kept
// whether there is one, and no more; what an older release kept goes with the next reading.
func TestI22_T15_PasswordsOfTheBIOSAreNotKept(t *testing.T) {
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	canary, other, none := "canary-bios", "canary-2", ""
	read := []BIOSSetting{{Name: "AdminPassword", Value: &canary}, {Name: "PasswordSet", Value: nil}, {Name: "Pwd", Value: &canary, Type: "Password"},
		{Name: "Quiet", Value: &other, Type: "String"}, {Name: "UserPassword", Value: &none}}
	kept, changed := MergeBIOS([]BIOSSetting{{Name: "AdminPassword", Value: &canary, Created: at}}, read, at)
	if !changed || *kept[0].Value != Masked || kept[1].Value != nil || *kept[2].Value != Masked || *kept[3].Value != other || *kept[4].Value != "" {
		t.Errorf("kept %+v", kept)
	}
	if *read[0].Value != canary || canary != "canary-bios" {
		t.Error("what was read is changed")
	}
	read[0].Value = &other
	if _, changed := MergeBIOS(kept, read, at.Add(time.Hour)); changed {
		t.Error("that a password is another one now is told")
	}
}
