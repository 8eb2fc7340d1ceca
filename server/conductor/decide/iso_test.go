package decide

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

const iso = "http://images/live.iso"

// live is a node that is to boot an ISO of the operator's, available.
func live(t *testing.T) *life {
	t.Helper()
	l := newLife(t)
	l.s.Interfaces = nodetest.Implementations("redfish", map[string]string{"deploy": "ramdisk", "rescue": "agent"})
	l.s.Node.InstanceInfo = map[string]any{"boot_iso": iso}
	l.available()
	return l
}

// starts ends the flow by a machine that started from its instance's ISO.
func (l *life) starts() {
	l.t.Helper()
	e := l.take(conductor.EffectFinish)
	if e.Power != conductor.On || !e.Disk || !strings.Contains(l.s.Node.Flow.Wait.For, "ISO") {
		l.t.Errorf("it ends with %+v, waiting for %q", e, l.s.Node.Flow.Wait.For)
	}
	l.ok(conductor.EffectDone{Effect: e, Power: conductor.PowerOn})
	l.want(state.Active)
	l.none()
}

// An ISO is booted without an agent, and stays what the instance is through all that leads back to active.
func TestAnISOIsTheInstance(t *testing.T) {
	l := live(t)
	boots := l.s.Node.Generation
	l.verb(state.VerbDeploy)
	l.want(state.Deploying)
	l.starts()
	if n := l.s.Node; n.Generation != boots || n.LiveISO != iso || len(l.s.Steps) != 0 || n.Flow.Booted {
		t.Errorf("%d boots of a ramdisk, LiveISO %q, steps %v", n.Generation-boots, n.LiveISO, l.s.Steps)
	}
	if !slices.ContainsFunc(l.history, func(e conductor.Entry) bool { return strings.Contains(e.Event, "its BMC shows the ISO in the drive") }) {
		t.Error("the history does not tell by what it became active")
	}

	l.s.Node.InstanceInfo["boot_iso"] = iso + "2" // counts from the next deployment on, when it is checked
	l.serve("management.reset_bmc")
	l.step("management.reset_bmc")
	l.want(state.Active)
	l.none()
	l.verb(state.VerbRescue)
	l.boot()
	l.runStep("rescue.finalize_rescue", nil)
	l.want(state.Rescue)
	l.verb(state.VerbUnrescue)
	l.starts()
	l.s.Node.Boot.Steps = []step.Step{blink}
	l.serve("vendor.blink")
	l.bootWith(blink)
	l.runStep("vendor.blink", nil)
	l.starts()
	if l.s.Node.LiveISO != iso {
		t.Errorf("the instance became %s", l.s.Node.LiveISO)
	}

	l.verb(state.VerbRebuild)
	l.starts()
	if l.s.Node.LiveISO != iso+"2" {
		t.Errorf("rebuilt, the instance is %s", l.s.Node.LiveISO)
	}
	off := false
	l.s.Node.AutomatedClean = &off
	l.verb(state.VerbDelete)
	e := l.take(conductor.EffectFinish)
	l.ok(conductor.EffectDone{Effect: e, Power: conductor.PowerOff})
	l.want(state.Available)
	if e.Power != conductor.ForceOff || e.Disk || l.s.Node.LiveISO != "" {
		t.Errorf("the deletion ends with %+v, LiveISO %q", e, l.s.Node.LiveISO)
	}
}

// What is wrong is told before anything is done, and validate says the same.
func TestI23_AnISOThatCantBeBootedIsRefused(t *testing.T) {
	good := func() map[string]any { return map[string]any{"boot_iso": iso} }
	for name, c := range map[string]struct {
		info  map[string]any
		drive bool
		steps []step.Wanted
		says  string
	}{
		"none":              {map[string]any{}, false, nil, "boot_iso is not set"},
		"no text":           {map[string]any{"boot_iso": 7}, false, nil, "expected a string"},
		"an image, too":     {map[string]any{"boot_iso": iso, "image_source": "http://images/os.raw"}, false, nil, "both image_source and boot_iso"},
		"a kernel, too":     {map[string]any{"boot_iso": iso, "kernel": "http://images/vmlinuz"}, false, nil, "both kernel and boot_iso"},
		"a file":            {map[string]any{"boot_iso": "file:///etc/passwd"}, false, nil, "expected http or https"},
		"a share":           {map[string]any{"boot_iso": "nfs://images/live.iso"}, false, nil, "expected http or https"},
		"a password":        {map[string]any{"boot_iso": "http://me:secret@images/live.iso"}, false, nil, "user or password"},
		"no host":           {map[string]any{"boot_iso": "http:///live.iso"}, false, nil, "names no host"},
		"too long":          {map[string]any{"boot_iso": iso + strings.Repeat("x", 2048)}, false, nil, "longer than 2048"},
		"a config drive":    {good(), true, nil, "config drive"},
		"a step in band":    {good(), false, nodetest.Wanted("deploy.erase_devices_metadata=90"), "without one"},
		"the image's step":  {good(), false, nodetest.Wanted("deploy.write_image=90"), "without one"},
		"its own step":      {good(), false, nodetest.Wanted("deploy.deploy=0"), "neither be replaced nor left out"},
		"a wait for nobody": {good(), false, []step.Wanted{{Name: "deploy.wait", Priority: 90}}, "no agent is up"},
		"BIOS":              {map[string]any{"boot_iso": iso, "capabilities": "boot_mode:bios"}, false, nil, "uefi only"},
		"secure boot":       {map[string]any{"boot_iso": iso, "capabilities": "secure_boot:true"}, false, nil, "secure boot"},
	} {
		t.Run(name, func(t *testing.T) {
			l := live(t)
			l.s.Node.InstanceInfo = c.info
			err := l.do(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbDeploy, DeploySteps: c.steps}, ConfigDrive: c.drive})
			if f := fault.From(err); err == nil || !strings.Contains(err.Error(), c.says) || f.Hint == "" && f.Code.Status() != 400 || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, expected %q", err, c.says)
			}
			l.want(state.Available)
			l.none()
		})
	}
}

