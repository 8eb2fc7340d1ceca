package records_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/recordtest"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Ports and port groups are changed and deleted while a flow waits: only its work locks the node. How they are connected keeps
// to its own rule.
func TestPortsChangeWhileAFlowWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := recordtest.Open(t, time.Now)
		tell := func(r conductor.Record) {
			switch r := r.(type) {
			case *conductor.Port:
				r.Extra = map[string]any{"a": "b"}
			case *conductor.Portgroup:
				r.Extra = map[string]any{"a": "b"}
			}
		}
		wire := func(r conductor.Record) {
			switch r := r.(type) {
			case *conductor.Port:
				r.PhysicalNet = "lan"
			case *conductor.Portgroup:
				r.Mode = "802.3ad"
			}
		}
		for _, c := range []struct {
			at                 state.State
			maintenance        bool
			told, wired, freed bool
		}{
			{state.CleanWait, false, true, false, true}, {state.CleanHold, false, true, false, true}, {state.DeployWait, false, true, false, true},
			{state.ServiceWait, false, true, false, true}, {state.RescueWait, false, true, false, true}, {state.CleanWait, true, true, true, true},
			{state.Cleaning, false, false, false, false}, {state.Cleaning, true, false, false, false}, {state.Active, false, true, false, true},
		} {
			for _, fresh := range []conductor.Record{
				&conductor.Port{Node: s.N1().UUID, Address: "52:54:00:aa:00:01"}, &conductor.Portgroup{Node: s.N1().UUID, Standalone: true},
			} {
				r := s.Must(fresh)
				s.Stand("n1", func(n *conductor.Node) { n.State, n.Maintenance = c.at, c.maintenance })
				told, wired, freed := s.Amend(r, tell), s.Amend(r, wire), s.Remove(r)
				for what, done := range map[string]struct {
					err  error
					want bool
				}{"told": {told, c.told}, "wired": {wired, c.wired}, "freed": {freed, c.freed}} {
					if (done.err == nil) != done.want || done.err != nil && fault.From(done.err).Code.Status() != 409 {
						t.Errorf("a %s is %s in %s (maintenance %v): %v", r.Keys().Kind, what, c.at, c.maintenance, done.err)
					}
				}
				s.Stand("n1", func(n *conductor.Node) { n.State, n.Maintenance = state.Enroll, false })
				if freed != nil {
					if err := s.Remove(r); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	})
}
