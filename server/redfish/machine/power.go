package machine

import (
	"context"
	"slices"
	"time"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// PowerOf gives no state while the machine is between two: only what has been reached is told.
func PowerOf(s schemas.PowerState) conductor.Power {
	switch s {
	case schemas.OnPowerState:
		return conductor.PowerOn
	case schemas.OffPowerState:
		return conductor.PowerOff
	}
	return ""
}

// Power reads the power state: on, off, or empty while it changes or is unknown.
func (b *Machine) Power(ctx context.Context) (conductor.Power, error) {
	var p conductor.Power
	err := b.Run(ctx, false, func(o *wire.Operation) error {
		m, err := b.System(o)
		if err == nil {
			p = PowerOf(m.PowerState)
		}
		return err
	})
	return p, err
}

var resets = map[conductor.PowerAction]struct {
	reset schemas.ResetType
	leads conductor.Power
}{
	conductor.On:               {schemas.OnResetType, conductor.PowerOn},
	conductor.ForceOff:         {schemas.ForceOffResetType, conductor.PowerOff},
	conductor.GracefulShutdown: {schemas.GracefulShutdownResetType, conductor.PowerOff},
}

// PowerActs are those of ours among a BMC's resets.
func PowerActs(allowed []schemas.ResetType) []conductor.PowerAction {
	var out []conductor.PowerAction
	for _, a := range []conductor.PowerAction{conductor.On, conductor.ForceOff, conductor.GracefulShutdown} {
		if slices.Contains(allowed, resets[a].reset) {
			out = append(out, a)
		}
	}
	return out
}

// Leads is the power state that an act leads to.
func Leads(a conductor.PowerAction) conductor.Power { return resets[a].leads }

// SetPower asks for a power state, also of a machine that claims to be in it already: the claim may be wrong. It
// returns when the BMC accepted; the caller re-reads. bmc.unsupported when the BMC does not list the act.
func (b *Machine) SetPower(ctx context.Context, a conductor.PowerAction) error {
	want, ok := resets[a]
	if !ok {
		return fault.New(fault.BMCUnsupported, "power action %q is not known; On, ForceOff and GracefulShutdown are", a)
	}
	return b.Run(ctx, false, func(o *wire.Operation) error {
		m, err := b.System(o)
		if err != nil {
			return err
		}
		allowed, err := m.GetSupportedResetTypes()
		if err := b.Optional(o, "allowed resets", err); err != nil {
			return err
		}
		if len(allowed) > 0 && !slices.Contains(allowed, want.reset) {
			return fault.New(fault.BMCUnsupported, "the BMC at %s does not offer %s; it offers %s", b.Target.Origin, want.reset, wire.Join(allowed))
		}
		reached := func() (bool, error) {
			m, err := b.System(o)
			return err == nil && PowerOf(m.PowerState) == want.leads, err
		}
		var task *schemas.TaskMonitorInfo
		err = Act(o, func() (err error) { task, err = m.Reset(want.reset); return err }, reached)
		if err != nil || task == nil {
			return err
		}
		return b.follow(o, task.TaskMonitor, reached)
	})
}

const followTime = 20 * time.Second

// follow watches a task for a while: until it failed, ended, or what it is for is reached. A task still at work after
// that is none of our concern: the caller re-reads what it asked for.
func (b *Machine) follow(o *wire.Operation, link string, reached func() (bool, error)) error {
	end := time.Now().Add(followTime)
	for pause := settleFirst; time.Now().Before(end); pause = min(2*pause, settleMost) {
		switch done, _, err := o.TaskDone(link); {
		case fault.Has(err, fault.BMCTask), o.Over():
			return err
		case done:
			return nil
		}
		if ok, err := reached(); err == nil && ok {
			return nil
		}
		if err := wire.Sleep(o.Context(), pause); err != nil {
			return err
		}
	}
	return nil
}
