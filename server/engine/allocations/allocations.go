// Package allocations gives nodes to who asks for one of a kind. An allocation is stored as allocating and answered at
// once; one goroutine finds its node. What was allocating when the server stopped is gone on with when it starts.
//
// Start at Allocator.Run; fits says whether an allocation may have a node.
package allocations

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/server/engine/retry"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Allocator settles the allocations of a store. Its methods are safe for concurrent use.
type Allocator struct {
	cfg    Config
	wishes chan struct{} // one slot: there are allocations to settle
}

// Config is what an allocator is made with. All fields are required.
type Config struct {
	Store  conductor.Store
	Now    func() time.Time
	Log    *slog.Logger
	Notify func(conductor.NodeID) // the node's record changed
}

// New makes one that settles nothing before Run.
func New(cfg Config) *Allocator { return &Allocator{cfg: cfg, wishes: make(chan struct{}, 1)} }

// Put keeps the rules of allocations before one is stored; before is nil for a new one. One that names a node is for a node in use already: it is settled here.
func (al *Allocator) Put(tx conductor.Tx, before, after conductor.Record) error {
	a := after.(*conductor.Allocation)
	if before != nil {
		was := before.(*conductor.Allocation)
		a.State, a.Node, a.LastError = was.State, was.Node, was.LastError
		return nil
	}
	for i, ident := range a.Candidates {
		n, err := nodes.Find(tx, string(ident))
		if fault.Is(err, fault.NotFound) {
			return fault.New(fault.RequestInvalid, "Node %s could not be found.", ident)
		}
		if err != nil {
			return err
		}
		a.Candidates[i] = n.UUID
	}
	holders, err := tx.Nodes(conductor.NodeFilter{InstanceUUID: a.UUID, Limit: 1})
	if err != nil {
		return err
	}
	if len(holders) > 0 && (a.Node == "" || holders[0].UUID != a.Node) { // the node would get it as its instance
		return fault.New(fault.NodeInUse, "UUID %s is that of the instance of node %s", a.UUID, holders[0].UUID).
			WithHint("give the allocation another UUID, or none").At(string(holders[0].UUID), "")
	}
	a.State = conductor.Allocating
	if a.Node == "" {
		if a.Class == "" {
			return fault.New(fault.RequestInvalid, "The resource_class field is mandatory when not backfilling")
		}
		return nil
	}
	n, err := nodes.Named(tx, a.Node)
	if err != nil {
		return err
	}
	var wrong []string
	say := func(bad bool, text string) {
		if bad {
			wrong = append(wrong, text)
		}
	}
	say(n.State != state.Active, `Node must be in the "active" state, but the current state is "`+string(n.State)+`"`)
	say(a.Class != "" && n.ResourceClass != a.Class, "Resource class "+n.ResourceClass+" does not match the requested resource class "+a.Class)
	say(!hasTraits(n, a.Traits), "List of traits "+strings.Join(n.Traits, ", ")+" does not match the requested traits "+strings.Join(a.Traits, ", "))
	say(len(a.Candidates) > 0 && !slices.Contains(a.Candidates, n.UUID), "Candidate nodes must be empty or contain the target node")
	if len(wrong) > 0 {
		return fault.New(fault.AllocationFailed, "Failed to process allocation %s: Cannot backfill an allocation for node %s: %s.", a.UUID, n.UUID, strings.Join(wrong, "; ")).
			WithHint("an allocation that names a node is for one that is active already").At(string(n.UUID), "")
	}
	if n.Allocation != "" || n.InstanceUUID != "" && n.InstanceUUID != a.UUID {
		return fault.New(fault.NodeInUse, "Node %s is associated with instance %s.", n.UUID, n.InstanceUUID).
			WithHint("give the allocation the instance's UUID, or none").At(string(n.UUID), "")
	}
	if a.Class == "" {
		a.Class = n.ResourceClass
	}
	return al.give(tx, &n, a)
}

