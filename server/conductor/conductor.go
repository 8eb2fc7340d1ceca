package conductor

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Config is what a conductor is made of. All fields but AnySource, CheckOrigin and CanBoot are required.
type Config struct {
	Store        Store
	Drivers      []Driver
	Dispatcher   Dispatcher
	Logs         Logs
	ConfigDrives ConfigDriver
	BootKey      []byte                    // 32 bytes: per-boot secrets and media tokens are derived from it
	AgentURL     func() string             // https://address:6386 as agents reach it
	MediumURL    func(token string) string // where the boot listener serves the medium of a token, as BMCs reach it
	Pins         []string                  // of the agent listener's key, for the boot configuration
	Now          func() time.Time
	Log          *slog.Logger
	Timeouts     Timeouts
	AnySource    bool                                           // media are served to any address, not only the BMC's
	CheckOrigin  func(ctx context.Context, rawURL string) error // T4; nil allows all
	CanBoot      func() error                                   // why no ramdisk can be booted now; nil: it can
}

// Conductor commits decisions and carries out their effects. Its methods are safe for concurrent use. Run must be
// running for effects to be carried out.
type Conductor struct {
	cfg      Config
	drivers  map[string]Driver
	catalogs map[string]*step.Registry

	mu       sync.Mutex
	workers  map[NodeID]*worker
	hands    map[NodeID]chan struct{} // one slot, held by whoever acts upon the node's BMC (I16)
	waits    map[NodeID]waitIndex
	versions map[NodeID]int64 // of the newest decision that was carried outside
	agents   map[NodeID]*presence
	subs     map[*subscription]struct{}
	run      context.Context // nil until Run, and after it
	ready    chan struct{}   // closed when Run has gone on with what the store held
	wg       sync.WaitGroup
}

// waitIndex is what the ticker needs of a node with open work, so that it reads no store.
type waitIndex struct {
	deadline   time.Time
	since      time.Time
	phase      Phase
	generation uint64
}

// New checks the configuration and makes the step catalogues of each hardware type.
func New(cfg Config) (*Conductor, error) {
	if len(cfg.BootKey) != 32 {
		return nil, fmt.Errorf("boot key: %d bytes, want 32", len(cfg.BootKey))
	}
	c := &Conductor{
		cfg: cfg, drivers: map[string]Driver{}, catalogs: map[string]*step.Registry{},
		workers: map[NodeID]*worker{}, hands: map[NodeID]chan struct{}{}, waits: map[NodeID]waitIndex{}, versions: map[NodeID]int64{}, agents: map[NodeID]*presence{},
		subs: map[*subscription]struct{}{}, ready: make(chan struct{}),
	}
	for _, d := range cfg.Drivers {
		reg, err := step.NewRegistry(append(append([]step.Step{}, d.Steps()...), catalog.InBand...)...)
		if err != nil {
			return nil, fmt.Errorf("steps of hardware type %s: %w", d.Name(), err)
		}
		c.drivers[d.Name()], c.catalogs[d.Name()] = d, reg
	}
	return c, nil
}

// Drivers lists the hardware types.
func (c *Conductor) Drivers() []Driver { return c.cfg.Drivers }

// Catalog is every step a node of this hardware type may be asked for; nil for an unknown type.
func (c *Conductor) Catalog(driver string) *step.Registry { return c.catalogs[driver] }

// NewID makes a UUID, as nodes, ports, steps and runs have one.
func NewID() string { return uuid.NewString() }

func newSalt() []byte {
	b := make([]byte, 32)
	rand.Read(b) // never fails (crypto/rand)
	return b
}

// snapshot reads all that Decide needs of a node.
func (c *Conductor) snapshot(tx Tx, n Node) (Snapshot, error) {
	s := Snapshot{Node: n, Registry: c.catalogs[n.Driver], Timeouts: c.cfg.Timeouts, NewID: NewID, NewSalt: newSalt}
	if s.Registry == nil {
		return s, fault.New(fault.DriverUnknown, "hardware type %q is not known here", n.Driver).At(string(n.UUID), "")
	}
	var err error
	if n.Flow != nil {
		if s.Steps, err = tx.Steps(n.UUID, n.Flow.Run); err != nil {
			return s, err
		}
	}
	if n.Boot != nil && !n.Boot.Redeemed.IsZero() {
		if s.Seen, err = inventoryOf(tx.InventoryOf(n.UUID, n.Boot.Generation)); err != nil {
			return s, err
		}
	}
	if s.Accepted, err = inventoryOf(tx.Inventory(n.UUID)); err != nil {
		return s, err
	}
	return s, nil
}

