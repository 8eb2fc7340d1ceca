// Package state is the table of provision states: which there are, which flow leads from one to the next, and what
// a verb or event may do. Code, API checks and the diagram are read from its rows; it decides nothing else.
//
// Start at Flows and Verbs; Next answers every question about a move. The rows expand to the transitions of
// Ironic's published machine (a test keeps them equal).
package state

// State is a provision state, spelled as on the wire. The empty State is not one.
type State string

// The states.
const (
	Enroll       State = "enroll"
	Manageable   State = "manageable"
	Available    State = "available"
	Active       State = "active"
	Rescue       State = "rescue"
	Error        State = "error"
	Verifying    State = "verifying"
	Inspecting   State = "inspecting"
	InspectWait  State = "inspect wait"
	InspectFail  State = "inspect failed"
	Cleaning     State = "cleaning"
	CleanWait    State = "clean wait"
	CleanHold    State = "clean hold"
	CleanFail    State = "clean failed"
	Deploying    State = "deploying"
	DeployWait   State = "wait call-back"
	DeployHold   State = "deploy hold"
	DeployFail   State = "deploy failed"
	Servicing    State = "servicing"
	ServiceWait  State = "service wait"
	ServiceHold  State = "service hold"
	ServiceFail  State = "service failed"
	Rescuing     State = "rescuing"
	RescueWait   State = "rescue wait"
	RescueFail   State = "rescue failed"
	Unrescuing   State = "unrescuing"
	UnrescueFail State = "unrescue failed"
	Adopting     State = "adopting"
	AdoptFail    State = "adopt failed"
	Deleting     State = "deleting"
)

// Flow is the way from a stable state to the next one, made of steps.
type Flow string

// The flows.
const (
	Verify       Flow = "verify"
	Inspect      Flow = "inspect"
	Clean        Flow = "clean"
	Deploy       Flow = "deploy"
	Service      Flow = "service"
	RescueFlow   Flow = "rescue"
	UnrescueFlow Flow = "unrescue"
	Adopt        Flow = "adopt"
	Delete       Flow = "delete"
)

// FlowRow names the states a flow goes through. An empty one does not exist in that flow.
type FlowRow struct {
	Flow                              Flow
	Doing, Waiting, Held, Failed, End State
	Target                            State // target_provision_state while the flow runs
}

// Flows is the table of flows. All share one shape: doing may wait, hold, fail, be done; waiting may resume, hold,
// fail, abort; held may unhold, abort.
var Flows = []FlowRow{
	{Verify, Verifying, "", "", Enroll, Manageable, Manageable},
	{Inspect, Inspecting, InspectWait, "", InspectFail, Manageable, Manageable},
	{Clean, Cleaning, CleanWait, CleanHold, CleanFail, Available, Available},
	{Deploy, Deploying, DeployWait, DeployHold, DeployFail, Active, Active},
	{Service, Servicing, ServiceWait, ServiceHold, ServiceFail, Active, Active},
	{RescueFlow, Rescuing, RescueWait, "", RescueFail, Rescue, Rescue},
	{UnrescueFlow, Unrescuing, "", "", UnrescueFail, Active, Active},
	{Adopt, Adopting, "", "", AdoptFail, Active, Active},
	{Delete, Deleting, "", "", Error, "", Available},
}

// Event is a verb asked for by a caller, or something that happened inside a flow.
type Event string

// Verbs a caller may ask for, then the events inside a flow.
const (
	VerbManage   Event = "manage"
	VerbProvide  Event = "provide"
	VerbClean    Event = "clean"
	VerbInspect  Event = "inspect"
	VerbAdopt    Event = "adopt"
	VerbDeploy   Event = "deploy"
	VerbRebuild  Event = "rebuild"
	VerbRescue   Event = "rescue"
	VerbUnrescue Event = "unrescue"
	VerbService  Event = "service"
	VerbDelete   Event = "delete"
	VerbAbort    Event = "abort"
	VerbUnhold   Event = "unhold"

	Wait   Event = "wait"
	Resume Event = "resume"
	Hold   Event = "hold"
	Fail   Event = "fail"
	Done   Event = "done"
)

// Command is the event as an operator types it after "bessemer node": undeploy for delete, since what that word deletes
// there is the node's record. It is for texts that people read; every other event is its own word.
func (e Event) Command() string {
	if e == VerbDelete {
		return "undeploy"
	}
	return string(e)
}

// VerbRow is one row of the verb table: the event leads to To from each of From.
type VerbRow struct {
	Event Event
	To    State
	From  []State
}