// The BMC is asked before the first act; a machine without a disk will do.
func TestAnISONeedsADriveAndNoDisk(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*conductor.Facts)
		says   fault.Reason
	}{
		"no disk to boot from":  {func(f *conductor.Facts) { f.BootDevices = []string{"cdrom", "pxe"} }, ""},
		"no boot from a CD":     {func(f *conductor.Facts) { f.BootDevices = []string{"disk"} }, fault.BMCBootDevice},
		"no drive":              {func(f *conductor.Facts) { f.VirtualMedia = false }, fault.BMCNoMedia},
		"another mode":          {func(f *conductor.Facts) { f.BootModes = []string{"bios"} }, fault.BMCBootMode},
		"no order to switch on": {func(f *conductor.Facts) { f.PowerActs = []conductor.PowerAction{conductor.ForceOff} }, fault.BMCPowerActs},
	} {
		t.Run(name, func(t *testing.T) {
			l := live(t)
			l.byHand = true
			l.verb(state.VerbDeploy)
			if k := l.kinds(); !slices.Equal(k, []conductor.EffectKind{conductor.EffectPrepare}) {
				t.Fatalf("before the BMC was asked: %v", k)
			}
			facts := capable()
			c.change(facts)
			l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectPrepare), Facts: facts})
			if c.says == "" {
				l.starts()
				return
			}
			l.want(state.DeployFail)
			l.none() // nothing was done, so nothing is undone
			if l.s.Node.LastReason != c.says {
				t.Errorf("%s", l.s.Node.LastError)
			}
		})
	}
}

// A machine that may have started, and was not seen to, is switched off; the record is not active. One whose record is in
// doubt is left as it is (I15).
func TestI13_AnISOThatWasNotConfirmed(t *testing.T) {
	for name, c := range map[string]struct {
		event func(conductor.Effect) conductor.Event
		off   bool
	}{
		"the BMC fails": {func(e conductor.Effect) conductor.Event {
			return conductor.EffectDone{Effect: e, Fault: fault.New(fault.BMCError, "its drive is empty")}
		}, true},
		"nothing is heard of it": {func(conductor.Effect) conductor.Event { return conductor.DeadlinePassed{} }, true},
		"the record is in doubt": {func(conductor.Effect) conductor.Event { return conductor.RecordsDoubted{Why: "restored"} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := live(t)
			l.verb(state.VerbDeploy)
			e := l.take(conductor.EffectFinish)
			l.now = l.now.Add(l.s.Timeouts.BMC + 4*l.s.Timeouts.Power)
			l.ok(c.event(e))
			l.want(state.DeployFail)
			if !c.off {
				l.none()
				return
			}
			if e := l.take(conductor.EffectFinish); e.Power != conductor.ForceOff || e.Disk || !conductor.Wanted(l.s.Node, e) {
				t.Errorf("it ends with %+v", e)
			}
			l.none()
			l.verb(state.VerbDeploy)
			l.starts()
		})
	}
}

