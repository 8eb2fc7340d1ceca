package decide

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
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
	"github.com/bessemer-metal/bessemer/shared/step"
)

// life drives Decide as the conductor does, without a store: what a decision says becomes the next snapshot.
type life struct {
	t       *testing.T
	s       conductor.Snapshot
	now     time.Time
	effects []conductor.Effect
	history []conductor.Entry
	audit   []conductor.Audit
	ids     int
	inLine  bool                   // taking an out-of-band step's act off does not begin it
	byHand  bool                   // EffectPrepare is the test's business; else a BMC that can do everything answers it at once
	facts   func(*conductor.Facts) // changes what that BMC can do; nil: nothing
}

var (
	agentA = conductor.Peer{Key: "key-a", Addr: netip.MustParseAddr("192.0.2.10")}
	agentB = conductor.Peer{Key: "key-b", Addr: netip.MustParseAddr("192.0.2.66")}
)

func newLife(t *testing.T, disks ...inventory.Disk) *life {
	t.Helper()
	l := &life{t: t, now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), s: nodetest.Snapshot(disks...)}
	l.s.NewID = func() string { l.ids++; return fmt.Sprintf("id-%d", l.ids) }
	return l
}

// do applies an event and returns the refusal.
func (l *life) do(e conductor.Event) error {
	l.t.Helper()
	before, ids := l.s.Node, l.ids
	d := Decide(l.s, e, l.now)
	if !conductor.LooksAtDisks(before, e) {
		blind := l.s
		blind.Seen, blind.Accepted = nil, nil
		made := l.ids
		l.ids = ids
		if b := Decide(blind, e, l.now); !reflect.DeepEqual(b, d) {
			l.t.Fatalf("%T looks at the disks, and LooksAtDisks says that it does not: %+v, without inventories %+v", e, d, b)
		}
		l.ids = made
	}
	if !d.Changed {
		return d.Refuse
	}
	if from, to := before.State, d.Node.State; from != to && !reachable(from, to) {
		l.t.Fatalf("%T moved the node from %s to %s, which no row of the table allows", e, from, to)
	}
	if before.Flow == nil || d.Node.Flow == nil || before.Flow.Run != d.Node.Flow.Run {
		l.s.Steps = nil
	}
	l.s.Node = d.Node
	for _, r := range d.Steps {
		l.s.Steps = replace(l.s.Steps, r)
	}
	slices.SortStableFunc(l.s.Steps, func(a, b conductor.StepRecord) int {
		if a.Order != b.Order {
			return a.Order - b.Order
		}
		return a.Attempt - b.Attempt
	})
	l.effects = append(l.effects, d.Effects...)
	l.history = append(l.history, d.History...)
	l.audit = append(l.audit, d.Audit...)
	if f := l.s.Node.Flow; f != nil && f.Phase != conductor.PhaseEnded && (f.Wait == nil || f.Wait.Since.Equal(l.now) && !f.Wait.Deadline.After(l.now) || f.Wait.For == "" || f.Wait.Owner == "" || f.Wait.Reason == "") {
		l.t.Fatalf("TestI14: %T leaves the node %s in phase %s waiting for nobody: %+v", e, l.s.Node.State, f.Phase, f.Wait)
	}
	if i := slices.IndexFunc(l.effects, func(e conductor.Effect) bool { return e.Kind == conductor.EffectPrepare }); i >= 0 && !l.byHand {
		l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectPrepare), Facts: l.capable()})
	}
	return d.Refuse
}

// capable is what a BMC says that can do everything.
func (l *life) capable() *conductor.Facts {
	f := capable()
	if l.facts != nil {
		l.facts(f)
	}
	return f
}

func capable() *conductor.Facts {
	off := false
	return &conductor.Facts{
		Power: conductor.PowerOff, Vendor: "v", BootMode: "uefi", BootModes: []string{"uefi", "bios"}, BootDevices: []string{"cdrom", "disk"},
		PowerActs: []conductor.PowerAction{conductor.On, conductor.ForceOff}, SecureBoot: &off, VirtualMedia: true,
	}
}

