package engine_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Each test here is of one check of the agents' calls, and fails when that check is gone.

// writing brings the node to where an agent writes an image and may read the config drive.
func (s *site) writing() (*agent, step.ID) {
	s.t.Helper()
	s.available()
	s.instance()
	s.provision(conductor.Provision{Verb: state.VerbDeploy, ConfigDrive: &conductor.ConfigDrive{Files: map[string][]byte{}}})
	a := s.agent(<-s.board.booted)
	return a, a.claim()
}

// alter changes what the store holds of the step and its node, behind the engine's back.
func (s *site) alter(id step.ID, change func(tx conductor.Tx, n *conductor.Node, r *conductor.StepRecord) error) {
	s.t.Helper()
	err := s.store.Update(s.t.Context(), func(tx conductor.Tx) error {
		n, err := tx.NodeByName("n1")
		if err != nil {
			return err
		}
		r, err := tx.Step(id)
		if err != nil {
			return err
		}
		if err := change(tx, &n, &r); err != nil {
			return err
		}
		return errors.Join(tx.PutNode(&n), tx.PutStep(&r))
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// TestI20_ASecretIsForTheStartedStepOfThisNodeAndBoot: for no other's, for no session that does not stand, and at no
// lower level.
func TestI20_ASecretIsForTheStartedStepOfThisNodeAndBoot(t *testing.T) {
	for name, c := range map[string]struct {
		change func(tx conductor.Tx, n *conductor.Node, r *conductor.StepRecord) error
		ask    func(a *agent, r *api.SecretRequest)
		want   fault.Reason // "" when it is given
		says   string
	}{
		"its own": {},
		"another node's step": {want: fault.RequestForbidden, change: func(tx conductor.Tx, _ *conductor.Node, r *conductor.StepRecord) error {
			other := conductor.Node{UUID: "33333333-3333-4333-8333-333333333333", Name: "n2", Driver: "rack", State: state.Enroll}
			r.Node = other.UUID
			return tx.CreateNode(&other)
		}},
		"a step of an older boot": {want: fault.RequestForbidden, change: func(_ conductor.Tx, _ *conductor.Node, r *conductor.StepRecord) error {
			r.Generation--
			return nil
		}},
		"a step that has ended": {want: fault.RequestForbidden, change: func(_ conductor.Tx, _ *conductor.Node, r *conductor.StepRecord) error {
			r.State = conductor.StepFailed
			return nil
		}},
		"an unknown step":   {want: fault.RequestForbidden, ask: func(_ *agent, r *api.SecretRequest) { r.ID = "nobody" }},
		"a secret unlisted": {want: fault.RequestForbidden, ask: func(_ *agent, r *api.SecretRequest) { r.Name = "driver_info.password" }},
		"a step of a vendor": {want: fault.RequestForbidden, change: func(_ conductor.Tx, _ *conductor.Node, r *conductor.StepRecord) error {
			r.Step.Name = "vendor.peek"
			return nil
		}},
		"a hardware type that is gone": {want: fault.RequestForbidden, change: func(_ conductor.Tx, n *conductor.Node, _ *conductor.StepRecord) error {
			n.Driver = "gone"
			return nil
		}},
		"a ramdisk that proved too little": {want: fault.StepLevel, change: func(_ conductor.Tx, n *conductor.Node, _ *conductor.StepRecord) error {
			n.Boot.Level = api.A0
			return nil
		}},
		"a boot that has ended": {want: fault.ChannelToken, change: func(_ conductor.Tx, n *conductor.Node, _ *conductor.StepRecord) error {
			n.Boot.Ended = true
			return nil
		}},
		"another's key":     {want: fault.ChannelToken, ask: func(a *agent, _ *api.SecretRequest) { a.sess.Peer.Key = "other" }},
		"another's address": {want: fault.ChannelSource, ask: func(a *agent, _ *api.SecretRequest) { a.sess.Peer.Addr = netip.MustParseAddr("192.0.2.51") }},
		"a node that is gone": {want: fault.ChannelToken, says: "does not exist", ask: func(a *agent, _ *api.SecretRequest) {
			a.sess.Claims.Node = "22222222-2222-4222-8222-222222222222"
		}},
		"a secret that is not set": {want: fault.SecretNotFound, change: func(tx conductor.Tx, n *conductor.Node, _ *conductor.StepRecord) error {
			return tx.PutSecret(n.UUID, "configdrive", nil)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				a, id := s.writing()
				if c.change != nil {
					s.alter(id, c.change)
				}
				ask := api.SecretRequest{ID: id, Name: "configdrive"}
				if c.ask != nil {
					c.ask(a, &ask)
				}
				v, err := s.c.Secret(t.Context(), a.sess, ask)
				if c.want == "" && (err != nil || len(v) == 0) || c.want != "" && (!fault.Has(err, c.want) || !strings.Contains(err.Error(), c.says) || v != nil) {
					t.Errorf("got %d bytes and %v, want %q", len(v), err, c.want)
				}
			})
		})
	}
}

// deaf is a store whose audit can't be written.
type deaf struct{ conductor.Store }

type deafTx struct{ conductor.Tx }

func (d deaf) Update(ctx context.Context, fn func(conductor.Tx) error) error {
	return d.Store.Update(ctx, func(tx conductor.Tx) error { return fn(deafTx{tx}) })
}

func (deafTx) AppendAudit(conductor.Audit) error { return away(context.Background()) }

// TestI27_NoSecretWithoutItsAudit: what can't be audited is not given.
func TestI27_NoSecretWithoutItsAudit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		a, id := s.writing()
		synctest.Wait() // what the boot left to be done reads the store too
		s.fault.Store = deaf{s.store}
		if v, err := s.c.Secret(t.Context(), a.sess, api.SecretRequest{ID: id, Name: "configdrive"}); !fault.Has(err, fault.StorageUnavailable) || v != nil {
			t.Errorf("got %d bytes and %v", len(v), err)
		}
		synctest.Wait()
		s.fault.Store = s.store
	})
}

