package conductor

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Default is one value of default_config: a priority or an argument that a step has in a flow's own plan, for the nodes
// of a scope. An operator's list is not touched by it.
type Default struct {
	Scope Scope      `json:"scope"`
	Flow  state.Flow `json:"flow"`
	Step  string     `json:"step"`
	Key   string     `json:"key"`   // KeyPriority, or KeyArgument and the argument's name
	Value any        `json:"value"` // as JSON decodes it
}

// Keys of a Default.
const (
	KeyPriority = "priority"
	KeyArgument = "args."
)

// ScopeKind says which nodes a default holds for, weakest first: all, those of a group, those with a trait, one.
type ScopeKind string

// The kinds, in the order of precedence: a later one wins.
const (
	Fleet ScopeKind = "fleet"
	Group ScopeKind = "group"
	Trait ScopeKind = "trait"
	One   ScopeKind = "node"
)

// ScopeKinds lists the kinds, weakest first.
var ScopeKinds = []ScopeKind{Fleet, Group, Trait, One}

// Scope is a set of nodes. Name is the group, the trait, or the node's UUID; a fleet has none.
type Scope struct {
	Kind ScopeKind `json:"kind"`
	Name string    `json:"name,omitempty"`
}

// String is "fleet", "group:rack1", "trait:CUSTOM_X" or "node:UUID".
func (s Scope) String() string {
	if s.Kind == Fleet {
		return string(Fleet)
	}
	return string(s.Kind) + ":" + s.Name
}

// ParseScope reads what String writes; request.invalid otherwise.
func ParseScope(text string) (Scope, error) {
	kind, name, named := strings.Cut(text, ":")
	s := Scope{Kind: ScopeKind(kind), Name: name}
	if !slices.Contains(ScopeKinds, s.Kind) || named != (s.Kind != Fleet) || named && name == "" || len(name) > 255 ||
		strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return Scope{}, fault.New(fault.RequestInvalid, "scope is %.80q", text).
			WithHint("one of fleet, group:NAME, trait:NAME, node:NODE")
	}
	return s, nil
}

// LabelGroup is the key of a node's extra that names its group for defaults, in place of its conductor_group.
const LabelGroup = "config_group"

// NodeScopes lists the scopes a node is in, weakest first: the fleet, its group (extra.config_group, or else
// conductor_group), its traits by name, itself.
func NodeScopes(n Node) []Scope {
	out := []Scope{{Kind: Fleet}}
	label, _ := n.Extra[LabelGroup].(string)
	if g := cmp.Or(label, n.Group); g != "" {
		out = append(out, Scope{Group, g})
	}
	for _, t := range slices.Sorted(slices.Values(n.Traits)) {
		out = append(out, Scope{Trait, t})
	}
	return append(out, Scope{One, string(n.UUID)})
}

// Origin names the default in a plan: its scope, "node" for the node's own.
func (d Default) Origin() Origin {
	if d.Scope.Kind == One {
		return Origin(One)
	}
	return Origin(d.Scope.String())
}

// CheckDefault refuses a default that no plan could use: step.unknown, step.argument or request.invalid.
func CheckDefault(d Default, registry *step.Registry) error {
	s, ok := registry.Get(d.Step)
	if _, offered := s.Priority[d.Flow]; !ok || !offered {
		return fault.New(fault.StepUnknown, "%s is no step that %s runs by itself", d.Step, cmp.Or(string(d.Flow), "no flow")).
			WithHint("the steps for %s are %s", d.Flow, strings.Join(registry.Names(d.Flow), ", "))
	}
	if d.Key == KeyPriority {
		v, ok := d.Value.(float64)
		if !ok || v < 0 || v > 1000 || v != float64(int(v)) {
			return fault.New(fault.StepArgument, "the priority must be a whole number from 0 to 1000").At("", d.Step).
				WithHint("the highest runs first; 0 leaves the step out")
		}
		if v == 0 && (d.Step == writeStep && d.Flow == state.Deploy || d.Step == eraseStep && d.Flow == state.Clean) {
			return fault.New(fault.StepArgument, "%s can't be left out of the flow %s", d.Step, d.Flow).At("", d.Step).
				WithHint("a node that is to keep its data has automated_clean false: bessemer node set NODE --automated-clean false")
		}
		return nil
	}
	name, ok := strings.CutPrefix(d.Key, KeyArgument)
	if !ok || name == "" {
		return fault.New(fault.RequestInvalid, "%.80q is neither %s nor an argument", d.Key, KeyPriority)
	}
	if d.Step == writeStep {
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

// ExplainDefaults tells every value that defaults could set for a node, in the order of the flows' plans; defaults are
// those of NodeScopes, weakest first.
func ExplainDefaults(registry *step.Registry, defaults []Default) []Explained {
	var out []Explained
	for _, row := range state.Flows {
		for _, s := range registry.All() {
			own, offered := s.Priority[row.Flow]
			if !offered || row.Flow != state.Clean && row.Flow != state.Deploy {
				continue
			}
			out = append(out, explain(defaults, row.Flow, s, KeyPriority, float64(own)))
			if s.Name == writeStep {
				continue
			}
			for _, a := range s.Args {
				out = append(out, explain(defaults, row.Flow, s, KeyArgument+a.Name, a.Default))
			}
		}
	}
	return out
}

func explain(defaults []Default, f state.Flow, s step.Step, key string, own any) Explained {
	e := Explained{Flow: f, Step: s.Name, Key: key, Value: own, Origin: FromStep}
	var won Default
	for _, d := range defaults {
		if d.Flow != f || d.Step != s.Name || d.Key != key {
			continue
		}
		if e.Value != nil {
			e.Overrides = append(e.Overrides, Layer{e.Value, e.Origin})
		}
		if won.Scope.Kind == Trait && d.Scope.Kind == Trait && !reflect.DeepEqual(won.Value, d.Value) {
			e.Note = fmt.Sprintf("the traits %s and %s disagree; the later name wins", won.Scope.Name, d.Scope.Name)
		}
		e.Value, e.Origin, won = d.Value, d.Origin(), d
	}
	return e
}

// priority is a step's merged priority in the flow that is planned.
func (b *builder) priority(s step.Step, own int) Valued {
	out := Valued{own, FromStep}
	for _, d := range b.in.Defaults {
		if v, ok := d.Value.(float64); ok && d.Flow == b.Flow && d.Step == s.Name && d.Key == KeyPriority {
			out = Valued{int(v), d.Origin()}
		}
	}
	return out
}

// given is the merged arguments of a step, and where each comes from.
func (b *builder) given(s step.Step) (step.Args, map[string]Origin) {
	args, origins := step.Args{}, map[string]Origin{}
	for _, d := range b.in.Defaults {
		if name, ok := strings.CutPrefix(d.Key, KeyArgument); ok && d.Flow == b.Flow && d.Step == s.Name {
			args[name], origins[name] = d.Value, d.Origin()
		}
	}
	return args, origins
}
