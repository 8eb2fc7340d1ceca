package engine_test

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// rows counts what each table of the database holds.
func (s *site) rows() map[string]int {
	s.t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(s.dir, "b.db")+"?mode=ro")
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	tables, err := db.Query("SELECT name FROM sqlite_schema WHERE type = 'table'")
	if err != nil {
		s.t.Fatal(err)
	}
	out := map[string]int{}
	for tables.Next() {
		var name string
		if err := tables.Scan(&name); err != nil {
			s.t.Fatal(err)
		}
		out[name] = 0
	}
	if err := errors.Join(tables.Err(), tables.Close()); err != nil {
		s.t.Fatal(err)
	}
	for name := range out {
		var n int
		if err := db.QueryRow("SELECT count(*) FROM " + name).Scan(&n); err != nil {
			s.t.Fatal(err)
		}
		out[name] = n
	}
	return out
}

func (s *site) cleanAgain() {
	s.t.Helper()
	s.provision(conductor.Provision{Verb: state.VerbManage})
	s.until(state.Manageable)
	s.provision(conductor.Provision{Verb: state.VerbProvide})
	a := s.agent(<-s.board.booted)
	a.run("deploy.erase_devices_metadata", nil)
	a.run("deploy.erase_devices", erased())
	s.until(state.Available)
	time.Sleep(time.Minute) // orders that were given are forgotten meanwhile
	s.skew.Add(int64(24 * time.Hour))
}

// TestL07_ANodeThatIsCleanedForYearsDoesNotGrow: it has had as many lines and runs as are kept, as after a year. Cleaning it
// further, once a day, adds rows to the audit and to the journal, which has a bound of its own, and to nothing else.
func TestL07_ANodeThatIsCleanedForYearsDoesNotGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.available()
		id := s.node().UUID
		err := s.store.Update(t.Context(), func(tx conductor.Tx) (err error) {
			for i := range 300 {
				err = errors.Join(err, tx.AppendHistory(conductor.Entry{UUID: fmt.Sprint("line-", i), Node: id}))
			}
			for i := range 16 {
				for place, name := range []string{"deploy.erase_devices_metadata", "deploy.erase_devices"} {
					r := conductor.StepRecord{ID: step.ID(fmt.Sprintf("attempt-%d-%d", i, place)), Node: id, Run: fmt.Sprint("run-", i), Order: place, Step: step.Step{Name: name}, State: conductor.StepSucceeded}
					err = errors.Join(err, tx.PutStep(&r))
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		s.cleanAgain()
		before := s.rows()
		if before["history"] != 300 || before["steps"] != 2*16 || before["effects"] != 0 || before["inventories"] != 2 {
			t.Errorf("rows after the first of them: %v", before)
		}
		const more = 4
		for range more {
			s.cleanAgain()
		}
		after := s.rows()
		for table, n := range after {
			switch was := before[table]; {
			case table == "audit" && n == was+7*more:
			case table == "changes" && n == was+5*more: // TestTheJournalIsPruned
			case table != "audit" && table != "changes" && n == was:
			default:
				t.Errorf("%s grew from %d rows to %d", table, was, n)
			}
		}
	})
}
