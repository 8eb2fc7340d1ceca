package machines

import (
	"cmp"
	"context"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/server/engine/retry"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// EndBoot takes the ramdisk down, and starts the instance where that is wanted. The machine is off before the medium goes, so
// that nothing runs on.
func (m *Machines) EndBoot(ctx context.Context, b conductor.BMC, n conductor.Node, e conductor.Effect) (conductor.Power, error) {
	if err := m.Bring(ctx, b, conductor.ForceOff, m.cfg.Timeouts.Power, false); err != nil {
		return "", err
	}
	http := n.Boot != nil && n.Boot.HTTP || m.Interfaces(n)[drivers.Boot] == drivers.HTTPBoot
	// Also after a boot over HTTP, as an operator may have put a CD in for the instance; but nothing hangs on drives that such a node
	// needs not have.
	if !http || n.BMC == nil || n.BMC.VirtualMedia {
		if err := b.SetMedia(ctx, ""); err != nil {
			return conductor.PowerOff, err
		}
	}
	var err error
	switch {
	case e.Disk && n.LiveISO != "":
		err = Load(ctx, b, n.LiveISO, n.LiveHTTP, !conductor.BootsOnce(n))
	case e.Disk:
		err = b.SetBoot(ctx, conductor.BootTarget{Device: "disk", Always: true, UEFI: true})
	default:
		// Whatever the boot interface is now: it may be the address of an instance's ISO, which was booted by another one.
		err = withdraw(ctx, b)
	}
	if err != nil {
		return conductor.PowerOff, err
	}
	if e.Power != conductor.On {
		return conductor.PowerOff, nil
	}
	// An order that fails begins all anew where there is a medium, which a BMC forgets when it restarts (F24).
	if err := m.Bring(ctx, b, conductor.On, m.cfg.Timeouts.Power, n.LiveISO != ""); err != nil {
		return conductor.PowerOff, err
	}
	return conductor.PowerOn, holdISO(ctx, b, n)
}

// holdISO sees to it that an instance that is an ISO has it in its drive: a BMC may have restarted since (F24).
func holdISO(ctx context.Context, b conductor.BMC, n conductor.Node) error {
	if n.LiveISO == "" || n.LiveHTTP {
		return nil
	}
	return b.SetMedia(ctx, n.LiveISO)
}

// Load makes a machine that is off ready to start from a medium, once or always: medium in, boot device, each read back. With http
// the machine's firmware is to load what is at url by itself: the address and the boot device are one setting.
func Load(ctx context.Context, b conductor.BMC, url string, http, always bool) error {
	if http {
		return b.SetBoot(ctx, conductor.BootTarget{Device: "uefihttp", Always: always, UEFI: true, URL: url})
	}
	if err := b.SetMedia(ctx, url); err != nil {
		return err
	}
	if err := b.SetBoot(ctx, conductor.BootTarget{Device: "cdrom", Always: always, UEFI: true}); err != nil {
		return err
	}
	// A BMC that restarts forgets the medium (F24): it is confirmed once more.
	return b.SetMedia(ctx, url)
}

// Unload takes back what the machine was given to boot the ramdisk from. Of a boot over HTTP that is an override which no boot has
// used up, or which the BMC keeps all the same.
func Unload(ctx context.Context, b conductor.BMC, n conductor.Node) error {
	if n.Boot == nil || !n.Boot.HTTP {
		return b.SetMedia(ctx, "")
	}
	return withdraw(ctx, b)
}

// withdraw takes back an override by which the firmware loads something over HTTP; another one is left alone.
func withdraw(ctx context.Context, b conductor.BMC) error {
	t, err := b.Boot(ctx)
	if err != nil || t.Device != "uefihttp" {
		return err
	}
	return b.SetBoot(ctx, conductor.BootTarget{})
}

// Power carries out an operator's act; a reboot is off, confirmed, on (F25). An instance that is an ISO finds it in the drive
// again, whatever the BMC has forgotten meanwhile (F24); if that can't be, a machine that is on stays on.
func (m *Machines) Power(ctx context.Context, b conductor.BMC, n conductor.Node, e conductor.Effect) (conductor.Power, error) {
	limit := m.cfg.Timeouts.Power
	if e.Power == conductor.GracefulShutdown {
		limit = m.cfg.Timeouts.Soft
	}
	if e.Timeout > 0 {
		limit = e.Timeout
	}
	if n.State != state.Active {
		n.LiveISO = "" // a ramdisk's turn, or nobody's
	}
	if e.Reboot || e.Power == conductor.On {
		if err := holdISO(ctx, b, n); err != nil {
			return "", err
		}
	}
	if err := m.Bring(ctx, b, e.Power, limit, e.Power == conductor.On && n.LiveISO != ""); err != nil {
		return "", err
	}
	if e.Reboot {
		if err := holdISO(ctx, b, n); err != nil {
			return conductor.PowerOff, err
		}
		if err := m.Bring(ctx, b, conductor.On, m.cfg.Timeouts.Power, n.LiveISO != ""); err != nil {
			return conductor.PowerOff, err
		}
		return conductor.PowerOn, nil
	}
	if e.Power == conductor.On {
		return conductor.PowerOn, nil
	}
	return conductor.PowerOff, nil
}

// Bring acts, re-reads and confirms. The act is asked for whatever the BMC says before, as it may lie, and no reading is
// trusted alone: after the act the state must be seen twice in a row (F23). The acts are absolute, so that one done twice
// does no harm (F25). strict gives up at the first order that fails. bmc.power when the state is not reached within limit,
// in which time that went by without the process does not count (I14, F30).
func (m *Machines) Bring(ctx context.Context, b conductor.BMC, a conductor.PowerAction, limit time.Duration, strict bool) error {
	want := conductor.PowerOff
	if a == conductor.On {
		want = conductor.PowerOn
	}
	watch := m.cfg.Clock.Start()
	left := func() time.Duration { return limit - watch.Spent() }
	var last conductor.Power
	var lastErr error
	seen, asked := 0, time.Duration(-1)
	for {
		err := within(ctx, left(), func(one context.Context) error {
			if asked >= 0 && (seen != 0 || watch.Spent()-asked <= limit/3 || a == conductor.GracefulShutdown) {
				return nil
			}
			err := b.SetPower(one, a)
			switch f := fault.From(err); {
			case err == nil:
				asked = watch.Spent()
			case one.Err() != nil && ctx.Err() == nil: // the time is over, or it ran without us
				if lastErr = err; strict {
					return fault.New(fault.BMCUnreachable, "the BMC did not take the order to bring the machine to %q in time", want).Because(err)
				}
			case !f.Code.Retriable() && ctx.Err() == nil, strict, f.Reason == fault.StorageUnavailable:
				return err // what is not the BMC's doing is not waited for here
			default:
				lastErr = err
			}
			return nil
		})
		if err != nil {
			return err
		}
		err = within(ctx, left(), func(one context.Context) error {
			got, err := b.Power(one)
			switch {
			case err != nil:
				seen = 0
				if lastErr = err; !fault.From(err).Code.Retriable() && one.Err() == nil {
					return err
				}
			case got != want || asked < 0:
				last, seen = got, 0
			default:
				last, seen = got, seen+1
			}
			return nil
		})
		if err != nil || seen == 2 {
			return err
		}
		wait := time.Second
		if seen == 1 {
			wait = 200 * time.Millisecond
		}
		if !retry.Pause(ctx, min(wait, max(left(), 0))) {
			return ctx.Err()
		}
		if left() <= 0 {
			if lastErr != nil && (last == "" || asked < 0) {
				return lastErr
			}
			return fault.New(fault.BMCPower, "the machine should be %q, but the BMC says %q after %s", want, cmp.Or(string(last), "nothing"), limit).Because(lastErr)
		}
	}
}

// within does one call for at most the time that is left.
func within(ctx context.Context, left time.Duration, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	return call(ctx)
}

// PowerStep carries out a reserved power step: the same absolute acts as an operator's, confirmed by re-reading.
func (m *Machines) PowerStep(ctx context.Context, b conductor.BMC, r conductor.StepRecord) (conductor.Power, error) {
	e := conductor.Effect{Kind: conductor.EffectPower, Node: r.Node, Step: r.ID}
	switch r.Step.Short() {
	case "power_on":
		e.Power = conductor.On
	case "power_off":
		e.Power = conductor.ForceOff
	case "reboot":
		e.Power, e.Reboot = conductor.ForceOff, true
	default:
		return "", fault.New(fault.StepUnknown, "the server has no act for it").At(string(r.Node), r.Step.Name)
	}
	return m.Power(ctx, b, conductor.Node{}, e)
}
