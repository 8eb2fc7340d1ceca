package decide

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/fit"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// overHTTPS is a node whose machine's firmware loads what it boots, with more of its interfaces chosen.
func overHTTPS(t *testing.T, more map[string]string) *life {
	t.Helper()
	l := newLife(t)
	chosen := map[string]string{"boot": drivers.HTTPBoot, "rescue": "agent"}
	for k, v := range more {
		chosen[k] = v
	}
	l.s.Interfaces = nodetest.Implementations("redfish", chosen)
	l.facts = func(f *conductor.Facts) {
		f.BootDevices, f.BootURI, f.VirtualMedia = []string{"uefihttp", "disk"}, new(true), false
	}
	return l
}

// The boot says how it is made, whatever the interface becomes while it goes on; the first who reads is the one who may.
func TestI17_ABootOverHTTPSHasOneReader(t *testing.T) {
	l := overHTTPS(t, nil)
	l.available()
	l.verb(state.VerbDeploy)
	if b := l.s.Node.Boot; b == nil || !b.HTTP || b.Reader != "" {
		t.Fatalf("boot %+v", b)
	}
	l.s.Interfaces = nodetest.Implementations("redfish", nil)
	g := l.s.Node.Generation
	l.ok(conductor.MediumFetched{Generation: g, From: "192.0.2.50"})
	for _, e := range []conductor.MediumFetched{{Generation: g, From: "192.0.2.66"}, {Generation: g - 1, From: "192.0.2.66"}, {Generation: g + 1, From: "192.0.2.66"}} {
		if err := l.do(e); err != nil {
			t.Fatal(err)
		}
	}
	if b := l.s.Node.Boot; b.Reader != "192.0.2.50" || b.MediumRead.IsZero() || !b.HTTP || !strings.Contains(l.s.Node.Flow.Wait.Evidence, "192.0.2.50") {
		t.Errorf("reader %q, read %s, evidence %q", b.Reader, b.MediumRead, l.s.Node.Flow.Wait.Evidence)
	}
}

// A BMC without virtual media boots its machine through all flows.
func TestAllFlowsBootOverHTTPS(t *testing.T) {
	l := overHTTPS(t, nil)
	l.active()
	first := l.s.Node.Generation
	l.verb(state.VerbRescue)
	l.boot()
	l.runStep("rescue.finalize_rescue", nil)
	l.want(state.Rescue)
	if b := l.s.Node.Boot; b.Generation != first+1 || !b.HTTP {
		t.Errorf("boot %+v", b)
	}
}

// An override that stays after the lookup is told of, and ends nothing.
func TestAnOverrideThatStaysIsTold(t *testing.T) {
	l := overHTTPS(t, nil)
	l.available()
	l.verb(state.VerbDeploy)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectBoot), Power: conductor.PowerOn})
	if err := l.lookup(agentA); err != nil {
		t.Fatal(err)
	}
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectEject), Fault: fault.New(fault.BMCError, "no")})
	if last := l.history[len(l.history)-1].Event; !strings.Contains(last, "boot override") || l.s.Node.State != state.DeployWait {
		t.Errorf("%s: %s", l.s.Node.State, last)
	}
}

// Firmware that loads nothing is told of, with what it needs.
func TestFirmwareThatLoadsNothing(t *testing.T) {
	l := overHTTPS(t, nil)
	l.manageable()
	l.verb(state.VerbInspect)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectBoot), Power: conductor.PowerOn})
	l.now = l.s.Node.Flow.Wait.Deadline.Add(time.Second)
	l.ok(conductor.DeadlinePassed{})
	n := l.s.Node
	if n.State != state.InspectFail || n.LastReason != fault.FlowMediaTimeout || !strings.Contains(n.LastError, "certificate") || !strings.Contains(n.LastError, "DHCP") {
		t.Errorf("%s, %s: %s", n.State, n.LastReason, n.LastError)
	}
}

