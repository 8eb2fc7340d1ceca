package run

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/step"
)

var rules = Rules{Grace: time.Minute, Retry: func(int) time.Duration { return time.Second }}

// TestI08_AnIdLeavesUnknownOnce reads the table: one way out of unknown, one way to answered, none out of over but a
// repeat of it; and every mark is reached.
func TestI08_AnIdLeavesUnknownOnce(t *testing.T) {
	reached := map[Mark]bool{MarkUnknown: true}
	for _, r := range Marks {
		if r.To == MarkUnknown {
			t.Errorf("%s forgets an id that is %s", r.Event, r.From)
		}
		if r.From == MarkUnknown && (r.To != MarkClaimed || !r.Durable) {
			t.Errorf("an unknown id becomes %s without a line", r.To)
		}
		if r.To == MarkAnswered && (r.From != MarkClaimed || r.Event != MarkGranted) {
			t.Errorf("%s lets a step run that is %s", r.Event, r.From)
		}
		if r.From == MarkOver && r.To != MarkOver {
			t.Errorf("%s wakes an id that is over", r.Event)
		}
		if !reached[r.From] || r.Doc == "" {
			t.Errorf("row %+v comes before what leads to it, or says nothing", r)
		}
		reached[r.To] = true
	}
}

// TestI08_OnlyItsOwnAnswerRunsAStep: an answer to another claim, process or phase runs nothing.
func TestI08_OnlyItsOwnAnswerRunsAStep(t *testing.T) {
	asked := after(t, NewCore(Memory{}, rules), Booted{}, Commanded{Command: command("one"), Nonce: "mine"}, Written{})
	for name, e := range map[string]Event{
		"another process": Answered{ID: "one", Nonce: "theirs", Verdict: Yes},
		"another step":    Answered{ID: "two", Nonce: "mine", Verdict: Yes},
		"no answer":       Answered{ID: "one", Nonce: "mine", Verdict: Unsure},
		"an unfit claim":  Answered{ID: "one", Nonce: "mine", Verdict: Unfit},
		"a refusal":       Answered{ID: "one", Nonce: "mine", Verdict: No},
	} {
		if _, out := asked.Step(e); runs(out) {
			t.Errorf("%s runs the step", name)
		}
	}
	right := Answered{ID: "one", Nonce: "mine", Verdict: Yes}
	began, out := asked.Step(right)
	if !runs(out) || began.Running() != "one" {
		t.Fatalf("its own answer: %+v", out)
	}
	if _, out := began.Step(right); runs(out) {
		t.Error("the answer repeated runs the step again")
	}
	early := after(t, NewCore(Memory{}, rules), Booted{}, Commanded{Command: command("one"), Nonce: "mine"})
	if _, out := early.Step(right); runs(out) {
		t.Error("an answer before the claim is journaled runs the step")
	}
	failed := after(t, early, Written{Err: errors.New("no space")})
	if _, out := failed.Step(right); runs(out) {
		t.Error("a claim that was never journaled runs the step")
	}
}

func after(t *testing.T, c Core, events ...Event) Core {
	t.Helper()
	for _, e := range events {
		c, _ = c.Step(e)
	}
	return c
}

func runs(effects []Effect) bool {
	for _, e := range effects {
		if _, ok := e.(RunStep); ok {
			return true
		}
	}
	return false
}

// TestI08_Z10_AnyOrderOfEventsRunsAnIdOnce throws events at the core in any order, processes that restart included. Each
// id runs at most once in a boot, only after its own answer; a value that was left is as it was; and whatever is left
// untold at a restart is told.
func TestI08_Z10_AnyOrderOfEventsRunsAnIdOnce(t *testing.T) {
	ids := []step.ID{"one", "two"}
	rapid.Check(t, func(rt *rapid.T) {
		var journal Memory // what the file holds
		ran, granted := map[step.ID]int{}, map[string]bool{}
		c := NewCore(journal, rules)
		writes, nonces := 0, 0
		var line Line
		for range rapid.IntRange(1, 60).Draw(rt, "events") {
			id := rapid.SampledFrom(ids).Draw(rt, "id")
			nonce := fmt.Sprint(rapid.IntRange(0, nonces).Draw(rt, "nonce"))
			verdict := rapid.SampledFrom(verdicts).Draw(rt, "verdict")
			var e Event
			switch rapid.IntRange(0, 9).Draw(rt, "kind") {
			case 0:
				e = Booted{}
			case 1:
				nonces++
				e = Commanded{Command: command(id), Nonce: fmt.Sprint(nonces)}
			case 2:
				e = AbortAsked{ID: id}
			case 3, 4:
				if writes == 0 {
					continue
				}
				writes--
				w := Written{}
				if rapid.IntRange(0, 5).Draw(rt, "full") == 0 {
					w.Err = errors.New("no space")
				} else {
					m, err := journal.With(line)
					if err != nil {
						rt.Fatalf("the core writes a line the table does not allow: %v", err)
					}
					journal = m
				}
				e = w
			case 5:
				e = Answered{ID: id, Nonce: nonce, Verdict: verdict}
				if verdict == Yes {
					granted[string(id)+nonce] = true
				}
			case 6:
				e = Told{ID: id, Nonce: nonce, Verdict: verdict}
			case 7:
				e = Done{ID: id, Err: rapid.SampledFrom([]error{nil, errors.New("no")}).Draw(rt, "err")}
			case 8:
				e = Fired{Timer: c.timer}
			case 9:
				if rapid.Bool().Draw(rt, "crash") {
					c, writes = NewCore(journal, rules), 0
					continue
				}
				e = Ending{}
			}
			before := c
			next, out := c.Step(e)
			if again, same := before.Step(e); !reflect.DeepEqual(out, same) || again.Running() != next.Running() {
				rt.Fatalf("%+v is not pure: %+v, then %+v", e, out, same)
			}
			c = next
			for _, ef := range out {
				switch ef := ef.(type) {
				case WriteJournal:
					writes, line = writes+1, ef.Line
				case RunStep:
					if ran[ef.Command.ID]++; ran[ef.Command.ID] > 1 {
						rt.Fatalf("%s ran twice", ef.Command.ID)
					}
					if !granted[string(ef.Command.ID)+c.job.nonce] {
						rt.Fatalf("%s ran without the answer to its claim", ef.Command.ID)
					}
				}
			}
			if writes > 1 {
				rt.Fatal("two lines are being written at once")
			}
		}
		told := map[step.ID]api.Outcome{}
		c = NewCore(journal, rules)
		for todo := []Event{Booted{}}; len(todo) > 0; todo = todo[1:] {
			var out []Effect
			c, out = c.Step(todo[0])
			for _, ef := range out {
				switch ef := ef.(type) {
				case CallResult:
					told[ef.Ended.ID] = ef.Ended.Outcome
					todo = append(todo, Told{ID: ef.Ended.ID, Nonce: ef.Ended.Nonce, Verdict: Yes})
				case WriteJournal:
					todo = append(todo, Written{})
				}
			}
		}
		if !c.Idle() {
			rt.Fatalf("a new process is stuck in phase %d", c.phase)
		}
		for _, id := range ids {
			if m := journal.mark(id); (m == MarkClaimed || m == MarkEnded) != (told[id] != "") {
				rt.Fatalf("%s is %s, told as %q", id, m, told[id])
			}
		}
	})
}
