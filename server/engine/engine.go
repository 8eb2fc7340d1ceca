// Package engine commits what the conductor decides and then carries it out: it applies events to nodes inside the
// store's transactions, hands commands to agents, acts upon BMCs, watches deadlines, and goes on after a restart. It
// decides nothing about a node by itself. What only reads and writes records, and what reaches machines, are the packages
// below it (docs/adr/0254-parts-of-the-engine.md).
//
// Start at Engine.apply (decide, commit, act); effects.go and acts.go touch the outside world, run.go keeps time and
// recovers, agents.go and operators.go are the two sides that call in.
package engine

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/decide"
	"github.com/bessemer-metal/bessemer/server/conductor/fit"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/server/engine/allocations"
	"github.com/bessemer-metal/bessemer/server/engine/machines"
	"github.com/bessemer-metal/bessemer/server/engine/management"
	"github.com/bessemer-metal/bessemer/server/engine/medium"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/server/engine/powersync"
	"github.com/bessemer-metal/bessemer/server/engine/ramdisks"
	"github.com/bessemer-metal/bessemer/server/engine/records"
	"github.com/bessemer-metal/bessemer/server/engine/retry"
	"github.com/bessemer-metal/bessemer/server/engine/sessions"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Config is what a conductor is made of. All fields but ProgramURL, BootChain, Certificate, AnySource, ResourceClass, CheckOrigin,
// Digest, CanBoot and Held are required.
type Config struct {
	Store        conductor.Store
	Drivers      []conductor.Driver
	Dispatcher   conductor.Dispatcher
	Logs         conductor.Logs
	ConfigDrives conductor.ConfigDriver
	BootKey      []byte                    // 32 bytes: per-boot secrets and media tokens are derived from it
	AgentURL     func() string             // https://address:6386 as agents reach it
	MediumURL    func(token string) string // where the boot listener serves the medium of a token, as BMCs reach it
	ProgramURL   func(token string) string // where machines' firmware finds the ramdisk of a token, with TLS; nil: it is not served so
	BootChain    [][]byte                  // the certificate there, with those that signed it, DER
	Pins         []string                  // of the agent listener's key, for the boot configuration
	Certificate  []byte                    // the agent listener's, for it too; nil: agents ask for it
	Now          func() time.Time
	Log          *slog.Logger
	Timeouts     conductor.Timeouts
	AnySource    bool                                           // media are served to any address, not only the BMC's
	CheckOrigin  func(ctx context.Context, rawURL string) error // T4; nil allows all
	// Digest reads the digest of the image at a URL from the file of checksums at another (checksums.Reader); nil: none is read.
	Digest        func(ctx context.Context, list, image string) (algorithm, digest string, err error)
	CanBoot       func(by string) error // why no ramdisk can be booted now by a boot interface; nil: it can
	Held          func() error          // why the server's lease of the store does not hold; nil: it does
	ResourceClass string                // of nodes that are created without one; "": none
	PowerSync     time.Duration         // between two looks at an idle node's power state; 0: never
}

// Engine is the running core of the server. Its methods are safe for concurrent use. Run must be
// running for effects to be carried out.
type Engine struct {
	// What operators keep, which is only read and written.
	*nodes.Keeper
	*records.Shelf
	// What is asked of a BMC by operators, and told by ramdisks of the Ironic profile.
	*management.Desk
	*ramdisks.Ramdisks

	cfg       Config
	allocator *allocations.Allocator
	machines  *machines.Machines
	media     *medium.Media
	sessions  *sessions.Store
	// listening is since when an agent's sign of life can have been heard.
	listening time.Time

	mu       sync.Mutex
	workers  map[conductor.NodeID]*worker
	hands    map[conductor.NodeID]chan struct{} // one slot, held by whoever acts upon the node's BMC (I16)
	waits    map[conductor.NodeID]waitIndex
	versions map[conductor.NodeID]int64 // of the newest decision that was carried outside
	agents   map[conductor.NodeID]*presence
	fenced   map[conductor.NodeID]bool // about to lose power for a boot: nobody looks itself up (acts.go)
	stops    map[step.ID]*stoppable    // the steps out of band at work (stop.go)
	given    []int64                   // orders that the dispatcher has, by effect, still in the store
	subs     map[*subscription]struct{}
	paces    map[conductor.NodeID]chan struct{} // closed when a watcher of the node comes or goes
	run      context.Context                    // nil until Run, and after it
	clock    *retry.Clock                       // what time counts
	ready    chan struct{}                      // closed when Run has gone on with what the store held
	wg       sync.WaitGroup
	looks    *powersync.Looks // at idle nodes' power states

	alive time.Time // the stamp in the store; Run's goroutine alone
}

