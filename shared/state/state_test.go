package state

import (
	"slices"
	"strings"
	"testing"
)

// ironic is the published machine of Ironic (ironic/common/state_machine.py), one line for each state that anything
// leads out of: state: event>state, ... It is written down here on its own, not derived from the tables under test.
const ironic = `
enroll: manage>verifying
verifying: done>manageable, fail>enroll
manageable: provide>cleaning, clean>cleaning, inspect>inspecting, adopt>adopting
available: deploy>deploying, manage>manageable
active: rebuild>deploying, delete>deleting, rescue>rescuing, service>servicing
error: rebuild>deploying, delete>deleting
rescue: rescue>rescuing, delete>deleting, unrescue>unrescuing
inspecting: done>manageable, fail>inspect failed, wait>inspect wait
inspect wait: done>manageable, fail>inspect failed, abort>inspect failed, resume>inspecting
inspect failed: manage>manageable, inspect>inspecting
cleaning: done>available, fail>clean failed, wait>clean wait, hold>clean hold, manage>manageable
clean wait: fail>clean failed, abort>clean failed, hold>clean hold, resume>cleaning
clean hold: abort>clean failed, unhold>clean wait
clean failed: manage>manageable
deploying: done>active, fail>deploy failed, wait>wait call-back, hold>deploy hold
wait call-back: fail>deploy failed, abort>deploy failed, hold>deploy hold, resume>deploying, delete>deleting
deploy hold: abort>deploy failed, unhold>wait call-back
deploy failed: rebuild>deploying, deploy>deploying, delete>deleting
deleting: fail>error, clean>cleaning
rescuing: done>rescue, fail>rescue failed, wait>rescue wait
rescue wait: fail>rescue failed, abort>rescue failed, resume>rescuing, delete>deleting
rescue failed: rescue>rescuing, unrescue>unrescuing, delete>deleting
unrescuing: done>active, fail>unrescue failed
unrescue failed: rescue>rescuing, unrescue>unrescuing, delete>deleting
adopting: done>active, fail>adopt failed
adopt failed: adopt>adopting, manage>manageable
servicing: done>active, fail>service failed, wait>service wait, hold>service hold
service wait: fail>service failed, abort>service failed, hold>service hold, resume>servicing, delete>deleting
service hold: fail>service failed, abort>service failed, unhold>service wait, service>servicing
service failed: service>servicing, rescue>rescuing, wait>service wait, hold>service hold, delete>deleting, abort>active
`

func published(t *testing.T) []Transition {
	t.Helper()
	var out []Transition
	for line := range strings.Lines(strings.TrimSpace(ironic)) {
		from, moves, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			t.Fatalf("line %q", line)
		}
		for _, m := range strings.Split(moves, ", ") {
			e, to, ok := strings.Cut(m, ">")
			if !ok {
				t.Fatalf("move %q", m)
			}
			out = append(out, Transition{State(from), Event(e), State(to)})
		}
	}
	return out
}

func TestTransitionsAreIronics(t *testing.T) {
	want, got := published(t), Transitions()
	if len(want) != 93 {
		t.Errorf("the list in this test has %d transitions, Ironic's machine has 93", len(want))
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("missing: %s from %q leads to %q in Ironic", w.Event, w.From, w.To)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("%s from %q leads to %q here, and not in Ironic", g.Event, g.From, g.To)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d transitions, want %d", len(got), len(want))
	}
}

// A later row must not silently lose against an earlier one that gives the same event another end.
func TestRowsDoNotContradict(t *testing.T) {
	for _, v := range Verbs {
		for _, from := range v.From {
			if to, _ := Next(from, v.Event); to != v.To {
				t.Errorf("the row says %s leads from %q to %q, Next says %q", v.Event, from, v.To, to)
			}
		}
	}
}

func TestNextRefuses(t *testing.T) {
	for _, c := range []struct {
		from State
		e    Event
	}{
		{Enroll, VerbDeploy}, {Active, VerbClean}, {Cleaning, VerbAbort}, {Available, VerbProvide},
		{"", VerbManage}, {"no such state", VerbManage}, {Enroll, "no such verb"}, {Deleting, Done},
	} {
		if to, ok := Next(c.from, c.e); ok || to != "" {
			t.Errorf("%s from %q leads to %q, want it refused", c.e, c.from, to)
		}
	}
}

// Every state can be reached from enroll, and every state that no event inside a flow leaves can be left by a verb.
func TestNoStateIsADeadEnd(t *testing.T) {
	reached := map[State]bool{Enroll: true}
	for todo := []State{Enroll}; len(todo) > 0; todo = todo[1:] {
		for _, m := range Transitions() {
			if m.From == todo[0] && !reached[m.To] {
				reached[m.To] = true
				todo = append(todo, m.To)
			}
		}
	}
	for _, s := range All() {
		if !reached[s] {
			t.Errorf("state %q can't be reached from enroll", s)
		}
		if len(Legal(s)) == 0 {
			t.Errorf("nothing leads out of state %q", s)
		}
	}
	if len(All()) != 30 {
		t.Errorf("%d states, want 30", len(All()))
	}
}

func TestFlowOf(t *testing.T) {
	for _, row := range Flows {
		for _, s := range []State{row.Doing, row.Waiting, row.Held} {
			if s == "" {
				continue
			}
			if got, ok := FlowOf(s); !ok || got.Flow != row.Flow {
				t.Errorf("FlowOf(%q) = %q, %v; want %q", s, got.Flow, ok, row.Flow)
			}
		}
		if Row(row.Flow) != row {
			t.Errorf("Row(%q) is another row", row.Flow)
		}
	}
	for _, s := range []State{"", Enroll, Manageable, Available, Active, Rescue, Error, CleanFail, DeployFail, "nonsense"} {
		if got, ok := FlowOf(s); ok {
			t.Errorf("FlowOf(%q) = %q, want none", s, got.Flow)
		}
	}
	if Row("nonsense") != (FlowRow{}) {
		t.Error("a flow that does not exist has a row")
	}
}

func TestI01_OnlyCleanAndDeployMayDestroy(t *testing.T) {
	want := []State{Cleaning, CleanWait, Deploying, DeployWait}
	for _, s := range append(All(), "", "nonsense") {
		if got := Destroys(s); got != slices.Contains(want, s) {
			t.Errorf("Destroys(%q) = %v", s, got)
		}
	}
}

// A failed state is one that a failure leads to by the table; of verify's that is enroll.
func TestFailedStates(t *testing.T) {
	failed := map[State]bool{}
	for _, tr := range Transitions() {
		if tr.Event == Fail {
			failed[tr.To] = true
		}
	}
	for _, s := range append(All(), "") {
		if IsFailed(s) != failed[s] {
			t.Errorf("%q: %t, the table says %t", s, IsFailed(s), failed[s])
		}
	}
}
