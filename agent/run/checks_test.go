package run

import (
	"errors"
	"maps"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Each test here is of one check of the core, the memory or the journal, and fails when that check is gone.

// phases are cores at work on the step one, claimed by the nonce mine, by the phase they are in.
func phases(t *testing.T) map[phase]Core {
	t.Helper()
	mine := Commanded{Command: command("one"), Nonce: "mine"}
	c := map[phase]Core{}
	c[fresh] = NewCore(Memory{}, rules)
	c[idle] = after(t, c[fresh], Booted{})
	c[claiming] = after(t, c[idle], mine)
	c[resting] = after(t, c[claiming], Written{Err: errors.New("no space")})
	c[asking] = after(t, c[claiming], Written{})
	c[askAgain] = after(t, c[asking], Answered{ID: "one", Nonce: "mine", Verdict: Unsure})
	c[running] = after(t, c[asking], Answered{ID: "one", Nonce: "mine", Verdict: Yes})
	c[stopping] = after(t, c[running], AbortAsked{ID: "one"})
	c[recording] = after(t, c[running], Done{ID: "one"})
	c[telling] = after(t, c[recording], Written{})
	c[tellAgain] = after(t, c[telling], Told{ID: "one", Nonce: "mine", Verdict: Unsure})
	c[closing] = after(t, c[telling], Told{ID: "one", Nonce: "mine", Verdict: Yes})
	c[halted] = after(t, c[idle], Ending{})
	for want, have := range c {
		if have.phase != want {
			t.Fatalf("phase %d is %d", want, have.phase)
		}
	}
	return c
}

// unmoved tells that an event does nothing and leaves the core as it was.
func unmoved(t *testing.T, what string, c Core, e Event) {
	t.Helper()
	next, out := c.Step(e)
	c.rules, next.rules = Rules{}, Rules{} // functions can't be compared
	if len(out) != 0 || !reflect.DeepEqual(c, next) {
		t.Errorf("%s in phase %d: %T leads to phase %d with %+v", what, c.phase, e, next.phase, out)
	}
}

var verdicts = []Verdict{Unsure, Yes, No, Unfit}

func TestI08_AnAnswerToAnotherClaimOrPhaseChangesNothing(t *testing.T) {
	for p, c := range phases(t) {
		for _, v := range verdicts {
			if p != asking {
				unmoved(t, "an answer", c, Answered{ID: "one", Nonce: "mine", Verdict: v})
			}
			if p != telling {
				unmoved(t, "an acknowledgement", c, Told{ID: "one", Nonce: "mine", Verdict: v})
			}
			unmoved(t, "another step's answer", c, Answered{ID: "two", Nonce: "mine", Verdict: v})
			unmoved(t, "another process's answer", c, Answered{ID: "one", Nonce: "theirs", Verdict: v})
			unmoved(t, "another step's acknowledgement", c, Told{ID: "two", Nonce: "mine", Verdict: v})
			unmoved(t, "another process's acknowledgement", c, Told{ID: "one", Nonce: "theirs", Verdict: v})
		}
		if p != claiming && p != recording && p != closing {
			unmoved(t, "a line nobody wrote", c, Written{})
		}
	}
}

func TestI08_AKnownIdIsNotClaimedAgain(t *testing.T) {
	cores := phases(t)
	for p, c := range cores {
		if p == fresh || p == idle || p == resting {
			continue // it is not known yet, or its claim was not written
		}
		unmoved(t, "the command again", c, Commanded{Command: command("one"), Nonce: "new"})
	}
	over := after(t, cores[closing], Written{})
	unmoved(t, "the command when all is over", over, Commanded{Command: command("one"), Nonce: "new"})
	unmoved(t, "a command after the end", cores[halted], Commanded{Command: command("two"), Nonce: "new"})
}

// TestI08_OneStepAtATime: a command that comes while a step is at work waits for its end.
func TestI08_OneStepAtATime(t *testing.T) {
	two := Commanded{Command: command("two"), Nonce: "other"}
	for p, c := range phases(t) {
		if p == idle || p == halted {
			continue
		}
		next, out := c.Step(two)
		if len(out) != 0 || next.phase != p || next.job.command.ID != c.job.command.ID {
			t.Errorf("phase %d: %+v, phase %d", p, out, next.phase)
		}
	}
}

// did gives the only effect of a kind that an event has; ok is false when there is none.
func did[E Effect](t *testing.T, c Core, e Event) (Core, E, bool) {
	t.Helper()
	next, out := c.Step(e)
	for _, ef := range out {
		if ef, ok := ef.(E); ok {
			return next, ef, true
		}
	}
	var none E
	return next, none, false
}

// TestI08_AClaimCountsOnlyWhenWritten: the server is asked after the line is synced, and not if it is not, is aborted or
// the process is to end.
func TestI08_AClaimCountsOnlyWhenWritten(t *testing.T) {
	claims := phases(t)[claiming]
	full := Written{Err: errors.New("no space")}
	if _, call, ok := did[CallStart](t, claims, Written{}); !ok || call != (CallStart{ID: "one", Nonce: "mine"}) {
		t.Errorf("written, and the server is asked %+v", call)
	}
	if c, _, ok := did[CallStart](t, claims, full); ok || c.phase != resting || c.memory.Known("one") {
		t.Errorf("not written, and phase %d", c.phase)
	}
	if _, _, ok := did[Halt](t, claims, full); ok {
		t.Error("a full journal ends the process")
	}
	ending := after(t, claims, Ending{})
	for _, w := range []Written{{}, full} {
		c, _, ok := did[Halt](t, ending, w)
		if _, _, asked := did[CallStart](t, ending, w); !ok || asked || c.phase != halted {
			t.Errorf("%+v at the end of the process: phase %d", w, c.phase)
		}
	}
	aborted := after(t, claims, AbortAsked{ID: "one"})
	c, line, ok := did[WriteJournal](t, aborted, Written{})
	if _, _, asked := did[CallStart](t, aborted, Written{}); !ok || asked || line.Line.Ended == nil || line.Line.Ended.Outcome != api.Aborted {
		t.Errorf("aborted before it was asked for: phase %d, line %+v", c.phase, line)
	}
}

// TestI08_TheMemoryHoldsWhatIsWritten: an end that could not be written is told all the same, but is not taken for one
// that the journal holds.
func TestI08_TheMemoryHoldsWhatIsWritten(t *testing.T) {
	cores := phases(t)
	full := Written{Err: errors.New("no space")}
	for _, c := range []struct {
		at   phase
		w    Written
		want Mark
	}{
		{claiming, Written{}, MarkClaimed}, {claiming, full, MarkUnknown},
		{recording, Written{}, MarkEnded}, {recording, full, MarkAnswered},
		{closing, Written{}, MarkOver}, {closing, full, MarkEnded},
	} {
		if got := after(t, cores[c.at], c.w).memory.mark("one"); got != c.want {
			t.Errorf("phase %d, %+v: one is %s, want %s", c.at, c.w, got, c.want)
		}
	}
	for _, w := range []Written{{}, full} {
		if _, call, ok := did[CallResult](t, cores[recording], w); !ok || call.Ended.ID != "one" {
			t.Errorf("%+v: the end is told as %+v", w, call)
		}
		ending := after(t, cores[recording], Ending{})
		c, _, ok := did[Halt](t, ending, w)
		if _, _, told := did[CallResult](t, ending, w); !ok || told || c.phase != halted {
			t.Errorf("%+v at the end of the process: phase %d", w, c.phase)
		}
	}
}

// TestI08_OnlyAClaimThatIsRememberedRuns: the answer may be the right one, but an id that the memory does not hold as
// claimed does not run.
func TestI08_OnlyAClaimThatIsRememberedRuns(t *testing.T) {
	c := after(t, NewCore(Memory{}, rules), Booted{}, Commanded{Command: command("one")}, Written{}) // a claim without a nonce is none
	unmoved(t, "an answer to a claim that is not remembered", c, Answered{ID: "one", Verdict: Yes})
}

// TestF16_AStepHasItsOwnTime: a timer is set for a step with a time, and for no other.
func TestF16_AStepHasItsOwnTime(t *testing.T) {
	asks := phases(t)[asking]
	yes := Answered{ID: "one", Nonce: "mine", Verdict: Yes}
	if _, timer, ok := did[SetTimer](t, asks, yes); !ok || timer.After != command("one").Timeout {
		t.Errorf("the timer is %+v", timer)
	}
	endless := command("one")
	endless.Timeout = 0
	c := after(t, NewCore(Memory{}, rules), Booted{}, Commanded{Command: endless, Nonce: "mine"}, Written{})
	if _, timer, ok := did[SetTimer](t, c, yes); ok {
		t.Errorf("a step without a time gets %+v", timer)
	}
}

// TestF10_AnEndIsToldUntilItIsAnswered: again after no answer; not again after one, whatever it says.
func TestF10_AnEndIsToldUntilItIsAnswered(t *testing.T) {
	tells := phases(t)[telling]
	for _, v := range []Verdict{Unsure, Yes, No} { // Unfit: TestI29_AnEndRefusedByItsFormIsToldAgain
		c, line, ok := did[WriteJournal](t, tells, Told{ID: "one", Nonce: "mine", Verdict: v})
		if ok != (v != Unsure) || ok && line.Line.Over != "one" || !ok && c.phase != tellAgain {
			t.Errorf("verdict %d: phase %d, %+v", v, c.phase, line)
		}
	}
}

// TestI08_MarksMoveByTheTable: every mark with every event.
func TestI08_MarksMoveByTheTable(t *testing.T) {
	moves := map[Mark]map[MarkEvent]Mark{
		MarkUnknown:  {MarkCommand: MarkClaimed},
		MarkClaimed:  {MarkGranted: MarkAnswered, MarkRefused: MarkOver, MarkEnd: MarkEnded, MarkRestart: MarkEnded},
		MarkAnswered: {MarkEnd: MarkEnded, MarkRestart: MarkEnded},
		MarkEnded:    {MarkRestart: MarkEnded, MarkTaken: MarkOver},
		MarkOver:     {MarkTaken: MarkOver},
	}
	for from, row := range moves {
		for _, e := range []MarkEvent{MarkCommand, MarkGranted, MarkRefused, MarkEnd, MarkRestart, MarkTaken, "nothing"} {
			want, legal := row[e]
			if !legal {
				want = from
			}
			if to, ok := NextMark(from, e); to != want || ok != legal {
				t.Errorf("%s from %s leads to %s, %t; want %s, %t", e, from, to, ok, want, legal)
			}
		}
	}
}

// TestI08_NoLineButATablesIsTaken: what a line may say depends on where its id stands, and one that is refused leaves
// the memory as it was.
func TestI08_NoLineButATablesIsTaken(t *testing.T) {
	claim := claimed("one", "deploy.work", "nonce")
	end := Line{Ended: &Ended{ID: "one", Nonce: "nonce", Outcome: api.Failed}}
	over := Line{Over: "one"}
	for name, c := range map[string]struct {
		before []Line
		line   Line
		want   Mark // "" when the line is refused
	}{
		"a claim":                  {nil, claim, MarkClaimed},
		"a claim without an id":    {nil, claimed("", "deploy.work", "nonce"), ""},
		"a claim without a nonce":  {nil, claimed("one", "deploy.work", ""), ""},
		"a claim again":            {[]Line{claim}, claim, ""},
		"a claim after the end":    {[]Line{claim, end}, claim, ""},
		"a claim after all":        {[]Line{claim, end, over}, claim, ""},
		"an end":                   {[]Line{claim}, end, MarkEnded},
		"an end of nothing":        {nil, end, ""},
		"an end again":             {[]Line{claim, end}, end, ""},
		"an end after all":         {[]Line{claim, over}, end, ""},
		"over, told":               {[]Line{claim, end}, over, MarkOver},
		"over, refused":            {[]Line{claim}, over, MarkOver},
		"over again":               {[]Line{claim, over}, over, MarkOver},
		"over, and never claimed":  {nil, over, ""},
		"nothing":                  {[]Line{claim}, Line{}, ""},
		"an end of another's step": {[]Line{claimed("two", "deploy.work", "nonce")}, end, ""},
	} {
		var m Memory
		for _, l := range c.before {
			var err error
			if m, err = m.With(l); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		was := maps.Clone(m.claims)
		next, err := m.With(c.line)
		if (err == nil) != (c.want != "") || err == nil && next.mark("one") != c.want {
			t.Errorf("%s: one is %s, %v; want %q", name, next.mark("one"), err, c.want)
		}
		if err != nil && !reflect.DeepEqual(next.claims, was) && len(next.claims)+len(was) > 0 || !reflect.DeepEqual(m.claims, was) {
			t.Errorf("%s: %+v, before %+v", name, next.claims, was)
		}
		if name == "nothing" && (err == nil || err.Error() != "an empty entry") {
			t.Errorf("a line that says nothing: %v", err)
		}
		for _, l := range c.before {
			if l.Claim != nil && !next.Known(l.Claim.ID) {
				t.Errorf("%s: %s is forgotten", name, l.Claim.ID)
			}
		}
		if next.Known("nobody") {
			t.Errorf("%s: nobody is known", name)
		}
	}
}

// TestI08_GrantedIsForAClaimAlone: no other mark becomes answered.
func TestI08_GrantedIsForAClaimAlone(t *testing.T) {
	for _, mark := range []Mark{MarkUnknown, MarkClaimed, MarkAnswered, MarkEnded, MarkOver} {
		m := Memory{claims: map[step.ID]claim{}}
		if mark != MarkUnknown {
			m.claims["one"] = claim{mark: mark, nonce: "nonce"}
		}
		after, ok := m.granted("one")
		if ok != (mark == MarkClaimed) || ok && after.mark("one") != MarkAnswered || !ok && after.mark("one") != mark || m.mark("one") != mark {
			t.Errorf("%s: granted %t, %s", mark, ok, after.mark("one"))
		}
	}
}

// TestI08_UntoldIsWhatIsClaimedAndNotOver: with the end that is known, else as interrupted.
func TestI08_UntoldIsWhatIsClaimedAndNotOver(t *testing.T) {
	end := &Ended{ID: "ended", Nonce: "n", Outcome: api.Failed}
	m := Memory{
		claims: map[step.ID]claim{
			"claimed": {mark: MarkClaimed, nonce: "n"}, "answered": {mark: MarkAnswered, nonce: "n"},
			"ended": {mark: MarkEnded, nonce: "n", ended: end}, "over": {mark: MarkOver, nonce: "n", ended: end},
		},
		order: []step.ID{"over", "ended", "answered", "claimed"},
	}
	var got []string
	for _, e := range m.Untold() {
		got = append(got, string(e.ID)+" "+string(e.Outcome))
	}
	if want := []string{"ended failed", "answered interrupted", "claimed interrupted"}; !slices.Equal(got, want) {
		t.Errorf("untold is %q, want %q", got, want)
	}
}

// TestI08_ALineThatCantBeWrittenIsNotTaken: not one that is no JSON, and not one after the file has broken.
func TestI08_ALineThatCantBeWrittenIsNotTaken(t *testing.T) {
	j := journalAt(t, filepath.Join(t.TempDir(), "journal"))
	if err := j.Write(claimed("one", "deploy.work", "nonce")); err != nil {
		t.Fatal(err)
	}
	if err := j.Write(Line{Over: "nobody"}); err == nil {
		t.Error("a line that the table does not allow was written")
	}
	odd := &Ended{ID: "one", Nonce: "nonce", Outcome: api.Succeeded, Result: &step.Result{Data: map[string]any{"x": math.NaN()}}}
	if err := j.Write(Line{Ended: odd}); err == nil || j.Memory().mark("one") != MarkClaimed {
		t.Errorf("an end that is no JSON: %v, one is %s", err, j.Memory().mark("one"))
	}
	f := &brokenFile{file: j.file, broken: true}
	j.file = f
	if err := j.Write(Line{Over: "one"}); err == nil || j.Memory().mark("one") != MarkClaimed {
		t.Errorf("a write that failed: %v, one is %s", err, j.Memory().mark("one"))
	}
	f.broken = false
	if err := j.Write(Line{Over: "one"}); err == nil || f.writes != 1 {
		t.Errorf("written behind what could not be taken back: %v, %d writes", err, f.writes)
	}
}

// brokenFile fails, and what it wrote can't be taken back.
type brokenFile struct {
	file
	broken bool
	writes int
}

func (f *brokenFile) Write(p []byte) (int, error) {
	f.writes++
	if f.broken {
		return 0, errors.New("input/output error")
	}
	return f.file.Write(p)
}

func (f *brokenFile) Truncate(n int64) error {
	if f.broken {
		return errors.New("input/output error")
	}
	return f.file.Truncate(n)
}

// TestI08_NumbersGoForward: a journal's numbers are reserved ahead, and one that has none left gives none.
func TestI08_NumbersGoForward(t *testing.T) {
	j := &Journal{file: nowhere{}}
	for _, l := range []struct {
		seq uint64
		ok  bool
	}{{5, true}, {5, false}, {4, false}, {6, true}, {math.MaxUint64, true}} {
		if err := j.apply(Line{Seq: l.seq}); (err == nil) != l.ok {
			t.Errorf("number %d: %v", l.seq, err)
		}
	}
	j.seq = j.ceiling
	if n, err := j.Seq(); err == nil {
		t.Errorf("after the last number comes %d", n)
	}
}

// TestI08_AJournalIsReadToItsLastWholeLine, and to no other.
func TestI08_AJournalIsReadToItsLastWholeLine(t *testing.T) {
	one := `{"claim":{"id":"one","step":"s","nonce":"n"}}` + "\n"
	for text, want := range map[string]int{"": 0, one: len(one), one + `{"over":`: len(one), one + `{"over":"one"}`: len(one), one + `{"over":"one"}` + "\n": len(one) + 15} {
		j := &Journal{}
		if n, err := j.replay([]byte(text)); err != nil || n != want {
			t.Errorf("%q: %d whole bytes, %v; want %d", text, n, err, want)
		}
	}
	// Of the last one the first half can be understood, and claims an id.
	for _, text := range []string{one + one, one + "{\n", "\n", `{"claim":{"id":"one","step":"s","nonce":"n"},"seq":"six"}` + "\n"} {
		if n, err := (&Journal{}).replay([]byte(text)); err == nil || n != 0 {
			t.Errorf("%q is read: %d bytes", text, n)
		}
	}
}
