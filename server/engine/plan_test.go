package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/defaults"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// log is what was done to the board since it was last asked.
func (b *board) log() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.acts
	b.acts = nil
	return out
}

func manual(names ...string) conductor.Provision {
	p := conductor.Provision{Verb: state.VerbClean}
	for _, n := range names {
		name, seconds, timed := strings.Cut(n, "=")
		w := step.Wanted{Name: name}
		if timed {
			w.Args = step.Args{"seconds": float64(len(seconds))}
		}
		p.CleanSteps = append(p.CleanSteps, w)
	}
	return p
}

// A list of out-of-band steps never touches the machine's power: the BMC's own log says so.
func TestOutOfBandStepsNeverPowerTheRamdiskOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.board.log()
		s.provision(manual("management.reset_bmc", "deploy.hold", "management.clear_job_queue", "deploy.wait=xx"))
		s.until(state.CleanHold)
		s.provision(conductor.Provision{Verb: state.VerbUnhold})
		n := s.until(state.Manageable)
		if got := s.board.log(); !slices.Equal(got, []string{"step management.reset_bmc", "step management.clear_job_queue"}) || n.Generation != 0 {
			t.Errorf("acts %q, generation %d", got, n.Generation)
		}
	})
}

// A wrong step or argument fails the clean without a boot, and without anything else.
func TestWrongStepsFailWithoutAnyAct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.board.log()
		s.provision(manual("management.reset_bmc", "deploy.format_c"))
		if n := s.until(state.CleanFail); n.LastReason != fault.StepUnknown || n.Maintenance {
			t.Errorf("%s", n.LastError)
		}
		if got := s.board.log(); len(got) != 0 {
			t.Errorf("acts %q", got)
		}
	})
}

func TestReservedPowerStepsAndOneBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.board.log()
		s.provision(manual("power.power_on", "power.power_off", "power.reboot", "deploy.erase_devices_metadata", "vendor.wait", "deploy.erase_devices"))
		a := s.agent(<-s.board.booted)
		a.run("deploy.erase_devices_metadata", nil)
		if n := s.node(); n.State != state.CleanWait || n.Flow.Phase != conductor.PhaseBeat {
			t.Fatalf("%s, %s", n.State, n.Flow.Phase)
		}
		a.beat(api.HeartbeatRequest{})
		a.run("deploy.erase_devices", erased())
		n := s.until(state.Manageable)
		want := []string{"On", "ForceOff", "ForceOff", "On", // the three power steps; a reboot orders off whatever the BMC says before
			"ForceOff", "insert", "boot cdrom", "insert", "On", "eject", "ForceOff", "eject"}
		if got := s.board.log(); !slices.Equal(got, want) || n.Generation != 1 {
			t.Errorf("acts %q, want %q; %d boots", got, want, n.Generation)
		}
		records, err := s.c.Steps(t.Context(), "n1", "")
		if err != nil || len(records) != 6 {
			t.Fatalf("%d records: %v", len(records), err)
		}
		for _, r := range records {
			if r.State != conductor.StepSucceeded {
				t.Errorf("%s is %s", r.Step.Name, r.State)
			}
		}
	})
}

// With fast-track the next flow uses the agent that is up: no power act between the two.
func TestFastTrackUsesTheAgentThatIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		if _, err := s.c.UpdateNode(t.Context(), conductor.Caller{Name: "op"}, "n1", func(n *conductor.Node, _ map[string]string) error {
			n.DriverInfo["fast_track"] = true
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		s.manageable()
		s.provision(manual("deploy.erase_devices_metadata"))
		a := s.agent(<-s.board.booted)
		a.run("deploy.erase_devices_metadata", nil)
		s.until(state.Manageable)
		synctest.Wait()
		s.board.log()
		s.provision(manual("deploy.erase_devices_metadata"))
		a.run("deploy.erase_devices_metadata", nil)
		s.until(state.Manageable)
		if got := s.board.log(); len(got) != 0 {
			t.Errorf("acts %q; the agent was up", got)
		}
		silent := s.now()
		s.mail.listen(func() time.Time { return silent })
		time.Sleep(5*time.Minute + time.Second)
		s.provision(manual("deploy.erase_devices_metadata"))
		s.agent(<-s.board.booted)
	})
}

