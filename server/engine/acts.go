package engine

import (
	"context"
	"fmt"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/server/engine/machines"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// act does one try of an effect.
func (eng *Engine) act(ctx context.Context, n conductor.Node, e conductor.Effect) (conductor.EffectDone, error) {
	var out conductor.EffectDone
	if e.Kind == conductor.EffectLook {
		power, status, err := eng.machines.Look(ctx, n)
		out.Power, out.Status = power, status
		return out, err
	}
	if e.Kind == conductor.EffectVerify {
		n.Machine = conductor.Identity{} // whichever is there is the node's from now on
	}
	if e.Kind == conductor.EffectInspect {
		found, err := eng.machines.Inspect(ctx, n)
		out.Found = found
		return out, err
	}
	b, err := eng.machines.BMC(ctx, n, e.Kind == conductor.EffectVerify)
	if err != nil {
		return out, err
	}
	switch e.Kind {
	case conductor.EffectVerify, conductor.EffectPrepare:
		if f := n.Flow; e.Kind == conductor.EffectPrepare && !f.Pretend && (f.Flow != state.Deploy || n.LiveISO == "") { // an ISO of the operator's comes from elsewhere
			if err := eng.canBoot(eng.machines.Interfaces(n)[drivers.Boot]); err != nil {
				return out, err
			}
		}
		f, err := b.Facts(ctx)
		out.Facts, out.Power = &f, f.Power
		if err == nil && e.Kind == conductor.EffectVerify {
			out.Parts = eng.machines.Parts(ctx, n)
		}
		return out, err
	case conductor.EffectEject:
		return out, machines.Unload(ctx, b, n)
	case conductor.EffectBoot:
		by := eng.machines.Interfaces(n)[drivers.Boot]
		switch { // what the boot was begun with counts
		case n.Boot.HTTP:
			by = drivers.HTTPBoot
		case by == drivers.HTTPBoot:
			by = drivers.VirtualMedia
		}
		if err := eng.canBoot(by); err != nil {
			return out, err
		}
		out.Power, err = eng.bootRamdisk(ctx, b, n, e)
	case conductor.EffectFinish:
		out.Power, err = eng.machines.EndBoot(ctx, b, n, e)
	case conductor.EffectPower:
		out.Power, err = eng.machines.Power(ctx, b, n, e)
	case conductor.EffectDetach:
		err = eng.machines.Detach(ctx, n)
	case conductor.EffectAct:
		out.Status, err = eng.machines.Act(ctx, n)
	default:
		err = fmt.Errorf("effect %q has no act", e.Kind)
	}
	return out, err
}

// canBoot says why no ramdisk can be booted now by a boot interface.
func (eng *Engine) canBoot(by string) error {
	if by == drivers.HTTPBoot && eng.cfg.ProgramURL == nil {
		return fault.New(fault.FlowListener, "the boot interface %s loads the ramdisk over HTTPS, and this server does not serve it so", drivers.HTTPBoot).
			WithHint("start the server with --boot-tls-listen :6388, and let the machines' firmware trust its certificate; or boot by virtual media: boot_interface %s", drivers.VirtualMedia)
	}
	if eng.cfg.CanBoot == nil {
		return nil
	}
	return eng.cfg.CanBoot(by)
}

// bootRamdisk: off, confirmed; medium in, unless the firmware loads the ramdisk by itself; boot device for one boot; on, confirmed. A repeat starts from off again.
func (eng *Engine) bootRamdisk(ctx context.Context, b conductor.BMC, n conductor.Node, e conductor.Effect) (conductor.Power, error) {
	free, err := eng.fence(ctx, e)
	if err != nil {
		return "", err
	}
	defer free()
	if err := eng.machines.Bring(ctx, b, conductor.ForceOff, eng.cfg.Timeouts.Power, false); err != nil {
		return "", err
	}
	if err := machines.Load(ctx, b, eng.media.URL(n), n.Boot.HTTP, false); err != nil {
		return conductor.PowerOff, err
	}
	free()
	// An order to switch on that fails begins all anew: the BMC may have forgotten the medium (F24).
	if err := eng.machines.Bring(ctx, b, conductor.On, eng.cfg.Timeouts.Power, true); err != nil {
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
