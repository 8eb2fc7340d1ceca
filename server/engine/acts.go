package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/retry"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// act does one try of an effect.
func (eng *Engine) act(ctx context.Context, n conductor.Node, e conductor.Effect) (conductor.EffectDone, error) {
	var out conductor.EffectDone
	b, err := eng.bmc(ctx, n, e.Kind == conductor.EffectVerify)
	if err != nil {
		return out, err
	}
	switch e.Kind {
	case conductor.EffectVerify, conductor.EffectPrepare:
		if e.Kind == conductor.EffectPrepare && !n.Flow.Pretend {
			if err := eng.canBoot(); err != nil {
				return out, err
			}
		}
		f, err := b.Facts(ctx)
		out.Facts, out.Power = &f, f.Power
		if err == nil && e.Kind == conductor.EffectVerify {
			out.Parts = eng.readParts(ctx, n)
		}
		return out, err
	case conductor.EffectEject:
		return out, b.SetMedia(ctx, "")
	case conductor.EffectBoot:
		if err := eng.canBoot(); err != nil {
			return out, err
		}
		out.Power, err = eng.bootRamdisk(ctx, b, n, e)
	case conductor.EffectFinish:
		out.Power, err = eng.endBoot(ctx, b, e)
	case conductor.EffectPower:
		out.Power, err = eng.powerAct(ctx, b, e)
	case conductor.EffectDetach:
		err = eng.detach(ctx, n)
	case conductor.EffectAct:
		out.Status, err = eng.manageAct(ctx, n)
	default:
		err = fmt.Errorf("effect %q has no act", e.Kind)
	}
	return out, err
}

func (eng *Engine) canBoot() error {
	if eng.cfg.CanBoot == nil {
		return nil
	}
	return eng.cfg.CanBoot()
}

// detach takes out what the last instance left in drives that no ramdisk uses.
func (eng *Engine) detach(ctx context.Context, n conductor.Node) error {
	kinds := conductor.Left(n)
	if len(kinds) == 0 {
		return nil // it was carried out before
	}
	if eng.cfg.Held != nil {
		if err := eng.cfg.Held(); err != nil {
			return err
		}
	}
	p, err := power[conductor.MediaHolder](ctx, eng, n, "management", "virtual media")
	if err != nil {
		return err
	}
	return p.Detach(ctx, kinds)
}

// bootRamdisk: off, confirmed; medium in; boot device for one boot; on, confirmed. A repeat starts from off again.
func (eng *Engine) bootRamdisk(ctx context.Context, b conductor.BMC, n conductor.Node, e conductor.Effect) (conductor.Power, error) {
	free, err := eng.fence(ctx, e)
	if err != nil {
		return "", err
	}
	defer free()
	if err := eng.reach(ctx, b, conductor.ForceOff, eng.cfg.Timeouts.Power); err != nil {
		return "", err
	}
	if err := b.SetMedia(ctx, eng.mediumURL(n)); err != nil {
		return conductor.PowerOff, err
	}
	if err := b.SetBoot(ctx, conductor.BootTarget{Device: "cdrom", UEFI: true}); err != nil {
		return conductor.PowerOff, err
	}
	// A BMC that restarts forgets the medium (F24): it is confirmed once more, and an order to switch on that fails begins
	// all anew.
	if err := b.SetMedia(ctx, eng.mediumURL(n)); err != nil {
		return conductor.PowerOff, err
	}
	free()
	if err := eng.bring(ctx, b, conductor.On, eng.cfg.Timeouts.Power, true); err != nil {
		return conductor.PowerOff, err
	}
	return conductor.PowerOn, nil
}

// fence lets no ramdisk look itself up from now on until free is called (which may be called twice): the machine is
// about to lose power. What runs there may be the ramdisk of an earlier try, whose end a server that was killed did not
// see. Once admitted it is what the node waits for, and must not be cut off: the effect is not wanted any more then.
func (eng *Engine) fence(ctx context.Context, e conductor.Effect) (free func(), err error) {
	eng.mu.Lock()
	eng.fenced[e.Node] = true
	eng.mu.Unlock()
	free = func() {
		eng.mu.Lock()
		delete(eng.fenced, e.Node)
		eng.mu.Unlock()
	}
	// An update and no view: it waits for a lookup that found no fence and is being committed.
	err = eng.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		n, err := tx.Node(e.Node)
		if err == nil && !conductor.Wanted(n, e) {
			err = fault.New(fault.FlowAborted, "not wanted any more")
		}
		return err
	})
	if err != nil {
		free()
	}
	return free, err
}