// Verbs is the table of what does not follow from the shape of a flow.
var Verbs = []VerbRow{
	{VerbManage, Verifying, []State{Enroll}},
	{VerbManage, Manageable, []State{Available, CleanFail, InspectFail, AdoptFail, Cleaning}},
	{VerbProvide, Cleaning, []State{Manageable}},
	{VerbClean, Cleaning, []State{Manageable, Deleting}},
	{VerbInspect, Inspecting, []State{Manageable, InspectFail}},
	{VerbAdopt, Adopting, []State{Manageable, AdoptFail}},
	{VerbDeploy, Deploying, []State{Available, DeployFail}},
	{VerbRebuild, Deploying, []State{Active, DeployFail, Error}},
	{VerbRescue, Rescuing, []State{Active, Rescue, RescueFail, UnrescueFail, ServiceFail}},
	{VerbUnrescue, Unrescuing, []State{Rescue, RescueFail, UnrescueFail}},
	{VerbService, Servicing, []State{Active, ServiceHold, ServiceFail}},
	{VerbDelete, Deleting, []State{Active, Error, DeployWait, DeployFail, Rescue, RescueWait, RescueFail, UnrescueFail, ServiceWait, ServiceFail}},
	{Done, Manageable, []State{InspectWait}},
	{VerbAbort, Active, []State{ServiceFail}},
	{Wait, ServiceWait, []State{ServiceFail}},
	{Hold, ServiceHold, []State{ServiceFail}},
	{Fail, ServiceFail, []State{ServiceHold}},
}

// Transition is one legal move.
type Transition struct {
	From  State
	Event Event
	To    State
}

// Transitions expands both tables, in table order, each move once.
func Transitions() []Transition {
	var out []Transition
	seen := map[[2]string]bool{}
	add := func(from State, e Event, to State) {
		k := [2]string{string(from), string(e)}
		if from == "" || to == "" || seen[k] {
			return
		}
		seen[k] = true
		out = append(out, Transition{from, e, to})
	}
	for _, f := range Flows {
		add(f.Doing, Wait, f.Waiting)
		add(f.Doing, Hold, f.Held)
		add(f.Doing, Fail, f.Failed)
		add(f.Doing, Done, f.End)
		add(f.Waiting, Resume, f.Doing)
		add(f.Waiting, Hold, f.Held)
		add(f.Waiting, Fail, f.Failed)
		add(f.Waiting, VerbAbort, f.Failed)
		add(f.Held, VerbUnhold, f.Waiting)
		add(f.Held, VerbAbort, f.Failed)
	}
	for _, v := range Verbs {
		for _, from := range v.From {
			add(from, v.Event, v.To)
		}
	}
	return out
}

var moves = func() map[State]map[Event]State {
	m := map[State]map[Event]State{}
	for _, t := range Transitions() {
		if m[t.From] == nil {
			m[t.From] = map[Event]State{}
		}
		m[t.From][t.Event] = t.To
	}
	return m
}()

// Next is where the event leads from a state; ok is false when it is not legal there.
func Next(from State, e Event) (to State, ok bool) {
	to, ok = moves[from][e]
	return to, ok
}

// Legal lists the events possible in a state, in the order of the tables: what an operator can do from here.
func Legal(from State) []Event {
	var out []Event
	for _, t := range Transitions() {
		if t.From == from {
			out = append(out, t.Event)
		}
	}
	return out
}

// FlowOf is the flow that a doing, waiting or held state belongs to; ok is false for stable and failed states.
func FlowOf(s State) (FlowRow, bool) {
	for _, f := range Flows {
		if s != "" && (s == f.Doing || s == f.Waiting || s == f.Held) {
			return f, true
		}
	}
	return FlowRow{}, false
}

// IsFailed tells whether a state is where a flow's failure leads: enroll is one, where a failed verify ends.
func IsFailed(s State) bool {
	for _, f := range Flows {
		if s != "" && s == f.Failed {
			return true
		}
	}
	return false
}

// Row gives the row of a flow.
func Row(f Flow) FlowRow {
	for _, r := range Flows {
		if r.Flow == f {
			return r
		}
	}
	return FlowRow{}
}

// All lists every state once, in the order of the tables.
func All() []State {
	var out []State
	seen := map[State]bool{"": true}
	add := func(s State) {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	for _, s := range []State{Enroll, Manageable, Available, Active, Rescue, Error} {
		add(s)
	}
	for _, f := range Flows {
		for _, s := range []State{f.Doing, f.Waiting, f.Held, f.Failed} {
			add(s)
		}
	}
	return out
}

// Destroys tells whether data on the node's disks may be destroyed in this state (safety.md I1): only while a clean
// or deploy flow is at work.
func Destroys(s State) bool {
	f, _ := FlowOf(s) // a state of no flow has none of these
	return (f.Flow == Clean || f.Flow == Deploy) && s != f.Held
}
