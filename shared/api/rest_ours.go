package api

import (
	"encoding/json"
	"time"

	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// What Bessemer adds beside Ironic's API, under /v1:
//
//	GET    /v1/nodes/{node}/steps?run=                          StepsAnswer: the current or last run
//	GET    /v1/nodes/{node}/plan?target=&steps=&disable_ramdisk= Plan: what a verb would do, without doing it
//	GET    /v1/nodes/{node}/logs?generation=&offset=&follow=    the agent's log, JSON lines
//	GET    /v1/nodes/{node}/default_config                      DefaultsOfNode: which value holds for a node, and why
//	GET    /v1/default_config?scope=                            DefaultList; PUT sets values (DefaultChange), DELETE
//	                                                            ?scope=&flow=&step=&key= forgets one, without key all of a step
//	GET    /v1/nodes/{node}/history?more=true                   HistoryMore in each entry
//	GET    /v1/doctor, /v1/nodes/{node}/doctor                  Doctor, Diagnosis: what is wrong, what leads on
//	POST   /v1/nodes/{node}/doctor                              Treatment: takes one of the Diagnosis's exits; 202
//	GET    /v1/openapi                                          the API's description for programs, OpenAPI 3.1
//	GET    /v1/webhooks                                         WebhookList; POST makes one; GET, PUT, DELETE /v1/webhooks/{uuid}
//	GET    /v1/events?node=&cursor=                             server-sent events: "node" with an Event; the id of each is a
//	                                                            cursor (Last-Event-ID); "reset" when it was too old
//	GET    /v1/nodes?changed_since=CURSOR                       ChangedNodes: what has changed since; empty begins with all
//	POST   /v1/nodes:batchGet                                   BatchOfNodes, of a body with ids and fields
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
	Abort      string      `json:"abort,omitempty"` // what an abort would do right now, in words
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
	Log        []string       `json:"log,omitempty"` // the last lines of the agent's log when the attempt failed or was interrupted
	Abortable  bool           `json:"abortable"`
	Offered    Time           `json:"offered"`
	Started    Time           `json:"started"`
	Ended      Time           `json:"ended"`
	Deadline   Time           `json:"deadline"`
}

// Plan is what a verb would do to a node, in order. It is made by the code that makes the real plan; nothing is written.
// Query: target as in PUT states/provision, steps as the JSON of clean_steps or deploy_steps, disable_ramdisk.
type Plan struct {
	Node      NodeID        `json:"node"`
	Name      string        `json:"name,omitempty"`
	State     state.State   `json:"provision_state"`
	Target    string        `json:"target"`
	Flow      state.Flow    `json:"flow,omitempty"`
	Automated bool          `json:"automated"`         // the flow chose the steps, not an operator's list
	Blocked   string        `json:"blocked,omitempty"` // why the verb can't be asked for now
	Boots     int           `json:"boots"`             // how often the ramdisk is booted
	BootFirst bool          `json:"boot_first"`        // before any step
	BootTime  int64         `json:"boot_seconds"`      // expected for one boot
	Steps     []PlannedStep `json:"steps"`
	Skipped   []PlannedDisk `json:"skipped_disks"` // kept from every step by the skip list
	Exclusion string        `json:"exclusion,omitempty"`
	Notes     []string      `json:"notes"`
	Problems  []Fault       `json:"problems"` // all that is wrong; with one the plan does not run
	Expected  int64         `json:"expected_seconds"`
	Unknown   int           `json:"unknown_steps"` // not in expected_seconds: how long they take can't be told
}

// PlannedStep is one step of a Plan. Secret arguments are masked.
type PlannedStep struct {
	Step           string            `json:"step"`
	Doc            string            `json:"doc,omitempty"`
	Where          step.Where        `json:"where"`
	Boots          bool              `json:"boots_ramdisk"` // before it
	Restarts       bool              `json:"restarts_machine"`
	Args           map[string]any    `json:"args"`
	Origins        map[string]string `json:"origins"` // of each argument: operator, instance_info, node:…, trait:…, group:…, fleet, step
	Priority       int               `json:"priority,omitempty"`
	PriorityOrigin string            `json:"priority_origin,omitempty"`
	Disks          []PlannedDisk     `json:"disks"`
	Expected       int64             `json:"expected_seconds"` // 0: can't be told
	Basis          string            `json:"basis,omitempty"`  // "measured" on this node, or "estimate"
	Deadline       int64             `json:"deadline_seconds"` // from its start
	Repeat         step.Repeat       `json:"repeat"`
	Abortable      bool              `json:"abortable"`
}

// PlannedDisk is a disk by the last inspection.
type PlannedDisk struct {
	Name   string `json:"name"`
	Model  string `json:"model,omitempty"`
	Serial string `json:"serial,omitempty"`
	WWN    string `json:"wwn,omitempty"`
	Size   int64  `json:"size"` // bytes
}

// Default is one value of default_config: a priority or argument of a step that a flow runs by itself.
type Default struct {
	Scope string     `json:"scope"` // fleet, group:NAME, trait:NAME, node:UUID
	Flow  state.Flow `json:"flow"`
	Step  string     `json:"step"`
	Key   string     `json:"key"` // "priority", or "args." and the argument's name
	Value any        `json:"value"`
}

// DefaultList is GET /v1/default_config, weakest scopes first.
type DefaultList struct {
	Defaults []Default `json:"defaults"`
}

