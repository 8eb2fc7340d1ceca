package engine_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// kind is what runs on the node when the operator acts.
type kind struct {
	name      string
	state     conductor.StepState // "" when there is no step
	where     step.Where
	abortable bool
}

var kinds = []kind{
	{"nothing", "", "", false},
	{"an offer", conductor.StepOffered, step.InBand, true},
	{"an abortable step", conductor.StepStarted, step.InBand, true},
	{"a step that can't be aborted", conductor.StepStarted, step.InBand, false},
	{"a step out of band", conductor.StepStarted, step.OutOfBand, false},
}

// fits tells whether a node can be in a state with that at work: steps run while their flow does.
func (k kind) fits(s state.State) bool {
	row, busy := state.FlowOf(s)
	switch {
	case k.state == "":
		return true
	case !busy || row.Flow != state.Clean && row.Flow != state.Deploy && row.Flow != state.Service:
		return false
	case k.where == step.OutOfBand:
		return s == row.Doing || s == row.Waiting
	}
	return s == row.Waiting
}

// put makes the node what the test wants, as records and machine would be in the middle of that work.
func (s *site) put(at state.State, k kind, maintenance bool) {
	s.t.Helper()
	row, busy := state.FlowOf(at)
	now := s.now()
	err := s.store.Update(s.t.Context(), func(tx conductor.Tx) error {
		n, err := tx.NodeByName("n1")
		if err != nil {
			return err
		}
		n.State, n.StateSince, n.Maintenance, n.Power, n.Generation = at, now, maintenance, conductor.PowerOn, 3
		if busy {
			n.Target = row.Target
			n.Flow = &conductor.Flow{Run: "run", Flow: row.Flow, Phase: conductor.PhaseAgent, Started: now, Booted: true, Actor: "starter", Request: "req-0",
				Wait: &conductor.Wait{For: "the test", Owner: "agent", Since: now, Deadline: now.Add(time.Hour), Reason: fault.FlowSilent}}
			n.Boot = &conductor.Boot{Generation: 3, Opened: now, Closes: now.Add(time.Hour), Redeemed: now, Ready: now, Key: "thumb", Source: "192.0.2.50", Level: api.A1}
		}
		if err := tx.PutNode(&n); err != nil {
			return err
		}
		if k.state == "" {
			return nil
		}
		r := conductor.StepRecord{ID: "step", Node: n.UUID, Run: "run", Attempt: 1, State: k.state, Offered: now, Deadline: now.Add(time.Hour),
			Step: step.Step{Name: "deploy.erase_devices", Where: k.where, Abortable: k.abortable, Touches: step.AllDisks, Repeat: step.Never, Timeout: time.Hour}}
		if k.where == step.InBand {
			r.Generation = 3
			r.Command = &api.Command{ID: r.ID, Step: r.Step.Name, Node: n.Properties}
		}
		if k.state == conductor.StepStarted {
			r.Started, r.Nonce = now, nonce
		}
		return tx.PutStep(&r)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.board.mu.Lock()
	s.board.power, s.board.acts = conductor.PowerOn, nil
	s.board.mu.Unlock()
}

// acts are all that an operator can do to a node.
func acts() map[string]func(s *site, who conductor.Caller) error {
	out := map[string]func(*site, conductor.Caller) error{
		"delete": func(s *site, who conductor.Caller) error { return s.c.DeleteNode(s.t.Context(), who, "n1") },
		"maintenance on": func(s *site, who conductor.Caller) error {
			return s.c.SetMaintenance(s.t.Context(), who, "n1", true, "look")
		},
		"maintenance off": func(s *site, who conductor.Caller) error {
			return s.c.SetMaintenance(s.t.Context(), who, "n1", false, "")
		},
		"patch": func(s *site, who conductor.Caller) error {
			_, err := s.c.UpdateNode(s.t.Context(), who, "n1", func(n *conductor.Node, _ map[string]string) error { n.Description = "changed"; return nil })
			return err
		},
		"boot device": func(s *site, who conductor.Caller) error {
			return s.c.SetBootDevice(s.t.Context(), who, "n1", conductor.BootTarget{Device: "disk", Always: true})
		},
	}
	for _, v := range []state.Event{state.VerbManage, state.VerbProvide, state.VerbClean, state.VerbInspect, state.VerbAdopt, state.VerbDeploy, state.VerbRebuild,
		state.VerbRescue, state.VerbUnrescue, state.VerbService, state.VerbDelete, state.VerbAbort, state.VerbUnhold} {
		out["verb "+string(v)] = func(s *site, who conductor.Caller) error {
			p := conductor.Provision{Verb: v}
			switch v {
			case state.VerbRescue:
				p.RescuePassword = "canary-rescue"
			case state.VerbService:
				p.ServiceSteps = []step.Wanted{{Name: "management.reset_bmc"}}
			}
			return s.c.Provision(s.t.Context(), who, "n1", p)
		}
	}
	for _, p := range []string{"power on", "power off", "rebooting", "soft power off", "soft rebooting"} {
		out[p] = func(s *site, who conductor.Caller) error {
			return s.c.SetPower(s.t.Context(), who, "n1", conductor.PowerRequest{Target: p})
		}
	}
	return out
}

// Whatever an operator does in whatever state, with whatever running: it is refused with a hint and changes nothing, or
// it is done, audited as that operator's, and leaves the node in a state that the table leads to; and a step that may
// be erasing goes on having an owner, or its machine is powered off (F40, I10, I27).
func TestF40_EveryActInEveryStateIsLegal(t *testing.T) {
	all := acts()
	cases := 0
	for _, at := range state.All() {
		for _, k := range kinds {
			if !k.fits(at) {
				continue
			}
			for _, maintenance := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					s := newSite(t)
					s.instance()
					for name, act := range all {
						cases++
						s.legal(fmt.Sprintf("%s in %q with %s (maintenance %v)", name, at, k.name, maintenance), at, k, maintenance, act)
					}
				})
			}
		}
	}
	if cases < 1900 {
		t.Errorf("only %d cases were tried", cases)
	}
}

