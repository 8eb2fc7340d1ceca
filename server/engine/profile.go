package engine

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/disks"
	"github.com/bessemer-metal/bessemer/server/conductor/profile"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// The Ironic profile on the API's own address (conductor/profile.go).

// RamdiskLookup finds the node that a ramdisk runs on, by UUID or else by its cards' addresses, and gives it its token:
// token is "" when it was given before, or when none is wanted (old versions have none). lookup.not_found whatever is
// wrong with the claim; node.busy.
func (eng *Engine) RamdiskLookup(ctx context.Context, id string, addresses []string, source string, wantsToken bool) (n conductor.Node, token string, err error) {
	find := func(tx conductor.Tx) (conductor.Node, error) {
		n, err := ramdiskNode(tx, id, addresses)
		if err == nil && !profile.MayLookUp(n) {
			err = profile.NotLookedUp()
		}
		return n, err
	}
	err = eng.cfg.Store.View(ctx, func(tx conductor.Tx) (err error) { n, err = find(tx); return err })
	if err != nil || !wantsToken {
		return n, "", err
	}
	return eng.admit(ctx, n, find, source)
}

// admit makes the token of a node that a view found, in a transaction that finds it again and sees that there is none: its
// version alone would not tell that the node is another of the same UUID by then, or its card another's.
func (eng *Engine) admit(ctx context.Context, n conductor.Node, find func(conductor.Tx) (conductor.Node, error), source string) (_ conductor.Node, token string, err error) {
	if r := n.Ramdisk; r != nil && (r.Source == source || r.Contested) {
		return n, "", nil // as it was: nothing is written
	}
	fresh := newAgentToken()
	err = eng.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		token = ""
		if n, err = find(tx); err != nil {
			return err
		}
		given, changed, err := profile.Admit(&n, fresh, source, eng.cfg.Now())
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
			e := conductor.Entry{UUID: nodes.NewID(), Node: n.UUID, Time: eng.cfg.Now(), Severity: "ERROR", Type: "identity", State: n.State, Target: n.Target,
				Event: "looked up from a second address, " + source + ": what its ramdisk says counts no more", Reason: fault.NodeContested}
			if err := tx.AppendHistory(e); err != nil {
				return err
			}
		}
		return tx.AppendAudit(conductor.Audit{Time: eng.cfg.Now(), Actor: "ramdisk", Node: n.UUID, Act: act,
			Detail: map[string]any{"profile": "ironic", "source": source, "first": n.Ramdisk.Source}})
	})
	if err != nil {
		return n, "", err
	}
	eng.notify(n.UUID)
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
func (eng *Engine) RamdiskHeartbeat(ctx context.Context, b profile.Beat) error {
	var n conductor.Node
	look := func(tx conductor.Tx) (changed bool, err error) {
		if n, err = nodes.Find(tx, b.Node); err != nil {
			return false, err
		}
		return profile.Heard(&n, b)
	}
	changed := false
	err := eng.cfg.Store.View(ctx, func(tx conductor.Tx) (err error) { changed, err = look(tx); return err })
	if err != nil {
		return err
	}
	if changed {
		err = eng.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
			changed, err := look(tx)
			if err != nil || !changed {
				return err
			}
			return tx.PutNode(&n)
		})
		if err != nil {
			return err
		}
		eng.notify(n.UUID)
	}
	if profile.KeepsBeats(n) {
		eng.mu.Lock()
		eng.beats[n.UUID] = eng.cfg.Now()
		eng.mu.Unlock()
	}
	return nil
}

// RamdiskHeard is when the node's ramdisk of the Ironic profile was heard last; zero: not since this server started.
func (eng *Engine) RamdiskHeard(id conductor.NodeID) time.Time {
	eng.mu.Lock()
	defer eng.mu.Unlock()
	return eng.beats[id]
}

// RamdiskInspection takes what a ramdisk found out, when exactly one node that waits for it has one of the addresses, or
// is the one that id names and none of the addresses is another's. The answer is that of RamdiskLookup. raw is the
// inventory as it came; request.invalid when its fields are of other kinds than Ironic's.
func (eng *Engine) RamdiskInspection(ctx context.Context, id string, addresses []string, raw json.RawMessage, plugin map[string]any, source string, wantsToken bool) (n conductor.Node, token string, err error) {
	var inv inventory.Inventory
	if err := json.Unmarshal(raw, &inv); err != nil {
		return n, "", fault.New(fault.RequestInvalid, "the inventory's fields are not of the kinds that an inventory's are").Because(err)
	}
	find := func(tx conductor.Tx) (conductor.Node, error) {
		n, err := inspected(tx, id, addresses)
		if err == nil && !profile.Inspects(n, eng.interfaces(n)) {
			err = profile.NotLookedUp()
		}
		return n, err
	}
	if err := eng.cfg.Store.View(ctx, func(tx conductor.Tx) (err error) { n, err = find(tx); return err }); err != nil {
		return n, "", err
	}
	if wantsToken {
		if n, token, err = eng.admit(ctx, n, find, source); err != nil {
			return n, "", err
		}
	}
	err = eng.apply(ctx, n.UUID, conductor.InspectionTold{Source: source}, func(tx conductor.Tx) error {
		now, err := tx.Node(n.UUID)
		if err != nil {
			return err
		}
		n = now
		if now.Ramdisk != nil && now.Ramdisk.Contested {
			return nil // what is stored is that it counts for nothing
		}
		return eng.keepTold(tx, now, raw, inv, plugin)
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
func (eng *Engine) keepTold(tx conductor.Tx, n conductor.Node, raw []byte, inv inventory.Inventory, plugin map[string]any) error {
	si := conductor.StoredInventory{Node: n.UUID, Generation: n.Generation, Taken: eng.cfg.Now(), Accepted: true, Inventory: raw, Disks: inv.Disks, Plugin: plugin}
	if err := tx.PutInventory(si); err != nil {
		return err
	}
	describe(&n, inv)
	return tx.PutNode(&n)
}

// describe puts what an inspection found into the node's properties. What it does not know stays as it is.
func describe(n *conductor.Node, inv inventory.Inventory) {
	if n.Properties == nil {
		n.Properties = map[string]any{}
	}
	if inv.CPU.Architecture != "" {
		n.Properties["cpu_arch"] = inv.CPU.Architecture
	}
	if inv.CPU.Count > 0 {
		n.Properties["cpus"] = inv.CPU.Count
	}
	if inv.Memory.PhysicalMB > 0 {
		n.Properties["memory_mb"] = inv.Memory.PhysicalMB
	}
	if root, err := disks.Root(*n, inv); err == nil {
		n.Properties["local_gb"] = root.Size >> 30
	}
}
