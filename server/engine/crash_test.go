package engine_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

const nonce = "0123456789abcdef"

func away(context.Context) error { return fault.New(fault.StorageUnavailable, "the store is away") }

// manageable brings the node there.

func (s *site) manageable() {
	s.t.Helper()
	s.provision(conductor.Provision{Verb: state.VerbManage})
	s.until(state.Manageable)
}

// erasing brings the node to where an agent runs the first step of a clean.

func (s *site) erasing() (*agent, step.ID) {
	s.t.Helper()
	s.manageable()
	s.provision(conductor.Provision{Verb: state.VerbProvide})
	a := s.agent(<-s.board.booted)
	return a, a.claim()
}

// claim takes an offer and starts it.

func (a *agent) claim() step.ID {
	a.s.t.Helper()
	var cmd api.Command
	select {
	case cmd = <-a.s.mail.offers:
	case <-time.After(time.Hour):
		a.s.t.Fatal("nothing is offered")
	}
	if _, err := a.s.c.Start(a.s.t.Context(), a.sess, api.StartRequest{ID: cmd.ID, Nonce: nonce}); err != nil {
		a.s.t.Fatal(err)
	}
	return cmd.ID
}

// instance gives the node something to deploy.

func (s *site) instance() {
	s.t.Helper()
	_, err := s.c.UpdateNode(s.t.Context(), conductor.Caller{}, "n1", func(n *conductor.Node, _ map[string]string) error {
		n.InstanceInfo = map[string]any{"image_source": "http://x/os.raw.zst", "image_os_hash_algo": "sha256", "image_os_hash_value": strings.Repeat("a", 64)}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (b *board) count(act string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.acts {
		if a == act {
			n++
		}
	}
	return n
}

func (b *board) state() conductor.Power {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.power
}

// An agent says itself which secrets its steps need: it must not get those of the BMC by saying so.

func TestI20_AnAgentsOwnStepNamesNoSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		rogue := step.Step{Name: "vendor.peek", Where: step.InBand, Priority: map[state.Flow]int{state.Clean: 1000}, Repeat: step.Again,
			Timeout: time.Minute, Secrets: []string{"driver_info.password", "configdrive"}}
		a := s.agentOf(<-s.board.booted, append([]step.Step{rogue}, catalog.InBand...))
		id := a.claim()
		for _, name := range rogue.Secrets {
			if v, err := s.c.Secret(t.Context(), a.sess, api.SecretRequest{ID: id, Name: name}); !fault.Is(err, fault.Forbidden) {
				t.Errorf("the agent got %s = %q (%v)", name, v, err)
			}
		}
	})
}

// A step of an agent's own without a sane bound would be a wait without a deadline.

func TestI14_AnAgentsOwnStepHasADeadline(t *testing.T) {
	for _, limit := range []time.Duration{-time.Hour, 0, 100 * 365 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			s.manageable()
			s.provision(conductor.Provision{Verb: state.VerbProvide})
			s.agentOf(<-s.board.booted, append([]step.Step{{Name: "vendor.stay", Where: step.InBand, Repeat: step.Again,
				Priority: map[state.Flow]int{state.Clean: 1000}, Timeout: limit}}, catalog.InBand...))
			if n := s.until(state.CleanFail); n.LastReason != fault.StepArgument {
				t.Errorf("timeout %s: %s", limit, n.LastError)
			}
		})
	}
}

