package conductor

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// of is the implementations of a node of a type that names some.
func of(driver string, chosen map[string]string) map[string]string {
	return drivers.Resolve(drivers.Offered(driver), chosen)
}

// pretending is a node of fake-hardware with its defaults, and what its steps are.
func pretending(t *testing.T) *life {
	l := newLife(t)
	reg, err := step.NewRegistry(catalog.Fake...)
	if err != nil {
		t.Fatal(err)
	}
	l.s.Node.Driver, l.s.Interfaces, l.s.Registry = "fake-hardware", of("fake-hardware", nil), reg
	l.s.Node.InstanceInfo, l.s.Accepted, l.s.Seen = map[string]any{}, nil, nil
	return l
}

// step ends the out-of-band step at work.
func (l *life) step(name string) {
	l.t.Helper()
	e := l.take(EffectRunStep)
	r := l.running()
	if r.Step.Name != name || r.ID != e.Step {
		l.t.Fatalf("%s runs, expected %s", r.Step.Name, name)
	}
	l.ok(StepEnded{ID: r.ID, Outcome: "succeeded"})
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
	l.want(state.Cleaning)
	l.step("vendor.log_passthrough")
	l.want(state.Available)
	l.verb(state.VerbDeploy)
	l.want(state.Deploying)
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
		if got := pretends(map[string]string{drivers.Deploy: c.deploy}, state.Clean); got != c.pretend {
			t.Errorf("with the deploy interface %q a cleaning pretends: %v", c.deploy, got)
		}
	}
	l := pretending(t)
	l.s.Node.State = state.Manageable
	l.verb(state.VerbProvide)
	if !l.s.Node.Flow.Excluded || !l.s.Node.Flow.Pretend || !slices.ContainsFunc(l.audit, func(a Audit) bool { return a.Act == "clean.skipped" }) {
		t.Errorf("a cleaning that erases nothing is not audited: %+v", l.audit)
	}
	// A machine with disks is cleaned with a ramdisk though its BMC is a fake one.
	l = newLife(t)
	l.s.Node.State, l.s.Node.Driver, l.s.Interfaces = state.Manageable, "fake-hardware", of("fake-hardware", map[string]string{"deploy": "direct"})
	l.verb(state.VerbProvide)
	if l.s.Node.Flow.Pretend || l.s.Node.Flow.Excluded {
		t.Errorf("%+v", l.s.Node.Flow)
	}
	l.take(EffectBoot)
}

// The core step can be left out, not replaced.
func TestTheDeployStepOfFakeHardware(t *testing.T) {
	for priority, want := range map[int]fault.Reason{0: "", 50: fault.StepArgument} {
		l := pretending(t)
		l.s.Node.State = state.Available
		err := l.do(VerbAsked{Ask: Provision{Verb: state.VerbDeploy, DeploySteps: []step.Wanted{{Name: coreStep, Priority: priority}}}})
		if want == "" && (err != nil || l.s.Node.State != state.Active) || want != "" && !fault.Has(err, want) {
			t.Errorf("priority %d: %v, state %s", priority, err, l.s.Node.State)
		}
	}
	l := pretending(t)
	l.s.Node.State = state.Available
	l.s.Node.InstanceInfo["traits"] = []any{"CUSTOM_GPU"}
	if err := l.do(VerbAsked{Ask: Provision{Verb: state.VerbDeploy}}); !fault.Has(err, fault.RequestInvalid) || !strings.Contains(err.Error(), "CUSTOM_GPU") {
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
		{map[string]string{"boot": "redfish-https"}, state.Manageable, state.VerbInspect, "virtual CD"},
		{map[string]string{"deploy": "ramdisk"}, state.Available, state.VerbDeploy, "own ISO"},
		{map[string]string{"network": "flat"}, state.Available, state.VerbDeploy, "noop"},
		{map[string]string{"storage": "cinder"}, state.Available, state.VerbDeploy, "volumes"},
		{map[string]string{"boot": "ipxe"}, state.Manageable, state.VerbProvide, "virtual CD"},
		{map[string]string{"inspect": "redfish"}, state.Manageable, state.VerbInspect, "ramdisk"},
		{map[string]string{"inspect": "no-inspect"}, state.Manageable, state.VerbInspect, "does not support inspect"},
	} {
		l := newLife(t)
		l.s.Node.State, l.s.Interfaces = c.from, of("redfish", c.chosen)
		err := l.do(VerbAsked{Ask: Provision{Verb: c.verb}})
		if !fault.Has(err, fault.DriverInterface) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %s gives %v", c.chosen, c.verb, err)
		}
		l.want(c.from)
	}
	// A deletion is not held up by what its cleaning can't do: that says so.
	l := newLife(t)
	l.s.Node.State, l.s.Interfaces = state.Active, of("redfish", map[string]string{"boot": "ipxe"})
	l.verb(state.VerbDelete)
	l.want(state.CleanFail)
	if l.s.Node.LastReason != fault.DriverInterface {
		t.Errorf("last error %s", l.s.Node.LastError)
	}
	l = newLife(t)
	l.s.Node.Driver, l.s.Interfaces = "ipmi", of("ipmi", nil)
	if err := l.do(PowerAsked{Ask: PowerRequest{Target: "power on"}}); !fault.Has(err, fault.DriverInterface) || l.s.Node.PowerTarget != "" {
		t.Errorf("a power act by IPMI: %v", err)
	}
}

