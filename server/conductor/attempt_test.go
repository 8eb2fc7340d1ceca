package conductor

import "testing"

// TestI08_NothingLeadsBackToStarted reads the table: a start has two ways in, an end has none out, and every state is
// reached from planned.
func TestI08_NothingLeadsBackToStarted(t *testing.T) {
	ends := map[StepState]bool{StepSucceeded: true, StepFailed: true, StepInterrupted: true, StepAborted: true}
	reached, once := map[StepState]bool{StepPlanned: true}, map[[2]string]bool{}
	for _, r := range Attempts {
		if ends[r.From] {
			t.Errorf("%s leads out of the end %s", r.Event, r.From)
		}
		if r.To == StepStarted && r.From != StepOffered && r.From != StepPlanned {
			t.Errorf("%s leads back to started", r.From)
		}
		if r.To == StepSucceeded && r.From != StepStarted {
			t.Errorf("I12: %s counts as a success without a start", r.From)
		}
		if !reached[r.From] {
			t.Errorf("nothing before its row leads to %s", r.From)
		}
		key := [2]string{string(r.From), string(r.Event)}
		if once[key] || r.Doc == "" || r.Who != "server" && r.Who != "agent" {
			t.Errorf("row %+v is double or says too little", r)
		}
		reached[r.To], once[key] = true, true
	}
	for s := range ends {
		if !reached[s] {
			t.Errorf("nothing leads to %s", s)
		}
	}
}
