package engine

import (
	"context"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/disks"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/server/engine/records"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// presence is what is known of a node's agent or running step between writes: liveness and progress live in memory,
// and their loss only extends deadlines (I29).
type presence struct {
	generation uint64
	seq        uint64
	step       step.ID
	progress   *step.Progress
	kept       time.Time         // when progress was last stored
	checkpoint []step.Checkpoint // what of it
	uncut      string            // and what of this
}

// Lookup answers an agent's claim; inv is what r.Inventory was decoded to. Faults: channel.claim_refused, channel.window_closed, node.contested.
func (eng *Engine) Lookup(ctx context.Context, p conductor.Peer, r api.LookupRequest, inv inventory.Inventory) (conductor.Admission, error) {
	if r.Node == "" || r.Secret == "" {
		return conductor.Admission{}, fault.New(fault.ChannelClaim, "the claim names no node or carries no boot secret").
			WithHint("boot the ramdisk by its medium; it carries both")
	}
	proven := false
	var adm conductor.Admission
	err := eng.applyWith(ctx, r.Node, func(n conductor.Node) (conductor.Event, error) {
		proven = eng.media.Proves(n, r.Secret)
		eng.mu.Lock()
		fenced := eng.fenced[r.Node]
		eng.mu.Unlock()
		if proven && fenced {
			return nil, fault.New(fault.NodeBusy, "the machine is being booted anew; what runs on it now is about to lose power").At(string(r.Node), "")
		}
		return conductor.LookedUp{Peer: p, Ask: r, Proven: proven}, nil
	}, func(tx conductor.Tx, n conductor.Node) error {
		if n.Boot == nil || n.Boot.Contested || !proven || n.Boot.Generation != r.Generation {
			return nil
		}
		adm = conductor.Admission{Node: n.UUID, Name: n.Name, Generation: n.Boot.Generation, Level: n.Boot.Level, Interval: eng.cfg.Timeouts.Beat}
		return eng.keepInventory(tx, n, r.Inventory, inv)
	})
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			// Which nodes exist is nobody's business here.
			return conductor.Admission{}, fault.New(fault.ChannelClaim, "the claim does not prove this boot")
		}
		return conductor.Admission{}, err
	}
	eng.mu.Lock()
	if a := eng.agents[r.Node]; a == nil || a.generation != adm.Generation {
		eng.agents[r.Node] = &presence{generation: adm.Generation, seq: r.Seq}
	}
	eng.mu.Unlock()
	return adm, nil
}

// keepInventory stores what a boot brought. That of an inspection that goes on and booted the ramdisk is the accepted one, and
// so is the first ever seen, and the first after RAID volumes were made or deleted; any other leaves the accepted one as it is, so
// that a disk which is gone since is missed (I5).
func (eng *Engine) keepInventory(tx conductor.Tx, n conductor.Node, raw []byte, inv inventory.Inventory) error {
	si := conductor.StoredInventory{Node: n.UUID, Generation: n.Boot.Generation, Taken: eng.cfg.Now(), Inventory: raw, Disks: inv.Disks, Plugin: map[string]any{}}
	inspects := n.Flow != nil && n.Flow.Flow == state.Inspect && n.Flow.Booted && n.Flow.Phase != conductor.PhaseEnded
	known, err := tx.HasInventory(n.UUID)
	if err != nil {
		return err
	}
	si.Accepted = inspects || !known || n.DisksChanged
	if inspects && n.Root != nil && !slices.ContainsFunc(inv.Disks, func(d inventory.Disk) bool { id, _ := d.ID(); return id == n.Root.Disk }) {
		n.Root = nil // replaced: an inspection says what the machine has
	}
	if root, err := disks.Root(n, inv); err == nil {
		si.Plugin["root_disk"] = root
	}
	if err := tx.PutInventory(si); err != nil {
		return err
	}
	if !inspects && !n.DisksChanged {
		return nil
	}
	n.DisksChanged = false
	if inspects {
		nodes.Describe(&n, inv)
	}
	if err := tx.PutNode(&n); err != nil || !inspects {
		return err
	}
	return records.KeepCards(tx, n, inv, si.Taken)
}

// session loads the node a token speaks for and checks that node, generation, key and source still stand (I18, T2).
func (eng *Engine) session(tx conductor.Tx, s conductor.Session) (conductor.Node, error) {
	n, err := tx.Node(s.Claims.Node)
	if err != nil {
		return n, fault.New(fault.ChannelToken, "the token's node does not exist")
	}
	return n, conductor.Stands(n, s)
}

