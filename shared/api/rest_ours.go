package api

import (
	"time"

	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// What Bessemer adds beside Ironic's API, under /v1:
//
//	GET    /v1/nodes/{node}/steps?run=                          StepsAnswer: the current or last run
//	GET    /v1/nodes/{node}/logs?generation=&offset=&follow=    the agent's log, JSON lines
//	GET    /v1/events?node=                                     server-sent events: "node" with an Event
//	GET    /v1/drivers/{driver}/steps                           StepList: what its nodes may be asked for
//	GET    /v1/images, GET|PUT|DELETE /v1/images/{name}         the image store; PUT's body is the image

// Headers of the log stream.
const (
	HeaderLogGeneration  = "Bessemer-Log-Generation"  // the boot whose log is sent
	HeaderLogGenerations = "Bessemer-Log-Generations" // all boots with a log, by commas
)

// StepsAnswer is what a node does, or did last, and what it waits for.
type StepsAnswer struct {
	Node       NodeID      `json:"node"`
	Name       string      `json:"name,omitempty"`
	State      state.State `json:"provision_state"`
	Target     state.State `json:"target_provision_state,omitempty"`
	Since      Time        `json:"provision_updated_at"`
	Power      string      `json:"power_state,omitempty"`
	LastError  string      `json:"last_error,omitempty"`
	LastReason string      `json:"last_reason,omitempty"`
	Next       []string    `json:"verbs"` // what may be asked for in this state
	Run        *Run        `json:"run,omitempty"`
	Wait       *Wait       `json:"wait,omitempty"`
	Boot       *BootStatus `json:"boot,omitempty"`
	Steps      []StepView  `json:"steps"`
}

// Run is one flow of a node.
type Run struct {
	ID       string     `json:"id"`
	Flow     state.Flow `json:"flow"`
	Phase    string     `json:"phase"`
	Manual   bool       `json:"manual,omitempty"`
	Aborting bool       `json:"aborting,omitempty"`
	Started  Time       `json:"started"`
	Ended    Time       `json:"ended"`
	Actor    string     `json:"user,omitempty"`
	Request  string     `json:"request,omitempty"`
}

// Wait is what a flow waits for: every wait has an owner, a deadline and evidence.
type Wait struct {
	For      string `json:"for"`
	Owner    string `json:"owner"`
	Since    Time   `json:"since"`
	Deadline Time   `json:"deadline"`
	Evidence string `json:"evidence,omitempty"`
	Seen     Time   `json:"seen"`
	Reason   string `json:"reason,omitempty"` // the failure if the deadline passes
}

// BootStatus is the ramdisk's boot, without anything secret of it.
type BootStatus struct {
	Generation   uint64 `json:"generation"`
	Level        Level  `json:"level"`
	Contested    bool   `json:"contested"`
	Opened       Time   `json:"opened"`
	Closes       Time   `json:"closes"`
	MediumRead   Time   `json:"medium_read"`
	LookedUp     Time   `json:"looked_up"`
	Source       string `json:"source,omitempty"`
	AgentVersion string `json:"agent_version,omitempty"`
	Ended        bool   `json:"ended"`
}

// StepView is one attempt of one step. Secret arguments are masked.
type StepView struct {
	ID         step.ID        `json:"id"`
	Order      int            `json:"order"`
	Attempt    int            `json:"attempt"`
	Step       string         `json:"step"`
	Doc        string         `json:"doc,omitempty"`
	Where      step.Where     `json:"where"`
	Args       map[string]any `json:"args,omitempty"`
	State      string         `json:"state"`
	Generation uint64         `json:"generation,omitempty"`
	Progress   *step.Progress `json:"progress,omitempty"`
	Result     *step.Result   `json:"result,omitempty"`
	Fault      *Fault         `json:"fault,omitempty"`
	Abortable  bool           `json:"abortable"`
	Offered    Time           `json:"offered"`
	Started    Time           `json:"started"`
	Ended      Time           `json:"ended"`
	Deadline   Time           `json:"deadline"`
}

// StepList is the steps that nodes of a driver may be asked for.
type StepList struct {
	Steps []step.Step `json:"steps"`
}

// Event tells that a node changed. Changes in quick succession come as one event; after Gone there is no such node.
type Event struct {
	Node        NodeID      `json:"uuid"`
	Name        string      `json:"name,omitempty"`
	State       state.State `json:"provision_state,omitempty"`
	Target      state.State `json:"target_provision_state,omitempty"`
	Power       string      `json:"power_state,omitempty"`
	Maintenance bool        `json:"maintenance,omitempty"`
	LastError   string      `json:"last_error,omitempty"`
	Gone        bool        `json:"gone,omitempty"`
}

// Image is a stored image. URL is where agents fetch it; the digests are of the file as served.
type Image struct {
	Name    string    `json:"name"`
	Size    int64     `json:"size"`
	SHA256  string    `json:"sha256"`
	SHA512  string    `json:"sha512"`
	Format  string    `json:"format"` // "raw" or "raw.zst"
	URL     string    `json:"url"`
	Created time.Time `json:"created_at"`
}

// ImageList is GET /v1/images, by name.
type ImageList struct {
	Images []Image `json:"images"`
}