// DefaultChange is the body of PUT /v1/default_config: what is named is set, the rest stays.
type DefaultChange struct {
	Scope    string         `json:"scope"`
	Flow     state.Flow     `json:"flow"`
	Step     string         `json:"step"`
	Priority *int           `json:"priority,omitempty"`
	Args     map[string]any `json:"args,omitempty"`
}

// DefaultsOfNode is GET /v1/nodes/{node}/default_config. A later scope wins.
type DefaultsOfNode struct {
	Node   NodeID          `json:"node"`
	Name   string          `json:"name,omitempty"`
	Scopes []string        `json:"scopes"` // that the node is in, weakest first
	Values []DefaultOfNode `json:"values"`
}

// DefaultOfNode is the value that holds for a node. Origin is its scope, or "step" for the step's own default.
type DefaultOfNode struct {
	Flow      state.Flow     `json:"flow"`
	Step      string         `json:"step"`
	Key       string         `json:"key"`
	Value     any            `json:"value"`
	Origin    string         `json:"origin"`
	Overrides []DefaultLayer `json:"overrides"` // weakest first
	Note      string         `json:"note,omitempty"`
}

// DefaultLayer is a value that another one overrode.
type DefaultLayer struct {
	Value  any    `json:"value"`
	Origin string `json:"origin"`
}

// StepList is the steps that nodes of a driver may be asked for.
type StepList struct {
	Steps []step.Step `json:"steps"`
}

// ChangedNodes is GET /v1/nodes?changed_since=. A node may be told again that has not changed; none that has is left
// out. Cursor is where the next request goes on, at once when there is More.
type ChangedNodes struct {
	Nodes  []json.RawMessage `json:"nodes"` // a Node each, in the order of their last change
	Gone   []string          `json:"gone"`  // UUIDs of nodes that were deleted, or that the caller sees no more
	Cursor string            `json:"cursor"`
	More   bool              `json:"more"`
}

// BatchOfNodes is the answer of POST /v1/nodes:batchGet, in the order of ids; Missing are the ids that name no node.
type BatchOfNodes struct {
	Nodes   []json.RawMessage `json:"nodes"`
	Missing []string          `json:"missing"`
}

// Event tells how a node is after a change; after Gone there is no such node, or the caller sees it no more.
type Event struct {
	Node        NodeID      `json:"uuid"`
	Name        string      `json:"name,omitempty"`
	State       state.State `json:"provision_state,omitempty"`
	Target      state.State `json:"target_provision_state,omitempty"`
	Power       string      `json:"power_state,omitempty"`
	Maintenance bool        `json:"maintenance,omitempty"`
	LastError   string      `json:"last_error,omitempty"`
	Gone        bool        `json:"gone,omitempty"`
	At          Time        `json:"at,omitzero"`
}

// Webhook is a destination that is told of changes. Its secret is given on create (POST /v1/webhooks with url, secret
// and, by the system's administrators, project) and never shown. PUT /v1/webhooks/{uuid} changes url and secret.
type Webhook struct {
	UUID        string `json:"uuid"`
	URL         string `json:"url"`
	Project     string `json:"project,omitempty"` // whose nodes it is told of; "" is all
	Cursor      string `json:"cursor"`            // up to where it was told
	Failures    int    `json:"failures"`          // deliveries in a row that failed
	LastError   string `json:"last_error,omitempty"`
	CreatedAt   Time   `json:"created_at"`
	DeliveredAt Time   `json:"delivered_at"`
	Links       []Link `json:"links"`
}

// WebhookList is GET /v1/webhooks.
type WebhookList struct {
	Webhooks []Webhook `json:"webhooks"`
}

// Usage is how much of a resource class a project has and uses. A node counts once: for its lessee, or for its owner when it is
// leased to nobody.
type Usage struct {
	Project       string `json:"project"` // "" is nobody
	ResourceClass string `json:"resource_class"`
	Nodes         int    `json:"nodes"`
	Used          int    `json:"used"`      // with an instance, or on the way to one or from it
	Available     int    `json:"available"` // could be deployed now
	Lent          int    `json:"lent"`      // owned, and in the row of the project that leases them
}

// UsageList is GET /v1/usage, by project and class.
type UsageList struct {
	Usage []Usage `json:"usage"`
}

// Delivery is the body of a webhook's request. A repeated one has the same ID and the same events. Reset says that changes before were lost
// to the journal: the receiver reads the nodes anew.
type Delivery struct {
	ID      string  `json:"id"`
	Webhook string  `json:"webhook"`
	Reset   bool    `json:"reset,omitempty"`
	Events  []Event `json:"events"`
}

// HeaderSignature is t=SECONDS,v1=HEX: HMAC-SHA256 with the webhook's secret over SECONDS, a dot and the body.
const HeaderSignature = "Bessemer-Signature"

// Image is a stored image. URL is where agents fetch it; the digests are of the file as served.
type Image struct {
	Name    string    `json:"name"`
	Size    int64     `json:"size"`
	SHA256  string    `json:"sha256"`
	SHA512  string    `json:"sha512"`
	Format  string    `json:"format"` // "raw", "raw.zst", "raw.gz", "raw.xz" or "qcow2"
	URL     string    `json:"url"`
	Created time.Time `json:"created_at"`
}

// ImageList is GET /v1/images, by name.
type ImageList struct {
	Images []Image `json:"images"`
}
