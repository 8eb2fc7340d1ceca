// Package ramdisks takes what ramdisks of the Ironic profile say on the API's own address: lookups, heartbeats and
// inspections. The rules of what of it counts are in conductor/profile.
//
// Start at RamdiskLookup.
package ramdisks

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/profile"
	"github.com/bessemer-metal/bessemer/server/engine/machines"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// Config is what ramdisks are listened to with. All fields are required.
type Config struct {
	Store    conductor.Store
	Now      func() time.Time
	Notify   func(conductor.NodeID) // the node's record changed
	Machines *machines.Machines
	// Apply lets a node change by an event; more runs inside the transaction, after the decision.
	Apply func(ctx context.Context, id conductor.NodeID, e conductor.Event, more func(conductor.Tx) error) error
}

// Ramdisks listens to them. Its methods are safe for concurrent use.
type Ramdisks struct {
	cfg   Config
	mu    sync.Mutex
	beats map[conductor.NodeID]time.Time // when each was heard last
}

// New knows of no ramdisk yet.
func New(cfg Config) *Ramdisks { return &Ramdisks{cfg: cfg, beats: map[conductor.NodeID]time.Time{}} }

// RamdiskLookup finds the node that a ramdisk runs on, by UUID or else by its cards' addresses, and gives it its token:
// token is "" when it was given before, or when none is wanted (old versions have none). lookup.not_found whatever is
// wrong with the claim; node.busy.
func (r *Ramdisks) RamdiskLookup(ctx context.Context, id string, addresses []string, source string, wantsToken bool) (n conductor.Node, token string, err error) {
	find := func(tx conductor.Tx) (conductor.Node, error) {
		n, err := ramdiskNode(tx, id, addresses)
		if err == nil && !profile.MayLookUp(n) {
			err = profile.NotLookedUp()
		}
		return n, err
	}
	err = r.cfg.Store.View(ctx, func(tx conductor.Tx) (err error) { n, err = find(tx); return err })
	if err != nil || !wantsToken {
		return n, "", err
	}
	return r.admit(ctx, n, find, source)
}

// admit makes the token of a node that a view found, in a transaction that finds it again and sees that there is none: its
// version alone would not tell that the node is another of the same UUID by then, or its card another's.
func (r *Ramdisks) admit(ctx context.Context, n conductor.Node, find func(conductor.Tx) (conductor.Node, error), source string) (_ conductor.Node, token string, err error) {
	if is := n.Ramdisk; is != nil && (is.Source == source || is.Contested) {
		return n, "", nil // as it was: nothing is written
	}
	fresh := newAgentToken()
	err = r.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		token = ""
		if n, err = find(tx); err != nil {
			return err
		}
		given, changed, err := profile.Admit(&n, fresh, source, r.cfg.Now())
		if err != nil || !changed {
			return err
		}
		if err := tx.PutNode(&n); err != nil {
			return err
		}
		act := "lookup"
		if given {
			token = fresh
		} else {
			act = "lookup.contested"
			e := conductor.Entry{UUID: nodes.NewID(), Node: n.UUID, Time: r.cfg.Now(), Severity: "ERROR", Type: "identity", State: n.State, Target: n.Target,
				Event: "looked up from a second address, " + source + ": what its ramdisk says counts no more", Reason: fault.NodeContested}
			if err := tx.AppendHistory(e); err != nil {
				return err
			}
		}
		return tx.AppendAudit(conductor.Audit{Time: r.cfg.Now(), Actor: "ramdisk", Node: n.UUID, Act: act,
			Detail: map[string]any{"profile": "ironic", "source": source, "first": n.Ramdisk.Source}})
	})
	if err != nil {
		return n, "", err
	}
	r.cfg.Notify(n.UUID)
	return n, token, nil
}

// newAgentToken is 32 random bytes, as Ironic's tokens are.
func newAgentToken() string {
	var b [32]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// ramdiskNode is the one node that a claim can mean.
func ramdiskNode(tx conductor.Tx, id string, addresses []string) (conductor.Node, error) {
	if id != "" {
		n, err := tx.Node(conductor.NodeID(id))
		if fault.Is(err, fault.NotFound) {
			err = profile.NotLookedUp()
		}
		return n, err
	}
	var found []conductor.Node
	for _, a := range addresses {
		n, err := tx.NodeByAddress(a)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return n, err
		}
		if !slices.ContainsFunc(found, func(o conductor.Node) bool { return o.UUID == n.UUID }) {
			found = append(found, n)
		}
	}
	if len(found) != 1 {
		return conductor.Node{}, profile.NotLookedUp()
	}
	return found[0], nil
}

