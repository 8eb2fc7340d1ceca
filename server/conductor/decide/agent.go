package decide

import (
	"crypto/subtle"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// attempts is how often a step that may be repeated is tried in one run.
const attempts = 3

func (d *decider) mediumFetched(e conductor.MediumFetched) {
	if b := d.n.Boot; b != nil && b.Generation == e.Generation && b.MediumRead.IsZero() {
		b.MediumRead = d.now
		if b.HTTP {
			b.Reader = e.From
			d.seen("the machine's firmware loads the ramdisk, from %s", e.From)
		} else {
			d.seen("the BMC reads the boot medium")
		}
		d.Changed = true
	}
}

// lookedUp admits the first valid claim of a generation and binds it to the claimant's key. The same key again is the
// same claim; another key that proves itself makes the node contested (safety.md §2.2, I17).
func (d *decider) lookedUp(e conductor.LookedUp) {
	b, id := d.n.Boot, string(d.n.UUID)
	if b == nil || b.Ended {
		d.Refuse = fault.New(fault.ChannelWindow, "no ramdisk is expected from this node now").At(id, "")
		return
	}
	if !e.Proven || e.Ask.Generation != b.Generation {
		// Nothing is written, as anybody can ask (I24); the channel logs the refusal with its source.
		d.Refuse = fault.New(fault.ChannelClaim, "the claim does not prove this boot").At(id, "")
		return
	}
	if b.Contested { // nothing is written again, however often either claims it (I24)
		d.Refuse = fault.New(fault.NodeContested, "two machines claimed to be this node").At(id, "")
		return
	}
	if !b.Redeemed.IsZero() && subtle.ConstantTimeCompare([]byte(b.Key), []byte(e.Peer.Key)) != 1 {
		d.contest(e)
		return
	}
	if b.Redeemed.IsZero() {
		if d.now.After(b.Closes) {
			d.Refuse = fault.New(fault.ChannelWindow, "the lookup window closed at %s", b.Closes.UTC().Format("15:04:05")).At(id, "")
			return
		}
		b.Redeemed, b.Key, b.Level = d.now, e.Peer.Key, api.A1
		d.n.Power = conductor.PowerOn // whoever speaks is on, whether or not the BMC has said so yet
		d.settled()                   // the medium of this boot went in after the power was off; the act that says so may be called off now
		d.effect(conductor.Effect{Kind: conductor.EffectEject, Generation: b.Generation})
		d.audit("lookup", map[string]any{"generation": b.Generation, "level": b.Level, "source": e.Peer.Addr.String(), "key": e.Peer.Key})
	}
	b.BootID, b.Source, b.AgentVersion, b.SeqSeen = e.Ask.BootID, e.Peer.Addr.String(), e.Ask.AgentVersion, e.Ask.Seq
	d.Changed = true
	if f := d.open(); f != nil && (f.Phase == conductor.PhaseBoot || f.Phase == conductor.PhaseLookup) {
		d.waiting()
		d.awaitAgent()
		d.seen("the agent looked itself up from %s", b.Source)
	}
}

// contest ends all trust in the boot at once. The work and the power end with it, but for what can't be cut off.
func (d *decider) contest(e conductor.LookedUp) {
	b := d.n.Boot
	b.Contested, d.Changed = true, true
	f := fault.New(fault.NodeContested, "a second machine, at %s, proved the secret of boot %d; the first one is at %s", e.Peer.Addr, b.Generation, b.Source).
		At(string(d.n.UUID), "")
	d.audit("lookup.contested", map[string]any{"generation": b.Generation, "source": e.Peer.Addr.String(), "first": b.Source})
	d.Refuse = fault.New(fault.NodeContested, "two machines claimed to be this node").At(string(d.n.UUID), "")
	if d.contestedUncut(f) {
		return
	}
	if d.open() != nil {
		refuse := d.Refuse
		d.fail(f)
		d.Refuse = refuse
		return
	}
	d.lastError(f)
	d.note("ERROR", "identity", 0, "%s", f.Error())
}

// agentReady takes the list of steps of an agent process that has just started.
func (d *decider) agentReady(e conductor.AgentReady) {
	b, f := d.n.Boot, d.open()
	if !d.live() {
		return
	}
	b.Steps, b.Ready, d.Changed = e.Steps, d.now, true
	if f == nil || f.Phase != conductor.PhaseAgent {
		return
	}
	if r := d.running(); r != nil {
		// A restarted process: it tells itself what became of a started step; an offer it may not have seen.
		if r.State == conductor.StepOffered {
			d.effect(conductor.Effect{Kind: conductor.EffectOffer, Step: r.ID, Generation: b.Generation})
		}
		return
	}
	if f.Flow == state.Inspect {
		d.finish()
		return
	}
	if !d.replan() {
		return
	}
	d.next()
}

func (d *decider) planned(name string) *conductor.StepRecord {
	for i, r := range d.s.Steps {
		if r.Step.Name == name && r.State == conductor.StepPlanned {
			return &d.s.Steps[i]
		}
	}
	return nil
}

func (d *decider) attempt(id step.ID) (conductor.StepRecord, bool) {
	i := slices.IndexFunc(d.s.Steps, func(r conductor.StepRecord) bool { return r.ID == id })
	if i < 0 {
		return conductor.StepRecord{}, false
	}
	return d.s.Steps[i], true
}

// stepClaimed lets an agent start what is offered to it. The same nonce repeated is the same claim; anything else is
// refused, so that an id runs at most once (I8).
func (d *decider) stepClaimed(e conductor.StepClaimed) {
	r, ok := d.attempt(e.Ask.ID)
	refuse := func(format string, args ...any) {
		d.Refuse = fault.New(fault.ChannelStartLost, format, args...).At(string(d.n.UUID), r.Step.Name)
	}
	switch f := d.open(); {
	case !ok || f == nil:
		refuse("no such step is offered")
	case !d.live() || r.Generation != d.n.Boot.Generation:
		refuse("the step belongs to another boot")
	case r.Step.Where != step.InBand:
		refuse("it is no step for an agent")
	case r.State == conductor.StepStarted && same(r.Nonce, e.Ask.Nonce):
		// The answer was lost; it is given again.
	case r.State != conductor.StepOffered:
		refuse("the step is %s", r.State)
	case f.Aborting:
		refuse("the work is being aborted")
	case d.strange():
		d.fail(d.unknownType().At("", r.Step.Name))
		refuse("nothing new is begun on this node")
	default:
		d.move(&r, conductor.AttemptClaim)
		r.Nonce, r.Started, r.Deadline = e.Ask.Nonce, d.now, d.now.Add(r.Step.Timeout)
		d.put(r)
		d.volumes(r)
		d.wait("agent", "step "+r.Step.Name+" to end", r.Step.Timeout, fault.StepTimeout)
		d.seen("the agent started it")
		d.audit("step.start", map[string]any{"step": r.Step.Name, "id": r.ID, "devices": r.Command.Devices})
	}
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// stepEnded takes the end of an attempt. Result and next transition are one decision, so they commit together
// (safety.md §2.7). A repeat of an end already stored is acknowledged and changes nothing.
func (d *decider) stepEnded(e conductor.StepEnded) {
	r, ok := d.attempt(e.ID)
	inBand := e.Nonce != ""
	switch {
	case !ok || inBand != (r.Step.Where == step.InBand):
		d.Refuse = fault.New(fault.StepNotOffered, "no such step is running").At(string(d.n.UUID), "")
		return
	case inBand && r.State == conductor.StepOffered && e.Outcome == api.Interrupted:
		// The agent died between its journal and our answer: it never ran.
	case !same(r.Nonce, e.Nonce): // out of band both are ""
		d.Refuse = fault.New(fault.StepNotOffered, "the step was started by another claim").At(string(d.n.UUID), r.Step.Name)
		return
	case r.State == conductor.StepOffered && e.Outcome == api.Failed && e.Fault != nil && d.open() != nil:
		f := *e.Fault // it can't begin: nothing was asked of the BMC for it
		f.Step = r.Step.Name
		d.fail(&f)
		return
	case r.State == conductor.StepOffered:
		d.Refuse = fault.New(fault.StepNotOffered, "the step has not begun").At(string(d.n.UUID), r.Step.Name)
		return
	case r.State != conductor.StepStarted:
		return // ended already: acknowledged again
	case inBand && (!d.live() || r.Generation != d.n.Boot.Generation):
		d.Refuse = fault.New(fault.StepNotOffered, "the step belongs to another boot").At(string(d.n.UUID), r.Step.Name)
		return
	}
	r.Ended, r.Result, r.Fault = d.now, e.Result, e.Fault
	if e.Progress != nil {
		p := e.Progress.After(r.Progress)
		if inBand || p.Told.IsZero() {
			p.Told = d.now
		}
		r.Progress = &p
	}
	f := e.Fault
	if f != nil {
		f.Step = r.Step.Name
	}
	d.move(&r, endedBy(e.Outcome))
	switch {
	case r.State == conductor.StepSucceeded && r.Progress != nil:
		p := r.Progress.Complete()
		r.Progress = &p
	case r.State == conductor.StepFailed && f == nil:
		f = fault.New(fault.StepFailed, "the step failed without saying why").At("", r.Step.Name)
		r.Fault = f
	}
	d.put(r)
	if e.Power != "" {
		d.n.Power = e.Power
	}
	d.status(e.Status)
	d.raided(r)
	if inBand && r.Step.Interface() == drivers.RAID {
		d.n.Boot.Rebuilt = true
	}
	severity := "INFO"
	if r.State != conductor.StepSucceeded {
		severity = "ERROR"
	}
	d.note(severity, "step", d.now.Sub(earliest(r.Started, r.Offered)), "step %s %s", r.Step.Name, r.State)
	d.about(r.Step.Name, "")
	if f != nil {
		d.about(r.Step.Name, f.Reason)
	}
	if d.open() == nil {
		return
	}
	switch b := d.n.Boot; {
	case b != nil && b.Contested && !b.Ended && d.n.Flow.Booted: // what ran at the BMC was all that kept the power on
		d.fail(fault.New(fault.NodeContested, "two machines claimed to be this node in boot %d; step %s was the last that was waited for", b.Generation, r.Step.Name))
	case r.State == conductor.StepAborted, d.n.Flow.Aborting:
		d.aborted()
	case r.State == conductor.StepFailed:
		d.fail(f)
	case r.State == conductor.StepInterrupted:
		d.again(r)
	case inBand && (r.Step.Reboot || e.Result != nil && e.Result.Reboot):
		d.n.Boot.Ended = true // the next in-band step boots anew
		d.next()
	default:
		d.next()
	}
}

// volumes forgets the disk of the last deployment when a step that begins may change which volumes there are.
func (d *decider) volumes(r conductor.StepRecord) {
	if of, _ := step.Split(r.Step.Name); of == "raid" {
		d.n.Root = nil
	}
}

// again makes a new attempt, with a new id, of a step that may be repeated; else the flow fails (I12).
func (d *decider) again(r conductor.StepRecord) {
	if r.Step.Repeat != step.Again || r.Attempt >= attempts {
		f := fault.New(fault.StepInterrupted, "the step was cut off in attempt %d of %d", r.Attempt, attempts).At("", r.Step.Name)
		if r.Step.Repeat != step.Again {
			f.WithHint("this step is not repeated without being asked; look at the machine, then repeat the verb")
		}
		d.fail(f)
		return
	}
	d.put(conductor.StepRecord{
		ID: step.ID(d.s.NewID()), Node: r.Node, Run: r.Run, Order: r.Order, Attempt: r.Attempt + 1,
		Step: r.Step, Args: r.Args, Children: r.Children, State: conductor.StepPlanned, Resume: cameTo(r), Power: r.Power, Recorded: r.Recorded, Noted: r.Noted,
	})
	slices.SortStableFunc(d.s.Steps, func(a, b conductor.StepRecord) int { return a.Order - b.Order }) // behind the attempt before
	d.next()
}

// cameTo is where the attempt after r may go on. One that never ran hands on what it was given; of one that ran only
// what it told itself counts, since it may have begun anew.
func cameTo(r conductor.StepRecord) []step.Checkpoint {
	switch {
	case r.Started.IsZero():
		return r.Resume
	case r.Progress != nil:
		return r.Progress.Checkpoints
	}
	return nil
}

// progressTold keeps what a later attempt could go on from.
func (d *decider) progressTold(e conductor.ProgressTold) {
	r, ok := d.attempt(e.ID)
	if !ok || r.State != conductor.StepStarted || d.open() == nil || !d.live() || r.Generation != d.n.Boot.Generation {
		return
	}
	p := e.Progress.After(r.Progress)
	r.Progress = &p
	d.put(r)
}

// cutOff boots the ramdisk again for a step that its machine or agent left in the middle, if the step may be repeated
// without asking. The boot begins with the power off and confirmed, which fences whatever still runs (F15, F16), and
// its generation is a new one: nothing of the old boot is accepted any more (I12).
func (d *decider) cutOff(ft *fault.Fault) bool {
	r := d.running()
	if r == nil || r.State != conductor.StepStarted || r.Step.Where != step.InBand || d.n.Flow.Aborting || d.n.Maintenance || r.Step.Repeat != step.Again || r.Attempt >= attempts {
		return false
	}
	x := *r
	d.move(&x, conductor.AttemptInterrupt)
	x.Ended, x.Fault = d.now, fault.New(fault.StepInterrupted, "%s", ft.Message).At(string(d.n.UUID), x.Step.Name)
	d.put(x)
	d.note("ERROR", "step", d.now.Sub(x.Started), "step %s %s: %s; the machine is powered off and the ramdisk booted again", x.Step.Name, x.State, ft.Message)
	d.n.Boot.Ended = true
	d.again(x)
	return true
}

// earliest is a, or b when a is unset.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() {
		return b
	}
	return a
}
