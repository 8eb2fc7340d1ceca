package storetest

import (
	"fmt"
	"strings"

	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// testJournal follows a node through its life: each change is in the journal with the transaction that made it, and
// who may see the node, or could until then, is told.
func testJournal(t *testing.T, s suite) {
	n := *Node(1)
	n.Owner = "blue"
	put := func(change func(n *conductor.Node)) {
		t.Helper()
		s.update(func(tx conductor.Tx) error {
			got, err := tx.Node(n.UUID)
			if err != nil {
				return err
			}
			change(&got)
			return tx.PutNode(&got)
		})
	}
	read := func(f conductor.ChangeFilter) (text string, pos conductor.Position) {
		t.Helper()
		s.view(func(tx conductor.Tx) error {
			got, p, err := tx.Changes(f)
			pos = p
			var words []string
			for _, c := range got {
				c = c.For(f.VisibleTo)
				word := fmt.Sprintf("%d:%s", c.Seq, c.State)
				if c.Gone {
					word = fmt.Sprintf("%d:gone", c.Seq)
				}
				words = append(words, word)
			}
			text = strings.Join(words, " ")
			return err
		})
		return text, pos
	}
	s.update(func(tx conductor.Tx) error { return tx.CreateNode(&n) }) // 1
	put(func(n *conductor.Node) { n.State = state.Manageable })        // 2
	put(func(n *conductor.Node) { n.Extra = map[string]any{"a": 1} })  // 3: not told
	put(func(n *conductor.Node) { n.Extra = map[string]any{"a": 2} })  // 4: not told, takes the place of 3
	put(func(n *conductor.Node) { n.Lessee = "red" })                  // 5
	if err := s.Update(t.Context(), func(tx conductor.Tx) error {
		got, err := tx.Node(n.UUID)
		if err != nil {
			return err
		}
		got.State = state.Error
		if err := tx.PutNode(&got); err != nil {
			return err
		}
		return fmt.Errorf("undone")
	}); err == nil {
		t.Fatal("the transaction was not undone")
	}
	put(func(n *conductor.Node) { n.Owner, n.Power = "red", conductor.PowerOn }) // 6
	put(func(n *conductor.Node) { n.LastError = "broken" })                      // 7
	s.update(func(tx conductor.Tx) error { return tx.DeleteNode(n.UUID) })       // 8
	for _, c := range []struct {
		f    conductor.ChangeFilter
		want string
		upto int64
	}{
		{conductor.ChangeFilter{}, "1:enroll 2:manageable 5:manageable 6:manageable 7:manageable 8:gone", 8},
		{conductor.ChangeFilter{After: 5}, "6:manageable 7:manageable 8:gone", 8},
		{conductor.ChangeFilter{After: 2, Limit: 2}, "5:manageable 6:manageable", 6},
		{conductor.ChangeFilter{After: 8}, "", 8},
		{conductor.ChangeFilter{After: 2, Until: 6}, "5:manageable 6:manageable", 8},
		{conductor.ChangeFilter{Newest: true}, "8:gone", 8},
		{conductor.ChangeFilter{VisibleTo: "blue"}, "1:enroll 2:manageable 5:manageable 6:gone", 8},
		{conductor.ChangeFilter{VisibleTo: "blue", Newest: true}, "6:gone", 8},
		{conductor.ChangeFilter{VisibleTo: "red", After: 4}, "5:manageable 6:manageable 7:manageable 8:gone", 8},
		{conductor.ChangeFilter{VisibleTo: "green"}, "", 8},
		{conductor.ChangeFilter{Node: ID(2)}, "", 8},
	} {
		got, pos := read(c.f)
		if got != c.want || pos.Upto != c.upto || pos.Last != 8 || pos.First != 0 {
			t.Errorf("%+v: %q up to %d of %d..%d, expected %q up to %d", c.f, got, pos.Upto, pos.First, pos.Last, c.want, c.upto)
		}
	}
	other := *Node(2)
	s.update(func(tx conductor.Tx) error { return tx.CreateNode(&other) })
	other.Extra = map[string]any{"b": 1}
	s.update(func(tx conductor.Tx) error { return tx.PutNode(&other) })
	if got, _ := read(conductor.ChangeFilter{After: 8}); got != "9:enroll 10:enroll" {
		t.Errorf("a change that is no event is not in the journal: %q", got)
	}
	if got, _ := read(conductor.ChangeFilter{After: 8, Told: true}); got != "9:enroll" {
		t.Errorf("a change that is no event is told: %q", got)
	}
}
