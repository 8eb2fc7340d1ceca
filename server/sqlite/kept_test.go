package sqlite

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite/records"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func TestTheNumbersOfWhatIsKeptAreTold(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/kept.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		fmt.Sprintf("last %d lines", conductor.KeptLines), fmt.Sprintf("last %d runs", conductor.KeptRuns), fmt.Sprintf("%d different steps", conductor.KeptDone), fmt.Sprintf("last %d,%03d entries", records.KeptChanges/1000, records.KeptChanges%1000),
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// aged opens a store with two nodes; fill puts into it what a node goes through, of which only some is kept.
func aged(t *testing.T, fill func(tx conductor.Tx, node conductor.NodeID) error) (s *Store, other conductor.NodeID) {
	t.Helper()
	s = open(t, config(t, t.TempDir()))
	err := s.Update(t.Context(), func(tx conductor.Tx) error {
		for _, id := range []conductor.NodeID{"n", "other"} {
			if err := tx.CreateNode(&conductor.Node{UUID: id, Driver: "fake-hardware"}); err != nil {
				return err
			}
		}
		return errors.Join(fill(tx, "other"), fill(tx, "n"))
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, "other"
}

// TestL07_TheHistoryOfANodeIsBounded: its last lines stay, and each node has its own.
func TestL07_TheHistoryOfANodeIsBounded(t *testing.T) {
	add := func(tx conductor.Tx, node conductor.NodeID, from, n int) (err error) {
		for i := from; i < from+n && err == nil; i++ {
			err = tx.AppendHistory(conductor.Entry{UUID: fmt.Sprintf("%s-%d", node, i), Node: node, Event: fmt.Sprint(i)})
		}
		return err
	}
	s, other := aged(t, func(tx conductor.Tx, node conductor.NodeID) error { return add(tx, node, 0, conductor.KeptLines) })
	if err := s.Update(t.Context(), func(tx conductor.Tx) error { return add(tx, "n", conductor.KeptLines, 7) }); err != nil {
		t.Fatal(err)
	}
	for node, newest := range map[conductor.NodeID]int{"n": conductor.KeptLines + 6, other: conductor.KeptLines - 1} {
		err := s.View(t.Context(), func(tx conductor.Tx) error {
			h, err := tx.History(node, conductor.HistoryFilter{Descending: true})
			if err == nil && (len(h) != conductor.KeptLines || h[0].Event != fmt.Sprint(newest) || h[conductor.KeptLines-1].Event != fmt.Sprint(newest-conductor.KeptLines+1)) {
				t.Errorf("%s: %d lines from %s to %s", node, len(h), h[len(h)-1].Event, h[0].Event)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestL07_TheAttemptsOfANodeAreBounded: its last runs stay, whole, and of every step the last success, and what is open.
func TestL07_TheAttemptsOfANodeAreBounded(t *testing.T) {
	attempt := func(node conductor.NodeID, run, place int, name string, state conductor.StepState) *conductor.StepRecord {
		return &conductor.StepRecord{ID: step.ID(fmt.Sprintf("%s-%d-%d", node, run, place)), Node: node, Run: fmt.Sprintf("run %d of %s", 1000-run, node), Order: place, Attempt: 1,
			Step: step.Step{Name: name}, State: state}
	}
	s, other := aged(t, func(tx conductor.Tx, node conductor.NodeID) error {
		err := errors.Join(
			tx.PutStep(attempt(node, 0, 0, "erase", conductor.StepSucceeded)), tx.PutStep(attempt(node, 0, 1, "write", conductor.StepSucceeded)),
			tx.PutStep(attempt(node, 0, 2, "check", conductor.StepFailed)), tx.PutStep(attempt(node, 0, 3, "never", conductor.StepPlanned)),
			tx.PutStep(attempt(node, 0, 4, "open", conductor.StepStarted)), tx.PutStep(attempt(node, 0, 5, "open", conductor.StepOffered)))
		for run := 1; run < conductor.KeptRuns; run++ {
			err = errors.Join(err, tx.PutStep(attempt(node, run, 0, "erase", conductor.StepSucceeded)), tx.PutStep(attempt(node, run, 1, "read", conductor.StepFailed)))
		}
		return err
	})
	ids := func(node conductor.NodeID) (out []string) {
		t.Helper()
		err := s.View(t.Context(), func(tx conductor.Tx) error {
			all, err := tx.Steps(node, "")
			for _, r := range all {
				out = append(out, strings.TrimPrefix(string(r.ID), string(node)+"-"))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	whole := ids("n")
	if len(whole) != 6+2*(conductor.KeptRuns-1) {
		t.Fatalf("%v of %d runs", whole, conductor.KeptRuns)
	}
	put := func(r *conductor.StepRecord) {
		t.Helper()
		if err := s.Update(t.Context(), func(tx conductor.Tx) error { return tx.PutStep(r) }); err != nil {
			t.Fatal(err)
		}
	}
	put(attempt("n", conductor.KeptRuns, 0, "erase", conductor.StepPlanned))
	put(attempt("n", conductor.KeptRuns, 1, "read", conductor.StepPlanned))
	// Of the first run the write stays, as no other succeeded, and what is open.
	want := append([]string{"0-1", "0-4", "0-5"}, whole[6:]...)
	want = append(want, fmt.Sprintf("%d-0", conductor.KeptRuns), fmt.Sprintf("%d-1", conductor.KeptRuns))
	if got := ids("n"); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := ids(other); !slices.Equal(got, whole) {
		t.Errorf("the other node has %v, want %v", got, whole)
	}
	// Names that no step had before come with every run: they do not pile up. The last is put after its run was begun.
	for run := conductor.KeptRuns + 1; run <= conductor.KeptRuns+conductor.KeptDone; run++ {
		put(attempt("n", run, 0, fmt.Sprint("new ", run), conductor.StepSucceeded))
		put(attempt("n", run, 1, fmt.Sprint("also new ", run), conductor.StepSucceeded))
	}
	if got := ids("n"); len(got) != conductor.KeptDone+1+2 {
		t.Errorf("%d attempts are left: %v", len(got), got)
	}
}

// What finds what is to go reads this node's entries of an index, and no others.
func TestPruningReadsOneNode(t *testing.T) {
	conn := memory(t)
	if _, err := migrate(t.Context(), conn, read(t, migrations)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"steps_pruned", "history_pruned"} {
		var text string
		if err := conn.QueryRowContext(t.Context(), "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = ?", name).Scan(&text); err != nil {
			t.Fatal(err)
		}
		_, text, _ = strings.Cut(text, "BEGIN")
		del, _, _ := strings.Cut(strings.TrimSpace(text), ";")
		rows, err := conn.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+strings.ReplaceAll(del, "new.node", "'n'"))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for rows.Next() {
			var id, parent, unused int
			var plan string
			if err := rows.Scan(&id, &parent, &unused, &plan); err != nil {
				t.Fatal(err)
			}
			t.Log(plan)
			if strings.HasPrefix(plan, "SCAN") || strings.HasPrefix(plan, "SEARCH") && !strings.Contains(plan, "node=?") {
				t.Errorf("%s: %s", name, plan)
			}
			n++
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil || n < 2 {
			t.Errorf("%s: a plan of %d lines (%v)", name, n, err)
		}
	}
}
