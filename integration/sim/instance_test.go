package sim

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/crypt"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// adopt makes n1 an active node without a deployment.
func (s *site) adopt() {
	s.t.Helper()
	s.provision(conductor.Provision{Verb: state.VerbManage})
	s.until(state.Manageable)
	s.provision(conductor.Provision{Verb: state.VerbAdopt})
	s.until(state.Active, state.AdoptFail)
}

// TestI01_AdoptionNeverBootsTheMachine: the BMC's log holds no act, and the power state is the machine's.
func TestI01_AdoptionNeverBootsTheMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.mu.Lock()
		s.hosts[0].power = conductor.PowerOn // its instance runs
		s.mu.Unlock()
		s.adopt()
		<-time.After(time.Hour)
		n := s.until(state.Active)
		s.mu.Lock()
		defer s.mu.Unlock()
		h := s.hosts[0]
		if n.Power != conductor.PowerOn || h.power != conductor.PowerOn || h.boots != 0 || h.media != "" || h.boot != (conductor.BootTarget{}) || len(s.executed) != 0 {
			t.Errorf("recorded %q, the machine is %q with %d boots, medium %q, boot device %+v, %d steps", n.Power, h.power, h.boots, h.media, h.boot, len(s.executed))
		}
	})
}

// TestI22_RescueHandsTheAgentOnlyTheHash: the agent is given the hash of the password, and nothing but the hash is anywhere in
// the server's files or logs (I22); the machine is left to the person, and unrescue boots its disk.
func TestI22_RescueHandsTheAgentOnlyTheHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.adopt()
		var hash []byte
		s.work = func(ctx context.Context, _ *machine, name string, c step.Call) (err error) {
			hash, err = c.Secret(ctx, "rescue_password")
			return err
		}
		s.provision(conductor.Provision{Verb: state.VerbRescue, RescuePassword: "canary-rescue"})
		if n := s.until(state.Rescue, state.RescueFail); n.State != state.Rescue {
			t.Fatalf("%q (%s)", n.State, n.LastError)
		}
		if !crypt.Match(string(hash), "canary-rescue") || strings.Contains(string(hash), "canary") {
			t.Errorf("the agent is given %q", hash)
		}
		<-time.After(2 * time.Hour)
		n := s.until(state.Rescue)
		if n.Power != conductor.PowerOn || s.hosts[0].boots != 1 || n.Boot.Ended {
			t.Errorf("after two hours: power %q, %d boots, boot ended: %v", n.Power, s.hosts[0].boots, n.Boot.Ended)
		}
		err := s.srv.store.View(t.Context(), func(tx conductor.Tx) error { _, err := tx.Secret(n.UUID, conductor.SecretRescue); return err })
		if !fault.Has(err, fault.SecretNotFound) {
			t.Errorf("the hash is kept after the rescue began: %v", err)
		}
		s.provision(conductor.Provision{Verb: state.VerbUnrescue})
		if n := s.until(state.Active, state.UnrescueFail); n.State != state.Active || n.Power != conductor.PowerOn || s.hosts[0].boots != 1 {
			t.Errorf("%q (%s), power %q, %d boots", n.State, n.LastError, n.Power, s.hosts[0].boots)
		}
		s.logMu.Lock()
		defer s.logMu.Unlock()
		if strings.Contains(s.log.String(), "canary-rescue") {
			t.Error("the log holds the password")
		}
		s.once()
	})
}

// TestI08_ServiceGoesOnAfterARestart: a service step is at most once as any other, over a restart of the server in it (I8,
// I13), and the disk is booted behind it.
func TestI08_ServiceGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.offers = []step.Step{{Name: "vendor.blink", Where: step.InBand, Priority: map[state.Flow]int{state.Service: 0}, Repeat: step.Never, Timeout: time.Hour}}
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbInspect}) // so that the server knows the ramdisk's step
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbAdopt})
		s.until(state.Active)
		s.mu.Lock()
		s.work = slow(10 * time.Minute)
		s.mu.Unlock()
		s.provision(conductor.Provision{Verb: state.VerbService, ServiceSteps: []step.Wanted{{Name: "vendor.blink"}}})
		s.await("the step runs", func() bool { return len(s.executions()) == 1 })
		<-time.After(4 * time.Minute)
		s.stop()
		<-time.After(2 * time.Minute)
		s.start()
		n := s.until(state.Active, state.ServiceFail)
		if n.State != state.Active || n.Power != conductor.PowerOn || len(s.executions()) != 1 || s.hosts[0].boots != 2 {
			t.Errorf("%q (%s), power %q, %d executions, %d boots", n.State, n.LastError, n.Power, len(s.executions()), s.hosts[0].boots)
		}
		recs, err := s.srv.c.Steps(t.Context(), "n1", "")
		if err != nil || !slices.ContainsFunc(recs, func(r conductor.StepRecord) bool { return r.State == conductor.StepSucceeded }) {
			t.Errorf("records %+v, %v", recs, err)
		}
		s.once()
	})
}
