package api

import (
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Doctor is GET /v1/doctor: what is not well with the server and its nodes. Nodes that are well are only counted.
type Doctor struct {
	Server []Check     `json:"server"`
	Nodes  []Diagnosis `json:"nodes"`
	Well   int         `json:"well"`
	Wrong  int         `json:"wrong"` // checks and nodes with something wrong
}

// Check is one look at the server.
type Check struct {
	Name   string `json:"name"` // "database", "clock", "disk space", …
	OK     bool   `json:"ok"`
	Found  string `json:"found"`
	Hint   string `json:"hint,omitempty"` // what to do; only when it is not OK
	Reason string `json:"reason,omitempty"`
}

// Verdicts of a Diagnosis.
const (
	VerdictWell  = "well"
	VerdictWaits = "waits" // for somebody who may still act in time
	VerdictWrong = "wrong"
)

// Diagnosis is GET /v1/nodes/{node}/doctor: what a node waits for, what is wrong with it and what leads out.
type Diagnosis struct {
	Node     NodeID      `json:"node"`
	Name     string      `json:"name,omitempty"`
	Verdict  string      `json:"verdict"`
	State    state.State `json:"provision_state"`
	Target   state.State `json:"target_provision_state,omitempty"`
	Since    Time        `json:"provision_updated_at"`
	Wait     *Wait       `json:"wait,omitempty"`
	Lease    string      `json:"lease,omitempty"` // which work holds the node, and what is being done now
	Heard    Time        `json:"heard"`           // the agent's last sign of life in this boot
	Step     *StepBrief  `json:"step,omitempty"`  // the one that is offered or started
	Problems []Problem   `json:"problems"`
	Doubts   []Problem   `json:"doubts,omitempty"` // what keeps nothing from being done, but will trouble somebody
	Exits    []Exit      `json:"exits"`            // every legal way on
	Fix      *Exit       `json:"fix,omitempty"`    // the one that doctor --fix takes
}

// Problem is something wrong with a node.
type Problem struct {
	Reason   string `json:"reason"`
	Message  string `json:"message"`
	Hint     string `json:"hint"`
	Evidence string `json:"evidence,omitempty"` // of a BMC: what was asked of it last, and what came of it
	Seen     Time   `json:"seen,omitzero"`      // when that came
}

// Exit is a legal way on for a node. POST /v1/nodes/{node}/doctor takes its Act. A way that needs words of an operator's
// (steps, a password, an image) has none: its Command says what they are in capital letters.
type Exit struct {
	Act      string      `json:"act"`     // "verb.manage", "maintenance.unset", "power.off", "act.give_up"; "" none
	Command  string      `json:"command"` // the same as an operator types it
	To       state.State `json:"to,omitempty"`
	Ends     bool        `json:"ends"`     // it ends work in progress, or cuts a machine off
	Destroys bool        `json:"destroys"` // data on disks may be destroyed
}

// StepBrief is the step at work and what an abort would do to it now.
type StepBrief struct {
	Step     string `json:"step"`
	State    string `json:"state"`
	Deadline Time   `json:"deadline"`
	Abort    string `json:"abort"`
}

// Treatment is the body of POST /v1/nodes/{node}/doctor.
type Treatment struct {
	Act string `json:"act"`
}