// reachable allows several legal moves in one decision (deleting passes on to cleaning).
func reachable(from, to state.State) bool {
	seen, todo := map[state.State]bool{from: true}, []state.State{from}
	for range 3 {
		var next []state.State
		for _, s := range todo {
			for _, e := range state.Legal(s) {
				n, _ := state.Next(s, e)
				if n == to {
					return true
				}
				if !seen[n] {
					seen[n] = true
					next = append(next, n)
				}
			}
		}
		todo = next
	}
	return false
}

func (l *life) ok(e conductor.Event) {
	l.t.Helper()
	if err := l.do(e); err != nil {
		l.t.Fatalf("%T: %v", e, err)
	}
}

func (l *life) verb(v state.Event) {
	l.t.Helper()
	l.ok(conductor.VerbAsked{Ask: conductor.Provision{Verb: v}})
}

func (l *life) want(s state.State) {
	l.t.Helper()
	if l.s.Node.State != s {
		l.t.Fatalf("state is %q (%s), want %q", l.s.Node.State, l.s.Node.LastError, s)
	}
}

// take removes the oldest effect of a kind; there must be one. That of an out-of-band step begins, as its turn has come.
func (l *life) take(k conductor.EffectKind) conductor.Effect {
	l.t.Helper()
	i := slices.IndexFunc(l.effects, func(e conductor.Effect) bool { return e.Kind == k })
	if i < 0 {
		l.t.Fatalf("no effect %s in %v", k, l.kinds())
	}
	e := l.effects[i]
	l.effects = slices.Delete(l.effects, i, i+1)
	if k == conductor.EffectRunStep && !l.inLine {
		l.ok(conductor.StepBegan{ID: e.Step})
	}
	return e
}

func (l *life) kinds() (out []conductor.EffectKind) {
	for _, e := range l.effects {
		out = append(out, e.Kind)
	}
	return out
}

func (l *life) lookup(p conductor.Peer) error {
	return l.do(conductor.LookedUp{Peer: p, Proven: true, Ask: api.LookupRequest{Generation: l.s.Node.Generation, BootID: "b", Seq: 1}})
}

// boot brings the ramdisk up to its first heartbeat.
func (l *life) boot() {
	l.t.Helper()
	e := l.take(conductor.EffectBoot)
	l.ok(conductor.EffectDone{Effect: e, Power: conductor.PowerOn})
	if err := l.lookup(agentA); err != nil {
		l.t.Fatal(err)
	}
	l.take(conductor.EffectEject)
	l.ok(conductor.AgentReady{Steps: catalog.InBand})
}

// runStep claims the offered step and reports success with data.
func (l *life) runStep(name string, data map[string]any) {
	l.t.Helper()
	l.take(conductor.EffectOffer)
	r := l.running()
	if r.Step.Name != name {
		l.t.Fatalf("offered %s, want %s", r.Step.Name, name)
	}
	l.ok(conductor.StepClaimed{Ask: api.StartRequest{ID: r.ID, Nonce: "nonce-" + string(r.ID)}})
	l.ok(conductor.StepEnded{ID: r.ID, Nonce: "nonce-" + string(r.ID), Outcome: api.Succeeded, Result: &step.Result{Data: data}})
}

func (l *life) running() conductor.StepRecord {
	l.t.Helper()
	for _, r := range l.s.Steps {
		if r.State == conductor.StepOffered || r.State == conductor.StepStarted {
			return r
		}
	}
	l.t.Fatalf("no step is open: %+v", l.s.Steps)
	return conductor.StepRecord{}
}

func records(disks ...inventory.Disk) map[string]any {
	var out []any
	for _, d := range disks {
		out = append(out, erasedRecord(d, d.Size, "sample"))
	}
	return map[string]any{"devices": out}
}

// manageable takes a new node there.
func (l *life) manageable() {
	l.t.Helper()
	l.verb(state.VerbManage)
	l.want(state.Verifying)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectVerify), Facts: l.capable()})
	l.want(state.Manageable)
}

// available cleans it.
func (l *life) available() {
	l.t.Helper()
	l.manageable()
	l.verb(state.VerbProvide)
	l.boot()
	l.runStep("deploy.erase_devices_metadata", nil)
	l.runStep("deploy.erase_devices", records(l.s.Seen.Disks...))
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOff})
	l.want(state.Available)
}

