// Package ledger is the witness of the crash harness: an append-only file of JSON lines in which the devices and BMCs of
// fake machines write what was done to them, and the harness what it killed. Each line is one write, synced before it
// counts, so that the file's order is the order of what happened, whoever died in between. It judges nothing; package
// crash does.
//
// Start at Line, then Append and Read.
package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Kind is what a line tells of.
type Kind string

// What the agent's devices and its channel write, then the BMCs, then what the harness does.
const (
	Begin   Kind = "begin"   // a device is worked on from now on
	End     Kind = "end"     // the work on it is done, well
	Started Kind = "started" // the server let the step start: its answer is there
	Told    Kind = "told"    // the server took the step's end: its answer is there

	Act Kind = "act" // the machine's BMC accepted an act and does it now

	Serve Kind = "serve" // a server is started; the one before it is dead

	Boot Kind = "boot" // the machine runs an agent from now on
	Kill Kind = "kill" // the agent's process is dead, the boot goes on
	Off  Kind = "off"  // the machine has no power, its memory is gone
)

// Line is one line. Step is set in the first four kinds, Device in Begin and End, Outcome in Told, Value and Session in
// Act, At in Serve. Machine is that of all but Serve, Name the step's, or the act's.
type Line struct {
	Kind    Kind        `json:"kind"`
	Machine string      `json:"machine,omitempty"`
	Step    step.ID     `json:"step,omitempty"`
	Name    string      `json:"name,omitempty"`
	Value   string      `json:"value,omitempty"`   // as the BMC saw it
	Session string      `json:"session,omitempty"` // of the BMC's client
	At      time.Time   `json:"at,omitzero"`
	Device  string      `json:"device,omitempty"`
	Outcome api.Outcome `json:"outcome,omitempty"`
}

// File is a ledger open for writing. It is safe for concurrent use, also by several processes.
type File struct{ f *os.File }

// Open opens a ledger, or starts one.
func Open(path string) (*File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the ledger: %w", err)
	}
	return &File{f}, nil
}

// Append writes a line; when it returns, the line is on the disk.
func (l *File) Append(line Line) error {
	b, err := json.Marshal(line)
	if err == nil {
		// The first break ends a line that another process was killed in the middle of: SIGKILL may cut a write short
		// where it crosses a page of memory.
		_, err = l.f.Write(slices.Concat([]byte("\n"), b, []byte("\n")))
	}
	if err == nil {
		err = l.f.Sync()
	}
	if err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	return nil
}

// Close closes the file.
func (l *File) Close() error { return l.f.Close() }

// Read gives all lines so far; a file that is not there has none. A line without its end, or cut short, is one that was
// being written when its process was killed, or is being written now: what it announces had not begun, and what it
// confirms nobody has relied on. It does not count.
func Read(path string) ([]Line, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	var out []Line
	for n := 1; ; n++ {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		if !whole {
			return out, nil
		}
		text = rest
		if len(line) == 0 || !bytes.HasSuffix(line, []byte("}")) {
			continue
		}
		var l Line
		if err := json.Unmarshal(line, &l); err != nil {
			return nil, fmt.Errorf("ledger, line %d: %w", n, err)
		}
		out = append(out, l)
	}
}
