package engine_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// fleet copies the site's node, which is at work, with its steps.
func (s *site) fleet(size int) {
	s.t.Helper()
	err := s.store.Update(s.t.Context(), func(tx conductor.Tx) error {
		n, err := tx.NodeByName("n1")
		if err != nil {
			return err
		}
		steps, err := tx.Steps(n.UUID, n.Flow.Run)
		if err != nil {
			return err
		}
		for i := range size {
			c := n
			c.UUID, c.Name = conductor.NodeID(fmt.Sprintf("00000000-0000-4000-8000-%012d", i)), fmt.Sprint("f", i)
			if err := tx.CreateNode(&c); err != nil {
				return err
			}
			for _, r := range steps {
				r.ID, r.Node = step.ID(fmt.Sprintf("%s-%d", r.ID, i)), c.UUID
				if err := tx.PutStep(&r); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// count counts the transactions from now on.
func (s *site) count() *atomic.Int64 {
	var n atomic.Int64
	s.fault.set(nil, func(context.Context) error { n.Add(1); return nil }, nil)
	return &n
}

// fleetAtWork is a site whose first node and so many more erase, a minute after the server was started again.
func fleetAtWork(t *testing.T, more int) *site {
	t.Helper()
	s := newSite(t)
	s.erasing()
	s.fleet(more)
	s.stop()
	s.start()
	time.Sleep(time.Minute)
	return s
}

func TestI13_AFleetGoesOnInFewTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.erasing()
		const size = 600
		s.fleet(size)
		old := s.node().Flow.Wait.Deadline
		s.stop()
		time.Sleep(time.Hour)
		n := s.count()
		s.start()
		time.Sleep(time.Second)
		if got := n.Load(); got > 10 {
			t.Errorf("%d transactions for %d nodes", got, size)
		}
		late := 0
		if err := s.store.View(t.Context(), func(tx conductor.Tx) error {
			nodes, err := tx.Nodes(conductor.NodeFilter{})
			for _, n := range nodes {
				if n.State != state.CleanWait || n.Flow.Wait.Deadline.Before(old.Add(time.Hour-time.Minute)) {
					late++
				}
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if late > 0 {
			t.Errorf("the time away counts against %d nodes", late)
		}
	})
}

// A step of the clock is no mass timeout, and the deadlines of a fleet move together.
func TestF28_AClockJumpMovesAFleetInFewTransactions(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour, 10 * 365 * 24 * time.Hour, -10 * 365 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			s := fleetAtWork(t, 300)
			n := s.count()
			s.skew.Add(int64(by))
			time.Sleep(3 * time.Second)
			if got := n.Load(); got > 6 {
				t.Errorf("a step by %s: %d transactions", by, got)
			}
			nodes, err := s.c.Nodes(t.Context(), conductor.NodeFilter{State: string(state.CleanWait)})
			if err != nil || len(nodes) != 301 {
				t.Errorf("a step by %s: %d nodes are still at work (%v)", by, len(nodes), err)
			}
		})
	}
}

// A watch over deadlines that a busy store keeps waiting is no standstill: moving the deadlines of a fleet then would
// keep it waiting for longer still, each time.
func TestI14_ABusyStoreMovesNoDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fleetAtWork(t, 300)
		old := s.node().Flow.Wait.Deadline
		var n atomic.Int64
		s.fault.set(nil, func(context.Context) error { n.Add(1); time.Sleep(5 * time.Second); return nil }, nil)
		time.Sleep(5 * time.Minute)
		if got, most := n.Load(), int64(5*60/5); got > most {
			t.Errorf("%d transactions in five minutes of stamps that take 5 s each, expected %d at most", got, most)
		}
		s.fault.set(nil, nil, nil)
		time.Sleep(10 * time.Second)
		if now := s.node(); now.State != state.CleanWait || !now.Flow.Wait.Deadline.Equal(old) {
			t.Errorf("state %q, the deadline moved by %s", now.State, now.Flow.Wait.Deadline.Sub(old))
		}
	})
}

// What can't be changed is tried again, but not each second.
func TestAWaitThatCannotBeEndedIsNotHammered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.erasing()
		s.fleet(1)
		change := func(fn func(n *conductor.Node)) {
			t.Helper()
			if err := s.store.Update(t.Context(), func(tx conductor.Tx) error {
				n, err := tx.NodeByName("f0")
				if err != nil {
					return err
				}
				fn(&n)
				return tx.PutNode(&n)
			}); err != nil {
				t.Fatal(err)
			}
		}
		change(func(n *conductor.Node) { n.Flow.Wait.Deadline = s.now().Add(5 * time.Minute) })
		s.stop()
		s.start()
		time.Sleep(time.Minute)
		change(func(n *conductor.Node) { n.State = state.Active }) // no failure leads out of it
		time.Sleep(10 * time.Minute)
		n := s.count()
		time.Sleep(time.Hour)
		got := n.Load()
		if least, most := int64(360+50), int64(360+70); got < least || got > most { // the stamp each ten seconds, a try each minute
			t.Errorf("%d transactions in an hour, want %d to %d", got, least, most)
		}
	})
}