func TestI13_AnEffectOfAnOlderRunDoesNotKeepTheServerFromStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		url := <-s.board.booted
		s.until(state.InspectWait)
		old := conductor.Effect{Node: s.node().UUID, Kind: conductor.EffectRunStep, Run: "older", Step: "gone", Created: s.now()}
		if err := s.store.Update(t.Context(), func(tx conductor.Tx) error { return tx.AddEffect(&old) }); err != nil {
			t.Fatal(err)
		}
		s.stop()
		s.start()
		s.agent(url)
		s.until(state.Manageable)
		err := s.store.View(t.Context(), func(tx conductor.Tx) error {
			left, err := tx.Effects()
			if slices.ContainsFunc(left, func(e conductor.Effect) bool { return e.ID == old.ID }) {
				t.Error("the effect is still in the store")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// One node that can't go on must not keep the others from going on.

func TestI28_ANodeOfAnUnknownHardwareTypeDoesNotKeepTheServerFromStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		url := <-s.board.booted
		s.until(state.InspectWait)
		lost := conductor.Node{UUID: "33333333-3333-4333-8333-333333333333", Name: "lost", Driver: "gone", State: state.InspectWait,
			DriverInfo: map[string]any{}, Properties: map[string]any{}, InstanceInfo: map[string]any{}, Extra: map[string]any{},
			Flow: s.node().Flow}
		if err := s.store.Update(t.Context(), func(tx conductor.Tx) error { return tx.CreateNode(&lost) }); err != nil {
			t.Fatal(err)
		}
		s.stop()
		time.Sleep(time.Minute)
		s.start()
		s.agent(url)
		s.until(state.Manageable)
	})
}

func TestI14_ARestartIsNotTheAgentsSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.erasing()
		time.Sleep(20 * time.Minute)
		s.stop()
		s.mail.listen(func() time.Time { return time.Time{} }) // a new server has heard nobody yet
		s.start()
		time.Sleep(4 * time.Minute) // of the five that an agent may be silent
		if n := s.node(); n.State != state.CleanWait {
			t.Fatalf("state %q: %s", n.State, n.LastError)
		}
		<-s.board.booted // real silence: the ramdisk is booted again, for a new attempt
		if r := s.first(); r.State != conductor.StepInterrupted || !strings.Contains(r.Fault.Message, "last heard 5m1s ago") {
			t.Fatalf("real silence: %+v", r)
		}
	})
}

func TestF30_AServerThatStoodStillDoesNotTakeItForSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.erasing()
		last := s.now().Round(0)
		s.mail.listen(func() time.Time { return last })
		s.skew.Store(int64(time.Hour))
		time.Sleep(4 * time.Minute)
		if n := s.node(); n.State != state.CleanWait {
			t.Fatalf("state %q: %s", n.State, n.LastError)
		}
		<-s.board.booted // real silence: the ramdisk is booted again, for a new attempt
		if r := s.first(); r.State != conductor.StepInterrupted || !strings.Contains(r.Fault.Message, "last heard 5m1s ago") {
			t.Fatalf("real silence: %+v", r)
		}
	})
}

// The act that boots the ramdisk begins with power off: repeated after the lookup it would cut off the step at work.

func TestI12_TheBootIsNotRepeatedAfterTheLookup(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			s.manageable()
			s.provision(conductor.Provision{Verb: state.VerbProvide})
			url := <-s.board.booted
			s.board.answer(fault.New(fault.BMCBusy, "the BMC answered 503")) // power on is not confirmed
			a := s.agent(url)
			a.claim()
			offs := s.board.count("ForceOff")
			if restart {
				s.stop()
				s.start()
			}
			time.Sleep(5 * time.Minute)
			s.board.answer(nil)
			time.Sleep(5 * time.Minute)
			if n := s.board.count("ForceOff"); n != offs {
				t.Errorf("restart %v: the machine was powered off under its agent", restart)
			}
			if n := s.node(); n.State != state.CleanWait || n.Power != conductor.PowerOn {
				t.Errorf("restart %v: state %q, power %q, %s", restart, n.State, n.Power, n.LastError)
			}
		})
	}
}

func TestI30_AnEffectWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		synctest.Wait() // the start is over
		ours := t.Context()
		blind := func(ctx context.Context) error {
			if ctx == ours {
				return nil
			}
			return away(ctx)
		}
		s.fault.set(blind, nil, nil)
		s.provision(conductor.Provision{Verb: state.VerbManage})
		time.Sleep(time.Minute)
		if n := s.node(); n.State != state.Verifying {
			t.Fatalf("verify: state %q, %s", n.State, n.LastError)
		}
		s.fault.set(nil, nil, nil)
		s.until(state.Manageable)

		s.fault.set(blind, nil, nil)
		s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "management.reset_bmc"}}})
		time.Sleep(time.Minute)
		if n := s.node(); n.State != state.CleanWait {
			t.Fatalf("step: state %q, %s", n.State, n.LastError)
		}
		s.fault.set(nil, nil, nil)
		s.until(state.Manageable)
		if recs, err := s.c.Steps(t.Context(), "n1", ""); err != nil || len(recs) != 1 || recs[0].State != conductor.StepSucceeded {
			t.Fatalf("%+v %v", recs, err)
		}
	})
}

