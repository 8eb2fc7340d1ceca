package step

import (
	"cmp"
	"slices"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Registry is a set of steps by name. It is a value made once and read by many; adding returns a fault for a name
// already there, so that nothing replaces a step unseen.
type Registry struct {
	byName map[string]Step
	order  []string
}

// NewRegistry makes a registry of steps.
func NewRegistry(steps ...Step) (*Registry, error) {
	r := &Registry{byName: map[string]Step{}}
	for _, s := range steps {
		if err := r.add(s); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *Registry) add(s Step) error {
	if i, n := Split(s.Name); i == "" || n == "" {
		return fault.New(fault.StepUnknown, "step name %q is not of the form interface.step", s.Name)
	}
	if _, ok := r.byName[s.Name]; ok {
		return fault.New(fault.StepArgument, "step %s is offered twice", s.Name)
	}
	r.byName[s.Name] = s
	r.order = append(r.order, s.Name)
	return nil
}

// Get finds a step by its full name.
func (r *Registry) Get(name string) (Step, bool) { s, ok := r.byName[name]; return s, ok }

// All lists the steps in the order they were added.
func (r *Registry) All() []Step {
	out := make([]Step, 0, len(r.order))
	for _, n := range r.order {
		out = append(out, r.byName[n])
	}
	return out
}

// Wanted is a step asked for, with its arguments: an entry of clean_steps or of a plan.
type Wanted struct {
	Name     string
	Args     Args
	Priority int       // deploy only; 0 keeps the step's own
	Children *Children // runs it on the nodes below the node instead; nil: on the node itself
}

// Children says which of the nodes below a node a step runs on.
type Children struct {
	All  bool     `json:"all,omitempty"`  // those that are there when its turn comes
	Only []string `json:"only,omitempty"` // UUIDs; one that is not below the node is passed over
}

// What the result of a step that ran on the nodes below a node tells, as lists of UUIDs.
const (
	ChildrenDone = "nodes"  // it was done on these
	ChildFailed  = "failed" // and failed on this one
)

// Names lists the steps that a flow offers, in the order they were added.
func (r *Registry) Names(f state.Flow) []string {
	var out []string
	for _, n := range r.order {
		if _, ok := r.byName[n].Priority[f]; ok {
			out = append(out, n)
		}
	}
	return out
}

// Automated lists the steps of a flow that have a priority above zero: all out-of-band steps first, then the in-band
// ones, each by priority and, at equal priority, by interface (docs/explanation/overview.md).
func (r *Registry) Automated(f state.Flow) []Step {
	var out []Step
	for _, n := range r.order {
		if s := r.byName[n]; s.Priority[f] > 0 {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b Step) int { return Compare(a, b, a.Priority[f], b.Priority[f]) })
	return out
}

// Compare orders two steps of an automated flow by their priorities there: out of band before in band, then the higher
// priority, then by interface and name.
func Compare(a, b Step, pa, pb int) int {
	return cmp.Or(
		cmp.Compare(vector[a.Where], vector[b.Where]),
		cmp.Compare(pb, pa),
		cmp.Compare(tie[b.Interface()], tie[a.Interface()]),
		cmp.Compare(a.Name, b.Name),
	)
}

var vector = map[Where]int{OutOfBand: 0, InBand: 1}

// tie orders interfaces at equal priority as Ironic does.
var tie = map[string]int{"vendor": 7, "power": 6, "management": 5, "firmware": 4, "deploy": 3, "bios": 2, "raid": 1}
