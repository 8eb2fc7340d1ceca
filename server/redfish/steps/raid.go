package steps

import (
	"context"
	"net/http"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/raid"
	"github.com/bessemer-metal/bessemer/server/redfish/volumes"
	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// deleteRAID deletes the RAID volumes.
func (b stepper) deleteRAID(ctx context.Context, w *work) (step.Result, error) {
	return b.volumes(ctx, w, volumes.Want{Delete: true})
}

// createRAID builds what the argument raid_config wants and is not there.
func (b stepper) createRAID(ctx context.Context, w *work) (step.Result, error) {
	config, _ := w.Args[catalog.ArgRAID].(map[string]any)
	disks, err := raid.ThroughBMC(config)
	if err == nil && len(disks) == 0 {
		err = fault.New(fault.StepArgument, "no RAID configuration is there to build").WithHint("bessemer node set NODE --target-raid-config FILE")
	}
	if err != nil {
		return step.Result{}, err
	}
	return b.volumes(ctx, w, volumes.Want{Disks: disks, Root: w.Args.Bool("create_root_volume"), NonRoot: w.Args.Bool("create_nonroot_volumes"), Delete: w.Args.Bool("delete_existing")})
}

func (b stepper) volumes(ctx context.Context, w *work, want volumes.Want) (step.Result, error) {
	want.Properties, want.Noted = w.Node, w.Noted
	data, err := volumes.Run(ctx, raidMachine{b, w}, want)
	if err == nil {
		w.at(100, "the volumes are as wanted")
	}
	return step.Result{Data: data}, err
}

// raidMachine is the machine as package volumes sees it: all bounds and rules of operation hold.
type raidMachine struct {
	b stepper
	w *work
}

var _ volumes.Machine = raidMachine{}

func (m raidMachine) Do(ctx context.Context, do func(volumes.Service, string) error) error {
	return m.b.Run(ctx, false, func(o *wire.Operation) error {
		is, err := m.b.System(o)
		if err != nil {
			return err
		}
		return do(o.Parts(), is.ODataID)
	})
}

// Refusal goes by the status: without one, and where the BMC itself is in trouble, nobody knows what came of an order.
func (m raidMachine) Refusal(err error) volumes.Refusal {
	switch status := wire.StatusOf(err); status {
	case 0, http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		return volumes.Unknown
	case http.StatusServiceUnavailable: // of a BMC that is busy, or of a proxy that has handed the order on
		return volumes.Doubtful
	case http.StatusTooManyRequests, http.StatusConflict, http.StatusLocked:
		return volumes.Busy
	}
	return volumes.Refused
}

func (m raidMachine) Passing(ctx context.Context, err error) bool { return passing(ctx, err) }

func (m raidMachine) Task(ctx context.Context, link string) (told volumes.Task, err error) {
	err = m.b.Run(ctx, false, func(o *wire.Operation) error {
		t, err := o.TaskAt(link)
		told = volumes.Task{Done: t.Done, Waits: job{state: t.State}.waits(), Silent: t.State == "", Percent: t.Percent}
		return err
	})
	return told, err
}

func (m raidMachine) Open(ctx context.Context) (names []string, waits bool, err error) {
	all, err := m.b.unended(ctx)
	waits = true
	for _, j := range all {
		names = append(names, named([]job{j}))
		waits = waits && j.waits()
	}
	return names, waits, err
}

func (m raidMachine) On(ctx context.Context) (bool, error) {
	p, err := m.b.Power(ctx)
	return p == conductor.PowerOn, err
}

func (m raidMachine) SwitchOn(ctx context.Context) error {
	return m.b.reach(ctx, conductor.On, powerTime)
}

func (m raidMachine) Restart(ctx context.Context) error { return m.b.cycle(ctx, m.w) }

func (m raidMachine) Restore(ctx context.Context) error {
	p, err := m.b.Power(ctx)
	if err != nil {
		return err
	}
	return m.b.restore(ctx, m.w, p)
}

func (m raidMachine) Note(ctx context.Context, v any) error {
	if m.w.Call.Note == nil {
		return nil
	}
	return m.w.Call.Note(ctx, v)
}

func (m raidMachine) At(percent float64, format string, args ...any) {
	m.w.at(percent, format, args...)
}
