// Package recordtest is what the tests of the engine share with those of its parts that keep records: acts upon a store's
// nodes and records, and, in Open, a store with all that keeps records and nothing that acts. It has no code but for tests.
package recordtest

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/allocations"
	"github.com/bessemer-metal/bessemer/server/engine/machines"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/server/engine/records"
	"github.com/bessemer-metal/bessemer/server/engine/retry"
	"github.com/bessemer-metal/bessemer/server/fake"
	"github.com/bessemer-metal/bessemer/server/sqlite"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Op is the operator who asks.
var Op = conductor.Caller{Name: "op"}

// Plain keeps secrets as they are; sealing has its own tests.
type Plain struct{}

// Seal is the store's.
func (Plain) Seal(_, _ string, v []byte) (string, []byte, error) { return "k", slices.Clone(v), nil }

// Open is the store's.
func (Plain) Open(_, _, _ string, v []byte) ([]byte, error) { return v, nil }

// Backend keeps nodes and records: the engine, or the parts of it that do.
type Backend interface {
	Node(ctx context.Context, ident string) (conductor.Node, error)
	CreateNode(ctx context.Context, who conductor.Caller, n conductor.Node, secrets map[string]string) (conductor.Node, error)
	UpdateNode(ctx context.Context, who conductor.Caller, ident string, change func(n *conductor.Node, secrets map[string]string) error) (conductor.Node, error)
	ChangeTraits(ctx context.Context, who conductor.Caller, ident string, change func(traits []string) ([]string, error)) error
	DeleteNode(ctx context.Context, who conductor.Caller, ident string) error
	Shards(ctx context.Context) ([]conductor.Shard, error)
	Record(ctx context.Context, kind conductor.Kind, ident string) (conductor.Record, error)
	CreateRecord(ctx context.Context, who conductor.Caller, r conductor.Record) (conductor.Record, error)
	UpdateRecord(ctx context.Context, who conductor.Caller, kind conductor.Kind, ident string, change func(conductor.Record) error) (conductor.Record, error)
	DeleteRecord(ctx context.Context, who conductor.Caller, kind conductor.Kind, ident string) error
	Webhooks(ctx context.Context) ([]conductor.Webhook, error)
	Webhook(ctx context.Context, uuid string) (conductor.Webhook, error)
	PutWebhook(ctx context.Context, who conductor.Caller, uuid string, change func(*conductor.Webhook) ([]byte, error)) (conductor.Webhook, error)
	DeleteWebhook(ctx context.Context, who conductor.Caller, uuid string) error
}

// Site is a store and what keeps its nodes and records.
type Site struct {
	T      *testing.T
	Store  *sqlite.Store
	Driver string // hardware type of the nodes that Create makes
	Backend
}

// Open is a site with one node n1 in enroll, by that clock; allocations are settled until the test ends.
func Open(t *testing.T, now func() time.Time) *Site {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.DiscardHandler)
	store, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(t.TempDir(), "b.db"), Sealer: Plain{}, Log: log, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	m, err := machines.New(machines.Config{Store: store, Drivers: []conductor.Driver{fake.New(fake.Config{})}, Clock: retry.NewClock(now), Log: log, Timeouts: conductor.DefaultTimeouts()})
	if err != nil {
		t.Fatal(err)
	}
	quiet := func(conductor.NodeID) {}
	al := allocations.New(allocations.Config{Store: store, Now: now, Log: log, Notify: quiet})
	s := &Site{T: t, Store: store, Driver: "fake-hardware", Backend: struct {
		*nodes.Keeper
		*records.Shelf
	}{
		nodes.New(nodes.Config{Store: store, Now: now, Drivers: m.ByName(), Notify: quiet, Created: quiet, Deleted: quiet}),
		records.New(records.Config{Store: store, Now: now, Notify: quiet, Allocations: al, Machines: m}),
	}}
	var wg sync.WaitGroup
	wg.Go(func() { al.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.Create(conductor.Node{Name: "n1"}); err != nil {
		t.Fatal(err)
	}
	return s
}

// N1 is the node n1.
func (s *Site) N1() conductor.Node {
	s.T.Helper()
	n, err := s.Node(s.T.Context(), "n1")
	if err != nil {
		s.T.Fatal(err)
	}
	return n
}

// Create makes a node.
func (s *Site) Create(n conductor.Node) (conductor.Node, error) {
	n.Driver = s.Driver
	return s.CreateNode(s.T.Context(), Op, n, nil)
}

// Change changes a node by its rules.
func (s *Site) Change(ident string, change func(*conductor.Node)) error {
	_, err := s.UpdateNode(s.T.Context(), Op, ident, func(n *conductor.Node, _ map[string]string) error {
		change(n)
		return nil
	})
	return err
}

// Stand puts a node's record as it is to be found, past all rules.
func (s *Site) Stand(ident string, change func(n *conductor.Node)) {
	s.T.Helper()
	err := s.Store.Update(s.T.Context(), func(tx conductor.Tx) error {
		n, err := tx.NodeByName(ident)
		if err != nil {
			return err
		}
		change(&n)
		return tx.PutNode(&n)
	})
	if err != nil {
		s.T.Fatal(err)
	}
}

// Add makes a record.
func (s *Site) Add(r conductor.Record) (conductor.Record, error) {
	return s.CreateRecord(s.T.Context(), Op, r)
}

// Must is Add that comes about.
func (s *Site) Must(r conductor.Record) conductor.Record {
	s.T.Helper()
	r, err := s.Add(r)
	if err != nil {
		s.T.Fatal(err)
	}
	return r
}

// Amend changes a record by its rules.
func (s *Site) Amend(r conductor.Record, change func(conductor.Record)) error {
	_, err := s.UpdateRecord(s.T.Context(), Op, r.Keys().Kind, r.Keys().UUID, func(r conductor.Record) error { change(r); return nil })
	return err
}

// Remove deletes a record by its rules.
func (s *Site) Remove(r conductor.Record) error {
	return s.DeleteRecord(s.T.Context(), Op, r.Keys().Kind, r.Keys().UUID)
}

// Allocation is one as it is stored.
func (s *Site) Allocation(id string) *conductor.Allocation {
	s.T.Helper()
	r, err := s.Record(s.T.Context(), conductor.KindAllocation, id)
	if err != nil {
		s.T.Fatal(err)
	}
	return r.(*conductor.Allocation)
}

// Audited is the whole audit, which is whole.
func (s *Site) Audited() (out []conductor.Audit) {
	s.T.Helper()
	if _, err := s.Store.VerifyAudit(s.T.Context(), func(a conductor.Audit) error { out = append(out, a); return nil }); err != nil {
		s.T.Fatal(err)
	}
	return out
}

// Available is a node that an allocation finds.
func Available(n *conductor.Node) {
	n.State, n.Power, n.ResourceClass, n.Traits = state.Available, conductor.PowerOff, "gold", []string{"CUSTOM_A", "CUSTOM_B"}
}

// Failed is the error alone of what gives more.
func Failed[T any](_ T, err error) error { return err }
