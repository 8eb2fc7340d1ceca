package steps

import (
	"context"
	"slices"
	"time"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/failpoint"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

const (
	resetPause    = 3 * time.Second
	resetUnseen   = 60 * time.Second // a BMC that answers all this time has restarted unseen, or needs none
	resetGood     = 3                // good answers in a row that count as back
	resetRefusals = 3                // log-ins refused by a BMC that is still starting
	resetRefused  = 30 * time.Second
)

// resetBMC restarts the BMC and waits until machine and log-in work again.
func (b stepper) resetBMC(ctx context.Context, w *work) (step.Result, error) {
	w.at(0, "asking the BMC to restart")
	var before string
	err := b.persist(ctx, w, func(o *wire.Operation) error {
		m, err := b.System(o)
		if err != nil {
			return err
		}
		mgr, err := b.Manager(o, m)
		if err != nil {
			return err
		}
		if mgr == nil {
			return fault.New(fault.BMCUnsupported, "the BMC at %s shows no manager that could be restarted", b.Target.Origin)
		}
		before = mgr.LastResetTime
		kind := schemas.GracefulRestartResetType
		allowed, err := mgr.GetSupportedResetTypes()
		if err := b.Optional(o, "allowed resets of the manager", err); err != nil {
			return err
		}
		if len(allowed) > 0 && !slices.Contains(allowed, kind) {
			if kind = schemas.ForceRestartResetType; !slices.Contains(allowed, kind) {
				return fault.New(fault.BMCUnsupported, "the BMC at %s can't be restarted: it offers %s", b.Target.Origin, wire.Join(allowed))
			}
		}
		failpoint.Here("bmc.reset.before")
		_, err = mgr.Reset(kind)
		failpoint.Here("bmc.reset.after")
		if wire.BrokenOff(err) {
			return nil // it went down while it answered
		}
		return err
	})
	if err != nil {
		return step.Result{}, err
	}
	w.at(20, "waiting for the BMC to restart")
	took, err := b.comeBack(ctx, w, before)
	if err != nil {
		return step.Result{}, err
	}
	w.at(100, "the BMC answers again")
	return step.Result{Data: map[string]any{"seconds": took.Round(time.Second).Seconds()}}, nil
}

// comeBack waits until the BMC has been away (no answer, a forgotten session, another reset time) and answers well
// again, several times in a row.
func (b stepper) comeBack(ctx context.Context, w *work, before string) (time.Duration, error) {
	start := time.Now()
	b.Account.Transport.CloseIdleConnections()
	pass, err := b.Account.Held(ctx)
	if err != nil {
		return 0, err
	}
	away, good, refusals := false, 0, 0
	for {
		if err := wire.Sleep(ctx, resetPause); err != nil {
			return 0, err
		}
		err := b.Run(ctx, true, func(o *wire.Operation) error {
			m, err := b.System(o)
			if err != nil {
				return err
			}
			mgr, err := b.Manager(o, m)
			if err == nil && mgr != nil && mgr.LastResetTime != before {
				away = true
			}
			return err
		})
		took := time.Since(start)
		switch now, lockErr := b.Account.Held(ctx); {
		case lockErr != nil:
			return 0, lockErr
		case fault.Has(err, fault.BMCAuth):
			// A BMC that is starting may know no accounts yet, but asking too often would lock this one.
			if refusals++; refusals > resetRefusals {
				return 0, err
			}
			away, good = true, 0
			w.at(40, "the BMC is starting and refuses the log-in so far")
			if err := wire.Sleep(ctx, resetRefused); err != nil {
				return 0, err
			}
		case err != nil && (ctx.Err() != nil || fault.Has(err, fault.BMCOrigin) || fault.Has(err, fault.BMCCertificate)):
			return 0, err
		case err != nil:
			away, good = true, 0
			w.at(40, "the BMC is restarting: %s", fault.From(err).Message)
		default:
			good++
			away = away || now != pass
			if good >= resetGood && (away || took > resetUnseen) {
				return took, nil
			}
			w.at(60, "the BMC answers; %d of %d good answers", good, resetGood)
		}
	}
}
