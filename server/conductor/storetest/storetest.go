// Package storetest is the contract of conductor.Store as tests: every engine behind the seam passes Run. It holds
// nothing of an engine; what only one of them does is tested beside it.
//
// Start at Run.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Run runs the suite, or only the tests of the safety numbers named ("I11"). open gives an empty store, closed by its
// own t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) conductor.Store, numbers ...string) {
	ran := 0
	for _, c := range []struct {
		name string
		test func(*testing.T, suite)
	}{
		{"NodeComesBackAsStored", testNodeRoundTrip},
		{"NodeIsUnique", testNodeUnique},
		{"NodesFilterAndPages", testNodes},
		{"EachNodeTellsOpenWork", testEachNode},
		{"NodeDeletedWithAll", testDeleteNode},
		{"I11_CompareAndSetOnVersion", testCompareAndSet},
		{"I11_CompareAndSetUnderConcurrency", testConcurrentCompareAndSet},
		{"I29_CommitsAllOrNothing", testAtomic},
		{"PanicUndoesOnlyItsOwn", testPanic},
		{"ViewIsOneState", testViewIsOneState},
		{"ViewCantWrite", testViewCantWrite},
		{"TxEndsWithItsFunction", testTxEnds},
		{"EndedContext", testContext},
		{"Records", testRecords},
		{"NodeOrder", testNodeOrder},
		{"I26_HiddenMarkers", testHiddenMarkers},
		{"Usage", testUsage},
		{"I21_HostileStrings", testHostileStrings},
		{"Steps", testSteps},
		{"Secrets", testSecrets},
		{"History", testHistory},
		{"I27_AuditCommitsWithItsAct", testAudit},
		{"Inventories", testInventories},
		{"Effects", testEffects},
		{"Defaults", testDefaults},
		{"Settings", testSettings},
		{"Journal", testJournal},
		{"Parts", testParts},
	} {
		number, _, _ := strings.Cut(c.name, "_")
		if len(numbers) > 0 && !slices.Contains(numbers, number) {
			continue
		}
		ran++
		t.Run(c.name, func(t *testing.T) { c.test(t, suite{t, open(t)}) })
	}
	if ran == 0 {
		t.Errorf("the suite has no test of %v", numbers)
	}
}

// suite is one store under test with shorthands that end the test on an error.
type suite struct {
	t *testing.T
	conductor.Store
}

func (s suite) update(fn func(conductor.Tx) error) {
	s.t.Helper()
	if err := s.Update(s.t.Context(), fn); err != nil {
		s.t.Fatalf("update: %v", err)
	}
}

func (s suite) view(fn func(conductor.Tx) error) {
	s.t.Helper()
	if err := s.View(s.t.Context(), fn); err != nil {
		s.t.Fatalf("view: %v", err)
	}
}

func (s suite) create(nodes ...*conductor.Node) {
	s.t.Helper()
	s.update(func(tx conductor.Tx) error {
		for _, n := range nodes {
			if err := tx.CreateNode(n); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s suite) has(err error, want fault.Reason) {
	s.t.Helper()
	if !fault.Has(err, want) {
		s.t.Errorf("got %v, want a fault %s", err, want)
	}
}

// ID is the n-th UUID of the suite's objects.
func ID(n int) conductor.NodeID {
	return conductor.NodeID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n))
}

// Node is a node with most of its fields set, number n of its kind.
func Node(n int) *conductor.Node {
	at := time.Date(2026, 11, 20, 12, 0, n%60, 5000, time.UTC)
	yes := true
	return &conductor.Node{
		UUID: ID(n), Name: fmt.Sprintf("node-%d", n), Driver: "redfish",
		Interfaces:   map[string]string{"boot": "redfish-virtual-media"},
		DriverInfo:   map[string]any{"redfish_address": "https://192.0.2.7", "redfish_password": conductor.Masked},
		Properties:   map[string]any{"root_device": map[string]any{"serial": "S1"}, "cpus": 64.0, "list": []any{"a", true, nil}},
		InstanceInfo: map[string]any{}, Extra: map[string]any{"rack": "r1"},
		ResourceClass: "baremetal", Owner: "infra", Traits: []string{"CUSTOM_X"}, Description: "under the window",
		State: state.Enroll, StateSince: at, Power: conductor.PowerOff, SecureBoot: &yes,
		Flow: &conductor.Flow{Run: "r", Flow: state.Verify, Phase: conductor.PhaseVerify, Started: at,
			Wait: &conductor.Wait{For: "the BMC", Owner: "bmc", Since: at, Deadline: at.Add(time.Minute)}},
		Boot:       &conductor.Boot{Generation: 3, Salt: []byte{0, 255, 7}, Opened: at, Closes: at.Add(time.Hour)},
		Generation: 3, Created: at, Updated: at,
	}
}

// same compares by the JSON form, and what JSON leaves out is compared by the caller.
func (s suite) same(got, want any) {
	s.t.Helper()
	g, err := json.Marshal(got)
	if err != nil {
		s.t.Fatal(err)
	}
	w, err := json.Marshal(want)
	if err != nil {
		s.t.Fatal(err)
	}
	if string(g) != string(w) {
		s.t.Errorf("got  %s\nwant %s", g, w)
	}
}

func (s suite) node(id conductor.NodeID) (n conductor.Node) {
	s.t.Helper()
	s.view(func(tx conductor.Tx) (err error) { n, err = tx.Node(id); return err })
	return n
}

var errUndo = errors.New("undo")

func testAtomic(t *testing.T, s suite) {
	s.create(Node(1))
	err := s.Update(t.Context(), func(tx conductor.Tx) error {
		n, err := tx.Node(ID(1))
		if err != nil {
			return err
		}
		n.Owner = "thief"
		if err := tx.PutNode(&n); err != nil {
			return err
		}
		if err := tx.CreateNode(Node(2)); err != nil {
			return err
		}
		if err := tx.AppendAudit(conductor.Audit{Act: "undone"}); err != nil {
			return err
		}
		return errUndo
	})
	if err != errUndo { // unchanged, so not errors.Is
		t.Errorf("got %v, want fn's own error unchanged", err)
	}
	if n := s.node(ID(1)); n.Owner != "infra" || n.Version != 1 {
		t.Errorf("owner %q, version %d after an undone update", n.Owner, n.Version)
	}
	s.has(s.View(t.Context(), func(tx conductor.Tx) error { _, err := tx.Node(ID(2)); return err }), fault.NodeNotFound)
}

func testPanic(t *testing.T, s suite) {
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not reach the caller of Update")
			}
		}()
		_ = s.Update(t.Context(), func(tx conductor.Tx) error {
			if err := tx.CreateNode(Node(1)); err != nil {
				return err
			}
			panic("boom")
		})
	}()
	s.has(s.View(t.Context(), func(tx conductor.Tx) error { _, err := tx.Node(ID(1)); return err }), fault.NodeNotFound)
	s.create(Node(1)) // the store goes on
}

