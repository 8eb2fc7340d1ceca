package volumes

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/raid"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/failpoint"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Want is what a run is to bring about.
type Want struct {
	Disks         []raid.Disk    // that are to be there
	Root, NonRoot bool           // which of them may be made
	Delete        bool           // whether volumes that are none of them are deleted
	Properties    map[string]any // the node's, for what is to be kept
	Noted         []byte         // what the attempt before noted last; nil: it came to no order
}

// note is what a later attempt is to know: it is kept before an order leaves.
type note struct {
	Made   made     `json:"made"`   // before this order
	Of     int      `json:"of"`     // which of what is wanted is to be made; -1: a volume is to be deleted
	Before []string `json:"before"` // the keys of the volumes that were there
	Gone   string   `json:"gone"`   // the key of the one that is to be deleted
}

const (
	pause    = 5 * time.Second
	calm     = 90 * time.Second // the order of an attempt that was cut off may be on its way for so long: as one act takes at most
	busyTime = 5 * time.Minute  // while the BMC is busy, or does not answer a question
	showTime = 10 * time.Minute // until the controllers show after the machine was switched on
	openTime = 15 * time.Minute // until tasks of before have ended
	lostTime = 5 * time.Minute  // until an order whose answer was lost shows, or one that was taken and is no task
	taskTime = time.Hour        // until a task has ended and the volume shows
	readTime = time.Minute      // for what there is, after a failure
	orders   = 2 * maxVolumes   // of one run
)

// Run brings about what is wanted. The result tells raid_config, which is what there is afterwards, read back, and how many volumes
// were created and deleted. It is there beside an error, too, when something was asked of the BMC and what there is
// can be read. What is wanted and there already is left alone.
func Run(ctx context.Context, m Machine, w Want) (map[string]any, error) {
	r := &run{m: m, w: w, made: made{}}
	err := r.all(ctx)
	if err != nil && (!r.acted || errors.Is(ctx.Err(), context.Canceled)) {
		return nil, err
	}
	if err != nil { // how far it came
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTime)
		defer cancel()
		l, readErr := r.read(after)
		if readErr != nil {
			return nil, err
		}
		r.last = l
	}
	root := ""
	for i, v := range r.last.match(w.Disks, r.made, all) {
		if w.Disks[i].Root {
			root = v.key()
		}
	}
	return map[string]any{catalog.BuiltRAID: map[string]any{"logical_disks": r.last.config(root)}, "created": float64(r.created), "deleted": float64(r.deleted)}, err
}

type run struct {
	m                Machine
	w                Want
	made             made
	last             Layout
	acted            bool
	created, deleted int
}

