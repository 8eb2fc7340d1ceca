package decide

import (
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// deleting is a clean that deletes the RAID volumes, with its step at work.
func deleting(t *testing.T) (*life, conductor.StepRecord) {
	t.Helper()
	l := newLife(t)
	l.s.Node.Generation = 3
	l.cleaning(catalog.DeleteRAID)
	l.take(conductor.EffectRunStep)
	return l, l.running()
}

func built(changed float64, disks ...any) *step.Result {
	return &step.Result{Data: map[string]any{catalog.BuiltRAID: map[string]any{"logical_disks": disks}, "created": 0.0, "deleted": changed}}
}

// raid_config is what a step read back, also one that failed; the accepted disks count no more when there may be others.
func TestI05_AfterRAIDThereAreOtherDisks(t *testing.T) {
	left := map[string]any{"id": "7", "raid_level": "5", "size_gb": 9.0}
	for name, c := range map[string]struct {
		end   conductor.StepEnded
		kept  []any
		other bool
	}{
		"volumes went":                  {conductor.StepEnded{Outcome: api.Succeeded, Result: built(2)}, nil, true},
		"there were none":               {conductor.StepEnded{Outcome: api.Succeeded, Result: built(0)}, nil, false},
		"one went, then it failed":      {conductor.StepEnded{Outcome: api.Failed, Fault: fault.New(fault.StepFailed, "x"), Result: built(1, left)}, []any{left}, true},
		"it failed and tells nothing":   {conductor.StepEnded{Outcome: api.Failed, Fault: fault.New(fault.StepFailed, "x")}, nil, true},
		"it was stopped before any act": {conductor.StepEnded{Outcome: api.Aborted, Fault: fault.New(fault.StepAborted, "x")}, nil, false},
		"its server was killed":         {conductor.StepEnded{Outcome: api.Interrupted}, nil, true},
	} {
		l, r := deleting(t)
		c.end.ID = r.ID
		l.ok(c.end)
		list, _ := l.s.Node.RAID["logical_disks"].([]any)
		if len(list) != len(c.kept) || (l.s.Node.RAID != nil) != (c.end.Result != nil) || c.end.Result != nil && l.s.Node.RAID["last_updated"] == "" {
			t.Errorf("%s: raid_config is %v", name, l.s.Node.RAID)
		}
		if got := l.s.Node.DisksChanged; got != c.other {
			t.Errorf("%s: other disks: %t, expected %t", name, got, c.other)
		}
		if slices.ContainsFunc(l.audit, func(a conductor.Audit) bool { return a.Act == "disks.changed" }) != c.other {
			t.Errorf("%s: audited is %v", name, l.audit)
		}
	}
}

// A step that is cut off from outside, by its deadline, leaves it open which disks there are.
func TestI05_ARAIDStepWithoutAnEndChangesTheDisks(t *testing.T) {
	l, r := deleting(t)
	l.now = r.Deadline.Add(l.s.Timeouts.Abort * 2)
	l.ok(conductor.DeadlinePassed{})
	if l.s.Node.State != state.CleanFail || !l.s.Node.DisksChanged {
		t.Errorf("%s: %+v", l.s.Node.State, l.s.Node.DisksChanged)
	}
}

// I01: what destroys data through the BMC runs on no node that two machines claim to be, as what destroys it in band.
func TestI01_NoRAIDOnAContestedNode(t *testing.T) {
	l := newLife(t)
	l.s.Node.Generation = 3
	l.s.Node.Boot = &conductor.Boot{Generation: 3, Contested: true}
	l.cleaning(catalog.DeleteRAID)
	if n := l.s.Node; n.State != state.CleanFail || n.LastReason != fault.NodeContested || slices.Contains(l.kinds(), conductor.EffectRunStep) {
		t.Errorf("%s: %s, %v", n.State, n.LastError, l.kinds())
	}
	l = newLife(t)
	l.s.Node.Boot = &conductor.Boot{Generation: 3, Contested: true, Ended: true}
	l.cleaning(catalog.DeleteRAID)
	if l.running().Step.Name != catalog.DeleteRAID {
		t.Errorf("a contest that is settled: %s", l.s.Node.LastError)
	}
}

// What a configuration of a step's own says is the node's target from then on.
func TestRAIDAppliedIsTheTarget(t *testing.T) {
	l, r := deleting(t)
	config := map[string]any{"logical_disks": []any{map[string]any{"raid_level": "1", "size_gb": 5.0, "is_root_volume": true}}}
	i := slices.IndexFunc(l.s.Steps, func(s conductor.StepRecord) bool { return s.ID == r.ID })
	l.s.Steps[i].Step.Name, l.s.Steps[i].Args = catalog.ApplyRAID, step.Args{catalog.ArgRAID: config}
	l.ok(conductor.StepEnded{ID: r.ID, Outcome: api.Succeeded, Result: built(0, map[string]any{"id": "1", "raid_level": "1", "size_gb": 5.0, "is_root_volume": true, "root_device_hint": map[string]any{"wwn": "0x1"}})})
	n := l.s.Node
	if len(n.TargetRAID) != 1 || n.Properties["local_gb"] != 5.0 || !strings.Contains(n.Properties["capabilities"].(string), "raid_level:1") {
		t.Errorf("target %v, properties %v", n.TargetRAID, n.Properties)
	}
}
