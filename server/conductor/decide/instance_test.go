package decide

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// blink is a vendor's service step that touches no disk.
var blink = step.Step{Name: "vendor.blink", Where: step.InBand, Priority: map[state.Flow]int{state.Service: 0}, Repeat: step.Again, Timeout: time.Minute}

// active deploys a node. Its ramdisk offered a vendor's service step.
func (l *life) active() {
	l.t.Helper()
	l.available()
	l.verb(state.VerbDeploy)
	l.bootWith(blink)
	l.runStep("deploy.write_image", l.left())
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOn})
	l.want(state.Active)
}

// bootWith is boot with a ramdisk that offers more.
func (l *life) bootWith(more ...step.Step) {
	l.t.Helper()
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectBoot), Power: conductor.PowerOn})
	if err := l.lookup(agentA); err != nil {
		l.t.Fatal(err)
	}
	l.take(conductor.EffectEject)
	l.ok(conductor.AgentReady{Steps: append(slices.Clone(catalog.InBand), more...)})
}

func (l *life) service(names ...string) error {
	l.t.Helper()
	ask := conductor.Provision{Verb: state.VerbService}
	for _, n := range names {
		ask.ServiceSteps = append(ask.ServiceSteps, step.Wanted{Name: n})
	}
	return l.do(conductor.VerbAsked{Ask: ask})
}

func (l *life) serve(names ...string) {
	l.t.Helper()
	if err := l.service(names...); err != nil {
		l.t.Fatal(err)
	}
}

// none fails the test if an effect is left to do.
func (l *life) none() {
	l.t.Helper()
	if len(l.effects) > 0 {
		l.t.Fatalf("effects are left: %v", l.kinds())
	}
}

func TestServiceOutOfBandTouchesNoPower(t *testing.T) {
	l := newLife(t)
	l.active()
	boots := l.s.Node.Generation
	l.serve("management.reset_bmc", "management.clear_job_queue")
	for _, want := range []string{"management.reset_bmc", "management.clear_job_queue"} {
		l.want(state.ServiceWait)
		if l.s.Node.Target != state.Active || l.running().Step.Name != want {
			t.Fatalf("target %q, step %s; want %s", l.s.Node.Target, l.running().Step.Name, want)
		}
		l.ok(conductor.StepEnded{ID: l.take(conductor.EffectRunStep).Step, Outcome: api.Succeeded})
	}
	l.want(state.Active)
	l.none()
	if l.s.Node.Generation != boots || l.s.Node.Target != "" {
		t.Errorf("%d boots, target %q", l.s.Node.Generation-boots, l.s.Node.Target)
	}
}

func TestServiceBootsOnceAndThenTheDisk(t *testing.T) {
	l := newLife(t)
	l.active()
	boots := l.s.Node.Generation
	l.serve("management.reset_bmc", "vendor.blink", "vendor.blink")
	if slices.Contains(l.kinds(), conductor.EffectBoot) {
		t.Fatal("the ramdisk is booted before a step needs it")
	}
	l.ok(conductor.StepEnded{ID: l.take(conductor.EffectRunStep).Step, Outcome: api.Succeeded})
	l.bootWith(blink)
	l.want(state.ServiceWait)
	l.runStep("vendor.blink", nil)
	l.runStep("vendor.blink", nil)
	l.want(state.Servicing)
	fin := l.take(conductor.EffectFinish)
	if fin.Power != conductor.On || !fin.Disk || l.s.Node.Generation != boots+1 || !l.s.Node.Boot.Ended {
		t.Fatalf("a service ends with %+v after %d boots", fin, l.s.Node.Generation-boots)
	}
	l.ok(conductor.EffectDone{Effect: fin, Power: conductor.PowerOn})
	l.want(state.Active)
	l.none()
}