func (s *site) legal(what string, at state.State, k kind, maintenance bool, act func(*site, conductor.Caller) error) {
	s.t.Helper()
	s.fresh()
	s.put(at, k, maintenance)
	before, audited := s.node(), len(s.Audited())
	err := act(s, conductor.Caller{Name: "ann", Request: "req-1"})
	after, gone := s.node2()
	if err != nil {
		f := fault.From(err)
		if f.Reason == fault.InternalError || f.Hint == "" || f.Code.Status() < 400 || f.Code.Status() >= 500 {
			s.t.Errorf("%s: refused by %s %q, hint %q", what, f.Reason, f.Message, f.Hint)
		}
		if gone || after.Version != before.Version || len(s.Audited()) != audited {
			s.t.Errorf("%s: refused, and yet something was changed", what)
		}
		return
	}
	entries := s.Audited()[audited:]
	if len(entries) == 0 {
		s.t.Errorf("%s: done without an audit entry", what)
	}
	if !slices.ContainsFunc(entries, func(a conductor.Audit) bool { return a.Actor == "ann" && a.Request == "req-1" }) {
		s.t.Errorf("%s: the audit does not name who did it: %+v", what, entries)
	}
	started := k.state == conductor.StepStarted
	if gone {
		if started {
			s.t.Errorf("%s: the node is gone while a step runs", what)
		}
		return
	}
	if after.State != at && !leads(at, after.State) {
		s.t.Errorf("%s: the node is %q, to which nothing leads", what, after.State)
	}
	if k.state == "" {
		return
	}
	synctest.Wait()
	time.Sleep(20 * time.Second) // for the acts upon the BMC; no deadline of the test's records
	after, _ = s.node2()
	i := slices.IndexFunc(s.steps(), func(r conductor.StepRecord) bool { return r.ID == "step" })
	if i < 0 {
		s.t.Errorf("%s: the step's record is gone", what)
		return
	}
	r := s.steps()[i]
	owned := after.Flow != nil && after.Flow.Run == "run" && after.Flow.Phase != conductor.PhaseEnded
	switch {
	case r.State == conductor.StepSucceeded:
		s.t.Errorf("%s: a step that was not told to have ended counts as succeeded", what)
	case r.State == conductor.StepStarted && !owned:
		s.t.Errorf("%s: a started step is left without an owner (%q)", what, after.State)
	case started && r.State != conductor.StepStarted && s.board.count("ForceOff") == 0 && s.board.state() != conductor.PowerOff:
		s.t.Errorf("%s: the step is %s, but its machine was not fenced", what, r.State)
	case r.State == conductor.StepOffered && !owned:
		s.t.Errorf("%s: an offer is left without an owner (%q)", what, after.State)
	}
}

