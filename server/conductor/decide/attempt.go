package decide

import (
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// endedBy is the event that an outcome is. An outcome that is none of the wire's counts as a failure.
func endedBy(o api.Outcome) conductor.AttemptEvent {
	switch o {
	case api.Succeeded:
		return conductor.AttemptSucceed
	case api.Interrupted:
		return conductor.AttemptInterrupt
	case api.Aborted:
		return conductor.AttemptAbort
	}
	return conductor.AttemptFail
}

// move takes an attempt through the table. An illegal move is a mistake in this package: it is refused, and nothing
// of the decision counts.
func (d *decider) move(r *conductor.StepRecord, e conductor.AttemptEvent) {
	to, ok := conductor.NextAttempt(r.State, e)
	if !ok {
		d.illegal = true
		d.Refuse = fault.New(fault.StepNotOffered, "%s is not possible for a step that is %s", e, r.State).At(string(d.n.UUID), r.Step.Name)
		return
	}
	r.State = to
}