func TestLife(t *testing.T) {
	l := newLife(t)
	l.manageable()
	l.verb(state.VerbInspect)
	l.want(state.Inspecting)
	e := l.take(conductor.EffectBoot)
	l.ok(conductor.EffectDone{Effect: e, Power: conductor.PowerOn})
	l.want(state.InspectWait)
	if err := l.lookup(agentA); err != nil {
		t.Fatal(err)
	}
	l.take(conductor.EffectEject)
	l.ok(conductor.AgentReady{Steps: catalog.InBand})
	l.want(state.Inspecting)
	fin := l.take(conductor.EffectFinish)
	if fin.Power != conductor.ForceOff || fin.Disk {
		t.Fatalf("an inspection ends with %+v", fin)
	}
	l.ok(conductor.EffectDone{Effect: fin, Power: conductor.PowerOff})
	l.want(state.Manageable)

	l.verb(state.VerbProvide)
	l.want(state.Cleaning)
	l.boot()
	l.want(state.CleanWait)
	l.runStep("deploy.erase_devices_metadata", nil)
	l.runStep("deploy.erase_devices", records(nodetest.Disk0))
	l.want(state.Cleaning)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOff})
	l.want(state.Available)

	l.verb(state.VerbDeploy)
	l.boot()
	l.want(state.DeployWait)
	r := l.running()
	if id, _ := nodetest.Disk0.ID(); len(r.Command.Devices) != 1 || r.Command.Devices[0] != id {
		t.Fatalf("write_image names %v, want only %v", r.Command.Devices, id)
	}
	l.runStep("deploy.write_image", l.left())
	fin = l.take(conductor.EffectFinish)
	if fin.Power != conductor.On || !fin.Disk {
		t.Fatalf("a deployment ends with %+v", fin)
	}
	l.ok(conductor.EffectDone{Effect: fin, Power: conductor.PowerOn})
	l.want(state.Active)
	if l.s.Node.Target != "" || l.s.Node.Power != conductor.PowerOn {
		t.Fatalf("target %q power %q", l.s.Node.Target, l.s.Node.Power)
	}

	l.verb(state.VerbDelete)
	l.want(state.Cleaning)
	if len(l.s.Node.InstanceInfo) != 0 {
		t.Fatal("the instance is not forgotten")
	}
	if len(l.effects) != 1 {
		t.Fatalf("effects left over: %v", l.kinds())
	}
}

func TestI05_CleanNeedsARecordOfEveryDisk(t *testing.T) {
	for name, data := range map[string]map[string]any{
		"no record":        nil,
		"one of two":       records(nodetest.Disk0),
		"not read back":    {"devices": []any{erasedRecord(nodetest.Disk0, nodetest.Disk0.Size, "full"), erasedRecord(nodetest.Disk1, nodetest.Disk1.Size, "")}},
		"only half":        {"devices": []any{erasedRecord(nodetest.Disk0, nodetest.Disk0.Size, "full"), erasedRecord(nodetest.Disk1, nodetest.Disk1.Size/2, "full")}},
		"another disk":     records(nodetest.Disk0, inventory.Disk{Serial: "S1", Size: 1, Class: inventory.NVMePCIe}),
		"a wrong document": {"devices": "all of them"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(t, nodetest.Disk0, nodetest.Disk1)
			l.manageable()
			l.verb(state.VerbProvide)
			l.boot()
			l.runStep("deploy.erase_devices_metadata", nil)
			l.runStep("deploy.erase_devices", data)
			l.want(state.CleanFail)
			if l.s.Node.LastReason != fault.DiskNotErased || !l.s.Node.Maintenance || l.s.Node.Fault != "clean failure" {
				t.Fatalf("reason %s maintenance %v fault %q", l.s.Node.LastReason, l.s.Node.Maintenance, l.s.Node.Fault)
			}
		})
	}
}

// TestAFailedCleanLeavesTheOperatorsMaintenanceAlone: what an operator set, with its reason, only an operator clears.
func TestAFailedCleanLeavesTheOperatorsMaintenanceAlone(t *testing.T) {
	l := newLife(t, nodetest.Disk0, nodetest.Disk1)
	l.manageable()
	l.verb(state.VerbProvide)
	l.boot()
	l.runStep("deploy.erase_devices_metadata", nil)
	l.s.Node.Maintenance, l.s.Node.MaintenanceReason = true, "the rack is being moved"
	l.runStep("deploy.erase_devices", nil)
	l.want(state.CleanFail)
	if n := l.s.Node; !n.Maintenance || n.Fault != "" || n.MaintenanceReason != "the rack is being moved" {
		t.Fatalf("maintenance %v, fault %q, reason %q", n.Maintenance, n.Fault, n.MaintenanceReason)
	}
}

