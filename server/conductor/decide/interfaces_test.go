package decide

import (
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/fit"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/server/conductor/plan"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// pretending is a node of fake-hardware with its defaults, and what its steps are.
func pretending(t *testing.T) *life {
	l := newLife(t)
	reg, err := step.NewRegistry(catalog.Fake...)
	if err != nil {
		t.Fatal(err)
	}
	l.s.Node.Driver, l.s.Interfaces, l.s.Registry = "fake-hardware", nodetest.Implementations("fake-hardware", nil), reg
	l.s.Node.InstanceInfo, l.s.Accepted, l.s.Seen = map[string]any{}, nil, nil
	return l
}

// step ends the out-of-band step at work.
func (l *life) step(name string) {
	l.t.Helper()
	e := l.take(conductor.EffectRunStep)
	r := l.running()
	if r.Step.Name != name || r.ID != e.Step {
		l.t.Fatalf("%s runs, expected %s", r.Step.Name, name)
	}
	l.ok(conductor.StepEnded{ID: r.ID, Outcome: "succeeded"})
}

// A pretended life: no effect but those of steps, and of asking the BMC.
func TestAPretendedLife(t *testing.T) {
	l := pretending(t)
	l.manageable()
	l.verb(state.VerbInspect)
	l.want(state.Manageable) // the BMC's answer ended it: do answers it
	if l.s.Node.InspectionFinished.IsZero() {
		t.Error("no end of an inspection is recorded")
	}
	l.verb(state.VerbProvide)
	l.want(state.CleanWait)
	l.step("vendor.log_passthrough")
	l.want(state.Available)
	l.verb(state.VerbDeploy)
	l.want(state.DeployWait)
	l.step("deploy.deploy")
	l.want(state.Active)
	l.verb(state.VerbDelete)
	l.step("vendor.log_passthrough")
	l.want(state.Available)
	if len(l.effects) > 0 {
		t.Errorf("a machine that is not there is acted upon: %v", l.kinds())
	}
	if l.s.Node.Generation != 0 {
		t.Errorf("%d boots of a machine that is not there", l.s.Node.Generation)
	}
}

// What ends a cleaning without an erase record is fake-hardware's deploy interface fake alone, and that is audited (I5).
func TestI05_OnlyAPretendedCleaningErasesNothing(t *testing.T) {
	for _, c := range []struct {
		deploy  string
		pretend bool
	}{{"", false}, {"direct", false}, {"custom-agent", false}, {"ramdisk", false}, {"fake", true}} {
		if got := fit.Pretends(map[string]string{drivers.Deploy: c.deploy}, state.Clean); got != c.pretend {
			t.Errorf("with the deploy interface %q a cleaning pretends: %v", c.deploy, got)
		}
	}
	l := pretending(t)
	l.s.Node.State = state.Manageable
	l.verb(state.VerbProvide)
	if !l.s.Node.Flow.Excluded || !l.s.Node.Flow.Pretend || !slices.ContainsFunc(l.audit, func(a conductor.Audit) bool { return a.Act == "clean.skipped" }) {
		t.Errorf("a cleaning that erases nothing is not audited: %+v", l.audit)
	}
	// A machine with disks is cleaned with a ramdisk though its BMC is a fake one.
	l = newLife(t)
	l.s.Node.State, l.s.Node.Driver, l.s.Interfaces = state.Manageable, "fake-hardware", nodetest.Implementations("fake-hardware", map[string]string{"deploy": "direct"})
	l.verb(state.VerbProvide)
	if l.s.Node.Flow.Pretend || l.s.Node.Flow.Excluded {
		t.Errorf("%+v", l.s.Node.Flow)
	}
	l.take(conductor.EffectBoot)
}

// The core step can be left out, not replaced.
func TestTheDeployStepOfFakeHardware(t *testing.T) {
	for priority, want := range map[int]fault.Reason{0: "", 50: fault.StepArgument} {
		l := pretending(t)
		l.s.Node.State = state.Available
		err := l.do(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbDeploy, DeploySteps: []step.Wanted{{Name: "deploy.deploy", Priority: priority}}}})
		if want == "" && (err != nil || l.s.Node.State != state.Active) || want != "" && !fault.Has(err, want) {
			t.Errorf("priority %d: %v, state %s", priority, err, l.s.Node.State)
		}
	}
	l := pretending(t)
	l.s.Node.State = state.Available
	l.s.Node.InstanceInfo["traits"] = []any{"CUSTOM_GPU"}
	if err := l.do(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbDeploy}}); !fault.Has(err, fault.RequestInvalid) || !strings.Contains(err.Error(), "CUSTOM_GPU") {
		t.Errorf("a trait that the node lacks: %v", err)
	}
}

