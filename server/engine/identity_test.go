package engine_test

import (
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

const (
	ourUUID   = "aaaaaaaa-0000-4000-8000-000000000001"
	otherUUID = "bbbbbbbb-0000-4000-8000-000000000002"
)

func (b *board) named(uuid string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.uuid = uuid
}

func (b *board) opened() conductor.Identity {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.meant
}

// Which machine a node was verified with outlasts the server, and what only a BMC said for a while (F24, F1). Another one is
// nothing done to, and is the node's when an operator says so.
func TestF24_AVerifiedMachineIsKnownAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.board.named(ourUUID)
		s.manageable()
		ours := conductor.IdentityOf(ourUUID, "")
		if got := s.node().Machine; got != ours {
			t.Fatalf("verified as %+v", got)
		}
		s.stop()
		s.start()
		if _, err := s.c.UpdateNode(t.Context(), conductor.Caller{Name: "op"}, "n1", func(n *conductor.Node, secrets map[string]string) error {
			n.DriverInfo["address"], secrets[conductor.DriverSecret("password")], n.Machine = "elsewhere", "new", conductor.Identity{}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.c.SetBootDevice(t.Context(), conductor.Caller{Name: "op"}, "n1", conductor.BootTarget{Device: "pxe"}); err != nil || s.board.opened() != ours {
			t.Fatalf("%v; opened for %+v", err, s.board.opened())
		}

		s.board.named(otherUUID)
		acts := len(s.board.did())
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		if n := s.until(state.CleanFail); n.LastReason != fault.BMCOtherMachine || n.Machine != ours || len(s.board.did()) != acts {
			t.Errorf("%s; machine %+v; done: %v", n.LastError, n.Machine, s.board.did()[acts:])
		}

		if err := s.c.ConfirmNode(t.Context(), conductor.Caller{Name: "ann"}, "n1"); err != nil {
			t.Fatal(err)
		}
		if n := s.node(); n.Machine != (conductor.Identity{}) || n.LastError != "" {
			t.Fatalf("confirmed: %+v, %s", n.Machine, n.LastError)
		}
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		<-s.board.booted
		if n := s.node(); n.Machine != conductor.IdentityOf(otherUUID, "") {
			t.Errorf("learnt %+v", n.Machine)
		}
		if err := s.c.ConfirmNode(t.Context(), conductor.Caller{Name: "ann"}, "n1"); !fault.Has(err, fault.NodeBusy) {
			t.Errorf("confirmed in the middle of the work: %v", err)
		}
	})
}

// A new look is at whichever machine is there: what the record says is not asked for (F24).
func TestF24_VerifyTakesTheMachineThatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.board.named(ourUUID)
		s.manageable()
		s.board.named(otherUUID)
		s.provision(conductor.Provision{Verb: state.VerbAdopt})
		if n := s.until(state.Active); n.Machine != conductor.IdentityOf(otherUUID, "") {
			t.Errorf("adopted as %+v", n.Machine)
		}
		if got := s.board.opened(); got != (conductor.Identity{}) {
			t.Errorf("the BMC was opened for %+v", got)
		}
	})
}