func TestI01_ServiceNeverWritesToDisks(t *testing.T) {
	raid := step.Step{Name: "raid.create_configuration", Where: step.InBand, Priority: map[state.Flow]int{state.Service: 0, state.Clean: 0},
		Touches: step.AllDisks, Repeat: step.Never, Timeout: time.Minute}
	for _, name := range []string{"raid.create_configuration", "deploy.erase_devices", "deploy.write_image", "deploy.erase_devices_metadata"} {
		l := newLife(t)
		l.active()
		l.s.Node.Boot.Steps = append(l.s.Node.Boot.Steps, raid)
		l.serve("management.reset_bmc", name)
		l.want(state.ServiceFail)
		if n := l.s.Node; n.Maintenance || n.Fault != "" || !strings.Contains(n.LastError, name) && !strings.Contains(n.LastError, "disks") {
			t.Errorf("%s: maintenance %v, fault %q, %s", name, n.Maintenance, n.Fault, n.LastError)
		}
		l.none()
	}
}

func TestServiceThatFailsSaysSoAndKeepsEverybodyOff(t *testing.T) {
	l := newLife(t)
	l.active()
	l.serve("vendor.blink")
	l.bootWith(blink)
	l.take(conductor.EffectOffer)
	r := l.running()
	l.ok(conductor.StepClaimed{Ask: api.StartRequest{ID: r.ID, Nonce: "n"}})
	l.ok(conductor.StepEnded{ID: r.ID, Nonce: "n", Outcome: api.Failed, Fault: fault.New(fault.StepFailed, "no lamp")})
	l.want(state.ServiceFail)
	n := l.s.Node
	if !n.Maintenance || n.Fault != "service failure" || n.Target != state.Active || !strings.Contains(n.LastError, "no lamp") {
		t.Errorf("maintenance %v, fault %q, target %q, %s", n.Maintenance, n.Fault, n.Target, n.LastError)
	}
	if fin := l.take(conductor.EffectFinish); fin.Power != conductor.ForceOff {
		t.Errorf("F16: the machine is left with %+v", fin)
	}
	if err := l.do(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbAbort}}); !fault.Has(err, fault.NodeInUse) || fault.From(err).Code.Status() != 409 {
		t.Errorf("abort in maintenance: %v", err)
	}
	if err := l.service("management.reset_bmc"); !fault.Has(err, fault.NodeMaintenance) {
		t.Errorf("service in maintenance: %v", err)
	}
	l.s.Node.Maintenance, l.s.Node.Fault = false, ""
	l.verb(state.VerbAbort)
	l.want(state.Servicing)
	fin := l.take(conductor.EffectFinish)
	if fin.Power != conductor.On || !fin.Disk {
		t.Errorf("the abort of a failed service ends with %+v", fin)
	}
	l.ok(conductor.EffectDone{Effect: fin, Power: conductor.PowerOn})
	l.want(state.Active)
	l.none()
}

func TestServiceAbortLeadsBackToActive(t *testing.T) {
	for name, at := range map[string]func(*life){
		"offered": func(l *life) { l.take(conductor.EffectOffer) },
		"started": func(l *life) {
			l.take(conductor.EffectOffer)
			r := l.running()
			l.ok(conductor.StepClaimed{Ask: api.StartRequest{ID: r.ID, Nonce: "n"}})
			l.verb(state.VerbAbort)
			l.want(state.ServiceWait)
			l.ok(conductor.StepEnded{ID: r.ID, Nonce: "n", Outcome: api.Succeeded}) // it can't be stopped: it ends first
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(t)
			l.active()
			l.serve("vendor.blink", "management.reset_bmc")
			l.bootWith(blink)
			at(l)
			if name == "offered" {
				l.verb(state.VerbAbort)
				l.take(conductor.EffectWithdraw)
			}
			l.want(state.Servicing)
			l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOn})
			l.want(state.Active)
			l.none()
			if n := l.s.Node; !strings.Contains(n.LastError, "aborted") || n.Maintenance || n.Target != "" {
				t.Errorf("last_error %q, maintenance %v, target %q", n.LastError, n.Maintenance, n.Target)
			}
		})
	}
}

