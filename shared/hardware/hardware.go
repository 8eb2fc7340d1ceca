// Package hardware is all that a vendor needs to write a hardware manager: what a manager is, how well it may fit a
// machine, and what it sees of it. It runs nothing itself; start at Manager.
package hardware

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"

	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Level says how well a manager fits a machine. Where two managers offer one step the higher level wins.
type Level int

// The levels, with Ironic's numbers. None: the manager is not used.
const (
	None            Level = 0
	Generic         Level = 1
	Mainline        Level = 2
	ServiceProvider Level = 3
)

// ErrNotMine passes a question of an optional interface to the next manager.
var ErrNotMine = errors.New("not mine")

// Manager is code that knows a make of hardware. Support is asked once per boot, Steps once after it; both must
// return within the context's deadline and must not change the machine. A panic in either only loses this manager.
type Manager interface {
	Name() string
	Version() string // must not vary between boots of one build
	Support(ctx context.Context, m *Machine) (Level, error)
	Steps(ctx context.Context, m *Machine) ([]step.Bound, error)
}

// Machine is what a manager sees. Files below Root are read as if it were "/".
type Machine struct {
	Root      fs.FS
	Exec      Runner
	Inventory inventory.Inventory
	Log       *slog.Logger
}

// Runner runs a program that the ramdisk holds: no shell, arguments as given, output capped at 1 MiB. The error
// names the program and carries the last lines of stderr.
type Runner interface {
	Run(ctx context.Context, program string, args ...string) (stdout []byte, err error)
}