func TestI30_AnOrderToAnAgentWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		url := <-s.board.booted
		s.until(state.CleanWait)
		ours := t.Context()
		s.fault.set(nil, func(ctx context.Context) error {
			if ctx == ours { // all but what the agent itself causes
				return nil
			}
			return away(ctx)
		}, nil)
		a := s.agent(url)
		time.Sleep(20 * time.Second)
		s.fault.set(nil, nil, nil)
		a.claim()
	})
}

// A deletion while the node waits goes on to clean in the ramdisk that is there. Whoever uses it must end it.

func TestF16_ACleanThatTookOverARamdiskFencesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.available()
		s.instance()
		s.provision(conductor.Provision{Verb: state.VerbDeploy})
		a := s.agent(<-s.board.booted)
		<-s.mail.offers // write_image, not started
		s.provision(conductor.Provision{Verb: state.VerbDelete})
		a.claim()
		last := s.now()
		s.mail.listen(func() time.Time { return last })
		s.until(state.CleanFail)
		time.Sleep(time.Minute)
		if n := s.node(); !n.Boot.Ended || s.board.state() != conductor.PowerOff {
			t.Fatalf("an eraser without an owner: boot ended %v, machine %q", n.Boot.Ended, s.board.state())
		}
	})
}

func TestF40_ANodeIsNotDeletedBeforeItsMachineIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.erasing()
		s.board.answer(fault.New(fault.BMCBusy, "the BMC answered 503"))
		last := s.now()
		s.mail.listen(func() time.Time { return last })
		if n := s.until(state.CleanFail); !n.Maintenance {
			t.Fatal("a failed clean sets maintenance")
		}
		if err := s.c.DeleteNode(t.Context(), conductor.Caller{}, "n1"); !fault.Is(err, fault.Busy) {
			t.Fatalf("deleted while its eraser may still run: %v", err)
		}
		s.board.answer(nil)
		time.Sleep(2 * time.Minute)
		if p := s.board.state(); p != conductor.PowerOff {
			t.Fatalf("machine %q", p)
		}
		if err := s.c.DeleteNode(t.Context(), conductor.Caller{}, "n1"); err != nil {
			t.Fatal(err)
		}
	})
}

// What follows a commit runs beside what follows the next one: the older must not undo the newer.

func TestI14_AnOlderDecisionDoesNotUndoANewerOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		<-s.board.booted
		s.until(state.InspectWait)

		slow, cancel := context.WithCancel(t.Context())
		defer cancel()
		open := make(chan struct{})
		s.fault.set(nil, nil, func(ctx context.Context) {
			if ctx == slow {
				<-open
			}
		})
		done := make(chan error, 1)
		go func() {
			done <- s.c.Provision(slow, conductor.Caller{}, "n1", conductor.Provision{Verb: state.VerbAbort})
		}()
		synctest.Wait() // the abort is stored, and stands still before its effects
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		synctest.Wait()
		close(open)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		timeout := time.After(3 * time.Hour)
		select {
		case url := <-s.board.booted:
			s.agent(url)
			s.until(state.Manageable)
		case <-timeout:
			n := s.node()
			t.Fatalf("the node is stuck in %q, waiting for %+v", n.State, n.Flow.Wait)
		}
	})
}

func TestI24_AWrongSecretChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		<-s.board.booted
		s.until(state.InspectWait)
		before := s.node()
		_, err := s.c.Lookup(t.Context(), conductor.Peer{Key: "x", Addr: netip.MustParseAddr("192.0.2.66")},
			api.LookupRequest{Node: before.UUID, Generation: before.Generation, Secret: "guess", BootID: "b", Seq: 1}, inventory.Inventory{})
		if !fault.Has(err, fault.ChannelClaim) {
			t.Fatal(err)
		}
		if n := s.node(); n.Version != before.Version {
			t.Fatal("anybody can make the server write")
		}
	})
}

