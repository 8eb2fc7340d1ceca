package conductor

import (
	"cmp"
	"fmt"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Owed says that a machine is yet to be powered off, and its boot medium taken out, because work on it has failed: what ran
// there may run on without an owner until then. It stands in the node from the failure until that was done, or an operator
// says that the machine is off (docs/adr/0269-what-is-owed-to-a-machine.md).
type Owed struct {
	Since      time.Time    `json:"since"`
	Run        string       `json:"run"`        // the work that failed
	Generation uint64       `json:"generation"` // its boot
	Tries      int          `json:"tries,omitempty"`
	Tried      time.Time    `json:"tried,omitzero"` // when the last of them had come to nothing; Tries 0: the first goes on
	Reason     fault.Reason `json:"reason,omitempty"`
	Cause      string       `json:"cause,omitempty"` // what the last came to
}

// Overdue tells that the machine was to be powered off, and that it came to nothing.
func (o *Owed) Overdue() bool { return o != nil && o.Tries > 0 }

// String is what is owed, in words.
func (o *Owed) String() string {
	text := fmt.Sprintf("the machine is to be powered off since %s, and its boot medium taken out, as work on it had failed", o.Since.UTC().Format(time.RFC3339))
	if o.Tries > 0 {
		text += fmt.Sprintf("; tried %d times, last at %s: %s", o.Tries, o.Tried.UTC().Format(time.RFC3339), o.Cause)
	}
	return text
}

// The time between two tries of what is owed, doubled with each. A BMC that does not answer is asked for the power first, as
// any other, so that nothing is tried before it answers again.
const (
	owedFirst = time.Minute
	owedLast  = time.Hour
)

// Due tells that what is owed is to be tried again, or that its first try is so old that it must have been lost.
func (o *Owed) Due(now time.Time) bool {
	switch {
	case o == nil:
		return false
	case o.Tries == 0:
		return now.Sub(o.Since) > owedLast
	}
	pause := min(owedFirst<<min(o.Tries-1, 10), owedLast)
	return now.Sub(o.Tried) >= pause || now.Before(o.Tried) // a clock that was set back
}

// Missed is what is owed after a try that came to nothing.
func (o *Owed) Missed(why *fault.Fault, now time.Time) *Owed {
	out := *o
	out.Tries, out.Tried, out.Reason, out.Cause = o.Tries+1, now, why.Reason, why.Message
	return &out
}

// Fenced is nil, or the node.not_powered_off fault that says why nothing may be done that relies on the machine being off.
func Fenced(n Node) error {
	if !n.Owed.Overdue() {
		return nil
	}
	node := cmp.Or(n.Name, string(n.UUID))
	return fault.New(fault.NodeNotOff, "what ran on the machine may still run: %s", n.Owed).
		WithHint("mend its BMC, or try at once: bessemer node power off %s; or see that the machine is off, then: bessemer node confirm %[1]s", node).At(string(n.UUID), "")
}
