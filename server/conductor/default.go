package conductor

import (
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
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
