// Package update is the step firmware.update: it has a BMC fetch and install firmware, one image after the other, restarts
// the machine where an image takes effect at its start only, and reads the versions again. It reaches machine and BMC
// through Machine alone, which holds all bounds of bytes, requests and time, follows no foreign link and masks the images'
// addresses.
//
// An image is sent once: again only after an answer that it was not taken and, where a proxy may have given that, only when
// nothing of it shows. That it is about to be sent is noted first; whoever finds such a note, and no answer, looks
// for traces of it (trace.go) and ends with firmware.outcome_unknown when there are none. The same holds for the restart:
// what may write to flash memory at its start is not switched off by a later attempt.
//
// Start at Run; send.go is how an image is sent, wait.go how its end is waited for.
package update

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/bessemer-metal/bessemer/server/redfish/parts"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Machine is what an update needs of a machine and its BMC. Errors are bmc.* faults.
type Machine interface {
	// Ask does one operation: its requests share a budget. A patient one is tried though the BMC did not answer lately.
	Ask(ctx context.Context, patient bool, do func(BMC) error) error
	Off(ctx context.Context) error // confirmed; an operating system at work is asked to shut down first
	On(ctx context.Context) error  // confirmed
	// Tell reports how far the update is that is worked on, of all.
	Tell(index, all int, percent float64, format string, args ...any)
	Note(ctx context.Context, v any) error       // returns when it is stored
	Passing(ctx context.Context, err error) bool // trouble that may go away by itself
	Refused(err error) bool                      // the BMC answered that it did nothing of what was asked
	Doubtful(err error) bool                     // so did it, or something before it that may have handed the order on
}

// BMC is one operation.
type BMC interface {
	parts.Service
	Find() (Found, error)
	Task(link string) (Task, error) // a failed one is a bmc.task_failed
	Own(link string) error          // nil: the link is of this BMC, and may be followed
	Hide(url string)                // whatever the BMC says of it is masked
}

// Found is where the things are that concern a machine, and what its own objects say already.
type Found struct {
	parts.Machine
	Updates string // the update service; "": there is none
	Tasks   string // the task service; likewise
	Reset   string // when the BMC restarted last, in its own words; "": it does not say
	Several bool   // the BMC has more machines than this one
}

// Task is a task of the BMC's, as far as it can be read.
type Task struct {
	State   string // Redfish's TaskState; "" unknown
	Over    bool   // it ended well, or is gone
	Gone    bool   // the BMC does not know it any more: how it ended is unknown
	Percent float64
}

// Done is what came of one image. From and To are the BMC's words, cleaned.
type Done struct {
	Component string `json:"component"`
	From      string `json:"from"`
	To        string `json:"to"`
	Unchanged bool   `json:"unchanged,omitempty"` // the BMC says that all went well, and tells the version that was there before
}

// stage is how far the image is that is worked on.
type stage string

const (
	nothing  stage = ""         // nothing was sent
	sending  stage = "sending"  // it is about to be sent: it may have arrived
	taken    stage = "taken"    // the BMC has it
	stopping stage = "stopping" // the machine is about to be switched off for it: it may be
	stopped  stage = "stopped"  // it was switched off, and on, or is to be: the image may be on its way into flash memory
)

// notes is what is kept before anything is done, and what a later attempt begins with. They hold no address.
type notes struct {
	Done      []Done   `json:"done,omitempty"` // of the images before, in their order
	Stage     stage    `json:"stage,omitempty"`
	Before    string   `json:"before,omitempty"` // the component's version when the image was sent
	Reset     string   `json:"reset,omitempty"`  // Found.Reset at that time
	Tasks     []string `json:"tasks,omitempty"`  // that the BMC knew then
	Task      string   `json:"task,omitempty"`   // of the image; "": none, or unknown
	Guessed   bool     `json:"guessed,omitempty"`
	Completed bool     `json:"completed,omitempty"` // the task was seen to have ended well
}

// The times that things take at most, and how often one looks. A real BMC's figures: a download and a check of the image
// in a quarter of an hour, a restart of its own in ten minutes, a BIOS that writes its flash memory and trains the
// memory in ten.
const (
	firstPause   = 2 * time.Second
	longestPause = 10 * time.Second
	askTime      = 3 * time.Minute  // a busy BMC is asked again
	traceTime    = 2 * time.Minute  // of answers, until an image whose own answer was lost must have left a trace
	taskTime     = time.Hour        // a task that does not move
	stillTime    = 30 * time.Second // a task that waits, and does not move, waits for the restart
	startTime    = 20 * time.Minute // from power on until the new version shows
	backTime     = time.Minute      // of good answers, until a BMC that has restarted tells its version for good
)