func erasedRecord(d inventory.Disk, to int64, verify string) catalog.Erased {
	id, _ := d.ID()
	r := catalog.Erased{ID: id, Method: "overwrite", To: to}
	r.Verify.Mode = verify
	return r
}

func TestI05_MissingDiskFailsBeforeAnythingIsErased(t *testing.T) {
	l := newLife(t, nodetest.Disk0, nodetest.Disk1)
	l.s.Seen = &inventory.Inventory{Disks: []inventory.Disk{nodetest.Disk0}}
	l.manageable()
	l.verb(state.VerbProvide)
	l.boot()
	l.want(state.CleanFail)
	if l.s.Node.LastReason != fault.DiskMissing || !strings.Contains(l.s.Node.LastError, "S1") {
		t.Fatalf("%s: %s", l.s.Node.LastReason, l.s.Node.LastError)
	}
	if slices.Contains(l.kinds(), conductor.EffectOffer) {
		t.Fatal("a step was offered")
	}
}

func TestI08_StartOnlyOnce(t *testing.T) {
	l := newLife(t)
	l.manageable()
	l.verb(state.VerbProvide)
	l.boot()
	r := l.running()
	claim := func(nonce string) error {
		return l.do(conductor.StepClaimed{Ask: api.StartRequest{ID: r.ID, Nonce: nonce}})
	}
	if err := claim("first"); err != nil {
		t.Fatal(err)
	}
	if err := claim("first"); err != nil {
		t.Fatalf("the same nonce again is the same claim: %v", err)
	}
	if err := claim("second"); !fault.Has(err, fault.ChannelStartLost) {
		t.Fatalf("a second claim was let through: %v", err)
	}
	l.ok(conductor.StepEnded{ID: r.ID, Nonce: "first", Outcome: api.Succeeded})
	if err := claim("first"); !fault.Has(err, fault.ChannelStartLost) {
		t.Fatalf("an ended step was started again: %v", err)
	}
}

func TestI09_ResultOnlyFromTheClaimant(t *testing.T) {
	l := newLife(t)
	l.manageable()
	l.verb(state.VerbProvide)
	l.boot()
	r := l.running()
	if err := l.do(conductor.StepEnded{ID: r.ID, Nonce: "x", Outcome: api.Succeeded}); !fault.Has(err, fault.StepNotOffered) {
		t.Fatalf("a result without a start: %v", err)
	}
	l.ok(conductor.StepClaimed{Ask: api.StartRequest{ID: r.ID, Nonce: "mine"}})
	if err := l.do(conductor.StepEnded{ID: r.ID, Nonce: "theirs", Outcome: api.Succeeded}); !fault.Has(err, fault.StepNotOffered) {
		t.Fatalf("another claimant's result: %v", err)
	}
	if err := l.do(conductor.StepEnded{ID: r.ID, Outcome: api.Succeeded}); !fault.Has(err, fault.StepNotOffered) {
		t.Fatalf("an in-band result without a nonce: %v", err)
	}
	l.ok(conductor.StepEnded{ID: r.ID, Nonce: "mine", Outcome: api.Succeeded})
	before := len(l.history)
	l.ok(conductor.StepEnded{ID: r.ID, Nonce: "mine", Outcome: api.Succeeded})
	if len(l.history) != before {
		t.Fatal("a repeated result changed something")
	}
}

func TestI12_UnorderedRestartIsNeverProgress(t *testing.T) {
	l := newLife(t)
	l.manageable()
	l.verb(state.VerbProvide)
	l.boot()
	first := l.running()
	l.ok(conductor.StepClaimed{Ask: api.StartRequest{ID: first.ID, Nonce: "a"}})
	l.ok(conductor.StepEnded{ID: first.ID, Nonce: "a", Outcome: api.Interrupted})
	second := l.running()
	if second.ID == first.ID || second.Step.Name != first.Step.Name || second.Attempt != 2 {
		t.Fatalf("retry is %+v", second)
	}
	for range attempts - 1 {
		r := l.running()
		l.ok(conductor.StepClaimed{Ask: api.StartRequest{ID: r.ID, Nonce: "n"}})
		l.ok(conductor.StepEnded{ID: r.ID, Nonce: "n", Outcome: api.Interrupted})
	}
	l.want(state.CleanFail)
	if l.s.Node.LastReason != fault.StepInterrupted {
		t.Fatal(l.s.Node.LastError)
	}
}

