package update

import (
	"context"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// trace looks for what an image has left behind that was sent, or was about to be, when the answer was lost. Stage is taken
// afterwards, or there is an error. Nothing is sent.
func (u *updater) trace(ctx context.Context, why string) error {
	found, _, err := u.find(ctx)
	if err != nil {
		return err
	}
	if !found {
		return u.unknown(why)
	}
	return u.at(ctx, taken)
}

func (u *updater) unknown(why string) error {
	return fault.New(fault.FirmwareUnknown, "the image for %s may have been sent, or not: the answer was lost (%s), and the BMC shows neither one new task nor another version than %s; it was not sent again",
		u.want().Component, why, u.n.Before)
}

// find looks for traces of an image: another version, a task that was not there before. Where there are none, atWork tells
// whether something is: the update service, or several new tasks, of which one may be the image's.
func (u *updater) find(ctx context.Context) (found, atWork bool, err error) {
	want := u.want()
	var looked time.Time
	var quiet time.Duration // that the BMC has answered, without an update at work
	end := time.Now().Add(taskTime)
	seen := ""
	err = u.watch(ctx, func(b BMC) (bool, error) {
		u.tell(5, "looking for what became of the image for %s, whose answer was lost", want.Component)
		f, err := b.Find()
		if err != nil {
			return false, err
		}
		now, err := version(b, f, want.Component)
		if err != nil {
			return false, err
		}
		if now != "" && now != u.n.Before && now == seen {
			found = true
			return true, nil
		}
		seen = now
		all, err := tasks(b, f)
		if err != nil {
			return false, err
		}
		var more []string
		for _, t := range all {
			if !slices.Contains(u.n.Tasks, t) {
				more = append(more, t)
			}
		}
		if len(more) == 1 {
			u.n.Task, u.n.Guessed, found = more[0], true, true
			return true, nil
		}
		_, err = updates(b, f)
		if err != nil && !fault.Has(err, fault.BMCBusy) && !fault.Has(err, fault.BMCUnsupported) {
			return false, err
		}
		atWork = len(more) > 0 || fault.Has(err, fault.BMCBusy)
		quiet += min(time.Since(looked), longestPause)
		if looked = time.Now(); fault.Has(err, fault.BMCBusy) && looked.Before(end) {
			quiet = 0 // at work, maybe on ours: there will be a version or a task
		}
		return quiet > traceTime && (now == "" || now == u.n.Before), nil
	})
	return found, atWork, err
}