// RamdiskHeartbeat takes a heartbeat. One that says nothing new is kept in memory (I29). node.not_found, request.invalid,
// node.busy.
func (r *Ramdisks) RamdiskHeartbeat(ctx context.Context, b profile.Beat) error {
	var n conductor.Node
	look := func(tx conductor.Tx) (changed bool, err error) {
		if n, err = nodes.Find(tx, b.Node); err != nil {
			return false, err
		}
		return profile.Heard(&n, b)
	}
	changed := false
	err := r.cfg.Store.View(ctx, func(tx conductor.Tx) (err error) { changed, err = look(tx); return err })
	if err != nil {
		return err
	}
	if changed {
		err = r.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
			changed, err := look(tx)
			if err != nil || !changed {
				return err
			}
			return tx.PutNode(&n)
		})
		if err != nil {
			return err
		}
		r.cfg.Notify(n.UUID)
	}
	if profile.KeepsBeats(n) {
		r.mu.Lock()
		r.beats[n.UUID] = r.cfg.Now()
		r.mu.Unlock()
	}
	return nil
}

// RamdiskHeard is when the node's ramdisk of the Ironic profile was heard last; zero: not since this server started.
func (r *Ramdisks) RamdiskHeard(id conductor.NodeID) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.beats[id]
}

// Forget forgets when a node's was heard, as the node is gone.
func (r *Ramdisks) Forget(id conductor.NodeID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.beats, id)
}

// RamdiskInspection takes what a ramdisk found out, when exactly one node that waits for it has one of the addresses, or
// is the one that id names and none of the addresses is another's. The answer is that of RamdiskLookup. raw is the
// inventory as it came; request.invalid when its fields are of other kinds than Ironic's.
func (r *Ramdisks) RamdiskInspection(ctx context.Context, id string, addresses []string, raw json.RawMessage, plugin map[string]any, source string, wantsToken bool) (n conductor.Node, token string, err error) {
	var inv inventory.Inventory
	if err := json.Unmarshal(raw, &inv); err != nil {
		return n, "", fault.New(fault.RequestInvalid, "the inventory's fields are not of the kinds that an inventory's are").Because(err)
	}
	find := func(tx conductor.Tx) (conductor.Node, error) {
		n, err := inspected(tx, id, addresses)
		if err == nil && !profile.Inspects(n, r.cfg.Machines.Interfaces(n)) {
			err = profile.NotLookedUp()
		}
		return n, err
	}
	if err := r.cfg.Store.View(ctx, func(tx conductor.Tx) (err error) { n, err = find(tx); return err }); err != nil {
		return n, "", err
	}
	if wantsToken {
		if n, token, err = r.admit(ctx, n, find, source); err != nil {
			return n, "", err
		}
	}
	err = r.cfg.Apply(ctx, n.UUID, conductor.InspectionTold{Source: source}, func(tx conductor.Tx) error {
		now, err := tx.Node(n.UUID)
		if err != nil {
			return err
		}
		n = now
		if now.Ramdisk != nil && now.Ramdisk.Contested {
			return nil // what is stored is that it counts for nothing
		}
		return r.keepTold(tx, now, raw, inv, plugin)
	})
	if err != nil {
		return n, "", err
	}
	return n, token, nil
}

// inspected is ramdiskNode with addresses that must not be another node's.
func inspected(tx conductor.Tx, id string, addresses []string) (conductor.Node, error) {
	if id == "" {
		return ramdiskNode(tx, "", addresses)
	}
	n, err := ramdiskNode(tx, id, nil)
	for _, a := range addresses {
		if err != nil {
			break
		}
		var other conductor.Node
		if other, err = tx.NodeByAddress(a); fault.Is(err, fault.NotFound) {
			err = nil
		} else if err == nil && other.UUID != n.UUID {
			err = profile.NotLookedUp()
		}
	}
	return n, err
}

// keepTold stores an inspection's inventory and what follows from it for the properties.
func (r *Ramdisks) keepTold(tx conductor.Tx, n conductor.Node, raw []byte, inv inventory.Inventory, plugin map[string]any) error {
	si := conductor.StoredInventory{Node: n.UUID, Generation: n.Generation, Taken: r.cfg.Now(), Accepted: true, Inventory: raw, Disks: inv.Disks, Plugin: plugin}
	if err := tx.PutInventory(si); err != nil {
		return err
	}
	n.DisksChanged = false
	nodes.Describe(&n, inv)
	return tx.PutNode(&n)
}