// endBoot takes the ramdisk down. The machine is off before the medium goes, so that nothing runs on.
func (eng *Engine) endBoot(ctx context.Context, b conductor.BMC, e conductor.Effect) (conductor.Power, error) {
	if err := eng.reach(ctx, b, conductor.ForceOff, eng.cfg.Timeouts.Power); err != nil {
		return "", err
	}
	if err := b.SetMedia(ctx, ""); err != nil {
		return conductor.PowerOff, err
	}
	if e.Disk {
		if err := b.SetBoot(ctx, conductor.BootTarget{Device: "disk", Always: true, UEFI: true}); err != nil {
			return conductor.PowerOff, err
		}
	}
	if e.Power != conductor.On {
		return conductor.PowerOff, nil
	}
	if err := eng.reach(ctx, b, conductor.On, eng.cfg.Timeouts.Power); err != nil {
		return conductor.PowerOff, err
	}
	return conductor.PowerOn, nil
}

// powerAct is an operator's act; a reboot is off, confirmed, on (F25).
func (eng *Engine) powerAct(ctx context.Context, b conductor.BMC, e conductor.Effect) (conductor.Power, error) {
	limit := eng.cfg.Timeouts.Power
	if e.Power == conductor.GracefulShutdown {
		limit = eng.cfg.Timeouts.Soft
	}
	if e.Timeout > 0 {
		limit = e.Timeout
	}
	if err := eng.reach(ctx, b, e.Power, limit); err != nil {
		return "", err
	}
	if e.Reboot {
		if err := eng.reach(ctx, b, conductor.On, eng.cfg.Timeouts.Power); err != nil {
			return conductor.PowerOff, err
		}
		return conductor.PowerOn, nil
	}
	if e.Power == conductor.On {
		return conductor.PowerOn, nil
	}
	return conductor.PowerOff, nil
}

// reach acts, re-reads and confirms. The act is asked for whatever the BMC says before, as it may lie, and no reading is
// trusted alone: after the act the state must be seen twice in a row (F23). The acts are absolute, so that one done twice
// does no harm (F25).
func (eng *Engine) reach(ctx context.Context, b conductor.BMC, a conductor.PowerAction, limit time.Duration) error {
	return eng.bring(ctx, b, a, limit, false)
}

// bring is reach; strict gives up at the first order that fails.
func (eng *Engine) bring(ctx context.Context, b conductor.BMC, a conductor.PowerAction, limit time.Duration, strict bool) error {
	want := conductor.PowerOff
	if a == conductor.On {
		want = conductor.PowerOn
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last conductor.Power
	var lastErr error
	seen, asked := 0, time.Time{}
	for {
		if asked.IsZero() || seen == 0 && eng.cfg.Now().Sub(asked) > limit/3 && a != conductor.GracefulShutdown {
			if err := b.SetPower(ctx, a); err == nil {
				asked = eng.cfg.Now()
			} else if lastErr = err; !fault.From(err).Code.Retriable() && ctx.Err() == nil || strict || fault.Has(err, fault.StorageUnavailable) {
				return err // what is not the BMC's doing is not waited for here
			}
		}
		got, err := b.Power(ctx)
		switch {
		case err != nil:
			seen = 0
			if lastErr = err; !fault.From(err).Code.Retriable() && ctx.Err() == nil {
				return err
			}
		case got != want || asked.IsZero():
			last, seen = got, 0
		default:
			if last, seen = got, seen+1; seen == 2 {
				return nil
			}
		}
		wait := time.Second
		if seen == 1 {
			wait = 200 * time.Millisecond
		}
		if !retry.Pause(ctx, wait) {
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return ctx.Err()
			}
			if lastErr != nil && (last == "" || asked.IsZero()) {
				return lastErr
			}
			return fault.New(fault.BMCPower, "the machine should be %q, but the BMC says %q after %s", want, cmp.Or(string(last), "nothing"), limit).Because(lastErr)
		}
	}
}
