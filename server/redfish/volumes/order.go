package volumes

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/raid"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// order is one thing to ask of the BMC.
type order struct {
	create  *Build
	delete  Volume
	apply   string // when it takes effect; "" when the BMC does not let that be said
	before  Layout
	task    string
	err     error // of the order itself
	refusal Refusal
}

// applies is when an operation is to take effect: at once where the BMC can do that.
func (c Controller) applies() string {
	for _, t := range []string{immediate, onReset} {
		if slices.Contains(c.Apply, t) {
			return t
		}
	}
	return ""
}

const immediate, onReset = "Immediate", "OnReset"

func (o *order) payload() any {
	body := map[string]any{}
	if o.apply != "" {
		body["@Redfish.OperationApplyTime"] = o.apply
	}
	if b := o.create; b != nil {
		body["RAIDType"] = named(b.Level).kind
		if b.Bytes != raid.Max { // the controller knows best what all the room is
			body["CapacityBytes"] = b.Bytes
		}
		if b.Name != "" {
			body["Name"] = b.Name
		}
		drives := []any{}
		for _, d := range b.Drives {
			drives = append(drives, map[string]any{"@odata.id": d.Link})
		}
		body["Links"] = map[string]any{"Drives": drives}
	}
	if len(body) == 0 {
		return nil
	}
	return body
}

func (o *order) words() string {
	if b := o.create; b != nil {
		var ids []string
		for _, d := range b.Drives {
			ids = append(ids, d.ID)
		}
		name := b.Name
		if name == "" {
			name = fmt.Sprintf("logical_disks[%d]", b.Of)
		}
		return fmt.Sprintf("creating volume %s (RAID level %s) of the drives %s on %s", name, b.Level, strings.Join(ids, ", "), b.Controller.ID)
	}
	return "deleting volume " + o.delete.words()
}

// reached tells whether an order has come about; wrong says that something else has.
func (o *order) reached(l Layout) (key string, wrong string, done bool) {
	if o.create == nil {
		return "", "", !l.has(o.delete.key())
	}
	for _, c := range l.Controllers {
		if c.Collection != o.create.Controller.Collection {
			continue
		}
		for _, v := range c.Volumes {
			if o.before.has(v.key()) {
				continue
			}
			w := o.create.Disk
			w.Controller, w.Physical = "", nil
			for _, d := range o.create.Drives {
				w.Physical = append(w.Physical, d.ID)
			}
			if c.is(w, v, o.create.Expected) {
				return v.key(), "", true
			}
			wrong = fmt.Sprintf("the volume %s came about, %s of %d GiB on %s", v.words(), v.Type, v.Bytes>>30, strings.Join(v.Drives, ", "))
		}
	}
	return "", wrong, false
}

// confirm waits until an order has come about, and restarts the machine for one that waits for that: where the controller does
// not let it be said when an order takes effect, its task must show it, since a restart cuts off one that is at work (F15). What was
// refused, and what does not show though its answer was lost, ends the run: nothing is asked for twice.
func (r *run) confirm(ctx context.Context, o *order) error {
	within := lostTime
	switch {
	case o.err != nil && ctx.Err() != nil:
		return o.err
	case o.err != nil && o.refusal != Unknown:
		within = 0 // one look, since it may be so all the same
	case o.err == nil && o.apply == onReset:
		if err := r.restart(ctx, o); err != nil {
			return err
		}
		within = taskTime
	case o.task != "":
		within = taskTime
	}
	end, ended, wrong := time.Now().Add(within), time.Time{}, ""
	var stands time.Time // since when the task has shown no sign of work; zero: it has, or the machine was restarted for it
	mayWait := o.err == nil && o.apply == "" && o.task != ""
	for {
		t, err := Task{Done: true}, error(nil)
		if o.task != "" {
			if t, err = r.m.Task(ctx, o.task); err != nil && !r.m.Passing(ctx, err) {
				return err
			}
		}
		switch {
		case !mayWait || err != nil:
		case t.Done || !t.Waits && !t.Silent:
			stands = time.Time{}
		case stands.IsZero():
			stands = time.Now()
		case t.Waits || time.Since(stands) >= lostTime: // looked at twice
			if err := r.m.Restart(ctx); err != nil {
				return err
			}
			mayWait, end = false, time.Now().Add(taskTime)
		}
		if t.Done && err == nil {
			var l Layout
			if l, err = r.read(ctx); err == nil {
				var key string
				var reached bool
				if key, wrong, reached = o.reached(l); reached {
					r.count(o, key)
					return nil
				}
				if o.task != "" && ended.IsZero() { // it has ended, and is soon to show
					ended, end = time.Now(), time.Now().Add(lostTime)
				}
			} else if !r.m.Passing(ctx, err) {
				return err
			}
		}
		if time.Now().After(end) || within == 0 {
			return r.unreached(o, wrong, within)
		}
		r.m.At(min(90, 20+t.Percent/2), "%s: waiting for it to show", o.words())
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// came looks whether an order has come about of which it is said that it was not taken, by the BMC or by a proxy that had handed it
// on: as long as one may be on its way, and until the tasks in the BMC's queue have ended.
func (r *run) came(ctx context.Context, o *order) (bool, error) {
	look := func() (bool, error) {
		l, err := r.read(ctx)
		if err != nil {
			if r.m.Passing(ctx, err) {
				err = nil
			}
			return false, err
		}
		key, wrong, reached := o.reached(l)
		switch {
		case reached:
			r.count(o, key)
			return true, nil
		case wrong != "":
			return false, r.unreached(o, wrong, 0)
		}
		return false, nil
	}
	for end := time.Now().Add(calm); time.Now().Before(end); {
		if there, err := look(); there || err != nil {
			return there, err
		}
		r.m.At(10, "%s: looking whether it was taken all the same: %s", o.words(), fault.From(o.err).Message)
		if err := sleep(ctx, pause); err != nil {
			return false, err
		}
	}
	if err := r.quiet(ctx); err != nil {
		return false, err
	}
	return look()
}

func (r *run) restart(ctx context.Context, o *order) error {
	if o.task != "" { // one that has failed already is no reason to restart the machine
		if _, err := r.m.Task(ctx, o.task); err != nil && !r.m.Passing(ctx, err) {
			return err
		}
	}
	return r.m.Restart(ctx)
}

func (r *run) count(o *order, key string) {
	if o.create == nil {
		r.deleted++
		return
	}
	r.created++
	r.made[o.create.Of] = key
}

func (r *run) unreached(o *order, wrong string, within time.Duration) error {
	const hint = "look at the controller by the BMC's own pages and at the BMC's job queue, then repeat the verb: what is there is looked at first"
	switch {
	case wrong != "":
		return fault.New(fault.StepFailed, "%s: %s, which is not what was asked for", o.words(), wrong).WithHint(hint)
	case o.err != nil && o.refusal != Unknown:
		return o.err
	case o.err != nil:
		return fault.New(fault.StepFailed, "%s: the answer was lost, and %s later it has not come about; whether it will is not known, and it is not asked for twice: %s", o.words(), within, fault.From(o.err).Message).
			Because(o.err).WithHint(hint)
	}
	return fault.New(fault.StepFailed, "%s: the BMC took it, and it has not come about", o.words()).WithHint(hint)
}
