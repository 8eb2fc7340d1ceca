package catalog

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// FuzzZ1_Arguments: whatever is given as arguments of any step there is, they are right or refused with the reason. Those that are
// right are right again with their defaults, and none is there that the step does not have.
func FuzzZ1_Arguments(f *testing.F) {
	steps := slices.Concat(InBand, Fake, Reserved)
	for i, s := range steps {
		given := step.Args{}
		for _, a := range s.Args {
			given[a.Name] = map[step.Type]any{step.String: "x", step.Integer: 3, step.Boolean: true, step.Object: map[string]any{"a": 1}, step.List: []any{map[string]any{"name": "a", "value": nil, "component": "bios", "url": "http://192.0.2.1/x"}}}[a.Type]
		}
		text, err := json.Marshal(given)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), string(text))
		f.Add(uint8(i), `{}`)
	}
	f.Add(uint8(0), `{"nosuch": 1e400}`)
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		var given step.Args
		if json.Unmarshal([]byte(text), &given) != nil {
			return
		}
		s := steps[int(which)%len(steps)]
		args, err := s.Check(given)
		if err != nil {
			if f := fault.From(err); f.Reason != fault.StepArgument || f.Hint == "" || args != nil {
				t.Fatalf("%s with %s: %v", s.Name, text, err)
			}
			return
		}
		for name := range args {
			if !slices.ContainsFunc(s.Args, func(a step.Arg) bool { return a.Name == name }) {
				t.Fatalf("%s with %s has the argument %q", s.Name, text, name)
			}
		}
		again, err := s.Check(args)
		if err != nil || !reflect.DeepEqual(again, args) {
			t.Fatalf("%s with %s: %v is taken, then %v, %v", s.Name, text, args, again, err)
		}
	})
}
