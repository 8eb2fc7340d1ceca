package conductor

// AttemptEvent is what moves an attempt of a step from one state to the next.
type AttemptEvent string

// The events of an attempt's life.
const (
	AttemptOffer     AttemptEvent = "offer"     // its command is handed to the agent; out of band its act is put in line
	AttemptRun       AttemptEvent = "run"       // the server runs it itself: its turn at the BMC has come, or it needs none
	AttemptClaim     AttemptEvent = "claim"     // the agent's start, with the nonce of one process
	AttemptSucceed   AttemptEvent = "succeed"   // its end, told by whoever runs it
	AttemptFail      AttemptEvent = "fail"      // likewise
	AttemptInterrupt AttemptEvent = "interrupt" // it was cut off: how far it came is unknown
	AttemptAbort     AttemptEvent = "abort"     // it was stopped, or taken back, on request
)

// AttemptRow is one legal move of an attempt. Who brings it about is "server" or "agent".
type AttemptRow struct {
	From  StepState
	Event AttemptEvent
	To    StepState
	Who   string
	Doc   string // what it means, one sentence
}

// Attempts is the life of an attempt (safety.md §2.7) as data. Decide makes no other move, and the reference page is
// made from these rows. Nothing leads out of an end, and nothing but a start leads to started: that is why an id runs
// at most once.
var Attempts = []AttemptRow{
	{StepPlanned, AttemptOffer, StepOffered, "server", "The command is stored, then handed to the agent of this boot; out of band the act is stored, and waits for its turn at the BMC."},
	{StepPlanned, AttemptRun, StepStarted, "server", "A hold or a pause begins, which needs no machine."},
	{StepOffered, AttemptRun, StepStarted, "server", "The turn of a step out of band has come: that is recorded before anything is asked of the BMC, and its own time begins."},
	{StepOffered, AttemptClaim, StepStarted, "agent", "The first claim is recorded with its nonce; the answer leaves after the commit."},
	{StepOffered, AttemptInterrupt, StepInterrupted, "agent", "The agent's process ended between its journal and the answer, or the work failed before the claim or the turn: it never ran."},
	{StepOffered, AttemptAbort, StepAborted, "server", "The offer is taken back on request; a later claim, or turn, is refused."},
	{StepStarted, AttemptSucceed, StepSucceeded, "agent", "The result is told by the claim that started it; it commits together with the next move."},
	{StepStarted, AttemptFail, StepFailed, "agent", "The step says that it failed, and why."},
	{StepStarted, AttemptInterrupt, StepInterrupted, "agent", "The process or machine restarted, or the server cut the step off; a retry is a new id."},
	{StepStarted, AttemptAbort, StepAborted, "agent", "The step stopped at a safe point on request."},
}

// NextAttempt is where the event leads from a state; ok is false when it is not legal there.
func NextAttempt(from StepState, e AttemptEvent) (to StepState, ok bool) {
	for _, r := range Attempts {
		if r.From == from && r.Event == e {
			return r.To, true
		}
	}
	return from, false
}