// all gives one order after the other, until none is left to give.
func (r *run) all(ctx context.Context) error {
	if err := r.recall(ctx); err != nil {
		return err
	}
	r.m.At(1, "reading the RAID controllers")
	next, err := r.first(ctx)
	if err != nil || next == nil {
		return err
	}
	if err := r.quiet(ctx); err != nil {
		return err
	}
	on, err := r.m.On(ctx)
	if err != nil {
		return err
	}
	if !on {
		if err := r.switchOn(ctx); err != nil {
			return err
		}
	}
	busy := time.Now().Add(busyTime)
	for given := 0; ; {
		o, err := r.give(ctx)
		switch {
		case err != nil && r.m.Passing(ctx, err) && time.Now().Before(busy):
			r.m.At(5, "waiting for the BMC: %s", fault.From(err).Message)
		case err != nil:
			return err
		case o == nil:
			r.m.At(95, "the volumes are as wanted")
			return r.m.Restore(ctx)
		case o.err != nil && o.refusal == Doubtful:
			there, err := r.came(ctx, o)
			switch {
			case err != nil:
				return err
			case !there && time.Now().After(busy):
				return o.err
			case there:
				if given++; given > orders {
					return endless(given, o)
				}
				busy = time.Now().Add(busyTime)
				continue
			}
		case o.err != nil && o.refusal == Busy && time.Now().Before(busy):
			r.m.At(5, "waiting for the BMC: %s", fault.From(o.err).Message)
		default:
			if err := r.confirm(ctx, o); err != nil {
				return err
			}
			if given++; given > orders {
				return endless(given, o)
			}
			busy = time.Now().Add(busyTime)
			continue
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

func endless(given int, o *order) error {
	return fault.New(fault.StepFailed, "after %d orders there is still something to do: %s", given, o.words()).
		WithHint("look at what the BMC makes of its volumes: bessemer node show NODE, and its own pages")
}

// recall finds out what came of the order that an attempt which was cut off gave last. What it had to make or delete is looked for
// until it shows or is gone, or until the order can't be on its way any more.
func (r *run) recall(ctx context.Context) error {
	if len(r.w.Noted) == 0 {
		return nil
	}
	var n note
	if err := json.Unmarshal(r.w.Noted, &n); err != nil || n.Of >= len(r.w.Disks) {
		return fault.New(fault.StepInterrupted, "what the attempt that was cut off noted can't be read, so nothing is asked of the BMC").Because(err).
			WithHint("look at the controller by the BMC's own pages, then repeat the verb")
	}
	if n.Made != nil {
		r.made = n.Made
	}
	for end := time.Now().Add(calm); ; {
		l, err := r.read(ctx)
		if err != nil && !r.m.Passing(ctx, err) {
			return err
		}
		if n.Of < 0 && err == nil && !l.has(n.Gone) {
			return nil
		}
		for _, c := range l.Controllers {
			for _, v := range c.Volumes {
				if n.Of >= 0 && !slices.ContainsFunc(n.Before, func(k string) bool { return same(k, v.key()) }) && c.is(r.w.Disks[n.Of], v, c.left(v, anyOther)) {
					r.made[n.Of] = v.key()
					return nil
				}
			}
		}
		if time.Now().After(end) {
			return nil
		}
		r.m.At(0, "looking for what the attempt that was cut off had asked for")
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// first finds what is to be asked first, before anything is: nil when nothing is. A machine without power may show no
// controllers, so it is switched on for that.
func (r *run) first(ctx context.Context) (*order, error) {
	end := time.Now().Add(busyTime)
	switched := false
	for {
		var next *order
		err := r.m.Do(ctx, func(s Service, system string) error {
			l, err := Read(s, system)
			if err != nil {
				return err
			}
			r.last = l
			if len(l.Controllers) == 0 {
				return errNone
			}
			next, err = r.decide(l)
			return err
		})
		switch {
		case err == nil:
			return next, nil
		case errors.Is(err, errNone) && !switched:
			on, err := r.m.On(ctx)
			if err != nil {
				return nil, err
			}
			if on {
				return nil, none()
			}
			switched = true
			if err := r.switchOn(ctx); err != nil {
				return nil, err
			}
			end = time.Now().Add(showTime)
			continue
		case errors.Is(err, errNone) && time.Now().After(end):
			return nil, none()
		case errors.Is(err, errNone), r.m.Passing(ctx, err) && time.Now().Before(end):
			r.m.At(1, "waiting for the RAID controllers to show")
		default:
			return nil, err
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
	}
}

var errNone = errors.New("no controller shows")

func none() error {
	return fault.New(fault.BMCUnsupported, "the BMC shows no controller that builds RAID volumes").
		WithHint("a machine without one has raid_interface no-raid, or agent for software RAID")
}

func (r *run) switchOn(ctx context.Context) error {
	r.m.At(2, "switching the machine on: its RAID controllers need power")
	r.acted = true
	return r.m.SwitchOn(ctx)
}

// quiet waits until the BMC's queue holds nothing that an attempt before this may have left there: an order beside that could
// be the same once more. What waits for a restart gets one.
func (r *run) quiet(ctx context.Context) error {
	end, restarted := time.Now().Add(openTime), false
	for {
		names, waits, err := r.m.Open(ctx)
		switch {
		case err != nil && !r.m.Passing(ctx, err):
			return err
		case err == nil && len(names) == 0:
			return nil
		case err == nil && waits && !restarted && time.Now().After(end.Add(pause-openTime)): // looked at twice
			r.m.At(3, "restarting the machine for the tasks that wait in the BMC's queue")
			r.acted, restarted = true, true
			if err := r.m.Restart(ctx); err != nil {
				return err
			}
			end = time.Now().Add(openTime)
		case time.Now().After(end):
			if err != nil {
				return err
			}
			return fault.New(fault.BMCTask, "the BMC's queue holds tasks that do not end, so that nothing is asked of its RAID controllers: %s", strings.Join(names, ", ")).
				WithHint("run management.clear_job_queue, then repeat the verb")
		default:
			r.m.At(3, "waiting for the tasks in the BMC's queue")
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// give reads what there is, decides anew and gives the next order, all in one operation. nil: nothing is left to do.
func (r *run) give(ctx context.Context) (o *order, err error) {
	err = r.m.Do(ctx, func(s Service, system string) error {
		l, err := Read(s, system)
		if err != nil {
			return err
		}
		if r.last = l; len(l.Controllers) == 0 {
			return fault.New(fault.BMCBusy, "the BMC shows its RAID controllers no more")
		}
		if o, err = r.decide(l); err != nil || o == nil {
			return err
		}
		r.acted = true
		r.m.At(10, "%s", o.words())
		if err := r.m.Note(ctx, r.note(o)); err != nil {
			return err
		}
		if o.create != nil {
			failpoint.Here("raid.create.before")
			o.task, o.err = s.Order(http.MethodPost, o.create.Controller.Collection, o.payload())
			failpoint.Here("raid.create.after")
		} else {
			failpoint.Here("raid.delete.before")
			o.task, o.err = s.Order(http.MethodDelete, o.delete.Link, o.payload())
			failpoint.Here("raid.delete.after")
		}
		o.refusal = r.m.Refusal(o.err)
		if fault.Has(o.err, fault.StorageUnavailable) {
			return o.err // nothing was sent, and nothing is to be
		}
		return nil
	})
	return o, err
}

// decide finds what is to be done next. All of what is wanted must be possible before any of it is done (I3).
func (r *run) decide(l Layout) (*order, error) {
	k, err := newKeeper(r.w.Properties, l)
	if err != nil {
		return nil, err
	}
	found := l.match(r.w.Disks, r.made, func(c Controller, v Volume) bool {
		kept, err := k.volume(c, v)
		return !r.w.Delete || kept || err != nil
	})
	is := func(v Volume) bool {
		for _, f := range found {
			if f.key() == v.key() {
				return true
			}
		}
		return false
	}
	var gone []Volume
	var first *order
	for _, c := range l.Controllers {
		for _, v := range c.Volumes {
			if !r.w.Delete || is(v) {
				continue
			}
			kept, err := k.volume(c, v)
			if err != nil {
				return nil, err
			}
			if kept {
				continue
			}
			if gone = append(gone, v); first == nil {
				first = &order{delete: v, apply: c.applies(), before: l}
			}
		}
	}
	var wanted []Build
	missing := false
	for i, d := range r.w.Disks {
		if _, there := found[i]; there {
			continue
		}
		wanted = append(wanted, Build{Disk: d, Of: i})
		missing = missing || r.makes(d)
	}
	if !missing {
		return first, nil
	}
	if err := r.doubt(l, wanted, gone, is); err != nil {
		return nil, err
	}
	builds, err := choose(l, wanted, k, gone)
	if err != nil || first != nil {
		return first, err
	}
	for _, b := range builds {
		if r.makes(b.Disk) {
			return &order{create: &b, apply: b.Controller.applies(), before: l}, nil
		}
	}
	return nil, nil
}

func (r *run) makes(d raid.Disk) bool { return d.Root && r.w.Root || !d.Root && r.w.NonRoot }

func (r *run) note(o *order) note {
	n := note{Made: r.made, Of: -1, Before: []string{}}
	for _, v := range o.before.volumes() {
		n.Before = append(n.Before, v.key())
	}
	if o.create != nil {
		n.Of = o.create.Of
	} else {
		n.Gone = o.delete.key()
	}
	return n
}

// doubt refuses to make a volume that the attempt which was cut off may have made, and which can't be told by its note.
func (r *run) doubt(l Layout, wanted []Build, gone []Volume, is func(Volume) bool) error {
	if len(r.w.Noted) == 0 {
		return nil
	}
	for _, b := range wanted {
		for _, c := range l.Controllers {
			for _, v := range c.Volumes {
				goes := slices.ContainsFunc(gone, func(g Volume) bool { return g.key() == v.key() })
				if b.Name != "" && v.Name != b.Name && r.makes(b.Disk) && !goes && !is(v) && c.is(b.Disk, v, c.left(v, anyOther)) {
					return fault.New(fault.StepInterrupted, "the volume %s of the controller %s may be logical_disks[%d] (%s), made by the attempt that was cut off and named otherwise: it is not made a second time", v.words(), c.ID, b.Of, b.Name).
						WithHint("look at it; then repeat the verb with raid.delete_configuration first, or name it in volume_name")
				}
			}
		}
	}
	return nil
}

func (r *run) read(ctx context.Context) (l Layout, err error) {
	err = r.m.Do(ctx, func(s Service, system string) (err error) { l, err = Read(s, system); return err })
	return l, err
}

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
