// Package bmctest is the contract of conductor.BMC and conductor.Driver as tests: every implementation runs them, so
// that the conductor sees no difference between them. It tests nothing of its own; start at Run and RunDriver.
package bmctest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// patience is how long a state may take to show after an act.
const patience = 10 * time.Second

// Run tests a BMC. open gives access to a machine that no other test uses; it may be any state.
func Run(t *testing.T, open func(t *testing.T) conductor.BMC) {
	t.Run("power acts are absolute", func(t *testing.T) { power(t, open(t)) })
	t.Run("unknown power act", func(t *testing.T) {
		if err := open(t).SetPower(t.Context(), "PushPowerButton"); !fault.Has(err, fault.BMCUnsupported) {
			t.Errorf("a toggle gives %v, expected %s", err, fault.BMCUnsupported)
		}
	})
	t.Run("boot device reads back", func(t *testing.T) { boot(t, open(t)) })
	t.Run("unknown boot device", func(t *testing.T) {
		err := open(t).SetBoot(t.Context(), conductor.BootTarget{Device: "punched cards"})
		if !fault.Has(err, fault.BMCUnsupported) {
			t.Errorf("got %v, expected %s", err, fault.BMCUnsupported)
		}
	})
	t.Run("media may be set again", func(t *testing.T) { media(t, open(t)) })
	t.Run("facts agree", func(t *testing.T) { facts(t, open(t)) })
	t.Run("steps have code", func(t *testing.T) { steps(t, open(t)) })
	t.Run("an ended context ends every method", func(t *testing.T) { ended(t, open(t)) })
}

// RunDriver tests a Driver; info and secrets are those of a node that works.
func RunDriver(t *testing.T, d conductor.Driver, info map[string]any, secrets map[string]string) {
	if d.Name() == "" {
		t.Error("the driver has no name")
	}
	for i, list := range d.Interfaces() {
		if len(list) == 0 {
			t.Errorf("interface %s has no implementation, so no default", i)
		}
	}
	if err := d.Validate(info); err != nil {
		t.Errorf("good driver_info is refused: %v", err)
	}
	for _, k := range d.SecretKeys() {
		if d.Properties()[k] == "" {
			t.Errorf("the secret key %s is not described", k)
		}
	}
	for k := range info {
		if d.Properties()[k] == "" {
			t.Errorf("driver_info has %s, which is not described", k)
		}
	}
	b, err := d.Open(t.Context(), conductor.Access{Node: "7f3e5a0e-3b4c-4c6f-8f5e-0a1b2c3d4e5f", Info: info, Secrets: secrets})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	bound, err := b.Steps(t.Context())
	if err != nil {
		t.Fatalf("steps: %v", err)
	}
	names := func(all []step.Step) (out []string) {
		for _, s := range all {
			out = append(out, s.Name)
		}
		slices.Sort(out)
		return out
	}
	var have []step.Step
	for _, s := range bound {
		have = append(have, s.Step)
	}
	if got, want := names(have), names(d.Steps()); !slices.Equal(got, want) {
		t.Errorf("the BMC has steps %v, the driver offers %v", got, want)
	}
	if _, err := step.NewRegistry(d.Steps()...); err != nil {
		t.Errorf("the steps make no registry: %v", err)
	}
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// eventually reads until want is there.
func eventually(t *testing.T, b conductor.BMC, want conductor.Power) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		p, err := b.Power(ctx)
		must(t, "read power", err)
		if p == want {
			return
		}
	}
}

func power(t *testing.T, b conductor.BMC) {
	for _, s := range []struct {
		act  conductor.PowerAction
		want conductor.Power
	}{
		{conductor.On, conductor.PowerOn}, {conductor.On, conductor.PowerOn},
		{conductor.ForceOff, conductor.PowerOff}, {conductor.ForceOff, conductor.PowerOff},
		{conductor.On, conductor.PowerOn}, {conductor.GracefulShutdown, conductor.PowerOff},
		{conductor.GracefulShutdown, conductor.PowerOff},
	} {
		must(t, string(s.act), b.SetPower(t.Context(), s.act))
		eventually(t, b, s.want)
	}
}

func boot(t *testing.T, b conductor.BMC) {
	for _, want := range []conductor.BootTarget{
		{Device: "cdrom", UEFI: true}, {Device: "disk", Always: true, UEFI: true}, {Device: "pxe", UEFI: true},
		{Device: "pxe", UEFI: true}, {Device: "uefihttp", UEFI: true, URL: "http://192.0.2.7/boot.efi"},
	} {
		must(t, "set boot to "+want.Device, b.SetBoot(t.Context(), want))
		got, err := b.Boot(t.Context())
		must(t, "read boot", err)
		if got != want {
			t.Errorf("boot reads %+v after setting %+v", got, want)
		}
	}
	for range 2 {
		must(t, "take the override away", b.SetBoot(t.Context(), conductor.BootTarget{}))
		got, err := b.Boot(t.Context())
		must(t, "read boot", err)
		if got.Device == "uefihttp" || got.URL != "" {
			t.Errorf("boot reads %+v after the override was taken away", got)
		}
	}
}

func media(t *testing.T, b conductor.BMC) {
	for _, url := range []string{"", "http://192.0.2.7/a.iso", "http://192.0.2.7/a.iso", "http://192.0.2.7/b.iso", "", ""} {
		must(t, "set media to "+url, b.SetMedia(t.Context(), url))
	}
}

func facts(t *testing.T, b conductor.BMC) {
	must(t, "on", b.SetPower(t.Context(), conductor.On))
	eventually(t, b, conductor.PowerOn)
	f, err := b.Facts(t.Context())
	must(t, "facts", err)
	if f.Power != conductor.PowerOn {
		t.Errorf("facts say power %q of a machine that is on", f.Power)
	}
	if !f.VirtualMedia {
		t.Error("facts deny the virtual media that SetMedia uses")
	}
	if len(f.BootDevices) == 0 {
		t.Error("facts name no boot device")
	}
	for _, m := range f.MACs {
		if len(m) != 17 {
			t.Errorf("%q is no address of a network card", m)
		}
	}
}

func steps(t *testing.T, b conductor.BMC) {
	bound, err := b.Steps(t.Context())
	must(t, "steps", err)
	seen := map[string]bool{}
	for _, s := range bound {
		switch {
		case s.Run == nil:
			t.Errorf("step %s has no code", s.Name)
		case s.Where != step.OutOfBand:
			t.Errorf("step %s is %s, expected %s", s.Name, s.Where, step.OutOfBand)
		case s.Timeout <= 0:
			t.Errorf("step %s has no deadline", s.Name)
		case seen[s.Name]:
			t.Errorf("step %s is there twice", s.Name)
		}
		seen[s.Name] = true
	}
}

func ended(t *testing.T, b conductor.BMC) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	calls := map[string]func() error{
		"Facts":    func() error { _, err := b.Facts(ctx); return err },
		"Power":    func() error { _, err := b.Power(ctx); return err },
		"SetPower": func() error { return b.SetPower(ctx, conductor.On) },
		"SetBoot":  func() error { return b.SetBoot(ctx, conductor.BootTarget{Device: "pxe"}) },
		"Boot":     func() error { _, err := b.Boot(ctx); return err },
		"SetMedia": func() error { return b.SetMedia(ctx, "") },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s gives %v after its context ended, expected %v", name, err, context.Canceled)
		}
	}
}