// What the BMC lacks refuses the verb, and fails a flow before any act when only the newest answer says so.
func TestPreflight_HTTPSBootNeedsItsSourceAndItsAddress(t *testing.T) {
	for says, lack := range map[string]func(*conductor.Facts){
		"boot source UefiHttp, but the BMC can only boot the machine from cdrom, disk": func(f *conductor.Facts) { f.BootDevices = []string{"cdrom", "disk"} },
		"the BMC has no HttpBootUri": func(f *conductor.Facts) { f.BootURI = new(false) },
	} {
		l := overHTTPS(t, nil)
		l.byHand = true
		l.manageable()
		f := capable()
		l.facts(f)
		lack(f)
		known := l.s.Node.BMC
		l.s.Node.BMC = fit.Known(l.s.Node, *f)
		if err := l.do(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbInspect}}); !fault.Has(err, fault.BMCBootDevice) || !strings.Contains(err.Error(), says) || fault.From(err).Hint == "" {
			t.Errorf("got %v, expected %s", err, says)
		}
		l.s.Node.BMC = known
		l.verb(state.VerbInspect)
		l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectPrepare), Facts: f})
		if n := l.s.Node; n.State != state.InspectFail || !strings.Contains(n.LastError, says) || n.Boot != nil || len(l.effects) > 0 {
			t.Errorf("%s (%s); effects %v, boot %+v", n.State, n.LastError, l.kinds(), n.Boot)
		}
	}
}

// An ISO of the operator's goes the way that its deployment was made by, until another one is made.
func TestAnISOIsBootedAsItWasDeployed(t *testing.T) {
	l := overHTTPS(t, map[string]string{"deploy": "ramdisk"})
	l.s.Node.InstanceInfo = map[string]any{"boot_iso": iso}
	l.available()
	l.verb(state.VerbDeploy)
	l.starts()
	if n := l.s.Node; n.LiveISO != iso || !n.LiveHTTP {
		t.Errorf("the instance is %q, over HTTP: %v", n.LiveISO, n.LiveHTTP)
	}
	if !slices.ContainsFunc(l.history, func(e conductor.Entry) bool { return strings.Contains(e.Event, "its BMC shows the ISO's address") }) {
		t.Error("the history does not tell by what it became active")
	}
	l.s.Interfaces = nodetest.Implementations("redfish", map[string]string{"deploy": "ramdisk"})
	l.facts = nil
	l.s.Node.BMC = nil
	l.verb(state.VerbRebuild)
	if n := l.s.Node; n.LiveISO != iso || n.LiveHTTP {
		t.Errorf("rebuilt, the instance is %q, over HTTP: %v", n.LiveISO, n.LiveHTTP)
	}
	l.starts()
	l.verb(state.VerbDelete)
	if n := l.s.Node; n.LiveISO != "" || n.LiveHTTP {
		t.Errorf("deleted, the instance is %q, over HTTP: %v", n.LiveISO, n.LiveHTTP)
	}
}

// A boot interface that is chosen later is not looked at by a manage: the flow that boots by it tells before it does, and boots all
// the same.
func TestAFlowTellsThatItsBootWillNotBeTrusted(t *testing.T) {
	for _, trusts := range []bool{true, false} {
		l := overHTTPS(t, nil)
		l.manageable()
		l.byHand = true
		f := capable()
		l.facts(f)
		f.BootTrust = &trusts
		l.verb(state.VerbInspect)
		before := len(l.history)
		l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectPrepare), Facts: f})
		var told []fault.Reason
		for _, e := range l.history[before:] {
			if e.Severity == "WARNING" {
				told = append(told, e.Reason)
			}
		}
		if trusts && len(told) > 0 || !trusts && !slices.Equal(told, []fault.Reason{fault.BootNotTrusted}) {
			t.Errorf("trusted: %v, and it warns of %v", trusts, told)
		}
		l.take(conductor.EffectBoot)
	}
}
