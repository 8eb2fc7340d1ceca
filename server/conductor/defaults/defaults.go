// Package defaults merges default_config: which scopes a node is in, which priority and which arguments a step has there,
// and where each value comes from. It is pure; the values themselves (conductor.Default) are in the store.
package defaults

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// LabelGroup is the key of a node's extra that names its group for defaults, in place of its conductor_group.
const LabelGroup = "config_group"

// Scopes lists the scopes a node is in, weakest first: the fleet, its group (extra.config_group, or else
// conductor_group), its traits by name, itself.
func Scopes(n conductor.Node) []conductor.Scope {
	out := []conductor.Scope{{Kind: conductor.Fleet}}
	label, _ := n.Extra[LabelGroup].(string)
	if g := cmp.Or(label, n.Group); g != "" {
		out = append(out, conductor.Scope{Kind: conductor.Group, Name: g})
	}
	for _, t := range slices.Sorted(slices.Values(n.Traits)) {
		out = append(out, conductor.Scope{Kind: conductor.Trait, Name: t})
	}
	return append(out, conductor.Scope{Kind: conductor.One, Name: string(n.UUID)})
}

// Origin says where a value comes from: a default is named by its scope.
type Origin string

// FromStep is the origin of what the step itself says.
const FromStep Origin = "step"

// origin names the default in a plan: its scope, "node" for the node's own.
func origin(d conductor.Default) Origin {
	if d.Scope.Kind == conductor.One {
		return Origin(conductor.One)
	}
	return Origin(d.Scope.String())
}

// Check refuses a default that no plan could use: step.unknown, step.argument or request.invalid.
func Check(d conductor.Default, registry *step.Registry) error {
	s, ok := registry.Get(d.Step)
	if _, offered := s.Priority[d.Flow]; !ok || !offered {
		return fault.New(fault.StepUnknown, "%s is no step that %s runs by itself", d.Step, cmp.Or(string(d.Flow), "no flow")).
			WithHint("the steps for %s are %s", d.Flow, strings.Join(registry.Names(d.Flow), ", "))
	}
	if d.Key == conductor.KeyPriority {
		v, ok := d.Value.(float64)
		if !ok || v < 0 || v > 1000 || v != float64(int(v)) {
			return fault.New(fault.StepArgument, "the priority must be a whole number from 0 to 1000").At("", d.Step).
				WithHint("the highest runs first; 0 leaves the step out")
		}
		if v == 0 && (d.Step == catalog.WriteStep && d.Flow == state.Deploy || d.Step == catalog.EraseStep && d.Flow == state.Clean) {
			return fault.New(fault.StepArgument, "%s can't be left out of the flow %s", d.Step, d.Flow).At("", d.Step).
				WithHint("a node that is to keep its data has automated_clean false: bessemer node set NODE --automated-clean false")
		}
		return nil
	}
	name, ok := strings.CutPrefix(d.Key, conductor.KeyArgument)
	if !ok || name == "" {
		return fault.New(fault.RequestInvalid, "%.80q is neither %s nor an argument", d.Key, conductor.KeyPriority)
	}
	if d.Step == catalog.WriteStep {
		return fault.New(fault.StepArgument, "its arguments come from each node's instance_info").At("", d.Step).
			WithHint("only its priority can be set here")
	}
	if i := slices.IndexFunc(s.Args, func(a step.Arg) bool { return a.Name == name }); i >= 0 && s.Args[i].Secret {
		return fault.New(fault.StepArgument, "argument %q is a secret, which is not kept here", name).At("", d.Step).
			WithHint("give it with the list of steps")
	}
	return s.CheckArg(name, d.Value)
}

// Explained says which value a step has in a node's automated flow, where it comes from and what it overrode.
type Explained struct {
	Flow      state.Flow
	Step      string
	Key       string
	Value     any // nil: unset
	Origin    Origin
	Overrides []Layer // weakest first
	Note      string  // a conflict between traits, or what is wrong with the value
}

// Layer is a value that another one overrode.
type Layer struct {
	Value  any
	Origin Origin
}

// Explain tells every value that defaults could set for a node, in the order of the flows' plans; defaults are
// those of Scopes, weakest first.
func Explain(registry *step.Registry, defaults []conductor.Default) []Explained {
	var out []Explained
	for _, row := range state.Flows {
		for _, s := range registry.All() {
			own, offered := s.Priority[row.Flow]
			if !offered || row.Flow != state.Clean && row.Flow != state.Deploy {
				continue
			}
			out = append(out, explain(defaults, row.Flow, s, conductor.KeyPriority, float64(own)))
			if s.Name == catalog.WriteStep {
				continue
			}
			for _, a := range s.Args {
				out = append(out, explain(defaults, row.Flow, s, conductor.KeyArgument+a.Name, a.Default))
			}
		}
	}
	return out
}

func explain(defaults []conductor.Default, f state.Flow, s step.Step, key string, own any) Explained {
	e := Explained{Flow: f, Step: s.Name, Key: key, Value: own, Origin: FromStep}
	var won conductor.Default
	for _, d := range defaults {
		if d.Flow != f || d.Step != s.Name || d.Key != key {
			continue
		}
		if e.Value != nil {
			e.Overrides = append(e.Overrides, Layer{e.Value, e.Origin})
		}
		if won.Scope.Kind == conductor.Trait && d.Scope.Kind == conductor.Trait && !reflect.DeepEqual(won.Value, d.Value) {
			e.Note = fmt.Sprintf("the traits %s and %s disagree; the later name wins", won.Scope.Name, d.Scope.Name)
		}
		e.Value, e.Origin, won = d.Value, origin(d), d
	}
	return e
}

// Priority is a step's merged priority in the flow, own being what the step itself has, and where it comes from.
func Priority(defaults []conductor.Default, f state.Flow, s step.Step, own int) (int, Origin) {
	value, from := own, FromStep
	for _, d := range defaults {
		if v, ok := d.Value.(float64); ok && d.Flow == f && d.Step == s.Name && d.Key == conductor.KeyPriority {
			value, from = int(v), origin(d)
		}
	}
	return value, from
}

// Arguments are the merged arguments of a step in the flow, and where each comes from. Those that no default sets are not
// among them.
func Arguments(defaults []conductor.Default, f state.Flow, s step.Step) (step.Args, map[string]Origin) {
	args, origins := step.Args{}, map[string]Origin{}
	for _, d := range defaults {
		if name, ok := strings.CutPrefix(d.Key, conductor.KeyArgument); ok && d.Flow == f && d.Step == s.Name {
			args[name], origins[name] = d.Value, origin(d)
		}
	}
	return args, origins
}
