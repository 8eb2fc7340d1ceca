package disks

import (
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// TestI04_I05_TheDisksOfAStep are those it says that it touches, in this machine now, and none that the last inspection
// saw is missing.
func TestI04_I05_TheDisksOfAStep(t *testing.T) {
	id0, _ := nodetest.Disk0.ID()
	id1, _ := nodetest.Disk1.ID()
	for name, c := range map[string]struct {
		touches step.Touch
		change  func(s *conductor.Snapshot)
		want    []inventory.DeviceID
		reason  fault.Reason
	}{
		"no disk": {step.Nothing, func(*conductor.Snapshot) {}, nil, ""},
		"all":     {step.AllDisks, func(*conductor.Snapshot) {}, []inventory.DeviceID{id0, id1}, ""},
		"all, skipped": {step.AllDisks, func(s *conductor.Snapshot) {
			s.Node.Properties["skip_block_devices"] = []any{map[string]any{"serial": "S1"}}
		}, []inventory.DeviceID{id0}, ""},
		"root":                              {step.RootDisk, func(s *conductor.Snapshot) { s.Node.Properties["root_device"] = map[string]any{"serial": "S1"} }, []inventory.DeviceID{id1}, ""},
		"root, which one":                   {step.RootDisk, func(*conductor.Snapshot) {}, nil, fault.DiskAmbiguous},
		"no inventory":                      {step.RootDisk, func(s *conductor.Snapshot) { s.Seen = nil }, nil, fault.DiskNone},
		"never inspected":                   {step.AllDisks, func(s *conductor.Snapshot) { s.Accepted = nil }, []inventory.DeviceID{id0, id1}, ""},
		"a malformed list":                  {step.AllDisks, func(s *conductor.Snapshot) { s.Node.Properties["skip_block_devices"] = "all" }, nil, fault.RequestInvalid},
		"a malformed list, never inspected": {step.AllDisks, func(s *conductor.Snapshot) { s.Node.Properties["skip_block_devices"], s.Accepted = "all", nil }, nil, fault.RequestInvalid},
		"a disk more than inspected": {step.AllDisks, func(s *conductor.Snapshot) {
			s.Accepted = &inventory.Inventory{Disks: []inventory.Disk{nodetest.Disk0}}
		}, []inventory.DeviceID{id0, id1}, ""},
		"a disk less than inspected": {step.AllDisks, func(s *conductor.Snapshot) { s.Seen = &inventory.Inventory{Disks: []inventory.Disk{nodetest.Disk0}} }, nil, fault.DiskMissing},
		"an inspection of nothing to erase": {step.AllDisks, func(s *conductor.Snapshot) {
			s.Node.Properties["skip_block_devices"] = []any{map[string]any{"serial": "S1"}}
			s.Accepted = &inventory.Inventory{Disks: []inventory.Disk{nodetest.Disk1}}
		}, nil, fault.DiskNone},
	} {
		s := nodetest.Snapshot(nodetest.Disk0, nodetest.Disk1)
		c.change(&s)
		got, err := Of(s.Node, s.Seen, s.Accepted, c.touches)
		if c.reason == "" && (err != nil || !slices.Equal(got, c.want)) || c.reason != "" && (!fault.Has(err, c.reason) || got != nil) {
			t.Errorf("%s: %v, %v; want %v, %q", name, got, err, c.want, c.reason)
		}
	}
}

// TestI05_ErasedIsWhatHasAVerifiedRecord of this run, or what was excluded when it began.
func TestI05_ErasedIsWhatHasAVerifiedRecord(t *testing.T) {
	id, _ := nodetest.Disk0.ID()
	good := catalog.Erased{ID: id, Method: "overwrite", To: nodetest.Disk0.Size}
	good.Verify.Mode = "sample"
	for name, c := range map[string]struct {
		state    conductor.StepState
		result   *step.Result
		excluded bool
		change   func(s *conductor.Snapshot)
		reason   fault.Reason
		says     string
	}{
		"erased":                     {state: conductor.StepSucceeded, result: &step.Result{Data: map[string]any{"devices": []any{good}}}},
		"not erased":                 {state: conductor.StepFailed, result: &step.Result{Data: map[string]any{"devices": []any{good}}}, reason: fault.DiskNotErased},
		"not erased, excluded":       {state: conductor.StepPlanned, excluded: true},
		"excluded, yet erased badly": {state: conductor.StepSucceeded, excluded: true, result: &step.Result{}, reason: fault.DiskNotErased},
		"no result":                  {state: conductor.StepSucceeded, reason: fault.DiskNotErased},
		"half of it garbage":         {state: conductor.StepSucceeded, result: &step.Result{Data: map[string]any{"devices": []any{good, "and the other one"}}}, reason: fault.DiskNotErased, says: "can't be read"},
		"no inventory":               {state: conductor.StepSucceeded, result: &step.Result{}, change: func(s *conductor.Snapshot) { s.Seen = nil }, reason: fault.DiskNone},
	} {
		s := nodetest.Snapshot()
		s.Node.Flow = &conductor.Flow{Flow: state.Clean, Excluded: c.excluded}
		s.Steps = []conductor.StepRecord{
			{ID: "other", State: conductor.StepSucceeded, Step: step.Step{Name: "deploy.erase_devices_metadata"}, Result: &step.Result{Data: map[string]any{"devices": []any{good}}}},
			{ID: "erase", State: c.state, Step: step.Step{Name: catalog.EraseStep}, Result: c.result},
		}
		if c.change != nil {
			c.change(&s)
		}
		if err := Erased(s.Node, s.Seen, s.Accepted, s.Steps); c.reason == "" && err != nil || c.reason != "" && (!fault.Has(err, c.reason) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q, %q", name, err, c.reason, c.says)
		}
	}
}
