package sqlite

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/storetest"
	"github.com/bessemer-metal/bessemer/server/sqlite/nodes"
)

// damages are what may happen to the row of the second of many nodes.
var damages = map[string]string{
	"lost":           "DELETE FROM node_rows WHERE node = 2",
	"cut off":        "UPDATE node_rows SET prepared = substr(prepared, 1, length(prepared) - 5) WHERE node = 2",
	"empty":          "UPDATE node_rows SET prepared = x'' WHERE node = 2",
	"another letter": "UPDATE node_rows SET prepared = CAST(replace(CAST(prepared AS TEXT), 'infra', 'infrb') AS BLOB) WHERE node = 2",
	"another parent": "UPDATE node_rows SET parent_node = 'x' WHERE node = 2",
	"another form":   "UPDATE node_rows SET form = 'g' WHERE node = 2",
	"all are lost":   "DELETE FROM node_rows",
	"the last":       fmt.Sprintf("DELETE FROM node_rows WHERE node = %d", manyRows),
	"of no node":     "INSERT INTO node_rows (node, parent_node, form, prepared) VALUES (4711, '', 'f/2', x'')",
	"the first":      "DELETE FROM node_rows WHERE node = 1",
	// The list has as many rows as there are nodes.
	"another number": "UPDATE node_rows SET node = 4711 WHERE node = 110",
	"lost for another's": "DELETE FROM node_rows WHERE node = 110; " +
		"INSERT INTO node_rows (node, parent_node, form, prepared) SELECT 4711, '', form, prepared FROM node_rows WHERE node = 1",
}

// worn is how many rows do not fit after a damage.
func worn(damage string) int {
	switch damage {
	case "all are lost":
		return manyRows
	case "another number", "lost for another's":
		return 2 // one is missing, one is of no node
	}
	return 1
}

const manyRows = nodes.Together + 20

func withRows(t *testing.T) (*Store, *bytes.Buffer) {
	t.Helper()
	cfg := config(t, t.TempDir())
	log := &bytes.Buffer{}
	cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	s := open(t, cfg)
	s.Prepare("f", told)
	err := s.Update(t.Context(), func(tx conductor.Tx) error {
		for n := range manyRows {
			if err := tx.CreateNode(storetest.Node(n + 1)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, log
}

// damage writes into the file beside the server, as a program does that knows nothing of what belongs together.
func (s *Store) damage(t *testing.T, q string) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+s.cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), q)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// A row that was lost or damaged in the file hides no node from any list, and shows nothing that is not the node's.
func TestF08_AWornRowHidesNoNode(t *testing.T) {
	for name, q := range damages {
		t.Run(name, func(t *testing.T) {
			s, _ := withRows(t)
			s.damage(t, q)
			for i, f := range []conductor.NodeFilter{{}, {Roots: true}, {Roots: true, Limit: 2}, {Limit: 3, After: storetest.ID(1)}, {Limit: manyRows}, {Descending: true}, {SortKey: "name"}, {Driver: "redfish"}} {
				var want, got []string
				err := s.View(t.Context(), func(tx conductor.Tx) error {
					nodes, err := tx.Nodes(f)
					for _, n := range nodes {
						want = append(want, string(n.UUID)+" "+n.Owner)
					}
					if err != nil {
						return err
					}
					return tx.PreparedNodes(f, "f", func(p conductor.PreparedNode) error {
						if p.Node != nil {
							p.Row = p.UUID + " " + p.Node.Owner
						}
						got = append(got, p.Row)
						return nil
					})
				})
				if err != nil || len(want) == 0 || !slices.Equal(got, want) {
					t.Errorf("list %d: %d nodes are listed of %d: %v", i, len(got), len(want), err)
				}
			}
		})
	}
}

// The rows that were lost or damaged are found by who reads them and by who looks for them, and are made anew with a line in the
// log; then nobody has to read the nodes again.
func TestF08_WornRowsAreFoundAndMadeAnew(t *testing.T) {
	unread := map[string]string{ // no list meets it
		"another's": "UPDATE node_rows SET prepared = (SELECT prepared FROM node_rows WHERE node = 1) WHERE node = 2",
	}
	for name, q := range unread {
		damages[name] = q
	}
	delete(damages, "another form") // an old row is as good as any
	for name, q := range damages {
		t.Run(name, func(t *testing.T) {
			s, log := withRows(t)
			if n, err := s.WornRows(t.Context()); n != 0 || err != nil {
				t.Fatalf("%d sound rows are worn: %v", n, err)
			}
			s.damage(t, q)
			if listed(t, s, "f", conductor.NodeFilter{Roots: true}); unread[name] == "" {
				select {
				case <-s.RowsWorn():
				default:
					t.Error("who reads the rows does not find it")
				}
			}
			want := worn(name)
			if n, err := s.WornRows(t.Context()); n != want || err != nil {
				t.Errorf("%d rows are worn, want %d: %v", n, want, err)
			}
			select {
			case <-s.RowsWorn():
			default:
				t.Error("nobody is told to mend them")
			}
			if e, err := Examine(t.Context(), s.cfg.Path); err != nil || e.Worn != want || e.Damage != "" {
				t.Errorf("from outside: %+v, %v", e, err)
			}
			if err := s.MendRows(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n, err := s.WornRows(t.Context()); n != 0 || err != nil {
				t.Errorf("%d are worn after they were mended: %v", n, err)
			}
			if n := bytes.Count(log.Bytes(), []byte("made anew")); n != want {
				t.Errorf("%d lines of the log, want %d:\n%s", n, want, log)
			}
			rows := listed(t, s, "f", conductor.NodeFilter{Roots: true})
			for n := range manyRows {
				if id := string(storetest.ID(n + 1)); rows[id] != id+" infra" {
					t.Errorf("node %d is listed as %q", n+1, rows[id])
				}
			}
			select {
			case <-s.RowsWorn():
				t.Error("somebody found worn rows after they were mended")
			default:
			}
		})
	}
}
