package conductor

import (
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Snapshot is all that Decide may look at: one node as the store has it at one moment.
type Snapshot struct {
	Node     Node
	Steps    []StepRecord         // of the node's current run, by order, then attempt
	Seen     *inventory.Inventory // the disks that the current boot's lookup brought, and nothing else of it; nil before it
	Accepted *inventory.Inventory // those that the last inspection stored; nil before one
	Registry *step.Registry       // every step the node's hardware type and the stock ramdisk offer
	Strange  bool                 // the node's hardware type is not known to this server: Registry and Interfaces are nil
	// Interfaces are the node's implementations, by interface, defaults filled in. An interface that is not there is taken
	// for one that works.
	Interfaces map[string]string
	Defaults   []Default  // of default_config, those that hold for the node, weakest first; read for events that plan
	Templates  []Template // deploy templates that the instance's traits name, in its order; read for deployments
	Heard      time.Time  // when the agent of the current boot was last heard; zero: never, or not by this server
	Timeouts   Timeouts
	NewID      func() string // a fresh UUID at each call
	NewSalt    func() []byte // fresh random bytes for a boot generation
}

// Timeouts bound every wait (I14).
type Timeouts struct {
	BMC    time.Duration // a BMC that is busy or away, until the flow fails
	Power  time.Duration // a power act, until it must be seen
	Soft   time.Duration // a graceful shutdown
	Lookup time.Duration // power on until the ramdisk's lookup: the window of safety.md §2.2
	Ready  time.Duration // lookup until the first heartbeat
	Start  time.Duration // offer until the agent claims the step
	Silent time.Duration // between signs of life of an agent that runs a step
	Abort  time.Duration // order to abort until the step has stopped
	Beat   time.Duration // heartbeats that are not held
}

// DefaultTimeouts are those of a server without other settings.
func DefaultTimeouts() Timeouts {
	return Timeouts{
		BMC: 10 * time.Minute, Power: 2 * time.Minute, Soft: 10 * time.Minute, Lookup: 30 * time.Minute,
		Ready: 5 * time.Minute, Start: 5 * time.Minute, Silent: 5 * time.Minute, Abort: 2 * time.Minute, Beat: 30 * time.Second,
	}
}

// Turn is how long a step waits for its turn at the BMC: for the act before it, and for a BMC that is away.
func (t Timeouts) Turn() time.Duration { return 2 * (t.BMC + 3*t.Power) }

// Event is something that happened to a node. The set is closed: the types below.
type Event interface{ event() }

// The events.
type (
	// VerbAsked is a caller's verb, its form already checked. ConfigDrive says that one is stored with it.
	VerbAsked struct {
		Caller      Caller
		Ask         Provision
		ConfigDrive bool
	}
	// PowerAsked is a caller's power act.
	PowerAsked struct {
		Caller Caller
		Ask    PowerRequest
	}
	// ActAsked is a caller's act, its form already checked.
	ActAsked struct {
		Caller Caller
		Ask    Act
	}
	// ActGivenUp is a caller's wish to forget the act that the node's record says is under way. Whoever tells of it has made
	// sure, in the same transaction, that nothing is stored that would carry it out.
	ActGivenUp struct{ Caller Caller }
	// OutOfService is an operator's word that an active machine does not work, though nothing here has found that out.
	OutOfService struct {
		Caller Caller
		Reason string
	}
	// RecordsDoubted says that the node's record may be older than the machine; no boot generation up to Floor may be
	// given out again.
	RecordsDoubted struct {
		Why   string
		Floor uint64
	}
	// RecordsConfirmed is an operator's word that the record is right.
	RecordsConfirmed struct{ Caller Caller }
	// PowerRead is the power state that a periodic look at an idle node found. Version is the node's when it was looked
	// at.
	PowerRead struct {
		Version int64
		Power   Power   // empty: between two states
		Status  *Status // what else the look told; nil: nothing
	}
	// PowerLost says that periodic looks at an idle node have failed too often: Tries times in a row since Since.
	PowerLost struct {
		Version int64
		Fault   *fault.Fault
		Tries   int
		Since   time.Time
	}
	// InspectionTold is what a ramdisk of the Ironic profile found out; the inventory is stored with it, unless the
	// ramdisk is contested after it. Source is the caller's address.
	InspectionTold struct{ Source string }
	// EffectDone is the end of an effect; Fault nil means it was carried out. Facts come with verify, Power with
	// power, boot and finish.
	EffectDone struct {
		Effect Effect
		Fault  *fault.Fault
		Facts  *Facts
		Power  Power
		Status *Status // after an act
		Parts  *Parts  // with verify; kept beside the decision
		Found  *Found  // with inspect
	}
	// EffectEvidence is a sign of life of an effect that is still being tried.
	EffectEvidence struct {
		Effect Effect
		Text   string
	}
	// MediumFetched is the first read of the boot medium by the BMC, or of the ramdisk by the machine's firmware. From is the reader's
	// address.
	MediumFetched struct {
		Generation uint64
		From       string
	}
	// LookedUp is an agent's claim; Proven says that its secret is that of the current boot.
	LookedUp struct {
		Peer   Peer
		Ask    api.LookupRequest
		Proven bool
	}
	// AgentReady is the first heartbeat of an agent process, with the steps it offers.
	AgentReady struct{ Steps []step.Step }
	// StepClaimed is an agent's start.
	StepClaimed struct{ Ask api.StartRequest }
	// StepBegan says that the act which runs a step out of band is about to ask the BMC: from now on the step's own time
	// counts. Decide refuses it for a step that is not in line, so that an attempt begins once.
	StepBegan struct{ ID step.ID }
	// StepEnded is the end of an attempt, told by the agent (Nonce set) or by the run_step effect (Nonce empty).
	// Power is what a power act reached, or what was read with Status after a step that restarts the machine had succeeded; ""
	// otherwise.
	StepEnded struct {
		ID       step.ID
		Nonce    string
		Outcome  api.Outcome
		Result   *step.Result
		Fault    *fault.Fault
		Progress *step.Progress
		Power    Power
		Status   *Status
	}
	// AgentHeard is a heartbeat, told while a step waits for one, or the flow for a silent agent.
	AgentHeard struct{}
	// ProgressTold is what a running step says that a later attempt could go on from; it is kept beside the record.
	ProgressTold struct {
		ID       step.ID
		Progress step.Progress
	}
	// DeadlinePassed says that the current wait is over.
	DeadlinePassed struct{}
	// AgentSilent says that the agent of the current boot was not heard for Timeouts.Silent. Progress is what it told last, of
	// Step; nil when this server heard nothing of it, and what is stored counts.
	AgentSilent struct {
		Since    time.Time
		Step     step.ID
		Progress *step.Progress
	}
	// ServerRestarted asks a node with open work to go on from its records. Away is the time that the server was not
	// there, zero when that was short: one event for both, as a fleet's records are read and written for each.
	ServerRestarted struct{ Away ClockShifted }
	// ClockShifted says that By of the wall clock's time was none for the node. Since is the liveness stamp that the
	// server goes by, At the wall clock's time: a server that is stopped before it has written a new stamp tells of
	// the same time again, and Decide takes away only what it has not taken away yet. A zero Since: no such check.
	ClockShifted struct {
		By        time.Duration
		Since, At time.Time
	}
)

func (VerbAsked) event()        {}
func (PowerAsked) event()       {}
func (ActAsked) event()         {}
func (ActGivenUp) event()       {}
func (OutOfService) event()     {}
func (RecordsDoubted) event()   {}
func (RecordsConfirmed) event() {}
func (PowerRead) event()        {}
func (PowerLost) event()        {}
func (InspectionTold) event()   {}
func (EffectDone) event()       {}
func (EffectEvidence) event()   {}
func (MediumFetched) event()    {}
func (LookedUp) event()         {}
func (AgentReady) event()       {}
func (StepClaimed) event()      {}
func (StepBegan) event()        {}
func (StepEnded) event()        {}
func (AgentHeard) event()       {}
func (ProgressTold) event()     {}
func (DeadlinePassed) event()   {}
func (AgentSilent) event()      {}
func (ServerRestarted) event()  {}
func (ClockShifted) event()     {}

// LooksAtDisks tells whether Decide may look at Snapshot's inventories for this event upon the node; for the others they
// need not be read: most events concern no disk.
func LooksAtDisks(n Node, e Event) bool {
	switch e := e.(type) {
	case EffectEvidence, MediumFetched, LookedUp, StepClaimed, StepBegan, AgentSilent, ServerRestarted, ClockShifted, InspectionTold, ActGivenUp:
		return false
	case DeadlinePassed:
		return n.Flow != nil && n.Flow.Phase == PhasePause // the next step is offered; any other wait fails when it is over
	case EffectDone:
		return !slices.Contains([]EffectKind{EffectBoot, EffectEject, EffectLook, EffectInspect}, e.Effect.Kind)
	}
	return true
}

// Decision is what follows from an event. It is committed whole, then the effects are carried out. Refuse is the
// answer to whoever caused the event; a refusal may still change the node (a contested claim does).
type Decision struct {
	Node    Node
	Changed bool
	Steps   []StepRecord // new or changed records
	Effects []Effect
	History []Entry
	Audit   []Audit
	Refuse  error
	// Found is what an inspection through the BMC brought: kept in the same transaction.
	Found *Found
	// DropSecrets are fields to forget in the same transaction.
	DropSecrets []string
	// InstanceGone says that the node's instance was taken away: its network attachments go in the same transaction.
	InstanceGone bool
	// DropAllocation is the allocation to delete in the same transaction: its instance is gone.
	DropAllocation string
}