// waitIndex is what the ticker needs of a node with open work, so that it reads no store.
type waitIndex struct {
	deadline   time.Time
	since      time.Time
	phase      conductor.Phase
	generation uint64
	silent     bool // the agent is known to be silent: nothing is due before the deadline, but its next heartbeat
}

// New checks the configuration and makes the parts; nothing runs before Run.
func New(cfg Config) (*Engine, error) {
	watched := sessions.Over(cfg.Store)
	cfg.Store = watched
	eng := &Engine{
		cfg: cfg, clock: retry.NewClock(cfg.Now), listening: cfg.Now(), sessions: watched,
		workers: map[conductor.NodeID]*worker{}, hands: map[conductor.NodeID]chan struct{}{}, waits: map[conductor.NodeID]waitIndex{}, versions: map[conductor.NodeID]int64{}, agents: map[conductor.NodeID]*presence{}, fenced: map[conductor.NodeID]bool{}, stops: map[step.ID]*stoppable{},
		subs: map[*subscription]struct{}{}, paces: map[conductor.NodeID]chan struct{}{}, ready: make(chan struct{}),
	}
	applied := func(ctx context.Context, id conductor.NodeID, e conductor.Event) error {
		return eng.apply(ctx, id, e, nil)
	}
	var err error
	if eng.machines, err = machines.New(machines.Config{Store: cfg.Store, Drivers: cfg.Drivers, Clock: eng.clock, Log: cfg.Log, Timeouts: cfg.Timeouts, BootChain: cfg.BootChain, Held: cfg.Held}); err != nil {
		return nil, err
	}
	eng.Keeper = nodes.New(nodes.Config{Store: cfg.Store, Now: cfg.Now, Drivers: eng.machines.ByName(), ResourceClass: cfg.ResourceClass, Notify: eng.notify, Created: eng.created, Deleted: eng.deleted})
	eng.allocator = allocations.New(allocations.Config{Store: cfg.Store, Now: cfg.Now, Log: cfg.Log, Notify: eng.notify})
	eng.Shelf = records.New(records.Config{Store: cfg.Store, Now: cfg.Now, Notify: eng.notify, Allocations: eng.allocator, Machines: eng.machines})
	if eng.media, err = medium.New(medium.Config{
		Key: cfg.BootKey, AgentURL: cfg.AgentURL, URL: cfg.MediumURL, ProgramURL: cfg.ProgramURL, Pins: cfg.Pins, Certificate: cfg.Certificate, AnySource: cfg.AnySource,
		Now: cfg.Now, Log: cfg.Log, Machines: eng.machines, Node: eng.Node, Apply: applied,
	}); err != nil {
		return nil, err
	}
	eng.Desk = management.New(management.Config{
		Store: cfg.Store, Now: cfg.Now, Nodes: eng.Keeper, Machines: eng.machines, Media: eng.media, CheckOrigin: cfg.CheckOrigin, Hand: eng.hand,
		Apply: func(ctx context.Context, id conductor.NodeID, e conductor.Event) error {
			return eng.patiently(ctx, id, func() error { return applied(ctx, id, e) })
		},
	})
	eng.Ramdisks = ramdisks.New(ramdisks.Config{Store: cfg.Store, Now: cfg.Now, Notify: eng.notify, Machines: eng.machines, Apply: eng.apply})
	eng.looks = powersync.New(powersync.Config{
		Every: cfg.PowerSync, Now: cfg.Now, Log: cfg.Log, Held: cfg.Held, Busy: eng.busy, Node: eng.Node, Knows: eng.machines.Health, Apply: applied,
		BMC: func(ctx context.Context, n conductor.Node) (conductor.BMC, error) {
			return eng.machines.Open(ctx, n, false)
		},
	})
	return eng, nil
}

// Drivers lists the hardware types.
func (eng *Engine) Drivers() []conductor.Driver { return eng.machines.Drivers() }

// Catalog is every step a node of this hardware type may be asked for; nil for an unknown type.
func (eng *Engine) Catalog(driver string) *step.Registry { return eng.machines.Catalog(driver) }

// BMCHealth is how a node's BMC has answered lately, by the driver's breaker and by the periodic looks at the power
// state. It asks the BMC nothing.
func (eng *Engine) BMCHealth(n conductor.Node) conductor.Health { return eng.looks.Health(n) }

// Heard is when the agent of the node's current boot last proved itself; zero: never, or not since this server started.
func (eng *Engine) Heard(n conductor.Node) time.Time {
	if n.Boot == nil || n.Boot.Ended {
		return time.Time{}
	}
	return eng.cfg.Dispatcher.Heard(n.UUID, n.Boot.Generation)
}