func TestI17_SecondKeyIsContestedSameKeyIsNot(t *testing.T) {
	l := newLife(t)
	l.manageable()
	l.verb(state.VerbProvide)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectBoot), Power: conductor.PowerOn})
	if err := l.do(conductor.LookedUp{Peer: agentB, Ask: api.LookupRequest{Generation: l.s.Node.Generation}}); !fault.Has(err, fault.ChannelClaim) {
		t.Fatalf("an unproven claim: %v", err)
	}
	if !l.s.Node.Boot.Redeemed.IsZero() || l.s.Node.Boot.Contested {
		t.Fatal("a wrong secret changed the boot")
	}
	if err := l.lookup(agentA); err != nil {
		t.Fatal(err)
	}
	if err := l.lookup(agentA); err != nil {
		t.Fatalf("the same key again: %v", err)
	}
	if err := l.lookup(agentB); !fault.Has(err, fault.NodeContested) {
		t.Fatalf("a second key: %v", err)
	}
	l.want(state.CleanFail)
	if err := l.lookup(agentA); err == nil {
		t.Fatal("the first agent goes on in a contested boot")
	}
	if !slices.Contains(l.kinds(), conductor.EffectFinish) || slices.Contains(l.kinds(), conductor.EffectOffer) {
		t.Fatalf("effects %v", l.kinds())
	}
}

func TestI17_WindowCloses(t *testing.T) {
	l := newLife(t)
	l.manageable()
	l.verb(state.VerbInspect)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectBoot), Power: conductor.PowerOn})
	l.now = l.s.Node.Boot.Closes.Add(time.Second)
	if err := l.lookup(agentA); !fault.Has(err, fault.ChannelWindow) {
		t.Fatalf("after the window: %v", err)
	}
	l.ok(conductor.DeadlinePassed{})
	l.want(state.InspectFail)
	if l.s.Node.LastReason != fault.FlowMediaTimeout {
		t.Fatalf("reason %s: the medium was never read", l.s.Node.LastReason)
	}
}

func TestI20_LevelBelowA1GetsNoDestructiveStep(t *testing.T) {
	l := newLife(t)
	l.manageable()
	l.verb(state.VerbProvide)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectBoot), Power: conductor.PowerOn})
	if err := l.lookup(agentA); err != nil {
		t.Fatal(err)
	}
	b := *l.s.Node.Boot
	b.Level = api.A0
	l.s.Node.Boot = &b
	l.ok(conductor.AgentReady{Steps: catalog.InBand})
	l.want(state.CleanFail)
	if l.s.Node.LastReason != fault.StepLevel || slices.Contains(l.kinds(), conductor.EffectOffer) {
		t.Fatal(l.s.Node.LastError)
	}
}

func TestOutOfBandOnlyListNeverBoots(t *testing.T) {
	l := newLife(t)
	l.manageable()
	l.ok(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "management.reset_bmc"}, {Name: "management.clear_job_queue"}}}})
	for range 2 {
		e := l.take(conductor.EffectRunStep)
		l.ok(conductor.StepEnded{ID: e.Step, Outcome: api.Succeeded})
	}
	l.want(state.Manageable)
	if len(l.effects) != 0 || l.s.Node.Generation != 0 {
		t.Fatalf("effects %v, generation %d", l.kinds(), l.s.Node.Generation)
	}
}

func TestOutOfBandRunsBeforeTheBoot(t *testing.T) {
	l := newLife(t)
	l.available()
	gen := l.s.Node.Generation
	l.ok(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbDeploy, DeploySteps: []step.Wanted{{Name: "bios.factory_reset", Priority: 10}}}})
	if l.s.Node.Generation != gen {
		t.Fatal("the ramdisk was asked for before the out-of-band step ended")
	}
	l.ok(conductor.StepEnded{ID: l.take(conductor.EffectRunStep).Step, Outcome: api.Succeeded})
	l.boot()
	l.runStep("deploy.write_image", l.left())
}