func TestServiceHold(t *testing.T) {
	hold := func(t *testing.T) *life {
		l := newLife(t)
		l.active()
		l.serve("vendor.hold", "management.reset_bmc")
		l.want(state.ServiceHold)
		l.none()
		return l
	}
	t.Run("unhold goes on", func(t *testing.T) {
		l := hold(t)
		l.verb(state.VerbUnhold)
		l.ok(conductor.StepEnded{ID: l.take(conductor.EffectRunStep).Step, Outcome: api.Succeeded})
		l.want(state.Active)
	})
	t.Run("abort ends it, and the machine was never touched", func(t *testing.T) {
		l := hold(t)
		l.verb(state.VerbAbort)
		l.want(state.Active)
		l.none()
	})
	t.Run("another list takes its place", func(t *testing.T) {
		l := hold(t)
		held := l.s.Steps[0]
		l.serve("management.clear_job_queue")
		l.ok(conductor.StepEnded{ID: l.take(conductor.EffectRunStep).Step, Outcome: api.Succeeded})
		l.want(state.Active)
		if slices.ContainsFunc(l.s.Steps, func(r conductor.StepRecord) bool { return r.ID == held.ID && r.State == conductor.StepStarted }) {
			t.Error("the hold step is still open")
		}
	})
}

// A service that takes the place of one whose ramdisk was booted needs none itself: its end starts the machine's disk all
// the same, also when the ramdisk is gone or off.
func TestF16_AServiceInAnothersPlaceStartsTheDisk(t *testing.T) {
	for name, at := range map[string]func(*life){
		"held, and the agent is quiet": func(l *life) {
			l.serve("vendor.blink", "vendor.hold", "management.reset_bmc")
			l.bootWith(blink)
			l.runStep("vendor.blink", nil)
			l.want(state.ServiceHold)
			l.now = l.now.Add(fresh + time.Second)
		},
		"failed": func(l *life) {
			l.serve("vendor.blink")
			l.bootWith(blink)
			l.take(conductor.EffectOffer)
			r := l.running()
			l.ok(conductor.StepClaimed{Ask: api.StartRequest{ID: r.ID, Nonce: "n"}})
			l.ok(conductor.StepEnded{ID: r.ID, Nonce: "n", Outcome: api.Failed, Fault: fault.New(fault.StepFailed, "no lamp")})
			l.want(state.ServiceFail)
			l.take(conductor.EffectFinish)
			l.s.Node.Maintenance, l.s.Node.Fault = false, ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(t)
			l.active()
			at(l)
			l.serve("management.clear_job_queue")
			l.ok(conductor.StepEnded{ID: l.take(conductor.EffectRunStep).Step, Outcome: api.Succeeded})
			l.want(state.Servicing)
			fin := l.take(conductor.EffectFinish)
			if fin.Power != conductor.On || !fin.Disk || !fin.Reboot {
				t.Errorf("the service ends with %+v", fin)
			}
			l.ok(conductor.EffectDone{Effect: fin, Power: conductor.PowerOn})
			l.want(state.Active)
			l.none()
			l.serve("management.clear_job_queue") // what was booted for an older one is no matter
			l.ok(conductor.StepEnded{ID: l.take(conductor.EffectRunStep).Step, Outcome: api.Succeeded})
			l.want(state.Active)
			l.none()
		})
	}
}

func TestRescueKeepsTheRamdiskUpForAPerson(t *testing.T) {
	l := newLife(t)
	l.active()
	l.verb(state.VerbRescue)
	l.want(state.Rescuing)
	if l.s.Node.Target != state.Rescue {
		t.Errorf("target %q", l.s.Node.Target)
	}
	l.boot()
	l.want(state.RescueWait)
	if r := l.running(); !slices.Contains(r.Step.Secrets, conductor.SecretRescue) || len(r.Command.Devices) != 0 || r.Command.Destroys {
		t.Errorf("the step is %+v, its command %+v", r.Step, r.Command)
	}
	l.runStep("rescue.finalize_rescue", nil)
	l.want(state.Rescue)
	l.none()
	if b := l.s.Node.Boot; b.Ended || l.s.Node.Target != "" {
		t.Error("the agent of the rescue is not admitted any more")
	}
	l.verb(state.VerbUnrescue)
	l.want(state.Unrescuing)
	fin := l.take(conductor.EffectFinish)
	if fin.Power != conductor.On || !fin.Disk || !l.s.Node.Boot.Ended {
		t.Errorf("a rescue ends with %+v, boot ended: %v", fin, l.s.Node.Boot.Ended)
	}
	l.ok(conductor.EffectDone{Effect: fin, Power: conductor.PowerOn})
	l.want(state.Active)
	l.none()
}