// Validate tells for each interface whether the node's record suffices: "" or the reason why not.
func (eng *Engine) Validate(ctx context.Context, ident string) (map[string]string, error) {
	n, err := eng.Node(ctx, ident)
	if err != nil {
		return nil, err
	}
	out, err := eng.machines.Validate(n)
	interfaces := eng.machines.Interfaces(n)
	if by := interfaces[drivers.Boot]; err == nil && out[drivers.Boot] == "" && by != drivers.Fake && !fit.BootsISO(interfaces) {
		if err := eng.canBoot(by); err != nil {
			out[drivers.Boot] = fault.From(err).Error()
			if out[drivers.Deploy] == "" {
				out[drivers.Deploy] = out[drivers.Boot]
			}
		}
	}
	return out, err
}

// Medium gives the boot configuration behind a medium's token (medium.Media.Medium).
func (eng *Engine) Medium(ctx context.Context, token string, from netip.Addr) (api.BootConfig, error) {
	return eng.media.Medium(ctx, token, from)
}

// Program gives the boot configuration of a ramdisk that firmware loads over HTTPS (medium.Media.Program).
func (eng *Engine) Program(ctx context.Context, token string, from netip.Addr, load bool) (api.BootConfig, error) {
	return eng.media.Program(ctx, token, from, load)
}

func newSalt() []byte {
	b := make([]byte, 32)
	rand.Read(b) // never fails (crypto/rand)
	return b
}

// snapshot reads all that Decide needs of a node; what its inventories say of disks only with disks.
func (eng *Engine) snapshot(tx conductor.Tx, n conductor.Node, disks bool) (conductor.Snapshot, error) {
	s := conductor.Snapshot{Node: n, Heard: eng.Heard(n), Registry: eng.machines.Registry(n), Strange: eng.machines.Registry(n) == nil, Interfaces: eng.machines.Interfaces(n), Timeouts: eng.cfg.Timeouts, NewID: nodes.NewID, NewSalt: newSalt}
	var err error
	if n.Flow != nil {
		if s.Steps, err = tx.Steps(n.UUID, n.Flow.Run); err != nil {
			return s, err
		}
		eng.freshen(s.Steps)
	}
	if !disks {
		return s, nil
	}
	accepted, of, err := tx.AcceptedDisks(n.UUID)
	if s.Accepted, err = onlyDisks(accepted, err); err != nil {
		return s, err
	}
	if n.DisksChanged { // there are others since
		s.Accepted = nil
	}
	switch {
	case n.Boot == nil || n.Boot.Redeemed.IsZero():
	case s.Accepted != nil && of == n.Boot.Generation:
		s.Seen = s.Accepted // they are one
	default:
		s.Seen, err = onlyDisks(tx.DisksOf(n.UUID, n.Boot.Generation))
	}
	return s, err
}

// onlyDisks is an inventory as Decide gets it: its disks are all that is decided by.
func onlyDisks(d []inventory.Disk, err error) (*inventory.Inventory, error) {
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &inventory.Inventory{Disks: d}, nil
}

// apply is the one way a node changes by an event: decide, commit, act. more runs inside the transaction, after the
// decision; it may be nil. The error is the decision's refusal or the store's.
func (eng *Engine) apply(ctx context.Context, id conductor.NodeID, e conductor.Event, more func(conductor.Tx) error) error {
	var then func(conductor.Tx, conductor.Node) error
	if more != nil {
		then = func(tx conductor.Tx, _ conductor.Node) error { return more(tx) }
	}
	return eng.applyWith(ctx, id, func(conductor.Node) (conductor.Event, error) { return e, nil }, then)
}

// applyWith is apply for an event that depends on the node as the transaction sees it; more gets the node as it is after
// the decision. Until Run has read the stored effects nothing new may be decided: an effect would be carried out twice or
// not at all.
func (eng *Engine) applyWith(ctx context.Context, id conductor.NodeID, event func(conductor.Node) (conductor.Event, error), more func(conductor.Tx, conductor.Node) error) error {
	select {
	case <-eng.ready:
		return eng.applyNow(ctx, id, event, more)
	case <-ctx.Done():
		return fault.New(fault.StorageUnavailable, "the server is still going on with its stored work").Because(ctx.Err())
	}
}

// applyNow is applyWith for Run itself.
func (eng *Engine) applyNow(ctx context.Context, id conductor.NodeID, event func(conductor.Node) (conductor.Event, error), more func(conductor.Tx, conductor.Node) error) error {
	var d conductor.Decision
	err := eng.cfg.Store.Update(ctx, func(tx conductor.Tx) (err error) {
		if d, err = eng.judge(tx, id, event); err != nil {
			return err
		}
		if d.Refuse != nil && !d.Changed {
			return d.Refuse
		}
		eng.witness(&d)
		if err := commit(tx, &d, eng.cfg.Now()); err != nil {
			return err
		}
		if more == nil {
			return nil
		}
		return more(tx, d.Node)
	})
	if err != nil {
		return err
	}
	if d.Changed {
		eng.after(d)
	}
	return d.Refuse
}