func TestWhatCantBeCarriedOutIsRefused(t *testing.T) {
	for _, c := range []struct {
		chosen map[string]string
		from   state.State
		verb   state.Event
		says   string
	}{
		{map[string]string{"boot": "ipxe"}, state.Available, state.VerbDeploy, "virtual CD"},
		{map[string]string{"boot": "http-ipxe"}, state.Manageable, state.VerbInspect, "virtual CD"},
		{map[string]string{"deploy": "anaconda"}, state.Available, state.VerbDeploy, "boots an ISO by ramdisk"},
		{map[string]string{"network": "flat"}, state.Available, state.VerbDeploy, "noop"},
		{map[string]string{"storage": "cinder"}, state.Available, state.VerbDeploy, "volumes"},
		{map[string]string{"boot": "ipxe"}, state.Manageable, state.VerbProvide, "virtual CD"},
		{map[string]string{"inspect": "no-inspect"}, state.Manageable, state.VerbInspect, "does not support inspect"},
	} {
		l := newLife(t)
		l.s.Node.State, l.s.Interfaces = c.from, nodetest.Implementations("redfish", c.chosen)
		err := l.do(conductor.VerbAsked{Ask: conductor.Provision{Verb: c.verb}})
		if !fault.Has(err, fault.DriverInterface) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %s gives %v", c.chosen, c.verb, err)
		}
		l.want(c.from)
	}
	// A deletion is not held up by what its cleaning can't do: that says so.
	l := newLife(t)
	l.s.Node.State, l.s.Interfaces = state.Active, nodetest.Implementations("redfish", map[string]string{"boot": "ipxe"})
	l.verb(state.VerbDelete)
	l.want(state.CleanFail)
	if l.s.Node.LastReason != fault.DriverInterface {
		t.Errorf("last error %s", l.s.Node.LastError)
	}
	l = newLife(t)
	l.s.Node.Driver, l.s.Interfaces = "ipmi", nodetest.Implementations("ipmi", nil)
	if err := l.do(conductor.PowerAsked{Ask: conductor.PowerRequest{Target: "power on"}}); !fault.Has(err, fault.DriverInterface) || l.s.Node.PowerTarget != "" {
		t.Errorf("a power act by IPMI: %v", err)
	}
}

// custom-agent leaves the image to the operator's steps, and does not pretend that there was one without them.
func TestCustomAgent(t *testing.T) {
	l := newLife(t)
	l.s.Node.State, l.s.Interfaces = state.Available, nodetest.Implementations("redfish", map[string]string{"deploy": "custom-agent"})
	ask := func(steps ...step.Wanted) plan.Plan {
		return plan.Build(plan.Input{Node: l.s.Node, Registry: l.s.Registry, Interfaces: l.s.Interfaces, Ask: conductor.Provision{Verb: state.VerbDeploy, DeploySteps: steps},
			Offered: []step.Step{{Name: "deploy.install_coreos", Where: step.InBand, Timeout: 60e9, Priority: map[state.Flow]int{state.Deploy: 0}}}})
	}
	if err := ask().Err(); !fault.Has(err, fault.StepUnknown) || !strings.Contains(err.Error(), "custom-agent") {
		t.Errorf("without a step: %v", err)
	}
	p := ask(step.Wanted{Name: "deploy.install_coreos", Priority: 80})
	if p.Err() != nil || len(p.Items) != 1 || p.Items[0].Step.Name != "deploy.install_coreos" || p.Boots != 1 {
		t.Errorf("with a step: %+v, %v", p.Items, p.Err())
	}
	if p := ask(step.Wanted{Name: catalog.WriteStep, Priority: 80}); p.Err() != nil || len(p.Items) != 1 || p.Items[0].Step.Name != catalog.WriteStep {
		t.Errorf("with the step that writes an image: %+v, %v", p.Items, p.Err())
	}
}