// custom-agent leaves the image to the operator's steps, and does not pretend that there was one without them.
func TestCustomAgent(t *testing.T) {
	l := newLife(t)
	l.s.Node.State, l.s.Interfaces = state.Available, of("redfish", map[string]string{"deploy": "custom-agent"})
	ask := func(steps ...step.Wanted) Plan {
		return BuildPlan(PlanInput{Node: l.s.Node, Registry: l.s.Registry, Interfaces: l.s.Interfaces, Ask: Provision{Verb: state.VerbDeploy, DeploySteps: steps},
			Offered: []step.Step{{Name: "deploy.install_coreos", Where: step.InBand, Timeout: 60e9, Priority: map[state.Flow]int{state.Deploy: 0}}}})
	}
	if err := ask().Err(); !fault.Has(err, fault.StepUnknown) || !strings.Contains(err.Error(), "custom-agent") {
		t.Errorf("without a step: %v", err)
	}
	p := ask(step.Wanted{Name: "deploy.install_coreos", Priority: 80})
	if p.Err() != nil || len(p.Items) != 1 || p.Items[0].Step.Name != "deploy.install_coreos" || p.Boots != 1 {
		t.Errorf("with a step: %+v, %v", p.Items, p.Err())
	}
	if p := ask(step.Wanted{Name: writeStep, Priority: 80}); p.Err() != nil || len(p.Items) != 1 || p.Items[0].Step.Name != writeStep {
		t.Errorf("with the step that writes an image: %+v, %v", p.Items, p.Err())
	}
}

func TestValidateSaysWhy(t *testing.T) {
	good := newLife(t).s.Node
	missing := fault.New(fault.DriverInfoMissing, "driver_info lacks redfish_address")
	for _, c := range []struct {
		name   string
		driver string
		chosen map[string]string
		info   error
		change func(*Node)
		bad    map[string]string // by interface what the reason says; the others are well
	}{
		{name: "a good record", bad: nil},
		{name: "without an address", info: missing, bad: map[string]string{"power": "redfish_address", "management": "redfish_address", "boot": "redfish_address",
			"bios": "redfish_address", "firmware": "redfish_address", "deploy": "redfish_address"}},
		{name: "no image", change: func(n *Node) { n.InstanceInfo = map[string]any{} }, bad: map[string]string{"deploy": "image_source"}},
		{name: "no image, and none written", chosen: map[string]string{"deploy": "custom-agent"}, change: func(n *Node) { n.InstanceInfo = map[string]any{} }},
		{name: "wrong hints", change: func(n *Node) { n.Properties = map[string]any{"root_device": map[string]any{"colour": "red"}} }, bad: map[string]string{"deploy": "colour"}},
		{name: "hints that are none", change: func(n *Node) { n.Properties = map[string]any{"root_device": "sda"} }, bad: map[string]string{"deploy": "root_device"}},
		{name: "wrong capabilities", change: func(n *Node) { n.Properties = map[string]any{"capabilities": "boot_mode"} }, bad: map[string]string{"boot": "capabilities", "deploy": "capabilities"}},
		{name: "a trait too many", change: func(n *Node) {
			n.Traits, n.InstanceInfo = []string{"CUSTOM_A"}, maps.Clone(n.InstanceInfo)
			n.InstanceInfo["traits"] = []any{"CUSTOM_A", "CUSTOM_B"}
		}, bad: map[string]string{"deploy": "CUSTOM_B"}},
		{name: "no list of traits", change: func(n *Node) {
			n.InstanceInfo = maps.Clone(n.InstanceInfo)
			n.InstanceInfo["traits"] = "CUSTOM_A"
		}, bad: map[string]string{"deploy": "traits"}},
		{name: "network boot", chosen: map[string]string{"boot": "pxe"}, bad: map[string]string{"boot": "virtual CD", "deploy": "virtual CD"}},
		{name: "without BIOS", chosen: map[string]string{"bios": "no-bios"}, bad: map[string]string{"bios": "does not support"}},
		{name: "a part of an image", change: func(n *Node) {
			n.InstanceInfo = maps.Clone(n.InstanceInfo)
			n.InstanceInfo["image_type"] = "partition"
		}, bad: map[string]string{"deploy": "image_type"}},
		{name: "pretending", driver: "fake-hardware", change: func(n *Node) { n.InstanceInfo = map[string]any{} }},
		{name: "ipmi", driver: "ipmi", bad: map[string]string{"power": "IPMI", "management": "IPMI", "boot": "virtual CD", "deploy": "virtual CD"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := clone(good)
			n.Driver = "redfish"
			if c.driver != "" {
				n.Driver = c.driver
			}
			if c.change != nil {
				c.change(&n)
			}
			interfaces := of(n.Driver, c.chosen)
			got := Validate(n, interfaces, c.info)
			if len(got) != 12 {
				t.Errorf("%d interfaces are judged, expected 12", len(got))
			}
			for kind, f := range got {
				want, bad := c.bad[kind]
				if !bad && drivers.Disabled(interfaces[kind]) {
					want, bad = "does not support", true // also of a good record
				}
				if (f != nil) != bad || bad && !strings.Contains(f.Message, want) {
					t.Errorf("%s (%s): %v, expected %q", kind, interfaces[kind], f, want)
				}
			}
		})
	}
}

func TestImageFields(t *testing.T) {
	base := newLife(t).s.Node.InstanceInfo
	for key, v := range map[string]any{"image_type": "odd", "kernel": "http://images/vmlinuz", "ramdisk": "x", "boot_iso": "http://images/x.iso", "image_os_hash_value": nil} {
		info := maps.Clone(base)
		info[key] = v
		if _, err := ImageArgs(info); !fault.Has(err, fault.RequestInvalid) && !fault.Has(err, fault.ImageFormat) {
			t.Errorf("%s = %v gives %v", key, v, err)
		}
	}
	info := maps.Clone(base)
	info["image_type"] = "whole-disk"
	if _, err := ImageArgs(info); err != nil {
		t.Error(err)
	}
}
