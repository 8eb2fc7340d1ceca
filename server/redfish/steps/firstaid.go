package steps

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/redfish/machine"
	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// clockTolerance is how far a BMC's clock may be off without being set.
const clockTolerance = time.Minute

// knownGood is first aid for a BMC: an empty queue, by a restart where entries stay or the BMC answers badly, and a clock
// that is right. It neither stops nor starts the machine.
func (b stepper) knownGood(ctx context.Context, w *work) (step.Result, error) {
	data := map[string]any{"restarted": false}
	w.part(0, 40)
	res, err := b.clearJobs(ctx, w)
	if curable(ctx, err) {
		if err := settled(w); err != nil {
			return step.Result{}, err
		}
		w.at(100, "restarting the BMC: %s", fault.From(err).Message)
		w.part(40, 70)
		if _, err := b.resetBMC(ctx, w); err != nil {
			return step.Result{}, err
		}
		data["restarted"] = true
		if err := settled(w); err != nil {
			return step.Result{}, err
		}
		w.part(70, 90)
		res, err = b.clearJobs(ctx, w)
	}
	switch {
	case fault.Has(err, fault.BMCUnsupported):
		data["jobs"] = "the BMC has no queue"
	case err != nil:
		return step.Result{}, err
	default:
		data["jobs"] = fmt.Sprintf("%v removed", res.Data["removed"])
	}
	if err := settled(w); err != nil {
		return step.Result{}, err
	}
	w.part(90, 100)
	if data["clock"], err = b.setClock(ctx, w); err != nil {
		return step.Result{}, err
	}
	w.at(100, "the BMC is in a known good state")
	return step.Result{Data: data}, nil
}

// settled ends first aid between two of its parts if it was told to stop: each is of use by itself.
func settled(w *work) error {
	if w.Settled == nil {
		return nil
	}
	return w.Settled()
}

// curable tells trouble that a restart of the BMC may end.
func curable(ctx context.Context, err error) bool {
	return err != nil && passing(ctx, err) || fault.Has(err, fault.BMCTask) || fault.Has(err, fault.BMCError)
}

// setClock sets the BMC's clock where it is wrong and reads it back. That it can't be set is told and no failure: it may
// be kept by a time server, and the BMC is of use without.
func (b stepper) setClock(ctx context.Context, w *work) (said string, err error) {
	w.at(0, "comparing the clocks")
	err = b.persist(ctx, w, func(o *wire.Operation) error {
		m, err := b.System(o)
		if err != nil {
			return err
		}
		mgr, err := b.Manager(o, m)
		if err != nil {
			return err
		}
		if mgr == nil || b.ClockAhead(mgr) == nil {
			said = "the BMC shows none"
			return nil
		}
		ahead := *b.ClockAhead(mgr)
		if ahead.Abs() <= clockTolerance {
			said = "right"
			return nil
		}
		reached := func() (bool, error) {
			now, err := b.Manager(o, m)
			if err != nil || now == nil || b.ClockAhead(now) == nil {
				return false, err
			}
			return b.ClockAhead(now).Abs() <= clockTolerance, nil
		}
		err = machine.Act(o, func() error {
			_, err := o.PatchTagged(mgr.ODataID, map[string]any{"DateTime": b.Endpoint.Now().UTC().Format(time.RFC3339)})
			return err
		}, reached)
		switch wire.StatusOf(err) {
		case http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusConflict:
			said = "wrong by " + ahead.Abs().String() + ", and can't be set: " + fault.From(err).Message
			return nil
		}
		if err != nil {
			return err
		}
		ok, err := machine.Settle(o, reached)
		if err != nil {
			return err
		}
		if said = "set; it was " + offBy(ahead); !ok {
			said = "wrong by " + ahead.Abs().String() + "; the BMC accepted the right time and does not show it"
		}
		return nil
	})
	return strings.TrimSpace(said), err
}

func offBy(ahead time.Duration) string {
	if ahead < 0 {
		return ahead.Abs().String() + " behind"
	}
	return ahead.String() + " ahead"
}