// give writes into the node that the allocation has it.
func (al *Allocator) give(tx conductor.Tx, n *conductor.Node, a *conductor.Allocation) error {
	info := map[string]any{}
	for k, v := range n.InstanceInfo {
		info[k] = v
	}
	info["traits"] = append([]string{}, a.Traits...)
	n.InstanceInfo, n.InstanceUUID, n.Allocation, n.Updated = info, a.UUID, a.UUID, al.cfg.Now()
	a.State, a.Node, a.LastError = conductor.AllocationOn, n.UUID, ""
	if err := tx.PutNode(n); err != nil {
		return err
	}
	return tx.AppendHistory(conductor.Entry{UUID: nodes.NewID(), Node: n.UUID, Time: n.Updated, Severity: "INFO", Type: "allocation",
		Event: "reserved for allocation " + a.UUID, State: n.State})
}

// updatable are the states with a target in which a node's record may be changed all the same.
var updatable = []state.State{state.DeployFail, state.Inspecting, state.InspectFail, state.InspectWait, state.CleanFail, state.Error,
	state.Verifying, state.AdoptFail, state.RescueFail, state.UnrescueFail, state.ServiceHold, state.ServiceFail}

// Remove frees an allocation's node before it is deleted; not while an instance is on it or is being put there or taken away.
func (al *Allocator) Remove(tx conductor.Tx, r conductor.Record) error {
	a := r.(*conductor.Allocation)
	if a.Node == "" {
		return nil
	}
	n, err := tx.Node(a.Node)
	if err != nil {
		return err
	}
	if !n.Maintenance {
		if n.Target != "" && !slices.Contains(updatable, n.State) {
			return fault.New(fault.NodeInUse, "Cannot remove allocation %s for node %s, because the node is in state %s where updates are not allowed (and maintenance mode is off)",
				a.UUID, n.UUID, n.State).At(string(n.UUID), "")
		}
		if n.State == state.Active {
			return fault.New(fault.NodeInUse, "Cannot remove allocation %s for node %s, because the node is active (and maintenance mode is off)", a.UUID, n.UUID).
				WithHint("bessemer node undeploy %s removes its allocation too", cmp.Or(n.Name, string(n.UUID))).At(string(n.UUID), "")
		}
	}
	if n.Allocation != a.UUID {
		return nil
	}
	n.Allocation, n.InstanceUUID, n.Updated = "", "", al.cfg.Now()
	return tx.PutNode(&n)
}

// Changed, called after the commit, tells the goroutine of new work, and whoever watches the node.
func (al *Allocator) Changed(r conductor.Record) {
	a := r.(*conductor.Allocation)
	if a.State == conductor.Allocating {
		al.wake()
	}
	if a.Node != "" {
		al.cfg.Notify(a.Node)
	}
}

func (al *Allocator) wake() {
	select {
	case al.wishes <- struct{}{}:
	default: // it is awake, or will be
	}
}

