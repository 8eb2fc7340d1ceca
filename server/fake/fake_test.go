package fake

import (
	"bytes"
	"log/slog"
	"maps"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/bmctest"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func open(t *testing.T) conductor.BMC {
	t.Helper()
	b, err := New(Config{}).Open(t.Context(), conductor.Access{Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestContract(t *testing.T) {
	bmctest.Run(t, open)
	bmctest.RunDriver(t, New(Config{}), map[string]any{}, nil)
}

func TestPowerStartsUnknownAndIsKeptByNode(t *testing.T) {
	d := New(Config{})
	first, _ := d.Open(t.Context(), conductor.Access{Node: "n1"})
	second, _ := d.Open(t.Context(), conductor.Access{Node: "n2"})
	if p, _ := first.Power(t.Context()); p != "" {
		t.Errorf("power starts as %q, expected unknown", p)
	}
	if err := first.SetPower(t.Context(), conductor.On); err != nil {
		t.Fatal(err)
	}
	again, _ := d.Open(t.Context(), conductor.Access{Node: "n1"})
	if p, _ := again.Power(t.Context()); p != conductor.PowerOn {
		t.Errorf("power of the node opened again is %q, expected %q", p, conductor.PowerOn)
	}
	if p, _ := second.Power(t.Context()); p != "" {
		t.Errorf("the other node's power is %q, expected unknown", p)
	}
}

// run runs one step as the conductor does, arguments checked.
func run(t *testing.T, b conductor.BMC, name string, args step.Args, log *slog.Logger) error {
	t.Helper()
	all, err := b.Steps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Name == name {
			checked, err := s.Check(args)
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Run(t.Context(), step.Call{Args: checked, Report: func(step.Progress) {}, Log: log})
			return err
		}
	}
	t.Fatalf("no step %s", name)
	return nil
}

func TestStepsChangeTheSettings(t *testing.T) {
	b := open(t)
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	set := func(entries ...any) error {
		return run(t, b, "bios.apply_configuration", step.Args{"settings": entries}, logger)
	}
	if err := set(map[string]any{"name": "BootMode", "value": "Uefi"}); err != nil {
		t.Fatal(err)
	}
	if f, _ := b.Facts(t.Context()); f.BIOS["BootMode"] != "Uefi" {
		t.Errorf("BIOS is %v after setting BootMode", f.BIOS)
	}
	if err := set(map[string]any{"name": "A", "value": 1}, map[string]any{"value": "Uefi"}); !fault.Has(err, fault.StepArgument) {
		t.Errorf("an entry without a name gives %v", err)
	}
	if f, _ := b.Facts(t.Context()); f.BIOS["A"] != nil {
		t.Error("half of a refused list was set")
	}
	if err := run(t, b, "bios.factory_reset", nil, logger); err != nil {
		t.Fatal(err)
	}
	if f, _ := b.Facts(t.Context()); len(f.BIOS) != 0 {
		t.Errorf("BIOS is %v after the reset", f.BIOS)
	}
	if err := run(t, b, "vendor.log_passthrough", nil, logger); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "log_passthrough") {
		t.Errorf("the log says %q", log.String())
	}
}

// TestTheSettingsAreTold: what the steps set is what an operator sees in the list of settings, as texts as Ironic has them.
func TestTheSettingsAreTold(t *testing.T) {
	b := open(t)
	log := slog.New(slog.DiscardHandler)
	told := func() map[string]string {
		t.Helper()
		p, err := b.(conductor.PartsReader).Parts(t.Context())
		if err != nil || p.BIOS == nil || p.Firmware != nil {
			t.Fatalf("parts %+v, %v: the settings are read each time, firmware never", p, err)
		}
		out := map[string]string{}
		for _, s := range p.BIOS {
			if out[s.Name] = "null"; s.Value != nil {
				out[s.Name] = *s.Value
			}
		}
		return out
	}
	if got := told(); len(got) != 0 {
		t.Errorf("a new machine has settings: %v", got)
	}
	entries := []any{}
	for name, value := range map[string]any{"boost": "on", "cores": float64(12), "fan": true, "none": nil} {
		entries = append(entries, map[string]any{"name": name, "value": value})
	}
	if err := run(t, b, "bios.apply_configuration", step.Args{"settings": entries}, log); err != nil {
		t.Fatal(err)
	}
	if got, want := told(), (map[string]string{"boost": "on", "cores": "12", "fan": "True", "none": "null"}); !maps.Equal(got, want) {
		t.Errorf("settings %v, expected %v", got, want)
	}
	if err := run(t, b, "bios.factory_reset", nil, log); err != nil {
		t.Fatal(err)
	}
	if got := told(); len(got) != 0 {
		t.Errorf("settings after the reset: %v", got)
	}
}