func TestI13_ACrashInTheMiddleOfTheRestartLosesNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		url := <-s.board.booted
		s.until(state.InspectWait)
		s.stop()
		time.Sleep(6 * time.Hour)
		first := true
		s.fault.set(nil, func(ctx context.Context) error {
			if first {
				first = false
				return nil
			}
			return away(ctx)
		}, nil)
		s.start()
		synctest.Wait()
		s.stop()
		s.fault.set(nil, nil, nil)
		s.start()
		time.Sleep(5 * time.Second)
		if n := s.node(); n.State != state.InspectWait {
			t.Fatalf("state %q: %s", n.State, n.LastError)
		}
		s.agent(url)
		s.until(state.Manageable)
	})
}

func TestF40_AnAbortIsOrderedAgainAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		_, id := s.erasing()
		s.provision(conductor.Provision{Verb: state.VerbAbort})
		s.stop()
		s.mail.withdrawn = nil
		s.start()
		time.Sleep(10 * time.Second)
		s.mail.mu.Lock()
		defer s.mail.mu.Unlock()
		if !slices.Contains(s.mail.withdrawn, id) {
			t.Fatal("the new server has forgotten the abort")
		}
	})
}

func TestT04_TheImageThatWasCheckedIsTheOneDeployed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.available()
		s.stop()
		s.check = func(_ context.Context, url string) error {
			if strings.Contains(url, "169.254") {
				return fault.New(fault.OriginRefused, "no")
			}
			// Between the check and the decision somebody else changes the node.
			_, err := s.c.UpdateNode(t.Context(), conductor.Caller{}, "n1", func(n *conductor.Node, _ map[string]string) error {
				n.InstanceInfo["image_source"] = "http://169.254.169.254/os.raw.zst"
				return nil
			})
			return err
		}
		s.start()
		s.instance()
		if err := s.c.Provision(t.Context(), conductor.Caller{}, "n1", conductor.Provision{Verb: state.VerbDeploy}); !fault.Has(err, fault.StateConflict) {
			t.Fatalf("an image that nobody checked is deployed: %v", err)
		}
	})
}

func TestI25_AFailureToldByAnAgentIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		a, id := s.erasing()
		err := s.c.Result(t.Context(), a.sess, api.ResultRequest{ID: id, Nonce: nonce, Outcome: api.Failed,
			Fault: &api.Fault{Reason: strings.Repeat("r", 1<<19), Message: strings.Repeat("ä", 1<<18), Hint: strings.Repeat("h", 1<<18)}})
		if err != nil {
			t.Fatal(err)
		}
		if n := s.until(state.CleanFail); len(n.LastError)+len(n.LastReason) > 10_000 {
			t.Fatalf("last_error has %d bytes", len(n.LastError)+len(n.LastReason))
		}
	})
}

func TestI13_AStopDuringTheStartIsNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		<-s.board.booted
		s.until(state.InspectWait)
		s.stop()
		s.start()
		s.stop() // which fails the test if Run does
	})
}

func TestF40_APowerActSaysWhatItEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.available()
		s.instance()
		s.provision(conductor.Provision{Verb: state.VerbDeploy})
		a := s.agent(<-s.board.booted)
		a.claim()
		if err := s.c.SetPower(t.Context(), conductor.Caller{Name: "op"}, "n1", conductor.PowerRequest{Target: "power off"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		n := s.node()
		if n.State != state.DeployFail || n.LastReason != fault.StepInterrupted || n.Power != conductor.PowerOff || n.PowerTarget != "" {
			t.Fatalf("state %q, last error %q, power %q to %q", n.State, n.LastError, n.Power, n.PowerTarget)
		}
	})
}

// BMCs repeat in their errors what they were asked for. The medium's address is as good as the boot's secret.

func TestI22_TheMediumsAddressIsNotShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.board.refuse = true
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		time.Sleep(time.Minute)
		token, n := strings.Split(s.board.last(), "/")[4], s.node()
		if token == "" || n.Flow.Wait == nil || !strings.Contains(n.Flow.Wait.Evidence, "can't fetch") || strings.Contains(n.Flow.Wait.Evidence, token) {
			t.Errorf("evidence %+v shows %s", n.Flow.Wait, token)
		}
		if n = s.until(state.InspectFail); strings.Contains(n.LastError, token) {
			t.Errorf("last_error shows the medium's token: %s", n.LastError)
		}
	})
}

