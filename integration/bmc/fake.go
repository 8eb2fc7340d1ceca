package bmc

import (
	"context"
	"sync"

	"github.com/bessemer-metal/bessemer/integration/medium"
	"github.com/bessemer-metal/bessemer/integration/qemu"
)

// FakeBoot is one boot of a fake machine.
type FakeBoot struct {
	Machine *Machine
	Source  qemu.Boot
	Medium  string                      // URL of the virtual CD that is in the drive, or ""
	Image   medium.Image                // the same, to read it as the firmware would; nil when there is none
	Report  func(qemu.Progress, string) // how far the boot came, for BootProgress
	Off     func()                      // what runs powers the machine off
	Reset   func()                      // what runs resets the machine; ctx ends, and OnBoot is called anew
}

// fake is a machine without hardware: a power state, and a test's code for what boots.
type fake struct {
	machine *Machine
	hooks   qemu.Hooks
	wg      sync.WaitGroup

	mu    sync.Mutex
	on    bool
	boots int                // counts, so that a boot that ended can change nothing
	end   context.CancelFunc // of what runs
	image medium.Image
}

func (f *fake) Start(_ context.Context, cause string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.on {
		f.run(cause)
	}
	return nil
}

func (f *fake) run(cause string) {
	f.end()
	f.on = true
	f.boots++
	this := f.boots
	source := f.hooks.NextBoot()
	f.hooks.Power(true, cause)
	onBoot := f.machine.cfg.OnBoot
	if onBoot == nil {
		return
	}
	ctx, end := context.WithCancel(f.machine.env.Context)
	f.end = end
	guarded := func(do func()) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.boots == this && f.on {
			do()
		}
	}
	b := FakeBoot{
		Machine: f.machine, Source: source, Medium: f.machine.Medium(), Image: f.image,
		Report: func(p qemu.Progress, detail string) { guarded(func() { f.hooks.Progress(p, detail) }) },
		Off:    func() { guarded(func() { f.off("guest-shutdown") }) },
		Reset:  func() { guarded(func() { f.run("reset: guest-reset") }) },
	}
	f.wg.Go(func() { onBoot(ctx, b) })
}

func (f *fake) off(cause string) {
	if !f.on {
		return
	}
	f.end()
	f.on = false
	f.hooks.Power(false, cause)
}

func (f *fake) Stop(cause string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.off(cause)
}

func (f *fake) Reset(_ context.Context, cause string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.on {
		f.run(cause)
	}
	return nil
}

// PressPower finds a guest that obeys at once.
func (f *fake) PressPower(_ context.Context, again bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if on := f.on; on {
		f.off("guest-shutdown")
		if again {
			f.run("reset: guest-shutdown")
		}
	}
	return nil
}

func (f *fake) NMI(context.Context) error       { return nil }
func (f *fake) Arm(context.Context, bool) error { return nil }

func (f *fake) Insert(_ context.Context, image medium.Image) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.image = image
	return nil
}

func (f *fake) Eject(ctx context.Context) error { return f.Insert(ctx, nil) }

func (f *fake) Close() error {
	f.Stop("emulator closed")
	f.wg.Wait()
	return nil
}
