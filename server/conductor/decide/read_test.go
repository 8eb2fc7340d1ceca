package decide

import (
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// told is what a BMC says that tells all.
func told() *conductor.Found {
	return &conductor.Found{Ports: []string{"52:54:00:00:00:01"}, Inventory: inventory.Inventory{
		CPU: inventory.CPU{Architecture: "x86_64", Count: 16}, Memory: inventory.Memory{PhysicalMB: 65536}, Boot: inventory.Boot{CurrentBootMode: "uefi"},
		SystemVendor: inventory.SystemVendor{UUID: "a1", SerialNumber: "S1"},
		Disks:        []inventory.Disk{{Size: 2 << 30}, {Size: 960 << 30}, {Size: 480 << 30}},
	}}
}

// reads is a node in manageable that is inspected through its BMC.
func reads(t *testing.T) *life {
	l := newLife(t)
	l.s.Interfaces = nodetest.Implementations("redfish", map[string]string{"inspect": "redfish"})
	l.manageable()
	return l
}

// An inspection through the BMC asks once and does nothing else: no boot, no power, no end that switches off.
func TestAnInspectionThroughTheBMC(t *testing.T) {
	l := reads(t)
	l.s.Node.Properties = map[string]any{"capabilities": "disk_label:gpt", "cpus": 1, "rack": "r7"}
	before := maps.Clone(l.s.Node.Properties)
	kept := l.s.Node.Properties
	l.verb(state.VerbInspect)
	l.want(state.Inspecting)
	e := l.take(conductor.EffectInspect)
	if n := l.s.Node; n.Generation != 0 || n.Boot != nil || len(l.effects) > 0 || n.InspectionStarted.IsZero() || n.Target != state.Manageable {
		t.Errorf("boot %+v of generation %d, further effects %v, begun %s, target %s", n.Boot, n.Generation, l.kinds(), n.InspectionStarted, n.Target)
	}
	d := Decide(l.s, conductor.EffectDone{Effect: e, Found: told()}, l.now)
	if !reflect.DeepEqual(d.Found, told()) {
		t.Errorf("kept is %+v", d.Found)
	}
	l.ok(conductor.EffectDone{Effect: e, Found: told()})
	l.want(state.Manageable)
	n := l.s.Node
	want := map[string]any{"capabilities": "disk_label:gpt,boot_mode:uefi", "cpus": 16, "rack": "r7", "cpu_arch": "x86_64", "memory_mb": int64(65536), "local_gb": int64(479)}
	if !reflect.DeepEqual(n.Properties, want) || !reflect.DeepEqual(kept, before) {
		t.Errorf("properties are %v, those of the snapshot %v", n.Properties, kept)
	}
	if n.Machine != conductor.IdentityOf("a1", "S1") || n.InspectionFinished.IsZero() || !n.InspectionStarted.IsZero() || n.Target != "" || n.LastError != "" || len(l.effects) > 0 {
		t.Errorf("%+v, effects %v", n, l.kinds())
	}
	for _, a := range l.audit {
		if strings.HasPrefix(a.Act, "power") || a.Act == "boot" {
			t.Errorf("audited: %s", a.Act)
		}
	}
	l.ok(conductor.EffectDone{Effect: e, Found: &conductor.Found{}}) // told again
	l.want(state.Manageable)
	if !reflect.DeepEqual(l.s.Node.Properties, want) {
		t.Errorf("a late answer changed the properties: %v", l.s.Node.Properties)
	}
}

func TestPropertiesOfAnInspectionThroughTheBMC(t *testing.T) {
	for name, c := range map[string]struct {
		before map[string]any
		change func(*inventory.Inventory)
		want   map[string]any // of the keys below, nil: not there
	}{
		"nothing known before":                       {nil, func(*inventory.Inventory) {}, map[string]any{"cpus": 16, "local_gb": int64(479), "capabilities": "boot_mode:uefi"}},
		"the BIOS's way of booting is not asked for": {map[string]any{"capabilities": "a:1"}, func(i *inventory.Inventory) { i.Boot.CurrentBootMode = "bios" }, map[string]any{"capabilities": "a:1"}},
		"an operator's boot mode stays":              {map[string]any{"capabilities": "boot_mode:bios"}, func(*inventory.Inventory) {}, map[string]any{"capabilities": "boot_mode:bios"}},
		"no disk told":                               {map[string]any{"local_gb": "100"}, func(i *inventory.Inventory) { i.Disks = nil }, map[string]any{"local_gb": "100"}},
		"small disks only":                           {nil, func(i *inventory.Inventory) { i.Disks = i.Disks[:1] }, map[string]any{"local_gb": nil}},
		"processors not counted":                     {map[string]any{"cpus": 2}, func(i *inventory.Inventory) { i.CPU.Count = 0 }, map[string]any{"cpus": 2}},
		"memory set by hand":                         {map[string]any{"memory_mb": 1}, func(i *inventory.Inventory) { i.Memory.PhysicalMB = 0 }, map[string]any{"memory_mb": 1, "cpu_arch": "x86_64"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := reads(t)
			l.s.Node.Properties = c.before
			l.verb(state.VerbInspect)
			found := told()
			c.change(&found.Inventory)
			l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectInspect), Found: found})
			l.want(state.Manageable)
			for k, v := range c.want {
				if got := l.s.Node.Properties[k]; !reflect.DeepEqual(got, v) {
					t.Errorf("%s is %v, expected %v", k, got, v)
				}
			}
		})
	}
}

