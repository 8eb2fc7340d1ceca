// Package example is a hardware manager to copy: it fits machines of one make and offers one step that reads and
// changes nothing. docs/howto/write-a-hardware-manager.md tells how to build a ramdisk with it. Start at New.
package example

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/hardware"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Maker is the maker, as its firmware spells it, of the machines that this manager fits.
const Maker = "QEMU"

// Manager knows machines of one make.
type Manager struct{}

// New makes the manager. It must be cheap: it is called before it is known what the machine is.
func New() hardware.Manager { return Manager{} }

// Name is unique among the managers of a ramdisk.
func (Manager) Name() string { return "example" }

// Version is raised whenever a step behaves differently.
func (Manager) Version() string { return "1" }

// Support says how well the manager fits: compare the inventory, don't touch the hardware.
func (Manager) Support(_ context.Context, m *hardware.Machine) (hardware.Level, error) {
	if strings.EqualFold(m.Inventory.SystemVendor.Manufacturer, Maker) {
		return hardware.Mainline, nil
	}
	return hardware.None, nil
}

// Steps lists what the manager offers on this machine.
func (Manager) Steps(_ context.Context, m *hardware.Machine) ([]step.Bound, error) {
	return []step.Bound{{
		Step: step.Step{
			Name: "firmware.check_temperature", Where: step.InBand,
			Doc:      "Fails when a thermal zone of the machine is hotter than a limit.",
			Priority: map[state.Flow]int{state.Clean: 5}, // joins each automated clean, after the erasing (10) has warmed the machine
			Args:     []step.Arg{{Name: "limit", Type: step.Integer, Default: 90, Doc: "degrees Celsius"}},
			Repeat:   step.Again, // it reads only, so a new attempt does no harm
			Timeout:  time.Minute,
		},
		Run: func(ctx context.Context, c step.Call) (step.Result, error) { return checkTemperature(ctx, m.Root, c) },
	}}, nil
}

func checkTemperature(ctx context.Context, root fs.FS, c step.Call) (step.Result, error) {
	zones, err := fs.Glob(root, "sys/class/thermal/thermal_zone*/temp")
	if err != nil {
		return step.Result{}, fmt.Errorf("list thermal zones: %w", err)
	}
	limit := c.Args.Int("limit")
	seen := map[string]any{}
	for i, zone := range zones {
		if err := ctx.Err(); err != nil { // stop where it is safe to: here, everywhere
			return step.Result{}, err
		}
		b, err := fs.ReadFile(root, zone)
		if err != nil {
			return step.Result{}, fmt.Errorf("read %s: %w", zone, err)
		}
		var millidegrees int64
		if _, err := fmt.Sscan(string(b), &millidegrees); err != nil {
			return step.Result{}, fmt.Errorf("read %s: %q is no temperature", zone, b)
		}
		seen[zone] = millidegrees / 1000
		c.Report(step.Progress{Percent: float64(i+1) / float64(len(zones)) * 100, Done: int64(i + 1), Total: int64(len(zones)), Unit: "zones"})
		if millidegrees > limit*1000 {
			// A cause that is known is a fault: what was found, what was expected, what to do.
			return step.Result{}, fault.New(fault.StepFailed, "%s is at %d degrees, the limit is %d", zone, millidegrees/1000, limit).
				WithHint("check the fans, or raise the limit")
		}
	}
	c.Log.Info("temperatures are fine", "zones", len(zones))
	return step.Result{Data: map[string]any{"degrees": seen}}, nil
}