func TestUnknownStepFailsWithoutABoot(t *testing.T) {
	l := newLife(t)
	l.manageable()
	l.ok(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "deploy.format_c"}}}})
	l.want(state.CleanFail)
	if l.s.Node.LastReason != fault.StepUnknown || len(l.effects) != 0 || l.s.Node.Maintenance {
		t.Fatalf("%s %v", l.s.Node.LastReason, l.kinds())
	}
	l.verb(state.VerbManage)
	l.want(state.Manageable)
}

func TestF40_AbortDeletePowerWhileAStepRuns(t *testing.T) {
	start := func(t *testing.T) (*life, conductor.StepRecord) {
		l := newLife(t)
		l.available()
		l.verb(state.VerbDeploy)
		l.boot()
		r := l.running()
		l.ok(conductor.StepClaimed{Ask: api.StartRequest{ID: r.ID, Nonce: "n"}})
		return l, r
	}
	t.Run("delete is refused", func(t *testing.T) {
		l, _ := start(t)
		if err := l.do(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbDelete}}); !fault.Has(err, fault.NodeBusy) {
			t.Fatal(err)
		}
		l.want(state.DeployWait)
	})
	t.Run("abort stops it and fails", func(t *testing.T) {
		l, r := start(t)
		l.verb(state.VerbAbort)
		l.want(state.DeployWait)
		if e := l.take(conductor.EffectWithdraw); e.Step != r.ID {
			t.Fatalf("withdrawn %s", e.Step)
		}
		l.ok(conductor.StepEnded{ID: r.ID, Nonce: "n", Outcome: api.Aborted})
		l.want(state.DeployFail)
		if !strings.Contains(l.s.Node.LastError, "aborted") {
			t.Fatal(l.s.Node.LastError)
		}
		l.take(conductor.EffectFinish)
	})
	t.Run("power off fences it", func(t *testing.T) {
		l, _ := start(t)
		l.ok(conductor.PowerAsked{Ask: conductor.PowerRequest{Target: "power off"}})
		l.want(state.DeployFail)
		if l.s.Steps[len(l.s.Steps)-1].State != conductor.StepInterrupted {
			t.Fatalf("%+v", l.s.Steps)
		}
	})
	t.Run("silence fences it", func(t *testing.T) {
		l, r := start(t)
		l.s.Node.Maintenance = true // an operator's: nothing is begun anew
		l.now = l.now.Add(time.Hour)
		l.ok(conductor.AgentSilent{Since: l.now.Add(-10 * time.Minute)})
		l.want(state.DeployFail)
		l.take(conductor.EffectFinish)
		if err := l.do(conductor.StepEnded{ID: r.ID, Nonce: "n", Outcome: api.Succeeded}); err != nil {
			t.Fatal(err) // acknowledged, so that the agent stops repeating it
		}
		l.want(state.DeployFail)
	})
}

func TestF28_ShiftedTimeDoesNotCount(t *testing.T) {
	l := newLife(t)
	l.manageable()
	l.verb(state.VerbInspect)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectBoot), Power: conductor.PowerOn})
	l.now = l.now.Add(10 * time.Hour)
	l.ok(conductor.ClockShifted{By: 10 * time.Hour})
	if err := l.do(conductor.DeadlinePassed{}); err != nil {
		t.Fatal(err)
	}
	l.want(state.InspectWait)
	if err := l.lookup(agentA); err != nil {
		t.Fatalf("the window did not move: %v", err)
	}
}

func TestDeployRefusals(t *testing.T) {
	for name, change := range map[string]func(*conductor.Node){
		"no image":       func(n *conductor.Node) { n.InstanceInfo = map[string]any{} },
		"no digest":      func(n *conductor.Node) { delete(n.InstanceInfo, "image_os_hash_value") },
		"md5":            func(n *conductor.Node) { n.InstanceInfo["image_os_hash_algo"] = "md5" },
		"short digest":   func(n *conductor.Node) { n.InstanceInfo["image_os_hash_value"] = "abc" },
		"vmdk":           func(n *conductor.Node) { n.InstanceInfo["image_disk_format"] = "vmdk" },
		"hint without a": func(n *conductor.Node) { n.Properties["root_device"] = map[string]any{"serial": "nope"} },
		"maintenance":    func(n *conductor.Node) { n.Maintenance = true },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(t)
			l.available()
			change(&l.s.Node)
			if err := l.do(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbDeploy}}); err == nil {
				t.Fatal("accepted")
			} else if fault.From(err).Hint == "" {
				t.Errorf("no hint: %v", err)
			}
			l.want(state.Available)
			if len(l.effects) != 0 {
				t.Fatal(l.kinds())
			}
		})
	}
}

