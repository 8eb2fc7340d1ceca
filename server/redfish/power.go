package redfish

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// powerOf gives no state while the machine is between two: only what has been reached is told.
func powerOf(s schemas.PowerState) conductor.Power {
	switch s {
	case schemas.OnPowerState:
		return conductor.PowerOn
	case schemas.OffPowerState:
		return conductor.PowerOff
	}
	return ""
}

// Power reads the power state: on, off, or empty while it changes or is unknown.
func (b *bmc) Power(ctx context.Context) (conductor.Power, error) {
	var p conductor.Power
	err := b.run(ctx, false, func(o *operation) error {
		m, err := b.machine(o)
		if err == nil {
			p = powerOf(m.PowerState)
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

// SetPower asks for a power state, also of a machine that claims to be in it already: the claim may be wrong. It
// returns when the BMC accepted; the caller re-reads. bmc.unsupported when the BMC does not list the act.
func (b *bmc) SetPower(ctx context.Context, a conductor.PowerAction) error {
	want, ok := resets[a]
	if !ok {
		return fault.New(fault.BMCUnsupported, "power action %q is not known; On, ForceOff and GracefulShutdown are", a)
	}
	return b.run(ctx, false, func(o *operation) error {
		m, err := b.machine(o)
		if err != nil {
			return err
		}
		allowed, err := m.GetSupportedResetTypes()
		if err := b.optional(o, "allowed resets", err); err != nil {
			return err
		}
		if len(allowed) > 0 && !slices.Contains(allowed, want.reset) {
			return fault.New(fault.BMCUnsupported, "the BMC at %s does not offer %s; it offers %s", b.target.origin, want.reset, join(allowed))
		}
		reached := func() (bool, error) {
			m, err := b.machine(o)
			return err == nil && powerOf(m.PowerState) == want.leads, err
		}
		var task *schemas.TaskMonitorInfo
		err = act(o, func() (err error) { task, err = m.Reset(want.reset); return err }, reached)
		if err != nil || task == nil {
			return err
		}
		return b.follow(o, task.TaskMonitor, reached)
	})
}

const followTime = 20 * time.Second

// follow watches a task for a while: until it failed, ended, or what it is for is reached. A task still at work after
// that is none of our concern: the caller re-reads what it asked for.
func (b *bmc) follow(o *operation, link string, reached func() (bool, error)) error {
	end := time.Now().Add(followTime)
	for pause := settleFirst; time.Now().Before(end); pause = min(2*pause, settleMost) {
		switch done, _, err := b.taskDone(o, link); {
		case fault.Has(err, fault.BMCTask), o.poison != nil, o.ctx.Err() != nil:
			return err
		case done:
			return nil
		}
		if ok, err := reached(); err == nil && ok {
			return nil
		}
		if err := sleep(o.ctx, pause); err != nil {
			return err
		}
	}
	return nil
}

// taskDone asks a task or its monitor. The fault of a failed one is bmc.task_failed. One that is gone is done: the
// BMC forgot it, and what it was for is read elsewhere.
func (b *bmc) taskDone(o *operation, link string) (done bool, percent float64, err error) {
	if link == "" {
		return true, 100, nil
	}
	t, err := b.taskAt(o, link)
	return t.done, t.percent, err
}

// task is what a task, or its monitor, says of itself.
type task struct {
	state   string // Redfish's TaskState; "" when it says none
	done    bool   // it ended well, or is gone
	gone    bool   // the BMC does not know it any more
	percent float64
}

// taskAt reads a task or its monitor; the fault of a failed one is bmc.task_failed.
func (b *bmc) taskAt(o *operation, link string) (task, error) {
	path, err := o.resolve(link)
	if err != nil {
		return task{}, err
	}
	resp, err := o.do(request{method: http.MethodGet, path: path, once: true})
	switch status := statusOf(err); {
	case status == http.StatusNotFound || status == http.StatusGone:
		return task{done: true, gone: true, percent: 100}, nil
	case err != nil && (status == 0 || status != http.StatusInternalServerError && worthRepeating(status)):
		return task{}, err
	case err != nil:
		return task{}, fault.New(fault.BMCTask, "the task failed: %s", fault.From(err).Message)
	}
	var t struct {
		TaskState       schemas.TaskState
		PercentComplete any // of whatever type a BMC takes for a number
		Messages        []struct{ Message string }
	}
	if decode(bodyOf(resp), &t) != nil || t.TaskState == "" {
		return task{done: resp.StatusCode != http.StatusAccepted}, nil
	}
	state := clean(string(t.TaskState), 40)
	switch t.TaskState {
	case schemas.CompletedTaskState:
		return task{state: state, done: true, percent: 100}, nil
	case schemas.ExceptionTaskState, schemas.KilledTaskState, schemas.CancelledTaskState:
		said := "it gives no reason"
		for _, m := range t.Messages {
			if m.Message != "" {
				said = clean(o.mask(m.Message), 300)
			}
		}
		return task{}, fault.New(fault.BMCTask, "the task at %s of the BMC at %s ended as %s: %s", clean(o.mask(link), 200), b.target.origin, t.TaskState, said)
	}
	percent, _ := t.PercentComplete.(float64)
	return task{state: state, percent: min(max(percent, 0), 100)}, nil
}

func join[T ~string](all []T) string {
	out, err := json.Marshal(all)
	if err != nil {
		return ""
	}
	return clean(string(out), 300)
}