// updater is one run.
type updater struct {
	m     Machine
	all   []catalog.Firmware
	away  time.Duration
	log   *slog.Logger
	n     notes
	cause string // why the answer to the image that is worked on is missing
	lost  bool   // the BMC did not answer for a while since the image that is worked on was sent
}

// Run installs the images in their order. Noted is what an attempt before in the same run noted last; away is how long
// the BMC may be without an answer. The list is what was done, of a failed run too.
func Run(ctx context.Context, m Machine, all []catalog.Firmware, noted []byte, away time.Duration, log *slog.Logger) ([]Done, error) {
	u := &updater{m: m, all: all, away: away, log: log}
	if len(noted) > 0 && (json.Unmarshal(noted, &u.n) != nil || len(u.n.Done) > len(all)) {
		return nil, fault.New(fault.FirmwareUnknown, "what an attempt before this one noted can't be read")
	}
	for len(u.n.Done) < len(all) {
		done, err := u.one(ctx)
		if err != nil {
			return u.n.Done, err
		}
		u.n = notes{Done: append(u.n.Done, done)}
		u.lost, u.cause = false, ""
		if err := u.m.Note(ctx, u.n); err != nil {
			return u.n.Done, err
		}
	}
	return u.n.Done, nil
}

// want is the image that is worked on.
func (u *updater) want() catalog.Firmware { return u.all[len(u.n.Done)] }

func (u *updater) tell(percent float64, format string, args ...any) {
	u.m.Tell(len(u.n.Done), len(u.all), percent, format, args...)
}

// at notes the stage before what it stands for is done, or right after.
func (u *updater) at(ctx context.Context, s stage) error {
	u.n.Stage = s
	return u.m.Note(ctx, u.n)
}

// one takes the image from the stage that is noted to its end.
func (u *updater) one(ctx context.Context) (Done, error) {
	want := u.want()
	if u.n.Stage == nothing {
		if err := u.send(ctx); err != nil {
			return Done{}, err
		}
	}
	if u.n.Stage == sending {
		if err := u.trace(ctx, cmp.Or(u.cause, "the server was stopped")); err != nil {
			return Done{}, err
		}
	}
	if u.n.Stage == taken {
		if err := u.untilTaken(ctx); err != nil {
			return Done{}, err
		}
		if want.Component == catalog.ComponentBMC {
			return u.end(ctx, u.untilBack)
		}
		if err := u.at(ctx, stopping); err != nil {
			return Done{}, err
		}
	}
	if u.n.Stage == stopping { // nothing was started yet, so nothing is being written
		u.tell(60, "switching the machine off, so that %s takes effect", want.Component)
		if err := u.m.Off(ctx); err != nil {
			return Done{}, err
		}
		if err := u.at(ctx, stopped); err != nil {
			return Done{}, err
		}
	}
	u.tell(65, "switching the machine on, so that %s takes effect", want.Component)
	if err := u.m.On(ctx); err != nil { // of a machine that is on already nothing comes
		return Done{}, err
	}
	return u.end(ctx, u.untilStarted)
}

// end waits for the version, and says what came of the image.
func (u *updater) end(ctx context.Context, wait func(context.Context) (string, error)) (Done, error) {
	want := u.want()
	version, err := wait(ctx)
	if err != nil {
		return Done{}, err
	}
	d := Done{Component: want.Component, From: u.n.Before, To: version}
	if version == u.n.Before {
		if !u.n.Completed || u.n.Guessed {
			return Done{}, fault.New(fault.FirmwareUnchanged, "the BMC took the image for %s, tells of no end of its work, and %s still has version %s", want.Component, want.Component, version)
		}
		d.Unchanged = true
		u.log.Warn("the BMC says that the firmware was installed, and tells the version that was there before", "component", want.Component, "version", version)
	}
	if want.Wait > 0 {
		u.tell(98, "waiting %s after the update of %s, as asked", want.Wait, want.Component)
		if err := sleep(ctx, want.Wait); err != nil {
			return Done{}, err
		}
	}
	return d, nil
}

// ask does one operation in which no address is shown.
func (u *updater) ask(ctx context.Context, patient bool, do func(BMC) error) error {
	return u.m.Ask(ctx, patient, func(b BMC) error {
		for _, f := range u.all {
			b.Hide(f.URL)
		}
		return do(b)
	})
}

// sleep waits, or returns ctx's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