// Every way in which it can end badly leads to inspect failed, with a reason, and does nothing to the machine; the verb may
// be asked again.
func TestAnInspectionThroughTheBMCFails(t *testing.T) {
	for name, c := range map[string]struct {
		event  func(l *life, e conductor.Effect) conductor.Event
		reason fault.Reason
		says   string
	}{
		"the BMC's fault": {func(_ *life, e conductor.Effect) conductor.Event {
			return conductor.EffectDone{Effect: e, Fault: fault.New(fault.BMCAuth, "wrong password")}
		}, fault.BMCAuth, "wrong password"},
		"neither fault nor answer": {func(_ *life, e conductor.Effect) conductor.Event { return conductor.EffectDone{Effect: e} }, fault.BMCIncomplete, "tells nothing"},
		"TestF24: another machine": {func(l *life, e conductor.Effect) conductor.Event {
			l.s.Node.Machine = conductor.IdentityOf("b2", "S1")
			return conductor.EffectDone{Effect: e, Found: told()}
		}, fault.BMCOtherMachine, "b2"},
		"what must be known is not told": {func(_ *life, e conductor.Effect) conductor.Event {
			f := told()
			f.Inventory.CPU.Architecture, f.Inventory.Memory.PhysicalMB, f.Inventory.Problems = "", 0, []string{"processors: 500"}
			return conductor.EffectDone{Effect: e, Found: f}
		}, fault.BMCIncomplete, "cpu_arch and memory_mb, and properties have none; processors: 500"},
		"the deadline": {func(l *life, _ conductor.Effect) conductor.Event {
			l.now = l.s.Node.Flow.Wait.Deadline.Add(time.Second)
			return conductor.DeadlinePassed{}
		}, fault.BMCUnreachable, "the BMC to tell"},
		"cut off by an operator": {func(l *life, _ conductor.Effect) conductor.Event {
			l.s.Node.Maintenance = true
			return conductor.PowerAsked{Ask: conductor.PowerRequest{Target: "power off"}}
		}, fault.StepInterrupted, "powered off on request"},
	} {
		t.Run(name, func(t *testing.T) {
			l := reads(t)
			l.verb(state.VerbInspect)
			e := l.take(conductor.EffectInspect)
			ev := c.event(l, e)
			l.ok(ev)
			l.want(state.InspectFail)
			n := l.s.Node
			if !strings.Contains(n.LastError, c.says) || n.LastReason != c.reason && n.PowerTarget == "" || n.InspectionFinished != (time.Time{}) || n.Properties["cpu_arch"] != nil {
				t.Errorf("reason %s, %q, properties %v", n.LastReason, n.LastError, n.Properties)
			}
			if _, asked := ev.(conductor.PowerAsked); !asked && len(l.effects) > 0 {
				t.Errorf("effects %v", l.kinds())
			} else if asked {
				l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectPower), Power: conductor.PowerOff})
			}
			l.ok(conductor.EffectDone{Effect: e, Found: told()}) // too late
			l.want(state.InspectFail)
			if l.s.Node.Properties["cpu_arch"] != nil {
				t.Error("an answer that came too late counted")
			}
			l.s.Node.Machine, l.s.Node.Maintenance = conductor.Identity{}, false
			l.verb(state.VerbInspect)
			l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectInspect), Found: told()})
			l.want(state.Manageable)
		})
	}
}