// last is the medium asked for last.

func (b *board) last() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked
}

func TestI30_AStartWaitsForTheStore(t *testing.T) {
	for _, before := range []int64{0, 1, 2, 3} { // acts upon the store before it is away
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			s.manageable()
			s.provision(conductor.Provision{Verb: state.VerbInspect})
			url := <-s.board.booted
			s.until(state.InspectWait)
			s.stop()
			time.Sleep(time.Hour)
			back := s.now().Add(time.Minute)
			var acts atomic.Int64
			gone := func(ctx context.Context) error {
				if acts.Add(1) <= before || s.now().After(back) {
					return nil
				}
				return away(ctx)
			}
			s.fault.set(gone, gone, nil)
			s.start()
			time.Sleep(2 * time.Minute)
			s.fault.set(nil, nil, nil)
			s.agent(url)
			s.until(state.Manageable)
		})
	}
}

// An operator's act upon the BMC and a flow's must not meet: the boot device would be anybody's.

func TestI16_TheBootDeviceIsNotSetBesideAFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.board.slow = make(chan struct{})
		disk := conductor.BootTarget{Device: "disk", Always: true}
		done := make(chan error, 1)
		go func() { done <- s.c.SetBootDevice(t.Context(), conductor.Caller{}, "n1", disk) }()
		synctest.Wait() // the BMC is at it
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		time.Sleep(10 * time.Second)
		if n := s.board.count("insert"); n != 0 {
			t.Error("the flow acts while the operator's act is not over")
		}
		close(s.board.slow)
		if err := <-done; err != nil {
			t.Error(err)
		}
		url := <-s.board.booted
		if err := s.c.SetBootDevice(t.Context(), conductor.Caller{}, "n1", disk); !fault.Is(err, fault.Busy) {
			t.Errorf("in a flow: %v", err)
		}
		s.agent(url)
		s.until(state.Manageable)
	})
}

// TestI13_F01_NoLookupWhileTheMachineIsBootedAnew: the server dies between power on and its record of it, the ramdisk
// comes up, and the next server begins the boot again by power off. The ramdisk that is about to lose power must not be
// let in: the node would wait for an agent that is gone.
func TestI13_F01_NoLookupWhileTheMachineIsBootedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		url := <-s.board.booted
		s.stop()
		s.start()
		synctest.Wait() // the new server has cut the power and waits to see it gone
		if s.board.state() != conductor.PowerOff || s.board.count("On") != 1 {
			t.Fatalf("the machine is %s after %d power-ons", s.board.state(), s.board.count("On"))
		}
		token := strings.Split(strings.TrimPrefix(url, "http://192.0.2.9:6387/boot/"), "/")[0]
		cfg, err := s.c.Medium(t.Context(), token, netip.MustParseAddr("192.0.2.1"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.c.Lookup(t.Context(), conductor.Peer{Key: "the first ramdisk's", Addr: netip.MustParseAddr("192.0.2.50")},
			api.LookupRequest{Node: cfg.Node, Generation: cfg.Generation, Secret: cfg.Secret, BootID: "a", Seq: 1}, inventory.Inventory{})
		if !fault.Has(err, fault.NodeBusy) {
			t.Errorf("the ramdisk whose power is cut is told %v, expected to be asked to come again", err)
		}
		select {
		case url = <-s.board.booted:
			s.agent(url).claim()
		case <-time.After(time.Minute):
			t.Fatal("the machine is not booted again")
		}
		if n := s.node(); n.Boot.Contested || n.Flow.Phase != conductor.PhaseAgent {
			t.Errorf("with the second ramdisk at work: %+v, contested %v", n.Flow, n.Boot.Contested)
		}
	})
}

// first is the first attempt of the work in progress.
func (s *site) first() conductor.StepRecord {
	s.t.Helper()
	recs, err := s.c.Steps(s.t.Context(), "n1", "")
	if err != nil || len(recs) == 0 {
		s.t.Fatalf("%d steps, %v", len(recs), err)
	}
	return recs[0]
}