func TestTwoDisksWithoutHintsIsRefused(t *testing.T) {
	l := newLife(t, nodetest.Disk0, nodetest.Disk1)
	l.available()
	err := l.do(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbDeploy}})
	if !fault.Has(err, fault.DiskAmbiguous) || !strings.Contains(err.Error(), "S0") || !strings.Contains(err.Error(), "S1") {
		t.Fatal(err)
	}
}

func TestI27_EveryPowerActIsAudited(t *testing.T) {
	l := newLife(t)
	l.available()
	var acts []string
	for _, a := range l.audit {
		acts = append(acts, a.Act)
	}
	for _, want := range []string{"boot", "lookup", "step.start", "power.finish"} {
		if !slices.Contains(acts, want) {
			t.Errorf("a cleaning left no %q in the audit: %v", want, acts)
		}
	}
	l.ok(conductor.PowerAsked{Caller: conductor.Caller{Name: "op"}, Ask: conductor.PowerRequest{Target: "power on"}})
	if a := l.audit[len(l.audit)-1]; a.Act != "power.power_on" || a.Actor != "op" {
		t.Errorf("an operator's power act is audited as %+v", a)
	}
}

func TestI10_OnlySuccessAdvancesThePlan(t *testing.T) {
	for _, outcome := range []api.Outcome{api.Failed, api.Aborted, api.Interrupted} {
		l := newLife(t)
		l.manageable()
		l.verb(state.VerbProvide)
		l.boot()
		r := l.running()
		l.ok(conductor.StepClaimed{Ask: api.StartRequest{ID: r.ID, Nonce: "n"}})
		l.ok(conductor.StepEnded{ID: r.ID, Nonce: "n", Outcome: outcome})
		for _, other := range l.s.Steps {
			if other.Step.Name != r.Step.Name && other.State != conductor.StepPlanned {
				t.Errorf("after %s ended %s, %s is %s", r.Step.Name, outcome, other.Step.Name, other.State)
			}
		}
	}
}

// TestI27_EachVerbIsItsCallersOwn: what a verb writes names who asked for it, not whose flow it was before.
func TestI27_EachVerbIsItsCallersOwn(t *testing.T) {
	l := newLife(t)
	l.manageable()
	for i, v := range []state.Event{state.VerbProvide, state.VerbAbort, state.VerbManage, state.VerbProvide, "available", state.VerbDeploy, "active", state.VerbDelete} {
		switch v {
		case "available":
			l.runStep("deploy.erase_devices_metadata", nil)
			l.runStep("deploy.erase_devices", records(l.s.Seen.Disks...))
			l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOff})
			continue
		case "active":
			l.boot()
			l.runStep("deploy.write_image", l.left())
			l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOn})
			continue
		}
		who := conductor.Caller{Name: fmt.Sprintf("person %d", i), Request: fmt.Sprintf("req-%d", i)}
		history, audit := len(l.history), len(l.audit)
		l.ok(conductor.VerbAsked{Caller: who, Ask: conductor.Provision{Verb: v}})
		if len(l.history) == history {
			t.Errorf("%s leaves no line of history", v)
		}
		for _, e := range l.history[history:] {
			if e.Actor != who.Name || e.Request != who.Request {
				t.Errorf("%s of %s: the history says %q was asked by %s (%s)", v, who.Name, e.Event, e.Actor, e.Request)
			}
		}
		for _, a := range l.audit[audit:] {
			if a.Actor != who.Name || a.Request != who.Request {
				t.Errorf("%s of %s: the audit says %s was asked by %s (%s)", v, who.Name, a.Act, a.Actor, a.Request)
			}
		}
		switch v {
		case state.VerbProvide:
			l.boot()
		case state.VerbAbort:
			l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOff})
		}
	}
}