// TestI22_TheRescuePasswordGoesWithTheRescue: the sealed hash is forgotten in the transaction that ends the rescue.
func TestI22_TheRescuePasswordGoesWithTheRescue(t *testing.T) {
	for name, end := range map[string]func(*life) conductor.Event{
		"done": func(l *life) conductor.Event {
			r := l.running()
			l.ok(conductor.StepClaimed{Ask: api.StartRequest{ID: r.ID, Nonce: "n"}})
			return conductor.StepEnded{ID: r.ID, Nonce: "n", Outcome: api.Succeeded}
		},
		"aborted": func(l *life) conductor.Event {
			return conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbAbort}}
		},
		"deleted": func(l *life) conductor.Event {
			return conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbDelete}}
		},
		"timeout": func(l *life) conductor.Event { l.now = l.now.Add(time.Hour); return conductor.DeadlinePassed{} },
		"power": func(l *life) conductor.Event {
			return conductor.PowerAsked{Ask: conductor.PowerRequest{Target: "power off"}}
		},
		"silent": func(l *life) conductor.Event { return conductor.AgentSilent{Since: l.now.Add(-time.Hour)} },
		"contest": func(l *life) conductor.Event {
			return conductor.LookedUp{Peer: agentB, Proven: true, Ask: api.LookupRequest{Generation: l.s.Node.Generation}}
		},
		"doubtful": func(l *life) conductor.Event { return conductor.RecordsDoubted{Why: "restored", Floor: 100} },
	} {
		l := newLife(t)
		l.active()
		l.verb(state.VerbRescue)
		l.boot()
		d := Decide(l.s, end(l), l.now)
		if !d.Changed || !slices.Contains(d.DropSecrets, conductor.SecretRescue) {
			t.Errorf("%s: changed %v, forgets %v (%s)", name, d.Changed, d.DropSecrets, d.Node.State)
		}
	}
}

// TestI18_NothingReusesAMachineSomebodyCouldLogInTo: whatever the node's fast track says, the next flow boots anew.
func TestI18_NothingReusesAMachineSomebodyCouldLogInTo(t *testing.T) {
	for _, v := range []state.Event{state.VerbDelete, state.VerbRescue} {
		l := newLife(t)
		l.active()
		l.s.Node.DriverInfo = map[string]any{"fast_track": true}
		l.verb(state.VerbRescue)
		l.boot()
		l.runStep("rescue.finalize_rescue", nil)
		l.want(state.Rescue)
		l.s.Heard, l.s.Node.Power = l.now, conductor.PowerOn
		before := l.s.Node.Generation
		l.verb(v)
		if l.s.Node.Generation != before+1 || !slices.Contains(l.kinds(), conductor.EffectBoot) {
			t.Errorf("%s from rescue does not boot the ramdisk anew: %v", v, l.kinds())
		}
	}
}

func TestRescueThatDoesNotComeUp(t *testing.T) {
	l := newLife(t)
	l.active()
	l.verb(state.VerbRescue)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectBoot), Power: conductor.PowerOn})
	l.want(state.RescueWait)
	l.now = l.now.Add(time.Hour)
	l.ok(conductor.DeadlinePassed{})
	l.want(state.RescueFail)
	if n := l.s.Node; n.LastReason != fault.FlowMediaTimeout || n.Maintenance || n.Target != state.Rescue {
		t.Errorf("%s, maintenance %v, target %q", n.LastReason, n.Maintenance, n.Target)
	}
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOff})
	l.verb(state.VerbUnrescue)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOn})
	l.want(state.Active)
}

func TestRescueAbort(t *testing.T) {
	for _, dead := range []bool{false, true} {
		l := newLife(t)
		l.active()
		l.verb(state.VerbRescue)
		l.boot()
		l.verb(state.VerbAbort)
		l.want(state.RescueFail)
		if !strings.Contains(l.s.Node.LastError, "aborted") {
			t.Errorf("last_error %q", l.s.Node.LastError)
		}
		done := conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOff}
		if dead {
			done = conductor.EffectDone{Effect: done.Effect, Fault: fault.New(fault.BMCUnreachable, "no answer")}
		}
		l.ok(done)
		if n := l.s.Node; n.Maintenance != dead || (n.Fault == "rescue abort failure") != dead {
			t.Errorf("the BMC is dead: %v; maintenance %v, fault %q", dead, n.Maintenance, n.Fault)
		}
		if dead {
			if err := l.do(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbUnrescue}}); !fault.Has(err, fault.NodeMaintenance) {
				t.Errorf("unrescue in maintenance: %v", err)
			}
		}
	}
}

