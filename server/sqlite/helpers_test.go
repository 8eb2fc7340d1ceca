package sqlite

import (
	"runtime"

	"github.com/mattn/go-sqlite3"
)

func exit() { runtime.Goexit() }

func syncError() error {
	return sqlite3.Error{Code: sqlite3.ErrIoErr, ExtendedCode: sqlite3.ErrIoErrFsync}
}
