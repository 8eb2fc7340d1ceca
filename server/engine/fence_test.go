package engine_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// A server that was stopped for longer than its lease acts upon no machine before it knows that nobody took over.
func TestF30_I16_NoMachineIsActedUponWhileTheLeaseIsInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.doubt.Store(fault.New(fault.StorageUnavailable, "the lease ran out"))
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		time.Sleep(time.Minute)
		s.board.mu.Lock()
		acts := len(s.board.acts)
		s.board.mu.Unlock()
		if acts != 0 {
			t.Fatalf("acts upon the machine: %v", s.board.acts)
		}
		if w := s.node().Flow.Wait; w == nil || w.Evidence == "" {
			t.Error("the wait does not say what is in the way")
		}
		s.doubt.Store(nil)
		s.agent(<-s.board.booted).claim() // it goes on by itself
	})
}
