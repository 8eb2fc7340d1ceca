package decide

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/fit"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// unable are machines that a flow can't boot, with the reason that says so.
var unable = map[string]struct {
	change func(n *conductor.Node, f *conductor.Facts)
	reason fault.Reason
	says   string
}{
	"only bios": {func(_ *conductor.Node, f *conductor.Facts) { f.BootModes = []string{"bios"} }, fault.BMCBootMode, "offers bios only"},
	"only uefi, bios asked for": {func(n *conductor.Node, f *conductor.Facts) {
		f.BootModes = []string{"uefi"}
		n.Properties = map[string]any{"capabilities": "cpu_vt:true, boot_mode:bios"}
	}, fault.BMCBootMode, "properties.capabilities), but the BMC offers uefi only"},
	"bios asked for by the instance": {func(n *conductor.Node, _ *conductor.Facts) {
		n.Properties = map[string]any{"capabilities": "boot_mode:uefi"}
		n.InstanceInfo["capabilities"] = `{"boot_mode": "bios"}`
	}, fault.BMCBootMode, "instance_info.capabilities), but this server boots"},
	"secure boot, which it lacks": {func(n *conductor.Node, f *conductor.Facts) {
		f.SecureBoot = nil
		n.InstanceInfo["capabilities"] = map[string]any{"secure_boot": true}
	}, fault.BMCSecureBoot, "shows none"},
	"secure boot, which is off": {func(n *conductor.Node, _ *conductor.Facts) {
		n.Properties = map[string]any{"capabilities": "secure_boot:true"}
	}, fault.BMCSecureBoot, "it is off"},
	"no virtual media": {func(_ *conductor.Node, f *conductor.Facts) { f.VirtualMedia = false }, fault.BMCNoMedia, "no virtual CD drive"},
	"no boot from CD":  {func(_ *conductor.Node, f *conductor.Facts) { f.BootDevices = []string{"pxe", "disk"} }, fault.BMCBootDevice, "only boot the machine from pxe, disk"},
	"no ForceOff":      {func(_ *conductor.Node, f *conductor.Facts) { f.PowerActs = []conductor.PowerAction{conductor.On} }, fault.BMCPowerActs, "ForceOff is needed, but the BMC offers On only"},
}

// Row 78: what the BMC said last already proves that the verb can't succeed.
func TestPreflight_RefusedAtTheRequest(t *testing.T) {
	for name, c := range unable {
		t.Run(name, func(t *testing.T) {
			for _, verb := range []state.Event{state.VerbInspect, state.VerbProvide} {
				l := newLife(t)
				l.byHand = true
				l.manageable()
				f := capable()
				c.change(&l.s.Node, f)
				l.s.Node.BMC = fit.Known(l.s.Node, *f)
				err := l.do(conductor.VerbAsked{Ask: conductor.Provision{Verb: verb}})
				if !fault.Has(err, c.reason) || !strings.Contains(err.Error(), c.says) || fault.From(err).Hint == "" {
					t.Errorf("%s gives %v, expected %s", verb, err, c.reason)
				}
				if l.want(state.Manageable); len(l.effects) > 0 {
					t.Errorf("%s was refused, and begun: %v", verb, l.kinds())
				}
			}
		})
	}
}

// The BMC has changed since it was asked last, or was never asked: the flow fails before anything is done to the machine.
func TestPreflight_FailsBeforeAnyAct(t *testing.T) {
	for name, c := range unable {
		t.Run(name, func(t *testing.T) {
			l := newLife(t)
			l.byHand = true
			l.manageable()
			l.s.Node.BMC = nil
			f := capable()
			var later conductor.Node
			later.InstanceInfo = map[string]any{}
			c.change(&later, f)
			l.verb(state.VerbProvide)
			if got := l.kinds(); !slices.Equal(got, []conductor.EffectKind{conductor.EffectPrepare}) {
				t.Fatalf("a flow begins with %v", got)
			}
			l.s.Node.Properties, l.s.Node.InstanceInfo = later.Properties, later.InstanceInfo
			l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectPrepare), Facts: f})
			l.want(state.CleanFail)
			if l.s.Node.LastReason != c.reason || len(l.effects) > 0 || l.s.Node.Boot != nil {
				t.Errorf("%s (%s); effects %v, boot %+v", l.s.Node.LastError, l.s.Node.LastReason, l.kinds(), l.s.Node.Boot)
			}
			if l.s.Node.Maintenance {
				t.Error("a node whose machine was not touched is in maintenance")
			}
		})
	}
}

