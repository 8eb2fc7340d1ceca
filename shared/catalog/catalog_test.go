package catalog

import (
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func all() []step.Step { return append(append([]step.Step{}, InBand...), Redfish...) }

func TestStepsAreComplete(t *testing.T) {
	for _, steps := range [][]step.Step{InBand, Redfish, Fake, With(Redfish), With(Fake)} {
		if _, err := step.NewRegistry(steps...); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range InBand {
		if s.Where != step.InBand {
			t.Errorf("%s is in the list of in-band steps, and says %s", s.Name, s.Where)
		}
	}
	for _, s := range Redfish {
		if s.Where != step.OutOfBand || s.Touches != step.Nothing && s.Touches != step.Volumes {
			t.Errorf("%s is in the list of out-of-band steps, and says %s and touches %q", s.Name, s.Where, s.Touches)
		}
	}
	for _, s := range all() {
		if !strings.HasSuffix(s.Doc, ".") || s.Timeout <= 0 || len(s.Priority) == 0 {
			t.Errorf("%s needs a sentence, a timeout and a flow: %q, %v, %v", s.Name, s.Doc, s.Timeout, s.Priority)
		}
		if s.Repeat != step.Again && s.Repeat != step.Never {
			t.Errorf("%s does not say whether it may be repeated: %q", s.Name, s.Repeat)
		}
		for f, p := range s.Priority {
			if state.Row(f).Flow == "" || p < 0 {
				t.Errorf("%s: priority %d for flow %q", s.Name, p, f)
			}
		}
		for _, a := range s.Args {
			if a.Doc == "" || (a.Required && a.Default != nil) {
				t.Errorf("%s: argument %s needs a sentence, and either a default or to be required", s.Name, a.Name)
			}
		}
	}
}

func TestI01_StepsThatTouchDisksAreOfferedOnlyWhereStatesPermitIt(t *testing.T) {
	for _, s := range all() {
		for f := range s.Priority {
			if s.Touches != step.Nothing && !state.Destroys(state.Row(f).Doing) {
				t.Errorf("%s touches disks in flow %s, whose states don't permit that", s.Name, f)
			}
		}
	}
}

// A default must pass the check that a caller's value has to pass.
func TestDefaultsPassTheirOwnCheck(t *testing.T) {
	for _, s := range all() {
		given := step.Args{}
		for _, a := range s.Args {
			switch {
			case a.Default != nil:
				given[a.Name] = a.Default
			case len(a.Enum) > 0:
				given[a.Name] = a.Enum[0]
			case a.Required && a.Type == step.String:
				given[a.Name] = "x"
			case s.Name == "firmware.update":
				given[a.Name] = []any{map[string]any{"component": "bios", "url": "http://192.0.2.1/x"}}
			case a.Required && a.Type == step.Object:
				given[a.Name] = map[string]any{}
			case a.Required && a.Type == step.List:
				given[a.Name] = []any{}
			case a.Required && a.Type == step.Object:
				given[a.Name] = map[string]any{}
			}
		}
		if _, err := s.Check(given); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
	}
}

func TestAutomatedFlows(t *testing.T) {
	r, err := step.NewRegistry(With(Redfish)...)
	if err != nil {
		t.Fatal(err)
	}
	for f, want := range map[state.Flow]string{
		state.Clean:   "deploy.erase_devices_metadata deploy.erase_devices",
		state.Deploy:  "deploy.write_image",
		state.Verify:  "",
		state.Inspect: "",
		state.Service: "",
	} {
		var got []string
		for _, s := range r.Automated(f) {
			got = append(got, s.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s runs %q by itself, want %q", f, got, want)
		}
	}
}