func TestI01_AdoptionOnlyReadsTheBMC(t *testing.T) {
	for _, fast := range []bool{false, true} {
		l := newLife(t)
		l.manageable()
		if fast { // an agent is up, which fast-track would keep for the next flow
			l.s.Node.DriverInfo = map[string]any{"fast_track": true}
			l.s.Node.Boot = &conductor.Boot{Generation: 0, Ready: l.now, Redeemed: l.now, Level: api.A1}
			l.s.Heard, l.s.Node.Power = l.now, conductor.PowerOn
		}
		l.verb(state.VerbAdopt)
		l.want(state.Adopting)
		if k := l.kinds(); len(k) != 1 || k[0] != conductor.EffectVerify {
			t.Fatalf("adoption does %v", k)
		}
		facts := capable()
		facts.Power, facts.VirtualMedia = conductor.PowerOn, false // what boots from its disk needs no virtual CD
		l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectVerify), Facts: facts})
		l.want(state.Active)
		l.none()
		if n := l.s.Node; n.Power != conductor.PowerOn || n.Target != "" || n.Boot != nil && !n.Boot.Ended {
			t.Errorf("power %q, target %q, boot %+v", n.Power, n.Target, n.Boot)
		}
	}
}

func TestAdoptionThatFails(t *testing.T) {
	for name, c := range map[string]struct {
		done   conductor.EffectDone
		change func(*conductor.Node)
	}{
		"the BMC is dead": {conductor.EffectDone{Fault: fault.New(fault.BMCUnreachable, "no answer")}, func(*conductor.Node) {}},
		"it boots a ramdisk that the BMC can't give it": {conductor.EffectDone{Facts: &conductor.Facts{Power: conductor.PowerOn, BootModes: []string{"bios"}}},
			func(n *conductor.Node) { n.InstanceInfo["capabilities"] = "boot_option:ramdisk" }},
		"it boots from the network": {conductor.EffectDone{Facts: &conductor.Facts{Power: conductor.PowerOn, BootModes: []string{"bios"}}},
			func(n *conductor.Node) { n.InstanceInfo["capabilities"] = "boot_option:netboot" }},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(t)
			l.manageable()
			c.change(&l.s.Node)
			l.verb(state.VerbAdopt)
			c.done.Effect = l.take(conductor.EffectVerify)
			l.ok(c.done)
			l.want(state.AdoptFail)
			l.none()
			if n := l.s.Node; n.Power != "" || n.Target != state.Active || n.LastError == "" {
				t.Errorf("power %q, target %q, %q", n.Power, n.Target, n.LastError)
			}
			l.verb(state.VerbAdopt)
			l.want(state.Adopting)
		})
	}
}

func TestRetiredNodesEndManageable(t *testing.T) {
	l := newLife(t)
	l.active()
	l.s.Node.Retired = true
	l.verb(state.VerbDelete)
	l.boot()
	l.runStep("deploy.erase_devices_metadata", nil)
	l.runStep("deploy.erase_devices", records(l.s.Seen.Disks...))
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOff})
	l.want(state.Manageable)
	if err := l.do(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbProvide}}); !fault.Has(err, fault.NodeRetired) {
		t.Errorf("provide of a retired node: %v", err)
	}
}

func TestTheInstanceGoesWithAllThatBelongsToIt(t *testing.T) {
	l := newLife(t)
	l.available()
	n := &l.s.Node
	n.InstanceInfo["project_id"], n.InstanceUUID, n.InstanceName = "p1", "22222222-2222-4222-8222-222222222222", "web1"
	l.verb(state.VerbDeploy)
	if n.Lessee != "p1" || !n.AutomaticLessee {
		t.Errorf("lessee %q, automatic %v", n.Lessee, n.AutomaticLessee)
	}
	l.boot()
	l.runStep("deploy.write_image", l.left())
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOn})
	n.Protected = true
	for _, v := range []state.Event{state.VerbDelete, state.VerbRebuild} {
		if err := l.do(conductor.VerbAsked{Ask: conductor.Provision{Verb: v}}); !fault.Has(err, fault.NodeProtected) {
			t.Errorf("%s of a protected node: %v", v, err)
		}
	}
	n.Protected = false
	d := Decide(l.s, conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbDelete}}, l.now)
	if g := d.Node; len(g.InstanceInfo) > 0 || g.InstanceUUID != "" || g.InstanceName != "" || g.Lessee != "" || g.AutomaticLessee || !d.InstanceGone {
		t.Errorf("left of the instance: %+v", g)
	}
}

