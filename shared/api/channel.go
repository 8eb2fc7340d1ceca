// Package api is the wires: the agent channel (this file and boot.go) and the operators' REST API in Ironic's shapes
// (rest.go), with strict decoding and the two error forms. It holds no I/O and decides nothing; domain code never
// sees an HTTP status.
package api

import (
	"encoding/json"
	"time"

	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Protocol is the version of the agent channel. A server answers the versions from MinProtocol on.
const (
	Protocol    = 1
	MinProtocol = 1
)

// The paths of the agent channel, all POST with a JSON body, on the agent listener (TLS 1.3, client certificate).
const (
	PathLookup    = "/v1/agent/lookup"
	PathHeartbeat = "/v1/agent/heartbeat"
	PathStart     = "/v1/agent/start"
	PathResult    = "/v1/agent/result"
	PathSecret    = "/v1/agent/secret"
	PathLog       = "/v1/agent/log"
)

// Bounds of the channel (safety.md §6, Z1).
const (
	MaxBody      = 1 << 20 // bytes of any request but lookup
	MaxLookup    = 8 << 20 // bytes of a lookup: it carries the inventory
	MaxDepth     = 32
	MaxElements  = 4096
	MaxToken     = 4 << 10
	MaxLogChunk  = 256 << 10
	HeartbeatMax = 55 * time.Second // how long a heartbeat is held open at most
	TokenLife    = 15 * time.Minute
	ComeBackMax  = 20 * time.Second // the longest Retry-After of a refused lookup; an agent keeps its connection longer
)

// ServerName is the name in the certificate of every agent listener. It says nothing of the address: the pin says
// whose the key is.
const ServerName = "bessemer"

// NodeID is a node's UUID.
type NodeID string

// Level is how sure the server is of who the agent is (safety.md §2.3).
type Level int

// A0: a claim by address inside the window. A1: the per-boot secret of the medium.
const (
	A0 Level = 0
	A1 Level = 1
	A2 Level = 2
	A3 Level = 3
)

// Known tells whether l is one of the levels.
func (l Level) Known() bool { return l >= A0 && l <= A3 }

// Claims is what a node token says (safety.md §2.5). Key is the SHA-256 thumbprint of the client certificate's
// DER, base64url without padding, as RFC 8705 §3.1 has it.
type Claims struct {
	Node       NodeID
	Generation uint64
	Level      Level
	Key        string
	ID         string // jti
	Issued     time.Time
	Expires    time.Time
}

// LookupRequest is the agent's claim to be a node. Secret is the per-boot secret of the medium, base64url; without
// it the claim is of level A0 and Addresses decide. Seq starts at 1 in each boot and never goes back (safety.md §2.6).
type LookupRequest struct {
	Protocol     int             `json:"protocol"`
	Node         NodeID          `json:"node,omitempty"`
	Generation   uint64          `json:"generation,omitempty"`
	Secret       string          `json:"secret,omitempty"`
	Addresses    []string        `json:"addresses"`
	Serial       string          `json:"serial,omitempty"`
	BootID       string          `json:"boot_id"` // the kernel's, one per boot
	Seq          uint64          `json:"seq"`
	AgentVersion string          `json:"agent_version"`
	Inventory    json.RawMessage `json:"inventory"` // inventory.Inventory
}

// LookupAnswer admits the agent. It carries no secret of the node.
type LookupAnswer struct {
	Protocol   int           `json:"protocol"`
	Node       NodeID        `json:"node"`
	Name       string        `json:"name,omitempty"`
	Generation uint64        `json:"generation"`
	Level      Level         `json:"level"`
	Token      string        `json:"token"`
	Expires    time.Time     `json:"expires"`
	Interval   time.Duration `json:"interval"` // between heartbeats that are not held, nanoseconds
	Time       time.Time     `json:"time"`     // for log stamps only; the agent decides nothing by it
}

// HeartbeatRequest says the agent lives. The first one of a process carries Steps, an empty list if it offers none. With Hold the server keeps the
// request open until there is a command, an abort or HeartbeatMax; a newer heartbeat ends the older one.
type HeartbeatRequest struct {
	Seq      uint64            `json:"seq"`
	Hold     bool              `json:"hold,omitempty"`
	Steps    []step.Step       `json:"steps,omitzero"`
	Versions map[string]string `json:"versions,omitempty"` // manager name to version
	Running  step.ID           `json:"running,omitempty"`
	Progress *step.Progress    `json:"progress,omitempty"` // of Running
}

// HeartbeatAnswer carries at most one order. Abort names a running step. Token, when there, replaces the old one.
// Watch asks for progress every so often while someone looks on (nanoseconds; 0: with the heartbeat).
type HeartbeatAnswer struct {
	Command *Command      `json:"command,omitempty"`
	Abort   step.ID       `json:"abort,omitempty"`
	Token   string        `json:"token,omitempty"`
	Expires time.Time     `json:"expires,omitzero"`
	Watch   time.Duration `json:"watch,omitempty"`
}

// Command is one step the agent is asked to run. Devices names every disk that it may touch.
type Command struct {
	ID       step.ID              `json:"id"`
	Step     string               `json:"step"`
	Flow     state.Flow           `json:"flow"`
	Args     step.Args            `json:"args,omitempty"`
	Devices  []inventory.DeviceID `json:"devices,omitempty"`
	Node     map[string]any       `json:"node,omitempty"` // properties steps need: skip_block_devices, ...
	Timeout  time.Duration        `json:"timeout"`        // nanoseconds
	Destroys bool                 `json:"destroys,omitempty"`
	Resume   []step.Checkpoint    `json:"resume,omitempty"` // where an earlier attempt of the same run came to
}

// StartRequest claims a step id before running it. Nonce is made by this process for this claim.
type StartRequest struct {
	Seq   uint64  `json:"seq"`
	ID    step.ID `json:"id"`
	Nonce string  `json:"nonce"`
}

// StartAnswer is sent after the server's commit. The agent runs only after an answer that echoes its nonce.
type StartAnswer struct {
	Nonce string `json:"nonce"`
}

// Outcome is how an attempt ended.
type Outcome string

// The outcomes.
const (
	Succeeded   Outcome = "succeeded"
	Failed      Outcome = "failed"
	Interrupted Outcome = "interrupted"
	Aborted     Outcome = "aborted"
)

// ResultRequest tells how a started step ended; it is repeated until acknowledged (an empty 200).
type ResultRequest struct {
	Seq      uint64         `json:"seq"`
	ID       step.ID        `json:"id"`
	Nonce    string         `json:"nonce"`
	Outcome  Outcome        `json:"outcome"`
	Result   *step.Result   `json:"result,omitempty"`
	Fault    *Fault         `json:"fault,omitempty"`
	Progress *step.Progress `json:"progress,omitempty"` // the last one
}

// SecretRequest asks for a secret of a started step (safety.md §2.8).
type SecretRequest struct {
	Seq  uint64  `json:"seq"`
	ID   step.ID `json:"id"`
	Name string  `json:"name"` // "configdrive"
}

// SecretAnswer carries the secret's bytes, base64 on the wire.
type SecretAnswer struct {
	Value []byte `json:"value"`
}

// LogRequest carries lines of the agent's log, JSON lines as slog writes them. Offset is the number of bytes of this
// boot's log before Data, so that a repeat is recognised.
type LogRequest struct {
	Seq    uint64 `json:"seq"`
	Offset int64  `json:"offset"`
	Data   []byte `json:"data"`
}

// Fault is the one error body of the channel.
type Fault struct {
	Code    string `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}