// What is asked of the server meanwhile finds the node busy, as in every state in which the server itself acts.
func TestAnInspectionThroughTheBMCKeepsTheNode(t *testing.T) {
	l := reads(t)
	l.verb(state.VerbInspect)
	for _, v := range []state.Event{state.VerbAbort, state.VerbInspect, state.VerbProvide, state.VerbManage} {
		if err := l.do(conductor.VerbAsked{Ask: conductor.Provision{Verb: v}}); err == nil {
			t.Errorf("%s is taken", v)
		}
	}
	if err := l.do(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbAbort}}); !fault.Has(err, fault.NodeBusy) || !strings.Contains(fault.From(err).Hint, "the BMC to tell") {
		t.Errorf("abort: %v", err)
	}
	l.ok(conductor.ServerRestarted{})
	l.want(state.Inspecting)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectInspect), Found: told()})
	l.want(state.Manageable)
}

// An agent that fast-track keeps up is neither ended nor switched off, and what it says is no part of the inspection (I5).
func TestAnInspectionThroughTheBMCLeavesAnAgentUp(t *testing.T) {
	for _, fails := range []bool{false, true} {
		l := newLife(t)
		l.s.Node.DriverInfo = map[string]any{"fast_track": true}
		l.manageable()
		l.verb(state.VerbInspect)
		l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectBoot), Power: conductor.PowerOn})
		if err := l.lookup(agentA); err != nil {
			t.Fatal(err)
		}
		l.take(conductor.EffectEject)
		l.s.Heard = l.now
		l.ok(conductor.AgentReady{Steps: catalog.InBand})
		l.want(state.Manageable)

		l.s.Interfaces = nodetest.Implementations("redfish", map[string]string{"inspect": "redfish"})
		l.now = l.now.Add(time.Hour) // it was not heard lately: whether it is there is not this flow's business
		l.verb(state.VerbInspect)
		e := l.take(conductor.EffectInspect)
		for _, ev := range []conductor.Event{
			conductor.AgentReady{Steps: catalog.InBand}, conductor.AgentHeard{}, conductor.AgentSilent{Since: l.now},
			conductor.LookedUp{Peer: agentA, Proven: true, Ask: api.LookupRequest{Generation: l.s.Node.Generation}},
		} {
			l.ok(ev)
			l.want(state.Inspecting)
		}
		done := conductor.EffectDone{Effect: e, Found: told()}
		if fails {
			done = conductor.EffectDone{Effect: e, Fault: fault.New(fault.BMCError, "no")}
		}
		l.ok(done)
		if n := l.s.Node; n.Boot == nil || n.Boot.Ended || len(l.effects) > 0 || n.Power != conductor.PowerOn {
			t.Errorf("failed %t: boot %+v, effects %v, power %q", fails, n.Boot, l.kinds(), n.Power)
		}
		if fails {
			l.verb(state.VerbManage)
		}
		l.s.Heard = l.now
		l.verb(state.VerbProvide) // goes on with that agent, without a boot
		if k := l.kinds(); len(k) != 1 || k[0] != conductor.EffectOffer {
			t.Errorf("failed %t: the cleaning after it begins with %v", fails, k)
		}
	}
}

// A machine whose BMC can boot nothing can be read all the same.
func TestAnInspectionThroughTheBMCNeedsNoBoot(t *testing.T) {
	l := reads(t)
	l.s.Node.BMC = &conductor.Known{BootModes: []string{"bios"}}
	l.s.Interfaces["boot"], l.s.Interfaces["power"] = "ipxe", "ipmitool"
	l.verb(state.VerbInspect)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectInspect), Found: told()})
	l.want(state.Manageable)
}
