package engine_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// backup copies the database of a stopped site; restore puts the copy in its place.
func (s *site) backup() (restore func()) {
	s.t.Helper()
	path := filepath.Join(s.dir, "b.db")
	kept, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	return func() {
		s.t.Helper()
		for _, beside := range []string{"-wal", "-shm"} {
			if err := os.Remove(path + beside); err != nil && !os.IsNotExist(err) {
				s.t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, kept, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (b *board) did() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.acts)
}

// refusals checks that nothing which acts upon the machine is accepted.
func (s *site) refusals(t *testing.T) {
	t.Helper()
	who := conductor.Caller{Name: "op"}
	for what, err := range map[string]error{
		"provide":  s.c.Provision(t.Context(), who, "n1", conductor.Provision{Verb: state.VerbProvide}),
		"inspect":  s.c.Provision(t.Context(), who, "n1", conductor.Provision{Verb: state.VerbInspect}),
		"clean":    s.c.Provision(t.Context(), who, "n1", conductor.Provision{Verb: state.VerbClean}),
		"power":    s.c.SetPower(t.Context(), who, "n1", conductor.PowerRequest{Target: "power off"}),
		"boot dev": s.c.SetBootDevice(t.Context(), who, "n1", conductor.BootTarget{Device: "pxe"}),
	} {
		if !fault.Has(err, fault.NodeUnverified) {
			t.Errorf("%s: %v, want node.unverified", what, err)
		}
	}
}

// A backup is put back after the node went on: nothing happens to the machine until an operator has confirmed the
// record, and no boot generation comes again.
func TestF35_I15_ARestoredBackupTouchesNoMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.stop()
		restore := s.backup()
		s.start()
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		a := s.agent(<-s.board.booted)
		id := a.claim()
		late := s.node().Generation
		s.stop()
		restore()
		acts := s.board.did()
		s.start()
		time.Sleep(time.Hour)
		n := s.node()
		if n.Unverified == nil || n.State != state.Manageable || !strings.Contains(n.LastError, "older database") {
			t.Fatalf("state %q, unverified %v: %s", n.State, n.Unverified, n.LastError)
		}
		s.refusals(t)
		if _, err := s.c.Start(t.Context(), a.sess, api.StartRequest{ID: id, Nonce: nonce}); err == nil {
			t.Error("a step of the time before was started")
		}
		time.Sleep(time.Hour)
		if got := s.board.did(); !slices.Equal(got, acts) {
			t.Errorf("done to the machine: %v", got[len(acts):])
		}
		s.stop() // neither does a second start believe the records
		s.start()
		if s.node().Unverified == nil {
			t.Fatal("a restart confirmed the record")
		}
		if err := s.c.ConfirmNode(t.Context(), conductor.Caller{Name: "ann"}, "n1"); err != nil {
			t.Fatal(err)
		}
		if n := s.node(); n.Unverified != nil || n.LastError != "" {
			t.Errorf("after the confirmation: %v, %s", n.Unverified, n.LastError)
		}
		audited := false
		if err := s.store.Audited(t.Context(), func(a conductor.Audit) error {
			audited = audited || a.Act == "node.confirm" && a.Actor == "ann"
			return nil
		}); err != nil || !audited {
			t.Errorf("the confirmation is not in the audit (%v)", err)
		}
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		s.agent(<-s.board.booted)
		if n := s.node(); n.Generation <= late {
			t.Errorf("boot %d after boot %d", n.Generation, late)
		}
	})
}

// The same with a flow in the middle of its work in the backup: it ends as failed, without an act.
func TestF35_I15_ARestoredFlowEndsWithoutAnAct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		a, id := s.erasing()
		s.stop()
		restore := s.backup()
		s.start()
		if err := s.c.SetMaintenance(t.Context(), conductor.Caller{Name: "op"}, "n1", true, "later than the backup"); err != nil {
			t.Fatal(err)
		}
		s.stop()
		restore()
		acts := s.board.did()
		s.start()
		time.Sleep(2 * time.Hour)
		n := s.node()
		if n.State != state.CleanFail || n.LastReason != fault.NodeUnverified || n.Unverified == nil {
			t.Fatalf("state %q, unverified %v: %s", n.State, n.Unverified, n.LastError)
		}
		if err := s.c.Result(t.Context(), a.sess, api.ResultRequest{ID: id, Nonce: nonce, Outcome: api.Succeeded}); err == nil {
			t.Error("a result of the time before was taken")
		}
		if got := s.board.did(); !slices.Equal(got, acts) {
			t.Errorf("done to the machine: %v", got[len(acts):])
		}
	})
}

func TestI15_AMissingMarkIsNoProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		gone := s.node() // of a hardware type that this server does not know: no reason to believe it
		gone.UUID, gone.Name, gone.Driver = "33333333-3333-4333-8333-333333333333", "gone", "gone"
		if err := s.store.Update(t.Context(), func(tx conductor.Tx) error { return tx.CreateNode(&gone) }); err != nil {
			t.Fatal(err)
		}
		s.stop()
		if err := os.Remove(filepath.Join(s.dir, "b.db.mark")); err != nil {
			t.Fatal(err)
		}
		s.start()
		time.Sleep(time.Second)
		if n := s.node(); n.Unverified == nil || !strings.Contains(n.LastError, "mark") {
			t.Fatalf("unverified %v: %s", n.Unverified, n.LastError)
		}
		if n, err := s.c.Node(t.Context(), "gone"); err != nil || n.Unverified == nil {
			t.Errorf("the node of an unknown hardware type: %v, %v", n.Unverified, err)
		}
		s.refusals(t)
	})
}

// Whole data directories are put back too, and the mark with them. A token that this server signed for a later boot
// than the record knows gives it away.
func TestI15_ATokenOfALaterBootMakesTheNodeUnverified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.stop()
		restore := s.backup()
		mark, err := os.ReadFile(filepath.Join(s.dir, "b.db.mark"))
		if err != nil {
			t.Fatal(err)
		}
		s.start()
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		a := s.agent(<-s.board.booted)
		a.claim()
		s.stop()
		restore()
		if err := os.WriteFile(filepath.Join(s.dir, "b.db.mark"), mark, 0o600); err != nil {
			t.Fatal(err)
		}
		s.start()
		time.Sleep(time.Second)
		if n := s.node(); n.Unverified != nil {
			t.Fatalf("found without the token: %v", n.Unverified)
		}
		if err := s.c.Heartbeat(t.Context(), a.sess, api.HeartbeatRequest{Seq: 1 << 20}); !fault.Has(err, fault.ChannelToken) {
			t.Errorf("the heartbeat: %v", err)
		}
		if n := s.node(); n.Unverified == nil || n.Generation < conductor.PerEpoch {
			t.Fatalf("unverified %v, boot %d", n.Unverified, n.Generation)
		}
		s.refusals(t)
	})
}

// A server that ended finds its own database sound.
func TestI15_OwnRecordsAreBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.erasing()
		for range 3 {
			s.stop()
			s.start()
			time.Sleep(time.Second)
			if n := s.node(); n.Unverified != nil {
				t.Fatalf("unverified: %s", n.Unverified.Why)
			}
		}
	})
}
