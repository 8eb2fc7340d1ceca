package steps

import (
	"context"
	"net/http"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/machine"
	"github.com/bessemer-metal/bessemer/server/redfish/update"
	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// updateFirmware is the step firmware.update: package update knows how, this file lets it reach the machine. One that was
// off is off afterwards.
func (b stepper) updateFirmware(ctx context.Context, w *work) (step.Result, error) {
	all, err := catalog.FirmwareSettings(w.Args["settings"])
	if err != nil {
		return step.Result{}, fault.New(fault.StepArgument, "settings: %v", err)
	}
	if w.Power == "" && len(w.Noted) == 0 {
		p, err := b.powerNow(ctx, w)
		if err != nil {
			return step.Result{}, err
		}
		w.Power = string(p)
	}
	done, err := update.Run(ctx, &updating{b: b, w: w}, all, w.Noted, b.Target.Away, w.Log)
	res := step.Result{Data: map[string]any{"updated": done}}
	if err != nil {
		return res, err
	}
	w.part(0, 0)
	p, err := b.powerNow(ctx, w)
	if err == nil {
		err = b.restore(ctx, w, p)
	}
	if err == nil {
		w.at(100, "the firmware is installed")
	}
	return res, err
}

// powerNow is Power of a BMC that may be busy.
func (b stepper) powerNow(ctx context.Context, w *work) (p conductor.Power, err error) {
	err = b.persist(ctx, w, func(o *wire.Operation) error {
		m, err := b.System(o)
		if err == nil {
			p = machine.PowerOf(m.PowerState)
		}
		return err
	})
	return p, err
}

// updating is a machine and its BMC as package update sees them.
type updating struct {
	b       stepper
	w       *work
	several *bool // the BMC has several machines; nil: not asked yet
}

var _ update.Machine = (*updating)(nil)

func (u *updating) Ask(ctx context.Context, patient bool, do func(update.BMC) error) error {
	return u.b.Run(ctx, patient, func(o *wire.Operation) error { return do(updatingBMC{o.Parts(), o, u}) })
}

func (u *updating) Off(ctx context.Context) error { return u.b.stop(ctx, u.w) }

func (u *updating) On(ctx context.Context) error {
	return u.b.reach(ctx, conductor.On, powerTime)
}

func (u *updating) Tell(index, all int, percent float64, format string, args ...any) {
	u.w.part(100*float64(index)/float64(all), 100*float64(index+1)/float64(all))
	u.w.at(percent, format, args...)
}

func (u *updating) Note(ctx context.Context, v any) error {
	if u.w.Note == nil {
		return nil
	}
	return u.w.Note(ctx, v)
}

func (u *updating) Passing(ctx context.Context, err error) bool { return passing(ctx, err) }

// Refused holds for answers that say so by their status: the request's fault, or a BMC that is busy. Of a server's error,
// and of a gateway's, nobody knows what was done before it. A 503 is Doubtful.
func (u *updating) Refused(err error) bool {
	status := wire.StatusOf(err)
	return status >= 300 && status < 500 && status != http.StatusRequestTimeout || status == http.StatusNotImplemented
}

// Doubtful is a 503: a BMC says so when it is busy, and a proxy also when it has handed the order on.
func (u *updating) Doubtful(err error) bool {
	return wire.StatusOf(err) == http.StatusServiceUnavailable
}

// updatingBMC is one operation of it.
type updatingBMC struct {
	wire.Service
	o *wire.Operation
	u *updating
}

func (s updatingBMC) Hide(url string) { s.o.Hide(url) }

func (s updatingBMC) Own(link string) error { _, err := s.o.Resolve(link); return err }

func (s updatingBMC) Task(link string) (update.Task, error) {
	t, err := s.o.TaskAt(link)
	return update.Task{State: t.State, Over: t.Done, Gone: t.Gone, Percent: t.Percent}, err
}

func (s updatingBMC) Find() (update.Found, error) {
	b := s.u.b
	m, err := b.System(s.o)
	if err != nil {
		return update.Found{}, err
	}
	root, err := s.o.Root()
	if err != nil {
		return update.Found{}, err
	}
	more, err := s.o.Services()
	if err != nil {
		return update.Found{}, err
	}
	if s.u.several == nil {
		all, err := s.o.Members(root.Systems)
		if err != nil {
			return update.Found{}, err
		}
		several := len(all) > 1
		s.u.several = &several
	}
	mgr, err := b.Manager(s.o, m)
	if err := b.Optional(s.o, "manager", err); err != nil {
		return update.Found{}, err
	}
	f := update.Found{Machine: machine.Placed(m, mgr), Updates: more.UpdateService.String(), Tasks: root.Tasks, Several: *s.u.several}
	if mgr != nil {
		f.Reset = mgr.LastResetTime
	}
	return f, nil
}