// TestI18_AHeartbeatSaysWhyItIsRefused: a node that is gone is another matter than a store that is away, which takes no
// token's life.
func TestI18_AHeartbeatSaysWhyItIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		a, _ := s.erasing()
		gone := *a
		gone.sess.Claims.Node = "22222222-2222-4222-8222-222222222222"
		for range 2 {
			if err := gone.try(); !fault.Has(err, fault.ChannelToken) || !strings.Contains(err.Error(), "does not exist") {
				t.Errorf("of a node that is gone: %v", err)
			}
		}
		// A write of the node makes the memory ask the store again.
		s.maintenance(true, "the rack is being moved")
		s.fault.set(away, nil, nil)
		if err := a.try(); !fault.Has(err, fault.StorageUnavailable) {
			t.Errorf("while the store is away: %v", err)
		}
		s.fault.set(nil, nil, nil)
		if err := a.try(); err != nil {
			t.Errorf("when it is back: %v", err)
		}
	})
}

// TestI29_AHeartbeatWhoseNewsCantBeKeptIsNotTaken: a list of steps is acknowledged when it is stored.
func TestI29_AHeartbeatWhoseNewsCantBeKeptIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		a, _ := s.erasing()
		synctest.Wait()
		s.fault.set(nil, away, nil)
		s.seq++
		if err := s.c.Heartbeat(t.Context(), a.sess, api.HeartbeatRequest{Seq: s.seq, Steps: catalog.InBand}); !fault.Has(err, fault.StorageUnavailable) {
			t.Errorf("a list of steps while the store is away: %v", err)
		}
		s.fault.set(nil, nil, nil)
	})
}

// TestI29_ProgressIsThatOfTheStepThatRuns: of no step is no progress.
func TestI29_ProgressIsThatOfTheStepThatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		a, id := s.erasing()
		a.beat(api.HeartbeatRequest{Running: id, Progress: &step.Progress{Percent: 40}})
		a.beat(api.HeartbeatRequest{Progress: &step.Progress{Percent: 90}})
		a.beat(api.HeartbeatRequest{Running: id})
		if p := s.first().Progress; p == nil || p.Percent != 40 {
			t.Errorf("progress is %+v", p)
		}
		steps := len(s.node().Boot.Steps)
		a.beat(api.HeartbeatRequest{})
		if got := len(s.node().Boot.Steps); got != steps || got == 0 {
			t.Errorf("%d steps after a heartbeat without a list, %d before", got, steps)
		}
	})
}

// TestI14_TheHeartbeatThatAWaitIsForIsNotLost: if what follows from it can't be stored, it is not acknowledged.
func TestI14_TheHeartbeatThatAWaitIsForIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "deploy.erase_devices_metadata"}, {Name: "deploy.wait"}}})
		a := s.agent(<-s.board.booted)
		a.run("deploy.erase_devices_metadata", nil)
		synctest.Wait()
		if f := s.node().Flow; f == nil || f.Phase != conductor.PhaseBeat {
			t.Fatalf("the flow is %+v", f)
		}
		s.fault.set(nil, away, nil)
		if err := a.try(); !fault.Has(err, fault.StorageUnavailable) {
			t.Errorf("while the store is away: %v", err)
		}
		s.fault.set(nil, nil, nil)
		a.beat(api.HeartbeatRequest{Steps: catalog.InBand}) // one that brings a list counts as well
		s.until(state.Manageable)
	})
}