func inventoryOf(i StoredInventory, err error) (*inventory.Inventory, error) {
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var inv inventory.Inventory
	if err := json.Unmarshal(i.Inventory, &inv); err != nil {
		return nil, fmt.Errorf("stored inventory of %s: %w", i.Node, err)
	}
	return &inv, nil
}

// apply is the one way a node changes by an event: decide, commit, act. more runs inside the transaction, after the
// decision; it may be nil. The error is the decision's refusal or the store's.
func (c *Conductor) apply(ctx context.Context, id NodeID, e Event, more func(Tx) error) error {
	return c.applyWith(ctx, id, func(Node) (Event, error) { return e, nil }, more)
}

// applyWith is apply for an event that depends on the node as the transaction sees it. Until Run has read the stored
// effects nothing new may be decided: an effect would be carried out twice or not at all.
func (c *Conductor) applyWith(ctx context.Context, id NodeID, event func(Node) (Event, error), more func(Tx) error) error {
	select {
	case <-c.ready:
		return c.applyNow(ctx, id, event, more)
	case <-ctx.Done():
		return fault.New(fault.StorageUnavailable, "the server is still going on with its stored work").Because(ctx.Err())
	}
}

// applyNow is applyWith for Run itself.
func (c *Conductor) applyNow(ctx context.Context, id NodeID, event func(Node) (Event, error), more func(Tx) error) error {
	var d Decision
	err := c.cfg.Store.Update(ctx, func(tx Tx) error {
		n, err := tx.Node(id)
		if err != nil {
			return err
		}
		e, err := event(n)
		if err != nil {
			return err
		}
		s, err := c.snapshot(tx, n)
		if err != nil {
			return err
		}
		now := c.cfg.Now()
		d = Decide(s, e, now)
		if d.Refuse != nil && !d.Changed {
			return d.Refuse
		}
		if err := commit(tx, &d, now); err != nil {
			return err
		}
		if more == nil {
			return nil
		}
		return more(tx)
	})
	if err != nil {
		return err
	}
	if d.Changed {
		c.after(d)
	}
	return d.Refuse
}

// commit writes a decision; the store makes it one transaction (I11).
func commit(tx Tx, d *Decision, now time.Time) error {
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
	if err := tx.PutNode(&d.Node); err != nil {
		return err
	}
	for _, h := range d.History {
		h.UUID = NewID()
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
func (c *Conductor) after(d Decision) {
	n := d.Node
	for _, h := range d.History {
		level := slog.LevelInfo
		if h.Severity == "ERROR" {
			level = slog.LevelError
		}
		c.cfg.Log.Log(context.Background(), level, h.Event, "node", n.Name, "uuid", n.UUID, "state", n.State, "run", h.Run, "step", h.Step)
	}
	if c.index(n) {
		if n.Boot == nil || n.Boot.Ended || n.Boot.Contested {
			c.cfg.Dispatcher.Drop(n.UUID)
		}
		c.recall(n)
	}
	for _, e := range d.Effects {
		c.start(e)
	}
	c.notify(n.UUID)
}

// index keeps what the ticker needs. It is false for a node that a newer decision has overtaken between commit and
// here: what that one set going must stay.
func (c *Conductor) index(n Node) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.Version < c.versions[n.UUID] {
		return false
	}
	c.versions[n.UUID] = n.Version
	f := n.Flow
	if f == nil || f.Wait == nil || f.Phase == PhaseEnded {
		delete(c.waits, n.UUID)
		return true
	}
	c.waits[n.UUID] = waitIndex{deadline: f.Wait.Deadline, since: f.Wait.Since, phase: f.Phase, generation: n.Generation}
	return true
}
