package engine_test

import (
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// TestI28_AHeartbeatBesideADeletion: a node is deleted while its agent tells of a step, at each moment at which the server
// looks at the clock meanwhile. Whatever the agent is told, the server goes on.
func TestI28_AHeartbeatBesideADeletion(t *testing.T) {
	moments := 1
	for k := 1; k <= moments; k++ {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			if err := s.Change("n1", func(n *conductor.Node) { n.DriverInfo["fast_track"] = true }); err != nil {
				t.Fatal(err)
			}
			s.provision(conductor.Provision{Verb: state.VerbManage})
			s.until(state.Manageable)
			s.provision(conductor.Provision{Verb: state.VerbProvide})
			a := s.agent(<-s.board.booted)
			a.run("deploy.erase_devices_metadata", nil)
			a.run("deploy.erase_devices", erased())
			s.until(state.Available)
			synctest.Wait()
			n := 0
			hook := func() {
				if n++; n != k {
					return
				}
				s.asked.Store(nil)
				if err := s.c.DeleteNode(t.Context(), conductor.Caller{Name: "op"}, "n1"); err != nil {
					t.Error(err)
				}
			}
			s.asked.Store(&hook)
			s.seq++
			err := s.c.Heartbeat(t.Context(), a.sess, api.HeartbeatRequest{Seq: s.seq, Running: "01a2-none", Progress: &step.Progress{Percent: 1, Checkpoints: []step.Checkpoint{{}}}})
			s.asked.Store(nil)
			t.Logf("deleted at moment %d of %d: %v", k, n, err)
			if n < k {
				t.Error("nothing was deleted: the test proves nothing")
			}
			moments = max(moments, n)
			if _, err := s.c.CreateNode(t.Context(), conductor.Caller{Name: "op"}, conductor.Node{Name: "n2", Driver: "rack"}, nil); err != nil {
				t.Error(err)
			}
		})
	}
}