func TestALesseeThatSomebodySetStays(t *testing.T) {
	l := newLife(t)
	l.available()
	l.s.Node.InstanceInfo["project_id"], l.s.Node.Lessee = "p1", "somebody"
	l.verb(state.VerbDeploy)
	l.boot()
	l.runStep("deploy.write_image", l.left())
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOn})
	l.verb(state.VerbDelete)
	if l.s.Node.Lessee != "somebody" {
		t.Errorf("lessee %q", l.s.Node.Lessee)
	}
}

// The project of a deployment that failed has no say on the node of the next one.
func TestI27_TheLesseeGoesWithItsDeployment(t *testing.T) {
	for _, next := range []string{"p2", ""} {
		l := newLife(t)
		l.available()
		n := &l.s.Node
		n.InstanceInfo["project_id"] = "p1"
		l.verb(state.VerbDeploy)
		l.boot()
		l.verb(state.VerbAbort)
		if n.Lessee != "p1" {
			t.Fatalf("the failed deployment's lessee is %q", n.Lessee)
		}
		l.want(state.DeployFail)
		l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOff})
		n.InstanceInfo["project_id"] = next
		before := len(l.audit)
		l.verb(state.VerbDeploy)
		if n.Lessee != next || n.AutomaticLessee != (next != "") {
			t.Errorf("project %q: the lessee is %q (automatic %v)", next, n.Lessee, n.AutomaticLessee)
		}
		if !slices.ContainsFunc(l.audit[before:], func(a conductor.Audit) bool {
			return a.Act == "node.lessee" && a.Detail["lessee"] == next && a.Detail["was"] == "p1"
		}) {
			t.Errorf("project %q: the audit says %+v", next, l.audit[before:])
		}
	}
}

func TestInstanceTraitsMustBeTheNodes(t *testing.T) {
	for _, c := range []struct {
		wanted any
		ok     bool
	}{
		{nil, true}, {[]any{}, true}, {[]any{"CUSTOM_A"}, true}, {[]any{"CUSTOM_A", "CUSTOM_B"}, true},
		{[]any{"CUSTOM_A", "CUSTOM_C"}, false}, {"CUSTOM_A", false}, {[]any{1.0}, false},
	} {
		l := newLife(t)
		l.available()
		l.s.Node.Traits = []string{"CUSTOM_A", "CUSTOM_B"}
		l.s.Node.InstanceInfo["traits"] = c.wanted
		err := l.do(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbDeploy}})
		if (err == nil) != c.ok || err != nil && (fault.From(err).Code.Status() != 400 || l.s.Node.State != state.Available) {
			t.Errorf("traits %v: %v, the node is %s", c.wanted, err, l.s.Node.State)
		}
	}
}

func TestOutOfServiceFailsAnActiveNodeWithoutTouchingIt(t *testing.T) {
	l := newLife(t)
	if err := l.do(conductor.OutOfService{Reason: "smoke"}); !fault.Has(err, fault.StateVerb) {
		t.Errorf("in enroll: %v", err)
	}
	l.active()
	before := len(l.audit)
	l.ok(conductor.OutOfService{Caller: conductor.Caller{Name: "ann"}, Reason: "it smokes"})
	l.want(state.ServiceFail)
	l.none()
	if n := l.s.Node; n.LastReason != fault.NodeOutOfService || !strings.Contains(n.LastError, "it smokes") || n.Maintenance {
		t.Errorf("%s: %s, maintenance %v", n.LastReason, n.LastError, n.Maintenance)
	}
	if a := l.audit[before:]; len(a) != 1 || a[0].Act != "node.out_of_service" || a[0].Actor != "ann" {
		t.Errorf("audit %+v", a)
	}
	l.verb(state.VerbAbort)
	l.want(state.Active)
	l.none()
}
