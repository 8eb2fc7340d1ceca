package sqlite

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/storetest"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// BenchmarkJournal is what the journal of changes adds to the write of a node: the same writes to two stores in turn, one
// of them without the triggers that keep it. "event" changes what a watcher is told, so that the journal grows by a row;
// "rest" changes something else, so that the node's last such row is replaced. "alone" is one node in a transaction with
// its durable commit, "of 256" that many nodes in one, which is nearly the write alone. ns/op is a node's write with the
// journal, plain-ns/op without it, and ratio the first divided by the second: of medians, as the disk's own moods would
// else decide.
func BenchmarkJournal(b *testing.B) {
	for _, change := range []struct {
		name string
		of   func(n *conductor.Node, turn int)
	}{
		{"event", func(n *conductor.Node, turn int) {
			n.State = []state.State{state.Manageable, state.Available}[turn%2]
		}},
		{"rest", func(n *conductor.Node, turn int) { n.Description = strconv.Itoa(turn) }},
	} {
		for _, size := range []struct {
			name  string
			nodes int
		}{{"alone", 1}, {"of 256", 256}} {
			b.Run(change.name+" "+size.name, func(b *testing.B) { besideWithout(b, size.nodes, change.of) })
		}
	}
}

func besideWithout(b *testing.B, nodes int, change func(n *conductor.Node, turn int)) {
	stores, spent := [2]*Store{journalled(b, nodes), journalled(b, nodes)}, [2][]time.Duration{}
	for _, trigger := range []string{"node_created", "node_changed", "node_deleted", "changes_pruned"} {
		if err := stores[1].writer.Run("DROP TRIGGER " + trigger); err != nil {
			b.Fatal(err)
		}
	}
	turn := 0
	for b.Loop() {
		turn++
		for i := range stores {
			i = (i + turn) % 2 // each is the first as often as the other
			begun := time.Now()
			err := stores[i].Update(b.Context(), func(tx conductor.Tx) error {
				for n := range nodes {
					node, err := tx.Node(storetest.ID(n + 1))
					if err != nil {
						return err
					}
					change(&node, turn)
					if err := tx.PutNode(&node); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			spent[i] = append(spent[i], time.Since(begun))
		}
	}
	if kept := entries(b, stores[1]); kept != nodes {
		b.Fatalf("the store without the journal has %d entries, expected those of its %d nodes' creation", kept, nodes)
	}
	if kept := entries(b, stores[0]); kept <= nodes {
		b.Fatalf("the journal has %d entries", kept)
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2]) / float64(nodes)
	}
	with, without := median(spent[0]), median(spent[1])
	b.ReportMetric(with, "ns/op")
	b.ReportMetric(without, "plain-ns/op")
	b.ReportMetric(with/without, "ratio")
}

// journalled is a store with so many nodes.
func journalled(b *testing.B, nodes int) *Store {
	b.Helper()
	s := open(b, config(b, b.TempDir()))
	err := s.Update(b.Context(), func(tx conductor.Tx) error {
		for n := range nodes {
			if err := tx.CreateNode(storetest.Node(n + 1)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// entries is the length of a store's journal.
func entries(b *testing.B, s *Store) (n int) {
	b.Helper()
	err := s.View(b.Context(), func(t conductor.Tx) error { return t.(*tx).Row("SELECT count(*) FROM changes", nil, &n) })
	if err != nil {
		b.Fatal(err)
	}
	return n
}
