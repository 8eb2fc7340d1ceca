package machines

import (
	"context"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/failpoint"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// fenced is a BMC that is acted upon only while the server's lease of the store holds: what a transaction permitted
// before the process was stopped for a while may be another server's machine now (I16, F30). Reading is free.
type fenced struct {
	conductor.BMC
	held func() error
}

func (f fenced) SetPower(ctx context.Context, a conductor.PowerAction) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.BMC.SetPower(ctx, a)
}

func (f fenced) SetBoot(ctx context.Context, t conductor.BootTarget) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.BMC.SetBoot(ctx, t)
}

func (f fenced) SetMedia(ctx context.Context, url string) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.BMC.SetMedia(ctx, url)
}

func (f fenced) Steps(ctx context.Context) ([]step.Bound, error) {
	bound, err := f.BMC.Steps(ctx)
	out := make([]step.Bound, len(bound))
	for i, b := range bound {
		run := b.Run
		b.Run = func(ctx context.Context, c step.Call) (step.Result, error) {
			if err := f.held(); err != nil {
				return step.Result{}, err
			}
			return run(ctx, c)
		}
		out[i] = b
	}
	return out, err
}

// marked has a mark on either side of each act upon a BMC; only the crash harness's build has it.
type marked struct{ conductor.BMC }

func (m marked) SetPower(ctx context.Context, a conductor.PowerAction) error {
	failpoint.Here("bmc.power.before")
	err := m.BMC.SetPower(ctx, a)
	failpoint.Here("bmc.power.after")
	return err
}

func (m marked) SetBoot(ctx context.Context, b conductor.BootTarget) error {
	failpoint.Here("bmc.boot.before")
	err := m.BMC.SetBoot(ctx, b)
	failpoint.Here("bmc.boot.after")
	return err
}

func (m marked) SetMedia(ctx context.Context, url string) error {
	failpoint.Here("bmc.media.before")
	err := m.BMC.SetMedia(ctx, url)
	failpoint.Here("bmc.media.after")
	return err
}
