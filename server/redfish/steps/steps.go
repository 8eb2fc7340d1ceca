// Package steps is the out-of-band steps of shared/catalog: what takes longer than one operation of package wire, tells how
// far it is and waits for machine and BMC meanwhile. Packages update and volumes know how firmware and RAID volumes come
// about; this package lets them reach the machine.
//
// Start at Bind; a stepper runs one step on one machine.
package steps

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/machine"
	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// stepper runs steps on one machine.
type stepper struct{ *machine.Machine }

// Bind binds the rows of catalog.Redfish. It asks the BMC nothing; a machine without what a step needs answers
// bmc.unsupported when the step starts, before anything is changed.
func Bind(c *machine.Machine) ([]step.Bound, error) {
	b := stepper{c}
	runs := map[string]func(context.Context, *work) (step.Result, error){
		"management.reset_bmc":        b.resetBMC,
		"management.clear_job_queue":  b.clearJobs,
		"management.known_good_state": b.knownGood,
		"bios.apply_configuration":    b.applyBIOS,
		"bios.factory_reset":          b.resetBIOS,
		"firmware.update":             b.updateFirmware,
		"raid.delete_configuration":   b.deleteRAID,
		"raid.create_configuration":   b.createRAID,
		"raid.apply_configuration":    b.createRAID,
	}
	out := make([]step.Bound, 0, len(catalog.Redfish))
	for _, s := range catalog.Redfish {
		run, ok := runs[s.Name]
		if !ok {
			return nil, fmt.Errorf("step %s is in the catalog but has no code", s.Name)
		}
		out = append(out, step.Bound{Step: s, Run: withDeadline(s, run)})
	}
	return out, nil
}

// withDeadline gives a step its own deadline, whose fault says what was waited for.
func withDeadline(s step.Step, run func(context.Context, *work) (step.Result, error)) func(context.Context, step.Call) (step.Result, error) {
	return func(parent context.Context, c step.Call) (step.Result, error) {
		ctx, cancel := context.WithTimeout(parent, s.Timeout)
		defer cancel()
		w := &work{Call: c}
		res, err := run(ctx, w)
		if err != nil && parent.Err() == nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return res, fault.New(fault.StepTimeout, "%s did not end within %s; the last it did: %s", s.Name, s.Timeout, w.item).Because(err)
		}
		return res, err
	}
}

// work is one run of a step: its call, and where it stands.
type work struct {
	step.Call
	percent  float64
	item     string
	from, to float64 // the part of the whole that a piece of work fills; 0, 0 is all
}

// part says which part of the whole the work from now on is.
func (w *work) part(from, to float64) { w.from, w.to = from, to }

// at reports where the work stands; percent never goes back.
func (w *work) at(percent float64, format string, args ...any) {
	if w.to > 0 {
		percent = w.from + percent*(w.to-w.from)/100
	}
	w.percent, w.item = max(w.percent, percent), fmt.Sprintf(format, args...)
	w.Report(step.Progress{Percent: w.percent, Item: w.item})
}

const (
	powerTime    = 5 * time.Minute // until a power state is reached
	powerAgain   = 45 * time.Second
	powerPause   = 2 * time.Second
	gracefulTime = 3 * time.Minute
)

// reach brings the machine to a power state and confirms it: two readings in a row must agree, since one may be
// stale or a lie. It asks again now and then; the acts are absolute. bmc.power_not_reached after powerTime.
func (b stepper) reach(ctx context.Context, a conductor.PowerAction, within time.Duration) error {
	want := machine.Leads(a)
	var asked time.Time
	agreed, seen := 0, conductor.Power("")
	end := time.Now().Add(within)
	for time.Now().Before(end) {
		if time.Since(asked) > powerAgain {
			if err := b.SetPower(ctx, a); err != nil && !passing(ctx, err) {
				return err
			}
			asked = time.Now()
		}
		p, err := b.Power(ctx)
		switch {
		case err != nil && !passing(ctx, err):
			return err
		case err == nil && p == want:
			if agreed++; agreed == 2 {
				return nil
			}
		default:
			agreed = 0
		}
		if err == nil {
			seen = p
		}
		if err := wire.Sleep(ctx, powerPause); err != nil {
			return err
		}
	}
	return fault.New(fault.BMCPower, "asked for %s, the BMC at %s still says %q after %s", a, b.Target.Origin, wire.OrNone(seen), within)
}

// cycle restarts the machine: off, confirmed, on, confirmed.
func (b stepper) cycle(ctx context.Context, w *work) error {
	if err := b.stop(ctx, w); err != nil {
		return err
	}
	w.at(40, "switching the machine on")
	return b.reach(ctx, conductor.On, powerTime)
}

// stop switches the machine off, confirmed. One at work (service) is asked to shut down first.
func (b stepper) stop(ctx context.Context, w *work) error {
	if w.Flow == state.Service {
		w.at(20, "asking the operating system to shut down")
		err := b.reach(ctx, conductor.GracefulShutdown, gracefulTime)
		if err != nil && !fault.Has(err, fault.BMCPower) && !fault.Has(err, fault.BMCUnsupported) {
			return err
		}
	}
	w.at(30, "switching the machine off")
	return b.reach(ctx, conductor.ForceOff, powerTime)
}

const persistTime = 3 * time.Minute

// persist does an operation again while the BMC is busy or does not answer, for persistTime. What it does must be
// harmless to repeat.
func (b stepper) persist(ctx context.Context, w *work, do func(*wire.Operation) error) error {
	end := time.Now().Add(persistTime)
	for {
		err := b.Run(ctx, false, do)
		if err == nil || !passing(ctx, err) || time.Now().After(end) {
			return err
		}
		w.at(0, "waiting for the BMC: %s", fault.From(err).Message)
		if err := wire.Sleep(ctx, biosPause); err != nil {
			return err
		}
	}
}

// passing tells trouble that may go away by itself from an answer. That the server may not act now is none of the BMC's:
// the step ends, and whoever runs it knows when to go on.
func passing(ctx context.Context, err error) bool {
	return ctx.Err() == nil && fault.From(err).Code.Retriable() && !fault.Has(err, fault.StorageUnavailable)
}
