package update

import (
	"context"
	"time"

	"github.com/bessemer-metal/bessemer/server/redfish/target"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

const (
	refusals    = 3 // log-ins refused by a BMC that is still starting
	refusedTime = 30 * time.Second
)

// watch looks again and again until look says that it is done. A BMC that does not answer is waited for: it may be
// installing its own firmware. One that has been away may refuse the log-in for a while.
func (u *updater) watch(ctx context.Context, look func(BMC) (bool, error)) error {
	var since time.Time // it has not answered since
	refused := 0
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		done := false
		err := u.ask(ctx, true, func(b BMC) (err error) { done, err = look(b); return err })
		switch {
		case err == nil && done:
			return nil
		case err == nil:
			since, refused = time.Time{}, 0
		case ctx.Err() != nil:
			return err
		case fault.Has(err, fault.BMCAuth) && u.lost && refused < refusals:
			refused++
			u.tell(0, "the BMC is starting and refuses the log-in so far")
			pause = refusedTime
		case !u.m.Passing(ctx, err):
			return err
		default:
			if since.IsZero() {
				since = time.Now()
			}
			if gone := time.Since(since); gone > u.away {
				return fault.New(fault.BMCUnreachable, "since the image for %s was sent the BMC has been away for %s: %s", u.want().Component, gone.Round(time.Second), fault.From(err).Message).
					WithHint("look at the BMC; one that takes longer for its own update needs a larger %s in driver_info", target.KeyAway).Because(err)
			}
			u.lost = u.lost || fault.Has(err, fault.BMCUnreachable)
			u.tell(0, "the BMC is away: %s", fault.From(err).Message)
			pause = longestPause
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// waits tells whether a task in this state has not begun, or has been stopped, and may wait for the machine's restart.
func waits(state string) bool {
	switch state {
	case "New", "Starting", "Pending", "Suspended":
		return true
	}
	return false
}

// untilTaken waits until the BMC has done what it does by itself: until its task has ended, is gone, or waits for the
// machine's restart. Without a task that tells, the machine is not restarted before the update service is at rest.
func (u *updater) untilTaken(ctx context.Context) error {
	want := u.want()
	if u.n.Completed {
		return nil
	}
	if u.n.Task == "" {
		return u.untilQuiet(ctx)
	}
	var last Task
	moved, gone := time.Now(), false
	err := u.watch(ctx, func(b BMC) (bool, error) {
		t, err := b.Task(u.n.Task)
		if err != nil || t.Over {
			gone = t.Gone
			if u.n.Completed = err == nil && !t.Gone; u.n.Completed {
				u.lost = false // it is here: its restart is to come, or was before
			}
			return t.Over, err
		}
		if t.Percent != last.Percent || t.State != last.State {
			last, moved = t, time.Now()
		}
		still := time.Since(moved)
		if waits(t.State) && still >= stillTime && want.Component != catalog.ComponentBMC {
			return true, nil
		}
		if still > taskTime {
			return false, fault.New(fault.BMCTask, "the BMC's task for %s has stood at %.0f %% for %s", want.Component, t.Percent, taskTime)
		}
		u.tell(10+40*t.Percent/100, "the BMC's task for %s is at %.0f %%", want.Component, t.Percent)
		return false, nil
	})
	if err == nil && (gone || u.n.Guessed) { // nothing tells that it was this image's
		return u.untilQuiet(ctx)
	}
	return u.theirs(err)
}

// theirs is the error of a task that failed: of one that was only guessed it says nothing of the image.
func (u *updater) theirs(err error) error {
	if !u.n.Guessed || !fault.Has(err, fault.BMCTask) {
		return err
	}
	return fault.New(fault.FirmwareUnknown, "the answer to the image for %s was lost, and the one task that came meanwhile, its own or another's, did not end well: %s; the image was not sent again",
		u.want().Component, fault.From(err).Message).Because(err)
}

// untilQuiet waits until the update service has been at rest for traceTime of answers: nothing else tells that the image
// is not being fetched any more. The BMC's own image is not waited for here: its restart tells.
func (u *updater) untilQuiet(ctx context.Context) error {
	want := u.want()
	if want.Component == catalog.ComponentBMC {
		return nil
	}
	var looked time.Time
	var quiet time.Duration
	begun := time.Now()
	return u.watch(ctx, func(b BMC) (bool, error) {
		u.tell(30, "the BMC has no task for %s; waiting until its update service is at rest", want.Component)
		f, err := b.Find()
		if err != nil {
			return false, err
		}
		switch _, err := updates(b, f); {
		case fault.Has(err, fault.BMCBusy) && time.Since(begun) > taskTime:
			return false, fault.New(fault.BMCTask, "the BMC has no task for %s, and its update service has been at work for %s; the machine was not restarted", want.Component, taskTime)
		case fault.Has(err, fault.BMCBusy):
			quiet, looked = 0, time.Now()
			return false, nil
		case err != nil && !fault.Has(err, fault.BMCUnsupported):
			return false, err
		}
		if !looked.IsZero() {
			quiet += min(time.Since(looked), longestPause)
		}
		looked = time.Now()
		return quiet >= traceTime, nil
	})
}

// untilStarted waits, after the machine was switched on, for another version and the end of a task that waited for the
// start. It gives the version that was read last.
func (u *updater) untilStarted(ctx context.Context) (string, error) {
	want := u.want()
	over, seen, begun := u.n.Task == "" || u.n.Completed, "", time.Now()
	last := u.n.Before
	err := u.watch(ctx, func(b BMC) (bool, error) {
		spent := time.Since(begun)
		u.tell(min(95, 70+25*float64(spent)/float64(startTime)), "waiting until the machine has started with the new %s", want.Component)
		if !over {
			t, err := b.Task(u.n.Task)
			if err != nil {
				return false, err
			}
			over, u.n.Completed = t.Over, t.Over && !t.Gone
		}
		f, err := b.Find()
		if err != nil {
			return false, err
		}
		now, err := version(b, f, want.Component)
		if err != nil {
			return false, err
		}
		changed := now != "" && now != u.n.Before && now == seen // one reading may be stale or half a start's
		if seen = now; now != "" {
			last = now
		}
		return changed && over || spent > startTime, nil
	})
	if err == nil && !over {
		err = fault.New(fault.BMCTask, "the BMC's task for %s has not ended %s after the machine was switched on; the version is %s", want.Component, startTime, last)
	}
	return last, u.theirs(err)
}

// untilBack waits for a BMC that has its own new firmware to restart and to answer with another version.
func (u *updater) untilBack(ctx context.Context) (string, error) {
	begun, back, seen := time.Now(), time.Time{}, ""
	last := u.n.Before
	err := u.watch(ctx, func(b BMC) (bool, error) {
		spent := time.Since(begun)
		u.tell(min(95, 55+40*float64(spent)/float64(u.away)), "waiting for the BMC to restart with its new firmware")
		f, err := b.Find()
		if err != nil {
			back = time.Time{}
			return false, err
		}
		now, err := version(b, f, catalog.ComponentBMC)
		if err != nil {
			return false, err
		}
		changed := now != "" && now != u.n.Before && now == seen
		if seen = now; now != "" {
			last = now
		}
		restarted := u.lost // a request without an answer proves less than a BMC's own word
		if f.Reset != "" {
			restarted = f.Reset != u.n.Reset
		}
		if restarted && back.IsZero() {
			back = time.Now()
		}
		return changed || !back.IsZero() && time.Since(back) > backTime || spent > u.away, nil
	})
	return last, err
}