// Run settles allocations until ctx ends, one after the other in order of creation.
func (al *Allocator) Run(ctx context.Context) {
	for try := 0; ; {
		err := al.settleAll(ctx)
		if err == nil {
			try = 0
			select {
			case <-al.wishes:
				continue
			case <-ctx.Done():
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
		try++
		al.cfg.Log.Error("allocate nodes", "err", err)
		if !retry.Pause(ctx, retry.Backoff(try)) {
			return
		}
	}
}

func (al *Allocator) settleAll(ctx context.Context) error {
	for {
		var open []conductor.Allocation
		if err := retry.View(ctx, al.cfg.Store, al.cfg.Log, func(tx conductor.Tx) (err error) {
			open, err = conductor.RecordsOf[conductor.Allocation](tx, conductor.RecordFilter{Is: map[string][]string{"state": {conductor.Allocating}}, Limit: 100})
			return err
		}); err != nil || len(open) == 0 {
			return err
		}
		for _, a := range open {
			if err := al.settle(ctx, a); err != nil {
				return err
			}
		}
	}
}

// settle finds a node, or ends the allocation in error: also one that can't be carried out, so that it stops no
// other. What is worth trying again, the store's absence above all, is the error.
func (al *Allocator) settle(ctx context.Context, wish conductor.Allocation) error {
	candidates, why, err := al.candidates(ctx, wish)
	if err == nil {
		err = al.reserve(ctx, wish, candidates, why)
	}
	if err == nil || ctx.Err() != nil || fault.From(err).Code.Retriable() {
		return err
	}
	al.cfg.Log.Error("allocate a node", "allocation", wish.UUID, "err", err)
	return al.reserve(ctx, wish, nil, strings.TrimSuffix(fault.From(err).Message, "."))
}

// reserve ends the allocation on the first candidate that still fits, or in error. Candidates are looked for outside the
// transaction, so that a large fleet does not hold up who writes, and judged again inside. Without a candidate why says
// what was wrong.
func (al *Allocator) reserve(ctx context.Context, wish conductor.Allocation, candidates []conductor.NodeID, why string) error {
	var done conductor.Allocation
	err := al.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		a, err := conductor.RecordOf[conductor.Allocation](tx, wish.UUID)
		if fault.Is(err, fault.NotFound) {
			return nil // deleted meanwhile
		}
		if err != nil || a.State != conductor.Allocating {
			return err
		}
		why := why
		if why == "" {
			why = "all nodes were filtered out during reservation"
		}
		for _, id := range candidates {
			n, err := tx.Node(id)
			if fault.Is(err, fault.NotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if !fits(n, a) || !hasTraits(n, a.Traits) {
				continue
			}
			if err := al.give(tx, &n, &a); err != nil {
				return err
			}
			why = ""
			break
		}
		if why != "" {
			a.State, a.LastError = conductor.AllocationError,
				fault.New(fault.AllocationFailed, "Failed to process allocation %s: %s.", a.UUID, why).Report()
		}
		a.Updated = al.cfg.Now()
		done = a
		if err := tx.PutRecord(&a); err != nil {
			return err
		}
		return tx.AppendAudit(conductor.Audit{Time: a.Updated, Actor: "server", Node: a.Node, Act: "allocation." + a.State, Detail: map[string]any{"uuid": a.UUID}})
	})
	if err == nil && done.UUID != "" {
		al.Changed(&done)
	}
	return err
}

// candidates are the nodes that fit, one of the allocation's own name first, else in no order; without any, why.
func (al *Allocator) candidates(ctx context.Context, a conductor.Allocation) (ids []conductor.NodeID, why string, err error) {
	const page = 500
	no, any := false, false
	f := conductor.NodeFilter{State: string(state.Available), ResourceClass: a.Class, Associated: &no, Maintenance: &no, Project: a.Owner, Limit: page}
	var namesake conductor.NodeID
	for {
		var found []conductor.Node
		if err := retry.View(ctx, al.cfg.Store, al.cfg.Log, func(tx conductor.Tx) (err error) { found, err = tx.Nodes(f); return err }); err != nil {
			return nil, "", err
		}
		for _, n := range found {
			if !fits(n, a) {
				continue
			}
			any = true
			switch {
			case !hasTraits(n, a.Traits):
			case a.Name != "" && n.Name == a.Name:
				namesake = n.UUID
			default:
				ids = append(ids, n.UUID)
			}
		}
		if len(found) < page {
			break
		}
		f.After = found[len(found)-1].UUID
	}
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	if namesake != "" {
		ids = slices.Insert(ids, 0, namesake)
	}
	switch {
	case len(ids) > 0:
	case any:
		why = "no suitable nodes have the requested traits " + strings.Join(a.Traits, ", ")
	case len(a.Candidates) > 0:
		why = "none of the requested nodes are available and match the resource class " + a.Class
	default:
		why = "no available nodes match the resource class " + a.Class
	}
	return ids, why, nil
}

// fits tells whether the allocation may have the node, traits apart. A node whose record is in doubt waits for its
// operator (I15), and one whose machine is yet to be powered off for that.
func fits(n conductor.Node, a conductor.Allocation) bool {
	return n.State == state.Available && n.InstanceUUID == "" && n.Allocation == "" && !n.Maintenance && !n.Retired && n.Unverified == nil && n.Owed == nil &&
		(n.Power == conductor.PowerOn || n.Power == conductor.PowerOff) && n.ResourceClass == a.Class &&
		(a.Owner == "" || n.Owner == a.Owner || n.Lessee == a.Owner) &&
		(len(a.Candidates) == 0 || slices.Contains(a.Candidates, n.UUID))
}

func hasTraits(n conductor.Node, traits []string) bool {
	return !slices.ContainsFunc(traits, func(t string) bool { return !slices.Contains(n.Traits, t) })
}
