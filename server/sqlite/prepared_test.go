package sqlite

import (
	"errors"
	"slices"
	"strconv"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/storetest"
	"github.com/bessemer-metal/bessemer/server/sqlite/nodes"
)

// told makes rows that say which node they are of, and how it stands.
func told(n *conductor.Node) ([]byte, error) {
	return []byte(string(n.UUID) + " " + n.Owner), nil
}

func listed(t testing.TB, s *Store, form string, f conductor.NodeFilter) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := s.View(t.Context(), func(tx conductor.Tx) error {
		return tx.PreparedNodes(f, form, func(p conductor.PreparedNode) error {
			out[string(p.UUID)] = string(p.Row)
			if p.Node != nil {
				out[string(p.UUID)] = "node " + p.Node.Owner
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A row is as new as its node whatever wrote it, is not left behind by what was undone, and one of other rules is not
// given out.
func TestPreparedRowsAreAsNewAsTheirNodes(t *testing.T) {
	cfg := config(t, t.TempDir())
	s := open(t, cfg)
	id := string(storetest.ID(1))
	own := func(owner string) func(tx conductor.Tx) error {
		return func(tx conductor.Tx) error {
			n, err := tx.Node(storetest.ID(1))
			if err != nil {
				return err
			}
			n.Owner = owner
			return tx.PutNode(&n)
		}
	}
	update := func(fn func(tx conductor.Tx) error) {
		t.Helper()
		if err := s.Update(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(when, form, want string) {
		t.Helper()
		if got := listed(t, s, form, conductor.NodeFilter{})[id]; got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	update(create(storetest.Node(1)))
	update(own("a"))
	expect("before rows are prepared", "f1", "node a")
	s.Prepare("f1", told)
	expect("an old row is not prepared yet", "f1", "node a")
	if err := s.PrepareRows(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("an old row is prepared", "f1", id+" a")
	update(own("b"))
	expect("after a change", "f1", id+" b")
	err := s.update(t.Context(), func(t *tx) error { // as a program that knows of no rows
		_, err := t.Exec(`UPDATE nodes SET version = version + 1, body = json_set(body, '$.owner', 'x')`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	expect("written without its row", "f1", "node x")
	if err := s.PrepareRows(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("prepared since", "f1", id+" x")
	update(own("b"))
	expect("by other rules", "f2", "node b")
	undone := errors.New("undone")
	if err := s.Update(t.Context(), func(tx conductor.Tx) error { return errors.Join(own("c")(tx), undone) }); !errors.Is(err, undone) {
		t.Fatal(err)
	}
	expect("after what was undone", "f1", id+" b")
	update(func(tx conductor.Tx) error { return tx.DeleteNode(storetest.ID(1)) })
	update(create(storetest.Node(1)))
	update(own("d"))
	expect("made again", "f1", id+" d")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, cfg)
	s.Prepare("f2", told)
	update(own("e"))
	expect("changed before the others' rows are made anew", "f2", id+" e")
	update(own("d"))
	if err := s.PrepareRows(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("a program with other rules", "f2", id+" d")
	expect("the one before", "f1", "node d")
}

// More rows than one transaction takes are prepared, each once.
func TestManyRowsArePrepared(t *testing.T) {
	s := open(t, config(t, t.TempDir()))
	err := s.Update(t.Context(), func(tx conductor.Tx) error {
		for n := range 450 {
			if err := tx.CreateNode(storetest.Node(n + 1)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	s.Prepare("f", func(n *conductor.Node) ([]byte, error) { calls++; return []byte(strconv.Itoa(calls)), nil })
	for range 2 { // the second time there is nothing to do
		if err := s.PrepareRows(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for _, row := range listed(t, s, "f", conductor.NodeFilter{}) {
		seen[row] = true
	}
	if len(seen) != 450 || calls != 450 {
		t.Errorf("%d rows were prepared in %d calls, expected 450", len(seen), calls)
	}
	broken := errors.New("can't be shown")
	s.Prepare("g", func(*conductor.Node) ([]byte, error) { return nil, broken })
	if err := s.PrepareRows(t.Context()); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkPreparedList10k(b *testing.B) {
	s := filled(b)
	s.Prepare("f", func(n *conductor.Node) ([]byte, error) { return make([]byte, 1500), nil })
	if err := s.PrepareRows(b.Context()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		n := 0
		err := s.View(b.Context(), func(tx conductor.Tx) error {
			return tx.PreparedNodes(conductor.NodeFilter{}, "f", func(p conductor.PreparedNode) error { n += len(p.Row); return nil })
		})
		if err != nil || n != 15_000_000 {
			b.Fatal(n, err)
		}
	}
}

// However rows are read together, a page has its nodes once, in order, with or without rows.
func TestPagesOfRowsReadTogether(t *testing.T) {
	s := open(t, config(t, t.TempDir()))
	const all = 2*nodes.Together + 50
	s.Prepare("f", told)
	err := s.Update(t.Context(), func(tx conductor.Tx) error {
		for n := range all {
			if err := tx.CreateNode(storetest.Node(n + 1)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, without := range [][]int{nil, {1}, {nodes.Together}, {nodes.Together + 1, all}} { // nodes whose rows are out of date
		for _, n := range without {
			if err := s.update(t.Context(), func(t *tx) error {
				_, err := t.Exec("UPDATE nodes SET version = version + 1 WHERE uuid = ?", string(storetest.ID(n)))
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		for _, limit := range []int{0, 1, nodes.Together - 1, nodes.Together, nodes.Together + 1, 2 * nodes.Together, all, all + 1} {
			for _, after := range []int{0, 1, nodes.Together, all - 1, all} {
				f := conductor.NodeFilter{Limit: limit, Roots: true}
				if after > 0 {
					f.After = storetest.ID(after)
				}
				at, rows := after, 0
				err := s.View(t.Context(), func(tx conductor.Tx) error {
					return tx.PreparedNodes(f, "f", func(p conductor.PreparedNode) error {
						at++
						if want := string(storetest.ID(at)); p.UUID != want || p.Node == nil && p.Row != want+" infra" || p.Node != nil && p.Node.UUID != storetest.ID(at) {
							t.Fatalf("limit %d after %d: place %d has %q, row %q", limit, after, at, p.UUID, p.Row)
						}
						if p.Node == nil {
							rows++
						}
						return nil
					})
				})
				want := all - after
				if limit > 0 {
					want = min(want, limit)
				}
				if err != nil || at-after != want || len(without) == 0 && rows != want {
					t.Fatalf("limit %d after %d: %d nodes, %d of rows, expected %d: %v", limit, after, at-after, rows, want, err)
				}
			}
		}
		if err := s.PrepareRows(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// Lists of nodes without a parent read no node: a node that gets one, or loses it, is where it belongs at once.
func TestRowsFollowTheParent(t *testing.T) {
	s := open(t, config(t, t.TempDir()))
	s.Prepare("f", told)
	put := func(parent conductor.NodeID) func(tx conductor.Tx) error {
		return func(tx conductor.Tx) error {
			n, err := tx.Node(storetest.ID(2))
			if err != nil {
				return err
			}
			n.Parent = parent
			return tx.PutNode(&n)
		}
	}
	for _, do := range []func(tx conductor.Tx) error{create(storetest.Node(1)), create(storetest.Node(2)), put(storetest.ID(1)), put("")} {
		if err := s.Update(t.Context(), do); err != nil {
			t.Fatal(err)
		}
		for _, f := range []conductor.NodeFilter{{}, {Roots: true}, {Roots: true, Limit: 5}, {Parent: storetest.ID(1)}, {Roots: true, SortKey: "name"}} {
			var want, got []conductor.NodeID
			err := s.View(t.Context(), func(tx conductor.Tx) error {
				nodes, err := tx.Nodes(f)
				for _, n := range nodes {
					want = append(want, n.UUID)
				}
				return errors.Join(err, tx.PreparedNodes(f, "f", func(p conductor.PreparedNode) error { got = append(got, conductor.NodeID(p.UUID)); return nil }))
			})
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%+v lists %v, want %v (%v)", f, got, want, err)
			}
		}
	}
}

// A row that is missing, as after damage, is made by the work at the start.
func TestMissingRowIsMade(t *testing.T) {
	s := open(t, config(t, t.TempDir()))
	s.Prepare("f", told)
	if err := s.Update(t.Context(), create(storetest.Node(1))); err != nil {
		t.Fatal(err)
	}
	err := s.update(t.Context(), func(t *tx) error { _, err := t.Exec("DELETE FROM node_rows"); return err })
	if err == nil {
		err = s.PrepareRows(t.Context())
	}
	if got := listed(t, s, "f", conductor.NodeFilter{}); err != nil || len(got) != 1 {
		t.Errorf("listed %v: %v", got, err)
	}
}
