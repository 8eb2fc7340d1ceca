package example

import (
	"log/slog"
	"testing"
	"testing/fstest"

	"github.com/bessemer-metal/bessemer/hardware-managers/managertest"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/hardware"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func machine(maker string) hardware.Machine {
	return hardware.Machine{Inventory: inventory.Inventory{SystemVendor: inventory.SystemVendor{Manufacturer: maker}}}
}

func TestContract(t *testing.T) {
	other := machine("Other")
	managertest.Run(t, managertest.Contract{New: New, Mine: machine(Maker), Other: &other})
}

func TestCheckTemperature(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		fails bool
	}{
		{"cool", map[string]string{"thermal_zone0": "40000\n", "thermal_zone1": "50000\n"}, false},
		{"none", nil, false},
		{"hot", map[string]string{"thermal_zone0": "40000\n", "thermal_zone1": "95000\n"}, true},
		{"rubbish", map[string]string{"thermal_zone0": "warm\n"}, true},
	} {
		root := fstest.MapFS{}
		for zone, text := range c.files {
			root["sys/class/thermal/"+zone+"/temp"] = &fstest.MapFile{Data: []byte(text)}
		}
		m := machine(Maker)
		m.Root = root
		steps, err := New().Steps(t.Context(), &m)
		if err != nil {
			t.Fatal(err)
		}
		if steps[0].Priority[state.Clean] <= 0 {
			t.Error("the step joins no automated clean, so it would never run")
		}
		args, err := steps[0].Check(nil)
		if err != nil {
			t.Fatal(err)
		}
		var last step.Progress
		res, err := steps[0].Run(t.Context(), step.Call{Args: args, Log: slog.New(slog.DiscardHandler), Report: func(p step.Progress) { last = p }})
		if (err != nil) != c.fails {
			t.Errorf("%s: got %v, %v", c.name, res, err)
		}
		if c.name == "hot" && !fault.Has(err, fault.StepFailed) {
			t.Errorf("hot: got %v", err)
		}
		if c.name == "cool" && last.Percent != 100 {
			t.Errorf("cool: last progress %+v", last)
		}
	}
}
