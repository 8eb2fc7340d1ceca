package step

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

func names(steps []Step) string {
	var out []string
	for _, s := range steps {
		out = append(out, s.Name)
	}
	return strings.Join(out, " ")
}

func registry(t *testing.T, steps ...Step) *Registry {
	t.Helper()
	r, err := NewRegistry(steps...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSplit(t *testing.T) {
	for name, want := range map[string][2]string{
		"deploy.erase_devices": {"deploy", "erase_devices"},
		"vendor.a.b":           {"vendor", "a.b"},
		"nodot":                {"", "nodot"},
		".short":               {"", "short"},
		"":                     {"", ""},
	} {
		if i, s := Split(name); i != want[0] || s != want[1] {
			t.Errorf("Split(%q) = %q, %q; want %q", name, i, s, want)
		}
	}
	if s := (Step{Name: "bios.factory_reset"}); s.Interface() != "bios" || s.Short() != "factory_reset" {
		t.Errorf("%q and %q of %s", s.Interface(), s.Short(), s.Name)
	}
}

// Out-of-band steps come first whatever their priority; then priority; then the interface; then the name.
func TestAutomatedOrder(t *testing.T) {
	clean := func(p int) map[state.Flow]int { return map[state.Flow]int{state.Clean: p} }
	r := registry(t,
		Step{Name: "deploy.wipe", Where: InBand, Priority: clean(99)},
		Step{Name: "raid.low", Where: OutOfBand, Priority: clean(1)},
		Step{Name: "raid.b", Where: OutOfBand, Priority: clean(20)},
		Step{Name: "raid.a", Where: OutOfBand, Priority: clean(20)},
		Step{Name: "bios.set", Where: OutOfBand, Priority: clean(20)},
		Step{Name: "power.cycle", Where: OutOfBand, Priority: clean(20)},
		Step{Name: "vendor.odd", Where: OutOfBand, Priority: clean(20)},
		Step{Name: "other.last", Where: OutOfBand, Priority: clean(20)},
		Step{Name: "deploy.first", Where: InBand, Priority: clean(100)},
		Step{Name: "bios.on_request", Where: OutOfBand, Priority: clean(0)},
		Step{Name: "deploy.elsewhere", Where: InBand, Priority: map[state.Flow]int{state.Deploy: 50}},
	)
	want := "vendor.odd power.cycle bios.set raid.a raid.b other.last raid.low deploy.first deploy.wipe"
	if got := names(r.Automated(state.Clean)); got != want {
		t.Errorf("order\n got %s\nwant %s", got, want)
	}
	if got := names(r.Automated(state.Deploy)); got != "deploy.elsewhere" {
		t.Errorf("deploy: %s", got)
	}
	if got := r.Automated(state.Verify); got != nil {
		t.Errorf("verify: %s", names(got))
	}
	if got := names(r.All()); !strings.HasPrefix(got, "deploy.wipe raid.low raid.b") {
		t.Errorf("All does not keep the order of adding: %s", got)
	}
}

func TestRegistryRefuses(t *testing.T) {
	for what, steps := range map[string][]Step{
		"no dot":       {{Name: "erase"}},
		"no interface": {{Name: ".erase"}},
		"no name":      {{Name: "deploy."}},
		"offered twice": {
			{Name: "deploy.erase", Where: InBand},
			{Name: "deploy.erase", Where: OutOfBand},
		},
	} {
		if _, err := NewRegistry(steps...); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

func TestCheck(t *testing.T) {
	s := Step{Name: "deploy.x", Args: []Arg{
		{Name: "url", Type: String, Required: true, Doc: "where"},
		{Name: "method", Type: String, Enum: []string{"auto", "full"}, Default: "auto", Doc: "how"},
		{Name: "count", Type: Integer, Doc: "how many", Check: func(v any) error {
			if v.(float64) < 0 {
				return errors.New("must not be negative")
			}
			return nil
		}},
		{Name: "flag", Type: Boolean, Default: false, Doc: "whether"},
		{Name: "object", Type: Object, Doc: "what"},
		{Name: "list", Type: List, Doc: "which"},
	}}
	got, err := s.Check(Args{"url": "http://x", "count": 3.0, "flag": nil})
	if want := (Args{"url": "http://x", "method": "auto", "count": 3.0, "flag": false}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if got.Text("url") != "http://x" || got.Int("count") != 3 || got.Bool("flag") || got.Text("count") != "" || got.Int("url") != 0 {
		t.Errorf("readers of %v", got)
	}
	for part, args := range map[string]Args{
		`"url" (string) is missing`:                            {},
		`"url" must be of type string, not number`:             {"url": 1.0},
		`"method" is "quick", expected one of auto, full`:      {"url": "u", "method": "quick"},
		`"count" must be of type integer, not number`:          {"url": "u", "count": 1.5},
		`"count": must not be negative`:                        {"url": "u", "count": -1.0},
		`"flag" must be of type boolean, not string`:           {"url": "u", "flag": "true"},
		`"object" must be of type object, not list`:            {"url": "u", "object": []any{}},
		`"list" must be of type list, not object`:              {"url": "u", "list": map[string]any{}},
		`"other" is not known`:                                 {"url": "u", "other": 1.0},
		`"more" is not known; argument "other" is not known (`: {"url": "u", "other": 1.0, "more": 1.0},
	} {
		out, err := s.Check(args)
		if !fault.Has(err, fault.StepArgument) || !strings.Contains(err.Error(), part) || out != nil {
			t.Errorf("Check(%v) = %v, %v; want %s", args, out, err, part)
		}
	}
	for _, n := range []float64{math.NaN(), math.Inf(1), 1e300, math.Pow(2, 63)} {
		if _, err := s.Check(Args{"url": "u", "count": n}); err == nil {
			t.Errorf("%v passes as an integer", n)
		}
	}
	_, err = (Step{Name: "deploy.bare"}).Check(Args{"x": true})
	if err == nil || !strings.Contains(err.Error(), "takes no arguments") {
		t.Errorf("a step without arguments: %v", err)
	}
}
