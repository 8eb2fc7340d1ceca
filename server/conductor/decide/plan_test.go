package decide

import (
	"fmt"
	"slices"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/server/conductor/plan"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func TestI05_CleaningWithoutTheEraseStepIsAProblem(t *testing.T) {
	off := func(name string) conductor.Default {
		return conductor.Default{Scope: conductor.Scope{Kind: conductor.Fleet}, Flow: state.Clean, Step: name, Key: conductor.KeyPriority, Value: 0.0}
	}
	without := []conductor.Default{off(catalog.EraseStep), off("deploy.erase_devices_metadata")}
	for _, own := range [][]conductor.Default{without[:1], without} {
		l := newLife(t)
		l.manageable()
		l.s.Defaults = own
		l.verb(state.VerbProvide)
		l.want(state.CleanFail)
		if l.s.Node.LastReason != fault.DiskNotErased || len(l.effects) != 0 || l.s.Node.Maintenance {
			t.Errorf("%s, effects %v", l.s.Node.LastError, l.kinds())
		}
	}
	l := newLife(t)
	l.manageable()
	l.s.Node.AutomatedClean = new(bool)
	l.verb(state.VerbProvide)
	l.want(state.Available)
	if !slices.ContainsFunc(l.audit, func(a conductor.Audit) bool { return a.Act == "clean.skipped" }) {
		t.Errorf("the exclusion is not audited: %+v", l.audit)
	}
}

// The records are what the plan says, and all there before anything runs.
func TestI10_ThePlanIsStoredBeforeAnythingRuns(t *testing.T) {
	l := newLife(t)
	l.manageable()
	list := nodetest.Wanted("management.reset_bmc", "deploy.hold", "deploy.erase_devices")
	plan := plan.Build(plan.Input{Node: l.s.Node, Ask: conductor.Provision{Verb: state.VerbClean, CleanSteps: list}, Registry: l.s.Registry, Accepted: l.s.Accepted})
	d := Decide(l.s, conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbClean, CleanSteps: list}}, l.now)
	if len(d.Steps) != len(plan.Items) {
		t.Fatalf("%d records of %d steps", len(d.Steps), len(plan.Items))
	}
	ids := map[step.ID]bool{}
	for i, r := range d.Steps {
		it := plan.Items[i]
		if r.Order != i || r.Attempt != 1 || r.ID == "" || ids[r.ID] || r.Step.Name != it.Step.Name || r.Step.Where != it.Step.Where ||
			r.Step.Timeout <= 0 || r.Step.Repeat == "" || fmt.Sprint(r.Args) != fmt.Sprint(it.Args) {
			t.Errorf("record %d: %+v", i, r)
		}
		ids[r.ID] = true
	}
}