// A plan is what the work then is; asking for it changes and touches nothing.
func TestPlanIsWhatIsDoneAndDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.provision(manual("deploy.erase_devices_metadata"))
		a := s.agent(<-s.board.booted)
		id := a.claim()
		time.Sleep(90 * time.Second)
		a.end(id)
		s.until(state.Manageable)
		synctest.Wait()
		s.board.log()
		before := s.node()
		wanted := manual("management.reset_bmc", "deploy.erase_devices_metadata", "bios.factory_reset", "deploy.erase_devices")
		p, err := s.c.Plan(t.Context(), "n1", wanted)
		if err != nil || p.Err() != nil || p.Blocked != "" || p.Boots != 2 {
			t.Fatalf("%v %v %q %d", err, p.Err(), p.Blocked, p.Boots)
		}
		if after := s.node(); after.Version != before.Version || len(s.board.log()) != 0 {
			t.Fatal("the plan did something")
		}
		if it := p.Items[1]; it.Basis != "measured" || it.Expect != 90*time.Second || len(it.Disks) != 1 || it.Disks[0].Serial != "S0" {
			t.Errorf("%+v", it)
		}
		s.provision(wanted)
		records, err := s.c.Steps(t.Context(), "n1", "")
		if err != nil || len(records) != len(p.Items) {
			t.Fatalf("%d records, %d planned: %v", len(records), len(p.Items), err)
		}
		for i, r := range records {
			if r.Step.Name != p.Items[i].Step.Name {
				t.Errorf("%d: %s, planned %s", i, r.Step.Name, p.Items[i].Step.Name)
			}
		}
		s.agent(<-s.board.booted).run("deploy.erase_devices_metadata", nil)
		s.agent(<-s.board.booted).run("deploy.erase_devices", erased())
		if n := s.until(state.Manageable); n.Generation-before.Generation != uint64(p.Boots) {
			t.Errorf("%d boots, planned %d", n.Generation-before.Generation, p.Boots)
		}
	})
}

// end tells the success of a claimed step.
func (a *agent) end(id step.ID) {
	a.s.t.Helper()
	r, err := a.s.record(id)
	if err == nil {
		err = a.s.c.Result(a.s.t.Context(), a.sess, api.ResultRequest{ID: id, Nonce: r.Nonce, Outcome: api.Succeeded})
	}
	if err != nil {
		a.s.t.Fatal(err)
	}
}

func (s *site) record(id step.ID) (r conductor.StepRecord, err error) {
	err = s.store.View(s.t.Context(), func(tx conductor.Tx) error { r, err = tx.Step(id); return err })
	return r, err
}

// Defaults reach the agent in the steps of an automated clean, are audited, and never those of an operator's list.
func TestDefaultsReachTheStepsOfAnAutomatedClean(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		who := conductor.Caller{Name: "op", Request: "req-9"}
		if err := s.c.SetDefaults(t.Context(), who, "fleet", state.Clean, "deploy.erase_devices", map[string]any{"priority": 100.0, "args.verify": "full"}); err != nil {
			t.Fatal(err)
		}
		if err := s.c.SetDefaults(t.Context(), who, "node:n1", state.Clean, "deploy.erase_devices", map[string]any{"args.verify": "sample", "args.method": "quick"}); !fault.Has(err, fault.StepArgument) {
			t.Fatal(err)
		}
		if all, err := s.c.Defaults(t.Context(), "node:n1"); err != nil || len(all) != 0 {
			t.Fatalf("a refused change left %v, %v", all, err)
		}
		s.manageable()
		s.provision(manual("deploy.erase_devices"))
		a := s.agent(<-s.board.booted)
		if cmd := <-s.mail.offers; cmd.Args.Text("verify") != "sample" {
			t.Errorf("the list's step has %v", cmd.Args)
		} else {
			s.mail.offers <- cmd
		}
		a.run("deploy.erase_devices", erased())
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		a = s.agent(<-s.board.booted)
		cmd := <-s.mail.offers
		if cmd.Step != "deploy.erase_devices" || cmd.Args.Text("verify") != "full" {
			t.Errorf("first comes %s with %v", cmd.Step, cmd.Args)
		}
		s.mail.offers <- cmd
		a.run("deploy.erase_devices", erased())
		a.run("deploy.erase_devices_metadata", nil)
		s.until(state.Available)
		if err := s.c.UnsetDefaults(t.Context(), who, "fleet", state.Clean, "deploy.erase_devices", nil); err != nil {
			t.Fatal(err)
		}
		var acts []string
		if err := s.store.Audited(t.Context(), func(a conductor.Audit) error {
			if strings.HasPrefix(a.Act, "default.") {
				acts = append(acts, fmt.Sprintf("%s %s %s %v %v", a.Actor, a.Act, a.Detail["key"], a.Detail["before"], a.Detail["value"]))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		want := []string{"op default.set args.verify <nil> full", "op default.set priority <nil> 100",
			"op default.unset args.verify full <nil>", "op default.unset priority 100 <nil>"}
		if !slices.Equal(acts, want) {
			t.Errorf("the audit has %q, want %q", acts, want)
		}
		scopes, values, err := s.c.ExplainDefaults(t.Context(), "n1")
		if err != nil || len(scopes) != 2 || slices.ContainsFunc(values, func(e defaults.Explained) bool { return e.Origin != defaults.FromStep }) {
			t.Errorf("%v %v %v", scopes, values, err)
		}
	})
}
