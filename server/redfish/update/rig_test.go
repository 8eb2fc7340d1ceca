package update

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/redfish/parts"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// How long things take in the rig.
const (
	downloads = time.Minute
	flashes   = 4 * time.Minute // from power on
	restarts  = 3 * time.Minute // of the BMC
	away      = 15 * time.Minute
)

var errKilled = errors.New("the server is killed")

// rig is a machine and its BMC in memory, and the server's notes. An image's URL ends in the component and the version that
// it brings: "http://h/bios/2".
type rig struct {
	t        *testing.T
	versions map[string]string
	on       bool
	images   []*image
	forgets  bool      // the BMC forgets its tasks when it restarts
	tasked   bool      // it makes tasks
	pending  bool      // a task that needs the restart of the machine waits for it
	stays    bool      // the images bring the versions that are there
	leaves   time.Time // the BMC is gone from then on,
	gone     time.Time // until then
	reset    int
	made     int
	stored   []byte // the last note

	sent []string // components of which an image arrived
	acts []string
	told []string

	post  func(n int) error // what becomes of the n-th image instead; errLost and errGone as they say
	kill  int               // the server is killed at so many acts and questions; 0: never
	after bool              // after it is done, not before
	asked int
	dead  bool

	fail    int   // this act, note or image does not come about,
	with    error // for this reason
	failed  int   // how many acts there were then; 0: it has not come to that
	reads   int
	badRead int           // this question gets the error, once
	state   string        // of the update service
	slow    time.Duration // that an image takes longer, while the update service says that it is at work
	later   time.Duration // after its task's end that the BMC restarts with its own image
	amnesia bool          // the BMC knows none of its tasks
	mute    bool          // the BMC does not say when it restarted
	several bool
	bodies  []map[string]any     // of the orders
	links   func() []string      // tasks of somebody else's,
	theirs  func() (Task, error) // and how those are; nil: the BMC knows them no more
	lies    func(object any)     // changes what was read
}

var (
	errLost    = fault.New(fault.BMCUnreachable, "the connection broke off")    // after the image arrived
	errGone    = fault.New(fault.BMCUnreachable, "no answer in time")           // the image never arrived
	errRefused = fault.New(fault.BMCError, "400: the image can't be used")      // an answer
	errBusy    = fault.New(fault.BMCBusy, "503: come again")                    // an answer
	errLease   = fault.New(fault.StorageUnavailable, "the lease is in doubt")   // nothing left
	errHanded  = fault.New(fault.BMCBusy, "503: unavailable")                   // an answer, of a proxy that handed the image on
	errTurned  = fault.New(fault.BMCBusy, "503: no way through")                // an answer, of one that did not
	errBreaks  = fault.New(fault.BMCError, "500: something went wrong in here") // an answer that tells nothing
)

// image is one that arrived.
type image struct {
	component, version string
	task               string
	at, start          time.Time // when it arrived; when the machine was switched on for it
	installed          bool
	failed             string
}

func newRig(t *testing.T) *rig {
	return &rig{t: t, versions: map[string]string{"bios": "1", "bmc": "1", "nic:1": "1"}, tasked: true, forgets: true, on: true}
}

// turn is one act or question: here the server is killed.
func (r *rig) turn(what string, do func() error) error {
	if r.dead {
		return errKilled
	}
	r.asked++
	if r.asked == r.fail {
		r.failed = len(r.acts) + 1
		return r.with
	}
	now := r.asked == r.kill
	if now && !r.after {
		r.dead = true
		return errKilled
	}
	err := do()
	if now {
		r.dead = true
		return errKilled
	}
	return err
}

func (r *rig) Ask(_ context.Context, _ bool, do func(BMC) error) error {
	if r.dead {
		return errKilled
	}
	if now := time.Now(); now.Before(r.gone) && !now.Before(r.leaves) {
		return fault.New(fault.BMCUnreachable, "no route to it")
	}
	r.work()
	return do(r)
}

// work is what the BMC has done by now.
func (r *rig) work() {
	for _, i := range r.images {
		switch {
		case i.installed || i.failed != "" || time.Since(i.at) < downloads+r.slow:
		case i.component == "bmc" && time.Since(i.at) < downloads+r.slow+r.later:
		case i.component == "bmc":
			i.installed = true
			r.install(i)
			r.leaves = i.at.Add(downloads + r.slow + r.later)
			r.gone = r.leaves.Add(restarts)
			r.reset++
			if r.forgets {
				i.task = ""
			}
		case !i.start.IsZero() && time.Since(i.start) >= flashes:
			i.installed = true
			r.install(i)
		}
	}
}

func (r *rig) install(i *image) {
	if !r.stays {
		r.versions[i.component] = i.version
	}
}

func (r *rig) flashing() bool {
	return slices.ContainsFunc(r.images, func(i *image) bool {
		return !i.installed && !i.start.IsZero() && time.Since(i.start) < flashes
	})
}

func (r *rig) Off(context.Context) error {
	return r.turn("off", func() error {
		r.work()
		r.acts = append(r.acts, "off")
		if r.flashing() {
			r.t.Error("the machine was switched off while its flash memory was written")
		}
		r.on = false
		return nil
	})
}

func (r *rig) On(context.Context) error {
	return r.turn("on", func() error {
		r.work()
		r.acts = append(r.acts, "on")
		if !r.on {
			r.on = true
			for _, i := range r.images {
				if i.component != "bmc" && i.failed == "" && time.Since(i.at) >= downloads+r.slow && i.start.IsZero() {
					i.start = time.Now()
				}
			}
		}
		return nil
	})
}