// leads tells whether the table leads from one state to another, over the server's own moves too.
func leads(from, to state.State) bool {
	seen, todo := map[state.State]bool{from: true}, []state.State{from}
	for range 4 {
		var next []state.State
		for _, s := range todo {
			for _, e := range state.Legal(s) {
				if n, _ := state.Next(s, e); !seen[n] {
					seen[n] = true
					next = append(next, n)
				}
			}
		}
		todo = next
	}
	return seen[to]
}

// fresh puts a new node in the old one's place, with the old one's effects ended.
func (s *site) fresh() {
	s.t.Helper()
	for len(s.mail.offers) > 0 {
		<-s.mail.offers
	}
	for len(s.board.booted) > 0 {
		<-s.board.booted
	}
	if n, gone := s.node2(); !gone {
		if err := s.store.Update(s.t.Context(), func(tx conductor.Tx) error { return tx.DeleteNode(n.UUID) }); err != nil {
			s.t.Fatal(err)
		}
	}
	n := conductor.Node{Name: "n1", Driver: "rack", DriverInfo: map[string]any{"password": conductor.Masked}}
	if _, err := s.c.CreateNode(s.t.Context(), conductor.Caller{Name: "op"}, n, map[string]string{conductor.DriverSecret("password"): "canary"}); err != nil {
		s.t.Fatal(err)
	}
	s.instance()
	synctest.Wait()
	err := s.store.Update(s.t.Context(), func(tx conductor.Tx) error {
		n, err := tx.NodeByName("n1")
		if err != nil {
			return err
		}
		inv := []byte(`{"disks":[{"name":"/dev/nvme0n1","serial":"S0","size":8589934592,"class":"` + string(inventory.NVMePCIe) + `"}]}`)
		return tx.PutInventory(conductor.StoredInventory{Node: n.UUID, Generation: 3, Accepted: true, Inventory: inv, Taken: s.now()})
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) node2() (n conductor.Node, gone bool) {
	s.t.Helper()
	n, err := s.c.Node(s.t.Context(), "n1")
	if err != nil && !fault.Has(err, fault.NodeNotFound) {
		s.t.Fatal(err)
	}
	return n, err != nil
}

func (s *site) steps() (out []conductor.StepRecord) {
	s.t.Helper()
	err := s.store.View(s.t.Context(), func(tx conductor.Tx) error {
		n, err := tx.NodeByName("n1")
		if err != nil {
			return err
		}
		out, err = tx.Steps(n.UUID, "")
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// An operator who took the node into maintenance may cut off whatever runs, also a clean and a step out of band: the
// step is interrupted first, then the machine is powered off. Without maintenance a clean is protected, as in Ironic.
func TestF40_PowerOffFencesTheStepFirst(t *testing.T) {
	for _, k := range kinds[1:] {
		for _, at := range []state.State{state.Cleaning, state.CleanWait, state.Deploying, state.DeployWait} {
			if !k.fits(at) {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				s.fresh()
				s.put(at, k, false)
				off := func() error {
					return s.c.SetPower(t.Context(), conductor.Caller{Name: "ann", Request: "req-1"}, "n1", conductor.PowerRequest{Target: "power off"})
				}
				row, _ := state.FlowOf(at)
				if row.Flow == state.Clean || at == row.Doing || k.where == step.OutOfBand {
					if err := off(); err == nil || fault.From(err).Hint == "" {
						t.Fatalf("power off in %q without maintenance: %v", at, err)
					}
				}
				if err := s.c.SetMaintenance(t.Context(), conductor.Caller{Name: "ann"}, "n1", true, "smoke"); err != nil {
					t.Fatal(err)
				}
				if err := off(); err != nil {
					t.Fatalf("power off in %q with %s: %v", at, k.name, err)
				}
				if r := s.steps()[0]; r.State != conductor.StepInterrupted || r.Fault == nil {
					t.Errorf("in %q %s is %s before the power act", at, k.name, r.State)
				}
				n := s.until(row.Failed)
				time.Sleep(time.Minute)
				if s.board.state() != conductor.PowerOff || n.LastReason != fault.StepInterrupted {
					t.Errorf("in %q with %s the machine is %q, the reason %s", at, k.name, s.board.state(), n.LastReason)
				}
				if !s.node().Maintenance {
					t.Error("the operator's maintenance is gone")
				}
			})
		}
	}
}
