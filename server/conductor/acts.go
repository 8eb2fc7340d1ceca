package conductor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// act does one try of an effect.
func (c *Conductor) act(ctx context.Context, n Node, e Effect) (EffectDone, error) {
	var out EffectDone
	b, err := c.bmc(ctx, n, e.Kind == EffectVerify)
	if err != nil {
		return out, err
	}
	switch e.Kind {
	case EffectVerify:
		f, err := b.Facts(ctx)
		out.Facts, out.Power = &f, f.Power
		return out, err
	case EffectEject:
		return out, b.SetMedia(ctx, "")
	case EffectBoot:
		if c.cfg.CanBoot != nil {
			if err := c.cfg.CanBoot(); err != nil {
				return out, err
			}
		}
		out.Power, err = c.bootRamdisk(ctx, b, n)
	case EffectFinish:
		out.Power, err = c.endBoot(ctx, b, e)
	case EffectPower:
		out.Power, err = c.powerAct(ctx, b, e)
	default:
		err = fmt.Errorf("effect %q has no act", e.Kind)
	}
	return out, err
}

// bootRamdisk: off, confirmed; medium in; boot device for one boot; on, confirmed. A repeat starts from off again.
func (c *Conductor) bootRamdisk(ctx context.Context, b BMC, n Node) (Power, error) {
	if err := c.reach(ctx, b, ForceOff, c.cfg.Timeouts.Power); err != nil {
		return "", err
	}
	if err := b.SetMedia(ctx, c.mediumURL(n)); err != nil {
		return PowerOff, err
	}
	if err := b.SetBoot(ctx, BootTarget{Device: "cdrom", UEFI: true}); err != nil {
		return PowerOff, err
	}
	if err := c.reach(ctx, b, On, c.cfg.Timeouts.Power); err != nil {
		return PowerOff, err
	}
	return PowerOn, nil
}

// endBoot takes the ramdisk down. The machine is off before the medium goes, so that nothing runs on.
func (c *Conductor) endBoot(ctx context.Context, b BMC, e Effect) (Power, error) {
	if err := c.reach(ctx, b, ForceOff, c.cfg.Timeouts.Power); err != nil {
		return "", err
	}
	if err := b.SetMedia(ctx, ""); err != nil {
		return PowerOff, err
	}
	if e.Disk {
		if err := b.SetBoot(ctx, BootTarget{Device: "disk", Always: true, UEFI: true}); err != nil {
			return PowerOff, err
		}
	}
	if e.Power != On {
		return PowerOff, nil
	}
	if err := c.reach(ctx, b, On, c.cfg.Timeouts.Power); err != nil {
		return PowerOff, err
	}
	return PowerOn, nil
}

// powerAct is an operator's act; a reboot is off, confirmed, on (F25).
func (c *Conductor) powerAct(ctx context.Context, b BMC, e Effect) (Power, error) {
	limit := c.cfg.Timeouts.Power
	if e.Power == GracefulShutdown {
		limit = c.cfg.Timeouts.Soft
	}
	if e.Timeout > 0 {
		limit = e.Timeout
	}
	if err := c.reach(ctx, b, e.Power, limit); err != nil {
		return "", err
	}
	if e.Reboot {
		if err := c.reach(ctx, b, On, c.cfg.Timeouts.Power); err != nil {
			return PowerOff, err
		}
		return PowerOn, nil
	}
	if e.Power == On {
		return PowerOn, nil
	}
	return PowerOff, nil
}

// reach acts, re-reads and confirms. One reading is never trusted for a change: the state must be seen twice (F23).
func (c *Conductor) reach(ctx context.Context, b BMC, a PowerAction, limit time.Duration) error {
	want := PowerOff
	if a == On {
		want = PowerOn
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last Power
	var lastErr error
	seen, asked := 0, time.Time{}
	for {
		got, err := b.Power(ctx)
		if err == nil {
			last = got
			if got == want {
				seen++
				if seen == 2 {
					return nil
				}
			} else {
				seen = 0
			}
		} else if lastErr = err; !fault.From(err).Code.Retriable() && ctx.Err() == nil {
			return err
		}
		// The act is asked for again only after a while, and only while the machine is seen in the other state.
		if err == nil && got != want && (asked.IsZero() || c.cfg.Now().Sub(asked) > limit/3 && a != GracefulShutdown) {
			asked = c.cfg.Now()
			if err := b.SetPower(ctx, a); err != nil {
				lastErr = err
				if f := fault.From(err); !f.Code.Retriable() && ctx.Err() == nil {
					return err
				}
			}
		}
		wait := time.Second
		if seen == 1 {
			wait = 200 * time.Millisecond
		}
		if !pause(ctx, wait) {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				if last == "" && lastErr != nil {
					return lastErr
				}
				return fault.New(fault.BMCPower, "the machine should be %q, but the BMC says %q after %s", want, or(string(last), "nothing"), limit).Because(lastErr)
			}
			return ctx.Err()
		}
	}
}