func (r *rig) Tell(index, all int, percent float64, format string, args ...any) {
	r.told = append(r.told, fmt.Sprintf("%d/%d %.0f ", index, all, percent)+fmt.Sprintf(format, args...))
}

func (r *rig) Note(_ context.Context, v any) error {
	return r.turn("note", func() (err error) { r.stored, err = json.Marshal(v); return err })
}

func (r *rig) Passing(_ context.Context, err error) bool {
	return fault.From(err).Code.Retriable() && !fault.Has(err, fault.StorageUnavailable)
}
func (r *rig) Refused(err error) bool { return errors.Is(err, errRefused) || errors.Is(err, errBusy) }
func (r *rig) Doubtful(err error) bool {
	return errors.Is(err, errHanded) || errors.Is(err, errTurned)
}

// The rest is the BMC.

func (r *rig) Hide(string) {}

func (r *rig) Own(string) error { return r.read() }

// read is one question.
func (r *rig) read() error {
	if r.reads++; r.reads == r.badRead {
		return r.with
	}
	return nil
}

func (r *rig) Find() (Found, error) {
	if err := r.read(); err != nil {
		return Found{}, err
	}
	reset := fmt.Sprint(r.reset)
	if r.mute {
		reset = ""
	}
	return Found{Machine: parts.Machine{System: "/s", BIOSVersion: r.versions["bios"], BMCVersion: r.versions["bmc"], Chassis: []string{"/c"}},
		Updates: "/u", Tasks: "/t", Reset: reset, Several: r.several}, nil
}

func (r *rig) Task(link string) (Task, error) {
	if err := r.read(); err != nil {
		return Task{}, err
	}
	if r.theirs != nil && slices.Contains(r.links(), link) {
		return r.theirs()
	}
	for _, i := range r.images {
		switch {
		case i.task != link || r.amnesia:
		case i.failed != "":
			return Task{}, fault.New(fault.BMCTask, "%s", i.failed)
		case time.Since(i.at) < downloads+r.slow:
			return Task{State: "Running", Percent: float64(time.Since(i.at)) / float64(downloads) * 100}, nil
		case r.pending && i.component != "bmc" && !i.installed:
			return Task{State: "Pending", Percent: 100}, nil
		default:
			return Task{State: "Completed", Over: true, Percent: 100}, nil
		}
	}
	return Task{Over: true, Gone: true}, nil
}

func (r *rig) Members(link string) ([]string, error) {
	if err := r.read(); err != nil {
		return nil, err
	}
	switch link {
	case "/c/cards":
		return []string{"/c/1"}, nil
	case "/t/all":
		all := []string{"/t/before"}
		for _, i := range r.images {
			if i.task != "" {
				all = append(all, i.task)
			}
		}
		if r.links != nil {
			all = append(all, r.links()...)
		}
		return all, nil
	}
	return nil, nil
}

func (r *rig) Read(link string, into any) error {
	if err := r.read(); err != nil {
		return err
	}
	o := map[string]any{
		"/c":   map[string]any{"NetworkAdapters": map[string]any{"@odata.id": "/c/cards"}},
		"/c/1": map[string]any{"Id": "1", "Controllers": []any{map[string]any{"FirmwarePackageVersion": r.versions["nic:1"]}}},
		"/t":   map[string]any{"Tasks": map[string]any{"@odata.id": "/t/all"}},
		"/u": map[string]any{"ServiceEnabled": true, "Status": map[string]any{"State": r.service()},
			"Actions": map[string]any{"#UpdateService.SimpleUpdate": map[string]any{"target": "/u/simple", "TransferProtocol@Redfish.AllowableValues": []string{"HTTP", "NFS"}}}},
	}[link]
	if o != nil && r.lies != nil {
		r.lies(o)
	}
	raw, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

func (r *rig) service() string {
	if r.slow > 0 && slices.ContainsFunc(r.images, func(i *image) bool { return time.Since(i.at) < downloads+r.slow }) {
		return updating
	}
	return r.state
}

func (r *rig) Post(_ string, body any) (raw []byte, location string, err error) {
	err = r.turn("post", func() error {
		order := body.(map[string]any)
		address := order["ImageURI"].(string)
		r.acts, r.bodies = append(r.acts, "post "+address), append(r.bodies, order)
		if r.post != nil {
			err = r.post(len(r.acts))
		}
		if err != nil && !errors.Is(err, errLost) && !errors.Is(err, errBreaks) && !errors.Is(err, errHanded) {
			return err
		}
		p := strings.Split(address, "/")
		i := &image{component: p[len(p)-2], version: p[len(p)-1], at: time.Now()}
		if r.tasked {
			r.made++
			i.task = fmt.Sprintf("/t/%d", r.made)
			location = i.task
		}
		if i.version == "broken" {
			i.failed = "the image is broken"
		}
		r.images = append(r.images, i)
		r.sent = append(r.sent, i.component)
		return err
	})
	return nil, location, err
}

func (r *rig) Patch(string, any) error { return errRefused }
func (r *rig) Delete(string) error     { return errRefused }
func (r *rig) Missing(error) bool      { return false }

// run runs an attempt, which begins with what was noted last.
func (r *rig) run(all ...catalog.Firmware) ([]Done, error) {
	return Run(r.t.Context(), r, all, r.stored, away, slog.New(slog.DiscardHandler))
}

func want(components ...string) (out []catalog.Firmware) {
	for _, c := range components {
		out = append(out, catalog.Firmware{Component: c, URL: "http://h/" + c + "/2"})
	}
	return out
}