// Steps through the BMC come before the ISO; one in band that a default asks for is left out, and the plan says so. A config
// drive that an image was to get does not go with the ISO.
func TestWhatGoesBeforeAnISO(t *testing.T) {
	l := live(t)
	l.s.Defaults = []conductor.Default{{Flow: state.Deploy, Step: "deploy.erase_devices_metadata", Key: "priority", Value: float64(50)}}
	l.s.Node.InstanceInfo["configdrive"] = conductor.Masked
	ask := conductor.Provision{Verb: state.VerbDeploy, DeploySteps: nodetest.Wanted("management.reset_bmc=70", "bios.factory_reset=80")}
	p := Preview(l.s, ask, l.now, nil)
	if p.Err() != nil || p.Boots != 0 || len(p.Items) != 2 || p.Items[0].Step.Name != "bios.factory_reset" {
		t.Errorf("plan %+v, %v", p.Items, p.Err())
	}
	for _, says := range []string{"deploy.erase_devices_metadata needs an agent", "no disk is written"} {
		if !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, says) }) {
			t.Errorf("the plan notes %q, and not %q", p.Notes, says)
		}
	}
	d := Decide(l.s, conductor.VerbAsked{Ask: ask}, l.now)
	if _, there := d.Node.InstanceInfo["configdrive"]; there || !slices.Contains(d.DropSecrets, "configdrive") {
		t.Errorf("the config drive stays: %v, %v", d.Node.InstanceInfo, d.DropSecrets)
	}
	l.ok(conductor.VerbAsked{Ask: ask})
	l.step("bios.factory_reset")
	l.step("management.reset_bmc")
	l.starts()

	plain := Preview(l.s, conductor.Provision{Verb: state.VerbRebuild}, l.now, nil)
	if len(plain.Items) != 0 || plain.Err() != nil {
		t.Errorf("plan of a rebuild: %+v, %v", plain.Items, plain.Err())
	}
}

// An adopted machine keeps running as it is; its ISO is known from then on. It needs a name for that.
func TestAdoptionOfAnISO(t *testing.T) {
	for _, c := range []struct {
		info map[string]any
		end  state.State
	}{{map[string]any{"boot_iso": iso}, state.Active}, {map[string]any{}, state.AdoptFail}} {
		l := live(t)
		l.verb(state.VerbManage)
		l.s.Node.InstanceInfo = c.info
		l.verb(state.VerbAdopt)
		facts := capable()
		facts.Power = conductor.PowerOn
		l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectVerify), Facts: facts})
		l.want(c.end)
		l.none()
		if want, _ := c.info["boot_iso"].(string); l.s.Node.LiveISO != want {
			t.Errorf("LiveISO %q", l.s.Node.LiveISO)
		}
	}
}

// An adoption that failed leaves no ISO behind for the next one, which takes over a machine that runs from its disk.
func TestAnAdoptionThatFailedLeavesNoISO(t *testing.T) {
	l := live(t)
	l.verb(state.VerbManage)
	l.verb(state.VerbAdopt)
	facts := &conductor.Facts{Power: conductor.PowerOn, BootModes: []string{"bios"}} // it boots no ISO in UEFI mode
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectVerify), Facts: facts})
	l.want(state.AdoptFail)
	l.s.Interfaces = nodetest.Implementations("redfish", nil)
	l.verb(state.VerbAdopt)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectVerify), Facts: facts})
	l.want(state.Active)
	if l.s.Node.LiveISO != "" {
		t.Errorf("a machine that boots its disk is to boot %s", l.s.Node.LiveISO)
	}
}

// A disk is the instance again when an image is written over it.
func TestAnImageTakesAnISOsPlace(t *testing.T) {
	l := live(t)
	l.verb(state.VerbDeploy)
	l.starts()
	l.s.Interfaces = nodetest.Implementations("redfish", nil)
	l.s.Node.InstanceInfo = nodetest.Snapshot().Node.InstanceInfo
	l.verb(state.VerbRebuild)
	if l.boot(); l.s.Node.LiveISO != "" {
		t.Errorf("LiveISO %q", l.s.Node.LiveISO)
	}
}

// The start of an instance ends with its work: a deployment that failed, or was deleted since, starts nothing, also after a
// restart of the server; the power off that follows is carried out (F16).
func TestF16_AFailedDeploymentStartsNothing(t *testing.T) {
	l := live(t)
	l.verb(state.VerbDeploy)
	start := l.take(conductor.EffectFinish)
	if !conductor.Wanted(l.s.Node, start) {
		t.Error("a deployment's start is not wanted")
	}
	l.now = l.s.Node.Flow.Wait.Deadline.Add(time.Second)
	l.ok(conductor.DeadlinePassed{})
	l.want(state.DeployFail)
	off := l.take(conductor.EffectFinish)
	if conductor.Wanted(l.s.Node, start) || !conductor.Wanted(l.s.Node, off) {
		t.Error("after the failure the start is wanted, or the power off is not")
	}
	l.verb(state.VerbDelete)
	if conductor.Wanted(l.s.Node, start) {
		t.Error("after the deletion the start is wanted")
	}
}