func testViewIsOneState(t *testing.T, s suite) {
	s.create(Node(1))
	s.view(func(tx conductor.Tx) error {
		before, err := tx.Node(ID(1))
		if err != nil {
			return err
		}
		s.update(func(w conductor.Tx) error {
			n, err := w.Node(ID(1))
			if err != nil {
				return err
			}
			n.Owner = "new"
			return w.PutNode(&n)
		})
		after, err := tx.Node(ID(1))
		if err != nil {
			return err
		}
		if after.Owner != before.Owner || after.Version != before.Version {
			t.Errorf("one view saw owner %q, then %q", before.Owner, after.Owner)
		}
		return nil
	})
	if n := s.node(ID(1)); n.Owner != "new" {
		t.Errorf("owner %q after a committed update", n.Owner)
	}
}

func testViewCantWrite(t *testing.T, s suite) {
	s.create(Node(1))
	s.view(func(tx conductor.Tx) error {
		n := Node(1)
		n.Version = 1
		for name, err := range map[string]error{
			"CreateNode": tx.CreateNode(Node(2)), "PutNode": tx.PutNode(n), "DeleteNode": tx.DeleteNode(ID(1)),
			"CreateRecord": tx.CreateRecord(port(1)), "PutRecord": tx.PutRecord(port(1)), "DeleteRecord": tx.DeleteRecord(conductor.KindPort, "x"),
			"PutStep": tx.PutStep(record(1)), "PutSecret": tx.PutSecret(ID(1), "f", []byte("v")),
			"PutSecret nil": tx.PutSecret(ID(1), "f", nil), "AppendHistory": tx.AppendHistory(entry(1)),
			"AppendAudit": tx.AppendAudit(conductor.Audit{Act: "a"}), "PutInventory": tx.PutInventory(stored(1, true)),
			"AddEffect": tx.AddEffect(effect()), "DoneEffect": tx.DoneEffect(1), "PutSetting": tx.PutSetting("k", "v"),
			"PutDefault": tx.PutDefault(priority(conductor.Fleet, "", 1)), "DeleteDefault": tx.DeleteDefault(priority(conductor.Fleet, "", 1)),
		} {
			if !fault.Is(err, fault.Internal) {
				t.Errorf("%s in a view: got %v, want an internal fault", name, err)
			}
		}
		return nil
	})
}

func testTxEnds(t *testing.T, s suite) {
	var kept conductor.Tx
	s.update(func(tx conductor.Tx) error { kept = tx; return nil })
	if err := kept.CreateNode(Node(1)); !fault.Is(err, fault.Internal) {
		t.Errorf("write after the end: got %v, want an internal fault", err)
	}
	s.view(func(tx conductor.Tx) error { kept = tx; return nil })
	if _, err := kept.Nodes(conductor.NodeFilter{}); !fault.Is(err, fault.Internal) {
		t.Errorf("read after the end: got %v, want an internal fault", err)
	}
}

func testContext(t *testing.T, s suite) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	run := func(conductor.Tx) error { t.Error("fn ran though the context had ended"); return nil }
	if err := s.Update(ctx, run); !errors.Is(err, context.Canceled) {
		t.Errorf("update: got %v, want the context's error", err)
	}
	if err := s.View(ctx, run); !errors.Is(err, context.Canceled) {
		t.Errorf("view: got %v, want the context's error", err)
	}
}
