package provision

import (
	"slices"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/state"
)

// While the server works nobody is told to type what would be refused; before and after, the table decides.
func TestVerbsAreThoseThatAPersonMayAskFor(t *testing.T) {
	for from, want := range map[state.State][]string{
		state.Enroll: {"manage"}, state.Verifying: {}, state.Cleaning: {}, state.Deleting: {}, state.CleanWait: {"abort"}, state.CleanHold: {"unhold", "abort"}, state.State("clean failed"): {"manage"},
	} {
		got := verbsFrom(from)
		if !slices.Equal(got, want) {
			t.Errorf("from %s: %v, expected %v", from, got, want)
		}
	}
}
