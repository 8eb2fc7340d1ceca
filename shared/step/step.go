// Package step is the one type for steps, in band or out of band, built in or a vendor's: what a step is, how its
// arguments are checked and how steps are ordered. It runs nothing; the conductor makes plans of them.
//
// Start at Step and Bound, then Registry and Automated.
package step

import (
	"context"
	"log/slog"
	"time"

	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Where says who runs a step.
type Where string

// In band: the agent in the ramdisk. Out of band: the server through the BMC. Server: the server by itself, at the
// step's place in a list (the reserved steps: hold, wait, and the power acts).
const (
	InBand    Where = "in-band"
	OutOfBand Where = "out-of-band"
	Server    Where = "server"
)

// Repeat says what may happen after an interruption.
type Repeat string

// Again: a new attempt (with a new id) is safe without asking. Never: fail and ask the operator.
const (
	Again Repeat = "again"
	Never Repeat = "never"
)

// Touch says what a step does to disks; it selects the checks that precede it (safety.md I1, I20).
type Touch string

// Nothing: no disk is written. AllDisks: every disk of the inventory but the skipped ones. RootDisk: the one that
// the root device hints select. Volumes: RAID volumes are made and deleted through the BMC, so that there are other disks
// afterwards than those of the inventory.
const (
	Nothing  Touch = ""
	AllDisks Touch = "all-disks"
	RootDisk Touch = "root-disk"
	Volumes  Touch = "volumes"
)

// Step is one piece of work. Name is interface, dot, step ("deploy.erase_devices"); an attempt has its own ID.
type Step struct {
	Name      string             `json:"name"`
	Doc       string             `json:"doc"` // one sentence: shown by the CLI, the API and the reference page
	Where     Where              `json:"where"`
	Priority  map[state.Flow]int `json:"priority"` // highest runs first; 0 runs only on request; absent is not offered
	Args      []Arg              `json:"args,omitempty"`
	Touches   Touch              `json:"touches,omitempty"`
	Secrets   []string           `json:"secrets,omitempty"`   // what it may fetch while started: "configdrive"
	Abortable bool               `json:"abortable,omitempty"` // it stops at a safe point; out of band: until it has told the BMC to change anything
	Repeat    Repeat             `json:"repeat"`
	Reboot    bool               `json:"reboot,omitempty"` // the node is rebooted when the step succeeds
	Timeout   time.Duration      `json:"timeout"`          // nanoseconds on the wire
}

// Interface is the part of the name before the dot, Short the part after it.
func (s Step) Interface() string { i, _ := Split(s.Name); return i }

// Short is the step's name without its interface.
func (s Step) Short() string { _, n := Split(s.Name); return n }

// Split cuts "deploy.erase_devices" at its first dot.
func Split(name string) (iface, short string) {
	for i := range len(name) {
		if name[i] == '.' {
			return name[:i], name[i+1:]
		}
	}
	return "", name
}

// ID names one attempt of a step (a UUID; safety.md §2.7).
type ID string

// Result is what a successful step leaves. Data is stored with the step and must survive JSON.
type Result struct {
	Data   map[string]any `json:"data,omitempty"`
	Reboot bool           `json:"reboot,omitempty"` // this run needs the reboot though the step does not always
}

// Call is one run of a step.
type Call struct {
	ID      ID
	Flow    state.Flow
	Args    Args                                          // validated, defaults filled in
	Devices []inventory.DeviceID                          // the disks the started step may touch, and no others (safety.md I1)
	Node    map[string]any                                // the node's properties, as far as steps need them: skip list, allowed classes
	Resume  []Checkpoint                                  // where an earlier attempt of the same run came to; hints, never proof
	Power   string                                        // out of band: "power on" or "power off", as before the first attempt in this run; "" unknown
	Noted   []byte                                        // out of band: JSON, what an attempt before in the run noted last; nil: nothing
	Note    func(context.Context, any) error              // out of band: keeps what a later attempt is to know, and returns when it is stored; nil: it is not kept
	Settled func() error                                  // out of band: told where nothing that was changed is under way or half done; the step ends with its error; nil: nobody stops it
	Report  func(Progress)                                // never nil; cheap; may be called from several goroutines
	Log     *slog.Logger                                  // never nil
	Secret  func(context.Context, string) ([]byte, error) // never nil; refuses names outside Step.Secrets
}

// Stopped is what a step returns that stopped at a safe point because its context ended: Left says for people, disk by
// disk, what it left behind. It never stands for a failure of its own.
type Stopped struct {
	Left string
	Err  error // the context's cause
}

// Error is what was left behind.
func (s *Stopped) Error() string { return s.Left }

// Unwrap gives the context's cause.
func (s *Stopped) Unwrap() error { return s.Err }

// Bound is a step with the code that runs it. Run returns when the step has ended; when ctx ends it stops at the
// next safe point and returns ctx's error, in a Stopped where there is something to tell. It may be called again only
// with another Call.ID.
type Bound struct {
	Step
	Run func(context.Context, Call) (Result, error)
}