// judge decides about a node as the transaction sees it.
func (eng *Engine) judge(tx conductor.Tx, id conductor.NodeID, event func(conductor.Node) (conductor.Event, error)) (conductor.Decision, error) {
	n, err := tx.Node(id)
	if err != nil {
		return conductor.Decision{}, err
	}
	e, err := event(n)
	if err != nil {
		return conductor.Decision{}, err
	}
	s, err := eng.snapshot(tx, n, conductor.LooksAtDisks(n, e))
	if err != nil {
		return conductor.Decision{}, err
	}
	if asked, plans := e.(conductor.VerbAsked); plans {
		if err := plansWith(tx, &s, asked.Ask.Verb); err != nil {
			return conductor.Decision{}, err
		}
	}
	return decide.Decide(s, e, eng.cfg.Now()), nil
}

// commit writes a decision; the store makes it one transaction (I11).
func commit(tx conductor.Tx, d *conductor.Decision, now time.Time) error {
	if !d.Changed {
		return nil
	}
	d.Node.Updated = now
	for i := range d.Steps {
		if err := tx.PutStep(&d.Steps[i]); err != nil {
			return err
		}
	}
	for _, f := range d.DropSecrets {
		if err := tx.PutSecret(d.Node.UUID, f, nil); err != nil {
			return err
		}
	}
	if d.InstanceGone {
		if err := records.Detach(tx, d.Node.UUID); err != nil {
			return err
		}
	}
	if err := tx.PutNode(&d.Node); err != nil {
		return err
	}
	if d.Found != nil {
		if err := records.KeepFound(tx, d, now); err != nil {
			return err
		}
	}
	if d.DropAllocation != "" {
		if err := tx.DeleteRecord(conductor.KindAllocation, d.DropAllocation); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	for _, h := range d.History {
		h.UUID = nodes.NewID()
		if err := tx.AppendHistory(h); err != nil {
			return err
		}
	}
	for _, a := range d.Audit {
		if err := tx.AppendAudit(a); err != nil {
			return err
		}
	}
	for i := range d.Effects {
		if err := tx.AddEffect(&d.Effects[i]); err != nil {
			return err
		}
	}
	return nil
}

// after carries a committed decision outside: log, index, effects, watchers.
func (eng *Engine) after(d conductor.Decision) {
	n := d.Node
	for _, h := range d.History {
		level := slog.LevelInfo
		if h.Severity == "ERROR" {
			level = slog.LevelError
		}
		eng.cfg.Log.Log(context.Background(), level, h.Event, "node", n.Name, "uuid", n.UUID, "state", n.State, "run", h.Run, "step", h.Step)
	}
	if eng.index(n) {
		if n.Boot == nil || n.Boot.Ended || n.Boot.Contested {
			eng.cfg.Dispatcher.Drop(n.UUID)
		}
		eng.recall(n)
	}
	for _, e := range d.Effects {
		eng.start(e)
	}
	eng.notify(n.UUID)
}

// index keeps what the ticker needs. It is false for a node that a newer decision has overtaken between commit and
// here: what that one set going must stay.
func (eng *Engine) index(n conductor.Node) bool {
	if n.Owed != nil {
		eng.looks.Add(n.UUID)
	}
	eng.mu.Lock()
	defer eng.mu.Unlock()
	if n.Version < eng.versions[n.UUID] {
		return false
	}
	eng.versions[n.UUID] = n.Version
	f := n.Flow
	if f == nil || f.Wait == nil || f.Phase == conductor.PhaseEnded {
		delete(eng.waits, n.UUID)
		return true
	}
	eng.waits[n.UUID] = waitIndex{deadline: f.Wait.Deadline, since: f.Wait.Since, phase: f.Phase, generation: n.Generation, silent: f.Wait.Silent}
	return true
}

// created takes in a node that is new in the store.
func (eng *Engine) created(id conductor.NodeID) {
	eng.mu.Lock()
	delete(eng.versions, id) // of a deleted node of the same UUID
	eng.mu.Unlock()
	eng.looks.Add(id)
}

// deleted forgets a node that is gone from the store, and ends what is under way for it.
func (eng *Engine) deleted(id conductor.NodeID) {
	eng.mu.Lock()
	delete(eng.waits, id)
	delete(eng.versions, id)
	delete(eng.hands, id)
	delete(eng.agents, id)
	eng.repace(id)
	if w := eng.workers[id]; w != nil && w.cancel != nil {
		w.cancel()
	}
	eng.mu.Unlock()
	eng.Ramdisks.Forget(id)
	eng.cfg.Dispatcher.Drop(id)
	if err := eng.cfg.Logs.Delete(id); err != nil {
		eng.cfg.Log.Warn("delete a node's logs", "node", id, "err", err)
	}
}
