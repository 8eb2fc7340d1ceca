package engine_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// try sends a heartbeat and gives what came of it.
func (a *agent) try() error {
	a.s.seq++
	return a.s.c.Heartbeat(a.s.t.Context(), a.sess, api.HeartbeatRequest{Seq: a.s.seq})
}

// TestI18_RevocationHoldsFromTheCommitOn: heartbeats are checked in memory, and yet the first one after the commit that
// ends the boot is refused, before whoever committed has gone on by a single step.
func TestI18_RevocationHoldsFromTheCommitOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		a, id := s.erasing()
		synctest.Wait()
		if err := a.try(); err != nil {
			t.Fatal(err)
		}
		read := 0
		s.fault.set(func(context.Context) error { read++; return nil }, nil, nil)
		for range 3 {
			if err := a.try(); err != nil {
				t.Fatal(err)
			}
		}
		if read != 0 {
			t.Errorf("heartbeats read the store %d times", read)
		}
		var after []error
		s.fault.set(nil, nil, func(context.Context) {
			if s.node().Boot.Ended {
				after = append(after, a.try())
			}
		})
		// The step fails, and with it the flow and this boot.
		if err := s.c.Result(t.Context(), a.sess, api.ResultRequest{ID: id, Nonce: nonce, Outcome: api.Failed}); err != nil {
			t.Fatal(err)
		}
		s.until(state.CleanFail)
		s.fault.set(nil, nil, nil)
		after = append(after, a.try())
		for i, err := range after {
			if !fault.Has(err, fault.ChannelToken) {
				t.Errorf("heartbeat %d after the commit: %v", i, err)
			}
		}
		if len(after) < 2 {
			t.Error("no heartbeat was tried between the commit and its end")
		}
	})
}

// TestI30_HeartbeatsGoOnWhileTheStoreIsAway: what lives in memory is taken; nothing is granted.
func TestI30_HeartbeatsGoOnWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		a, id := s.erasing()
		synctest.Wait()
		a.beat(api.HeartbeatRequest{})
		away := func(context.Context) error {
			return fault.New(fault.StorageUnavailable, "away").Because(errors.New("test"))
		}
		s.fault.set(away, away, nil)
		if err := a.try(); err != nil {
			t.Errorf("a heartbeat while the store is away: %v", err)
		}
		err := s.c.Result(t.Context(), a.sess, api.ResultRequest{ID: id, Nonce: nonce, Outcome: api.Succeeded})
		if !fault.Has(err, fault.StorageUnavailable) {
			t.Errorf("a result while the store is away: %v", err)
		}
		s.fault.set(nil, nil, nil)
	})
}
