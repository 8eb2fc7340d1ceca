package sqlite

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite/records"
	"github.com/bessemer-metal/bessemer/server/sqlite/session"
)

// The journal keeps its last entries and the last of each node; First says from where on nothing is missing.
func TestTheJournalIsPruned(t *testing.T) {
	text, err := migrations.ReadFile("migrations/0006_changes.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{fmt.Sprintf("%% %d = 0", records.PruneEvery), fmt.Sprintf("new.seq - %d\n", records.KeptChanges)} {
		if !strings.Contains(string(text), n) {
			t.Errorf("the trigger lacks %q", n)
		}
	}
	conn := memory(t)
	if _, err := migrate(t.Context(), conn, read(t, migrations)); err != nil {
		t.Fatal(err)
	}
	run := func(q string, args ...any) {
		t.Helper()
		if _, err := conn.ExecContext(t.Context(), q, args...); err != nil {
			t.Fatal(err)
		}
	}
	const row = `INSERT INTO changes (seq, node, name, state, target, power, maintenance, last_error, at, gone, told, owner, lessee, was_owner, was_lessee)
		VALUES (?, ?, '', '', '', '', 0, '', '', ?, 1, '', '', '', '')`
	last := int64((records.KeptChanges/records.PruneEvery + 3) * records.PruneEvery)
	edge := last - records.KeptChanges
	for _, r := range []struct {
		seq  int64
		node string
		gone bool
	}{{1, "idle", false}, {2, "busy", false}, {3, "gone", true}, {edge, "busy", false}, {edge + 1, "busy", false}, {last, "busy", false}} {
		run(row, r.seq, r.node, r.gone)
	}
	if left := number(t, conn, "SELECT count(*) FROM changes WHERE seq IN (1, "+fmt.Sprint(edge+1)+", "+fmt.Sprint(last)+")"); left != 3 {
		t.Errorf("%d of the 3 entries that stay are left", left)
	}
	if left := number(t, conn, "SELECT count(*) FROM changes"); left != 3 {
		t.Errorf("%d entries are left, expected 3", left)
	}
	x := (&Store{}).begin(session.New(conn), nil, nil, false)
	_, pos, err := x.Changes(conductor.ChangeFilter{})
	if err != nil || pos.First != edge || pos.Last != last {
		t.Errorf("the journal goes from %d to %d, expected %d to %d (%v)", pos.First, pos.Last, edge, last, err)
	}
}

// What the journal's triggers take out of it at each write and deletion of a node is found by an index of just that:
// through the index by node they would read the whole journal of the node.
func TestTheTriggersReadNoJournal(t *testing.T) {
	conn := memory(t)
	if _, err := migrate(t.Context(), conn, read(t, migrations)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"node_changed", "node_deleted"} {
		var text string
		if err := conn.QueryRowContext(t.Context(), "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = ?", name).Scan(&text); err != nil {
			t.Fatal(err)
		}
		_, text, _ = strings.Cut(text, "BEGIN")
		del, _, found := strings.Cut(strings.TrimSpace(text), ";")
		if !found || !strings.HasPrefix(del, "DELETE FROM changes") {
			t.Fatalf("%s begins with %q, expected a DELETE from the journal", name, del)
		}
		del = strings.NewReplacer("new.uuid", "?", "old.uuid", "?").Replace(del)
		var id, parent, unused int
		var plan string
		if err := conn.QueryRowContext(t.Context(), "EXPLAIN QUERY PLAN "+del, "").Scan(&id, &parent, &unused, &plan); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(plan, "changes_untold (node=?)") {
			t.Errorf("%s: %s is planned as %q, expected a search in changes_untold", name, del, plan)
		}
	}
}
