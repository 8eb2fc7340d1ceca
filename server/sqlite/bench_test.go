package sqlite

import (
	"sync/atomic"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/storetest"
)

func BenchmarkNodeCreate(b *testing.B) {
	s := open(b, config(b, b.TempDir()))
	n := 0
	for b.Loop() {
		n++
		if err := s.Update(b.Context(), create(storetest.Node(n))); err != nil {
			b.Fatal(err)
		}
	}
}

// Many callers at once share commits.
func BenchmarkNodeCreateTogether(b *testing.B) {
	s := open(b, config(b, b.TempDir()))
	var n atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := s.Update(b.Context(), create(storetest.Node(int(n.Add(1))))); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkPutNode(b *testing.B) {
	s := open(b, config(b, b.TempDir()))
	if err := s.Update(b.Context(), create(storetest.Node(1))); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		err := s.Update(b.Context(), func(tx conductor.Tx) error {
			n, err := tx.Node(storetest.ID(1))
			if err != nil {
				return err
			}
			n.Generation++
			return tx.PutNode(&n)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func filled(b *testing.B) *Store {
	b.Helper()
	s := open(b, config(b, b.TempDir()))
	s.Prepare("f", told)
	err := s.Update(b.Context(), func(tx conductor.Tx) error {
		for n := range 10_000 {
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

func BenchmarkList10k(b *testing.B) {
	s := filled(b)
	for b.Loop() {
		err := s.View(b.Context(), func(tx conductor.Tx) error {
			nodes, err := tx.Nodes(conductor.NodeFilter{})
			if err == nil && len(nodes) != 10_000 {
				b.Fatalf("%d nodes", len(nodes))
			}
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSorted10k is a page in the middle of ten thousand nodes: by an index, by a column without one, and by what is no column.
func BenchmarkSorted10k(b *testing.B) {
	s := filled(b)
	for _, key := range []string{"name", "uuid", "provision_state", "instance_uuid", "driver", "owner", "maintenance", "created_at", "power_state"} {
		for dir, down := range map[string]bool{"up": false, "down": true} {
			b.Run(key+"/"+dir, func(b *testing.B) {
				for b.Loop() {
					err := s.View(b.Context(), func(tx conductor.Tx) error {
						n := 0
						err := tx.PreparedNodes(conductor.NodeFilter{Roots: true, SortKey: key, Descending: down, After: storetest.ID(5000), Limit: 100}, "f",
							func(conductor.PreparedNode) error { n++; return nil })
						if err == nil && n != 100 {
							b.Fatalf("%d nodes", n)
						}
						return err
					})
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkOpen10k(b *testing.B) {
	s := filled(b)
	cfg := s.cfg
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := Open(b.Context(), cfg)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
