package session

import (
	"errors"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/mattn/go-sqlite3"
)

func code(err error) sqlite3.ErrNo {
	var e sqlite3.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

func extended(err error) sqlite3.ErrNoExtended {
	var e sqlite3.Error
	if errors.As(err, &e) {
		return e.ExtendedCode
	}
	return 0
}

// Busy tells that another process was in the way: the whole transaction may be tried again (F7).
func Busy(err error) bool {
	c := code(err)
	return c == sqlite3.ErrBusy || c == sqlite3.ErrLocked
}

// Unsynced tells that a write may have been lost below us. The kernel reports that once and may then show the lost
// page as clean, so this process must not go on from it (F6).
func Unsynced(err error) bool {
	e := extended(err)
	return e == sqlite3.ErrIoErrFsync || e == sqlite3.ErrIoErrDirFsync
}

var explanations = map[sqlite3.ErrNo]string{
	sqlite3.ErrBusy:     "another program holds the database",
	sqlite3.ErrLocked:   "another program holds the database",
	sqlite3.ErrFull:     "the disk is full",
	sqlite3.ErrIoErr:    "the disk returned an error",
	sqlite3.ErrReadonly: "the database is read-only",
	sqlite3.ErrCantOpen: "a file of the database can't be opened",
	sqlite3.ErrPerm:     "the database may not be accessed",
	sqlite3.ErrCorrupt:  "the database is damaged",
	sqlite3.ErrNotADB:   "the file is not a database",
}

// Explain makes storage.unavailable of what SQLite says; other errors are not the database's and stay as they are.
func Explain(err error) error {
	var e sqlite3.Error
	var f *fault.Fault
	if err == nil || errors.As(err, &f) || !errors.As(err, &e) {
		return err
	}
	words, ok := explanations[e.Code]
	if !ok {
		words = "the database failed"
	}
	return fault.New(fault.StorageUnavailable, "%s", words).Because(err)
}

// Unique tells which "table.column" a write collided on, or "".
func Unique(err error) string {
	if e := extended(err); e != sqlite3.ErrConstraintUnique && e != sqlite3.ErrConstraintPrimaryKey {
		return ""
	}
	_, column, _ := strings.Cut(err.Error(), "failed: ")
	return column
}

// Dangling tells that a write names a node that does not exist.
func Dangling(err error) bool { return extended(err) == sqlite3.ErrConstraintForeignKey }
