package sqlite

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// An inventory of an older program has no columns of its own: it and its disks are read from the body.
func TestInventoriesOfOlderProgramsAreRead(t *testing.T) {
	s := open(t, config(t, t.TempDir()))
	rows, err := os.ReadFile("testdata/before-0016.sql")
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	_, err = s.writer.Conn.ExecContext(t.Context(), string(rows))
	s.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	const node = "11111111-1111-4111-8111-111111111111"
	err = s.View(t.Context(), func(tx conductor.Tx) error {
		i, err := tx.Inventory(node)
		if err != nil {
			return err
		}
		if !strings.Contains(string(i.Inventory), `"hostname":"old"`) || i.Generation != 3 || !i.Accepted || i.Plugin["a"] == nil {
			t.Errorf("%s, %+v", i.Inventory, i)
		}
		d, of, err := tx.AcceptedDisks(node)
		if want := []inventory.Disk{{Name: "/dev/sda", Serial: "S0", Size: 7}}; !slices.EqualFunc(d, want, inventory.Disk.Equal) || of != 3 {
			t.Errorf("%v of %d", d, of)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A lookup repeated in the same boot brings what is there already: its pages are not written again.
func TestSameInventoryIsNotWrittenAgain(t *testing.T) {
	s := open(t, config(t, t.TempDir()))
	n := conductor.Node{UUID: "n", Driver: "fake-hardware"}
	i := conductor.StoredInventory{Node: "n", Generation: 1, Accepted: true, Inventory: json.RawMessage(`{"hostname":"` + strings.Repeat("x", 1<<16) + `"}`)}
	written := func(fn func(tx conductor.Tx) error) (rows int) {
		t.Helper()
		before := changes(t, s)
		if err := s.Update(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
		return changes(t, s) - before
	}
	if got := written(func(tx conductor.Tx) error {
		if err := tx.CreateNode(&n); err != nil {
			return err
		}
		return tx.PutInventory(i)
	}); got < 2 {
		t.Fatalf("%d rows were written by the first", got)
	}
	i.Accepted = false
	put := func(tx conductor.Tx) error { return tx.PutInventory(i) }
	if got := written(put); got != 0 {
		t.Errorf("%d rows were written again", got)
	}
	i.Inventory = json.RawMessage(`{"hostname":"other"}`)
	if got := written(put); got == 0 {
		t.Error("another one was not written")
	}
}

// changes counts the rows that the writer has changed so far.
func changes(t *testing.T, s *Store) (n int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writer.Conn.QueryRowContext(t.Context(), "SELECT total_changes()").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
