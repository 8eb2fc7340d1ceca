package conductor

import (
	"slices"

	"github.com/bessemer-metal/bessemer/shared/state"
)

// Usage is how much of a resource class a project has and uses. Each node counts once, for the project that may use it: its
// lessee's, or its owner's when it is leased to nobody.
type Usage struct {
	Project   string // "" is nobody's
	Class     string
	Nodes     int
	Used      int // with an instance, or on the way to one or from it
	Available int // could be deployed now
	Lent      int // owned and leased to another project, which has them in its own row
}

// UsageTx is the part of Tx for it, by project and class; a project gets its own rows, "" all.
type UsageTx interface {
	Usage(project string) ([]Usage, error)
}

// UsedStates are those of a machine that has an instance, or is on the way to one or from it: all but those around
// enrolment, inspection and cleaning.
func UsedStates() []state.State {
	return slices.DeleteFunc(slices.Clone(state.All()), func(s state.State) bool {
		f, ok := state.FlowOf(s)
		return slices.Contains([]state.State{state.Enroll, state.Manageable, state.Available, state.InspectFail, state.CleanFail}, s) ||
			ok && slices.Contains([]state.Flow{state.Verify, state.Inspect, state.Clean}, f.Flow)
	})
}