// Heartbeat takes a sign of life. A stale sequence number is channel.stale_message and changes nothing.
func (eng *Engine) Heartbeat(ctx context.Context, s conductor.Session, r api.HeartbeatRequest) error {
	id := s.Claims.Node
	b, err := eng.sessions.Stands(ctx, s)
	if err == nil {
		err = eng.inOrder(id, b, r.Seq)
	}
	if err != nil {
		return eng.fromLater(ctx, s, err)
	}
	if r.Running != "" && r.Progress != nil {
		eng.report(id, r.Running, *r.Progress)
		eng.keep(ctx, s, r.Running)
	}
	if r.Steps != nil {
		if err := eng.applyAs(ctx, s, conductor.AgentReady{Steps: r.Steps}); err != nil {
			return err
		}
	}
	return eng.beat(ctx, s)
}

// inOrder takes a message's number, which must be higher than all before it (safety.md §2.6).
func (eng *Engine) inOrder(id conductor.NodeID, b *conductor.Boot, seq uint64) error {
	eng.mu.Lock()
	defer eng.mu.Unlock()
	a := eng.agents[id]
	if a == nil || a.generation != b.Generation {
		a = &presence{generation: b.Generation, seq: b.SeqSeen}
		eng.agents[id] = a
	}
	if seq <= a.seq {
		return fault.New(fault.ChannelStale, "message %d after %d", seq, a.seq)
	}
	a.seq = seq
	return nil
}

// applyAs applies an agent's event, with the session checked again inside the transaction that acts on it.
func (eng *Engine) applyAs(ctx context.Context, s conductor.Session, e conductor.Event) error {
	return eng.applyWith(ctx, s.Claims.Node, func(n conductor.Node) (conductor.Event, error) { return e, conductor.Stands(n, s) }, nil)
}

// Start answers an agent's claim of a step; the answer is given after the commit (safety.md §2.7).
func (eng *Engine) Start(ctx context.Context, s conductor.Session, r api.StartRequest) (api.StartAnswer, error) {
	if len(r.Nonce) < 16 || len(r.Nonce) > 128 {
		return api.StartAnswer{}, fault.New(fault.RequestInvalid, "nonce has %d characters, expected 16 to 128", len(r.Nonce))
	}
	if err := eng.applyAs(ctx, s, conductor.StepClaimed{Ask: r}); err != nil {
		return api.StartAnswer{}, err
	}
	return api.StartAnswer{Nonce: r.Nonce}, nil
}

// Result takes the end of a step; nil means it is stored and need not be sent again (I29).
func (eng *Engine) Result(ctx context.Context, s conductor.Session, r api.ResultRequest) error {
	e := conductor.StepEnded{ID: r.ID, Nonce: r.Nonce, Outcome: r.Outcome, Result: r.Result, Progress: r.Progress}
	if r.Nonce == "" {
		return fault.New(fault.RequestInvalid, "the result carries no nonce")
	}
	if r.Fault != nil {
		reason := fault.Reason(r.Fault.Reason)
		if _, listed := fault.Lookup(reason); !listed {
			reason = fault.StepFailed
		}
		told := api.FitFault(*r.Fault) // what stands in last_error, in the history and in the log is bounded (I25)
		e.Fault = fault.New(reason, "%s", told.Message)
		if told.Hint != "" {
			e.Fault.Hint = told.Hint
		}
	}
	return eng.applyAs(ctx, s, e)
}