func TestPreflight_DeploymentNeedsTheDisk(t *testing.T) {
	l := newLife(t)
	l.available()
	f := capable()
	f.BootDevices = []string{"cdrom"}
	l.byHand = true
	l.verb(state.VerbDeploy)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectPrepare), Facts: f})
	l.want(state.DeployFail)
	if l.s.Node.LastReason != fault.BMCBootDevice {
		t.Error(l.s.Node.LastError)
	}
}

// What the BMC does not say, or what could not be read, proves nothing.
func TestPreflight_TheUnknownIsNoReason(t *testing.T) {
	l := newLife(t)
	l.byHand = true
	l.manageable()
	l.s.Node.Properties = map[string]any{"capabilities": map[string]any{"secure_boot": "true"}}
	l.s.Node.BMC = nil
	l.verb(state.VerbProvide)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectPrepare), Facts: &conductor.Facts{Unread: []string{conductor.PartMedia, conductor.PartSecureBoot}}})
	l.take(conductor.EffectBoot)
}

func TestPreflight_OnceARunAndAgainAfterAnOutOfBandStep(t *testing.T) {
	l := newLife(t)
	l.byHand = true
	l.manageable()
	l.ok(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{
		{Name: "management.clear_job_queue"}, {Name: "bios.factory_reset"}, {Name: "deploy.erase_devices_metadata"}}}})
	if got := l.kinds(); !slices.Equal(got, []conductor.EffectKind{conductor.EffectRunStep}) {
		t.Fatalf("first aid waits for a BMC that may be ill: %v", got)
	}
	end := func() {
		t.Helper()
		e := l.take(conductor.EffectRunStep)
		l.ok(conductor.StepEnded{ID: e.Step, Outcome: "succeeded"})
	}
	if end(); l.s.Node.BMC != nil {
		t.Error("what the BMC said before the step is still taken for true")
	}
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectPrepare), Facts: capable()})
	end() // the BIOS
	if got := l.kinds(); !slices.Equal(got, []conductor.EffectKind{conductor.EffectBoot}) {
		t.Errorf("the BMC is asked again, or not booted: %v", got)
	}
}

func TestPreflight_NotForWorkThatDoesNotBoot(t *testing.T) {
	l := newLife(t)
	l.byHand = true
	l.manageable()
	l.s.Node.BMC = &conductor.Known{} // no media, nothing
	l.ok(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "bios.factory_reset"}}}})
	if got := l.kinds(); !slices.Equal(got, []conductor.EffectKind{conductor.EffectRunStep}) {
		t.Errorf("effects %v", got)
	}
}

// A deletion is never held up: the cleaning after it fails with the reason.
func TestPreflight_DeletionGoesOn(t *testing.T) {
	l := newLife(t)
	l.available()
	l.verb(state.VerbDeploy)
	l.boot()
	l.runStep("deploy.write_image", l.left())
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOn})
	l.want(state.Active)
	l.byHand = true
	bad := capable()
	bad.VirtualMedia = false
	l.s.Node.BMC = fit.Known(l.s.Node, *bad)
	l.verb(state.VerbDelete)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectPrepare), Facts: bad})
	l.want(state.CleanFail)
	if l.s.Node.LastReason != fault.BMCNoMedia {
		t.Error(l.s.Node.LastError)
	}
}

func TestPreflight_BusyBMCIsWaitedForWithADeadline(t *testing.T) {
	l := newLife(t)
	l.byHand = true
	l.manageable()
	l.verb(state.VerbProvide)
	e := l.take(conductor.EffectPrepare)
	l.ok(conductor.EffectEvidence{Effect: e, Text: "try 1: busy"})
	if w := l.s.Node.Flow.Wait; w.Evidence != "try 1: busy" || w.Owner != "bmc" || w.Deadline.Sub(l.now) > 15*time.Minute {
		t.Errorf("wait %+v", w)
	}
	l.ok(conductor.EffectDone{Effect: e, Fault: fault.New(fault.BMCBusy, "busy")})
	if l.want(state.CleanFail); l.s.Node.LastReason != fault.BMCBusy {
		t.Error(l.s.Node.LastError)
	}
}
