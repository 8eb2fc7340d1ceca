package redfish

import (
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// A step that was cut off anywhere leaves the machine, when it is run again, with the power that it had before the first
// attempt: a serving machine is not left off, nor one that was off on (F1).
func TestF1_ABIOSStepRunAgainRestoresThePowerBefore(t *testing.T) {
	apply := settings(setting("BootMode", "Legacy"))
	for name, c := range map[string]struct {
		step    string
		args    step.Args
		before  conductor.Power
		power   string         // when it was cut off
		bios    any            // BootMode when it was cut off
		pending map[string]any // what the next power-on applies
		want    string
	}{
		"applied, cut off between off and on":           {applyStep, apply, conductor.PowerOn, "Off", "Uefi", map[string]any{"BootMode": "Legacy"}, "On"},
		"applied, cut off with the settings in":         {applyStep, apply, conductor.PowerOn, "Off", "Legacy", nil, "On"},
		"applied, cut off while on":                     {applyStep, apply, conductor.PowerOn, "On", "Legacy", nil, "On"},
		"applied to one that was off, cut off while on": {applyStep, apply, conductor.PowerOff, "On", "Legacy", nil, "Off"},
		"applied to one that was off, not yet in":       {applyStep, apply, conductor.PowerOff, "On", "Uefi", nil, "Off"},
		"reset, cut off between off and on":             {resetStep, nil, conductor.PowerOn, "Off", "Legacy", nil, "On"},
		"reset of one that was off, cut off while on":   {resetStep, nil, conductor.PowerOff, "On", "Uefi", nil, "Off"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				l.power, l.bios["BootMode"], l.pending = c.power, c.bios, c.pending
				if _, err := runAttempt(t, t.Context(), l.bmc(t), state.Service, c.step, c.args, c.before); err != nil {
					t.Fatal(err)
				}
				if l.power != c.want {
					t.Errorf("the machine is %s, expected %s; it was sent %v", l.power, c.want, l.resets)
				}
			})
		})
	}
}