// Secret gives a started step one of the secrets it lists (safety.md §2.8, I20).
func (eng *Engine) Secret(ctx context.Context, s conductor.Session, r api.SecretRequest) ([]byte, error) {
	var out []byte
	err := eng.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		n, err := eng.session(tx, s)
		if err != nil {
			return err
		}
		rec, err := tx.Step(r.ID)
		if err != nil || rec.Node != n.UUID || rec.State != conductor.StepStarted || rec.Generation != n.Boot.Generation || !eng.mayRead(n, rec.Step.Name, r.Name) {
			return fault.New(fault.RequestForbidden, "no running step of this node may read %q", r.Name)
		}
		if n.Boot.Level < api.A1 {
			return fault.New(fault.StepLevel, "the ramdisk proved level A%d, the secret needs A1", n.Boot.Level)
		}
		if out, err = tx.Secret(n.UUID, r.Name); err != nil {
			return err
		}
		return tx.AppendAudit(conductor.Audit{Time: eng.cfg.Now(), Actor: "agent", Node: n.UUID, Act: "secret.read", Detail: map[string]any{"name": r.Name, "step": rec.ID}})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// mayRead tells whether the server's own catalogue gives the step this secret. What an agent says that its steps need
// counts for nothing: a rogue one would name the BMC's password (I20, T17).
func (eng *Engine) mayRead(n conductor.Node, name, secret string) bool {
	steps := eng.machines.Catalog(n.Driver)
	if steps == nil {
		return false
	}
	s, _ := steps.Get(name) // a step that is not listed needs none
	return slices.Contains(s.Secrets, secret)
}

// Log keeps what the agent says. It never fails the agent's work: a full disk drops lines and counts them (F38).
func (eng *Engine) Log(ctx context.Context, s conductor.Session, r api.LogRequest) error {
	b, err := eng.sessions.Stands(ctx, s)
	if err != nil {
		return err
	}
	if err := eng.cfg.Logs.Append(s.Claims.Node, b.Generation, r.Offset, r.Data); err != nil {
		return err
	}
	eng.notify(s.Claims.Node)
	return nil
}

// report takes progress; within one attempt no percentage goes back.
func (eng *Engine) report(id conductor.NodeID, st step.ID, p step.Progress) {
	now := eng.cfg.Now().UTC().Round(0)
	eng.mu.Lock()
	a := eng.agents[id]
	if a == nil {
		a = &presence{}
		eng.agents[id] = a
	}
	var last *step.Progress
	if a.step == st {
		last = a.progress
	} else {
		a.checkpoint, a.uncut = nil, ""
	}
	p = p.After(last)
	p.Told = now
	a.step, a.progress = st, &p
	eng.mu.Unlock()
	eng.notify(id)
}

// keepEvery is how often what a step could be gone on from is stored at most.
const keepEvery = time.Minute

// keep stores where a running step could be gone on from, and what it does that can't be cut off, if that has changed and was
// not stored just now. That something can't be cut off is stored at once, as a server that starts anew would cut it otherwise.
// That it can't be stored costs work after a cut, so the heartbeat is none the worse for it.
func (eng *Engine) keep(ctx context.Context, s conductor.Session, st step.ID) {
	p, due := eng.unkept(s.Claims.Node, st)
	if !due {
		return
	}
	if err := eng.applyAs(ctx, s, conductor.ProgressTold{ID: st, Progress: p}); err != nil && ctx.Err() == nil {
		eng.cfg.Log.Warn("store where a step could be gone on from", "node", s.Claims.Node, "step", st, "err", err)
		eng.mu.Lock()
		if a := eng.agents[s.Claims.Node]; a != nil && a.step == st {
			a.uncut = "" // so that the next heartbeat tries again
		}
		eng.mu.Unlock()
	}
}

// unkept is the progress of a step that is to be stored now, if any is. The node may be deleted by now.
func (eng *Engine) unkept(id conductor.NodeID, st step.ID) (p step.Progress, due bool) {
	now := eng.cfg.Now()
	eng.mu.Lock()
	defer eng.mu.Unlock()
	a := eng.agents[id]
	if a == nil || a.step != st || slices.Equal(a.progress.Checkpoints, a.checkpoint) && a.progress.Uncut == a.uncut {
		return p, false
	}
	begins := a.progress.Uncut != "" && a.uncut == ""
	if passed := now.Sub(a.kept); passed >= 0 && passed < keepEvery && !begins {
		return p, false
	}
	a.kept, a.checkpoint, a.uncut = now, a.progress.Checkpoints, a.progress.Uncut
	return *a.progress, true
}

// toldLast is what this server heard last of the step that a boot's agent runs; nil when nothing.
func (eng *Engine) toldLast(id conductor.NodeID, generation uint64) (step.ID, *step.Progress) {
	eng.mu.Lock()
	defer eng.mu.Unlock()
	if a := eng.agents[id]; a != nil && a.generation == generation {
		return a.step, a.progress
	}
	return "", nil
}

func (eng *Engine) progress(id conductor.NodeID, st step.ID) *step.Progress {
	eng.mu.Lock()
	defer eng.mu.Unlock()
	if a := eng.agents[id]; a != nil && a.step == st {
		return a.progress
	}
	return nil
}

// beat tells a node whose step waits for a heartbeat, or whose agent counts as silent, that there was one.
func (eng *Engine) beat(ctx context.Context, s conductor.Session) error {
	eng.mu.Lock()
	w := eng.waits[s.Claims.Node]
	waits := w.phase == conductor.PhaseBeat || w.silent
	eng.mu.Unlock()
	if !waits {
		return nil
	}
	return eng.applyAs(ctx, s, conductor.AgentHeard{})
}
