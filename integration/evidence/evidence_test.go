package evidence_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/integration/evidence"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// TestI05_I06_WhatIsLeftProvesTheWork as it arrives at the server, and steps that prove nothing leave nothing.
func TestI05_I06_WhatIsLeftProvesTheWork(t *testing.T) {
	disks := []inventory.DeviceID{{Serial: "S0", Size: 8 << 30, Class: inventory.NVMePCIe}, {Serial: "S1", Size: 9 << 30, Class: inventory.NVMePCIe}}
	args := step.Args{"digest_algorithm": "sha512", "digest": strings.Repeat("a", 128)}
	arrived := func(r step.Result, v any) {
		t.Helper()
		raw, err := json.Marshal(r.Data)
		if err == nil {
			err = json.Unmarshal(raw, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var erased struct{ Devices []catalog.Erased }
	arrived(evidence.Left(catalog.EraseStep, nil, disks), &erased)
	if len(erased.Devices) != 2 || !erased.Devices[0].Whole() || !erased.Devices[1].Whole() || erased.Devices[1].ID != disks[1] {
		t.Errorf("erased %+v", erased)
	}
	var written catalog.Written
	arrived(evidence.Left(catalog.WriteStep, args, disks[:1]), &written)
	if lacks := written.Lacks(args, disks[0]); lacks != "" {
		t.Errorf("written %+v: %s", written, lacks)
	}
	for name, d := range map[string][]inventory.DeviceID{catalog.WriteStep: disks, "deploy.erase_devices_metadata": disks} {
		if r := evidence.Left(name, args, d); r.Data != nil {
			t.Errorf("%s of %d disks leaves %v", name, len(d), r.Data)
		}
	}
}
