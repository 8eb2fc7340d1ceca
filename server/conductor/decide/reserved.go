package decide

import (
	"cmp"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// The reserved steps: what the server does by itself at their place in an operator's list. The power acts run as
// out-of-band steps do (flow.go); hold and wait are ends of a wait.

// fresh is how recently an agent must have been heard to be used without a boot (Ironic's fast_track_timeout).
const fresh = 5 * time.Minute

// runReserved starts a reserved step whose turn it is.
func (d *decider) runReserved(r conductor.StepRecord) {
	f := d.n.Flow
	begin := func(limit time.Duration) {
		d.move(&r, conductor.AttemptRun)
		r.Started, r.Deadline = d.now, d.now.Add(limit)
		d.put(r)
		d.audit("step.start", map[string]any{"step": r.Step.Name, "id": r.ID})
	}
	switch r.Step.Short() {
	case "hold":
		begin(r.Step.Timeout)
		d.enter(state.Hold)
		f.Phase = conductor.PhaseHold
		d.wait("operator", "unhold or abort: bessemer node unhold "+cmp.Or(d.n.Name, string(d.n.UUID)), r.Step.Timeout, fault.FlowHeld)
	case "wait":
		if _, timed := r.Args["seconds"]; !timed {
			begin(r.Step.Timeout)
			d.waiting()
			f.Phase = conductor.PhaseBeat
			d.wait("agent", "the agent's next heartbeat", r.Step.Timeout, fault.FlowSilent)
			return
		}
		pause := time.Duration(r.Args.Int("seconds")) * time.Second
		begin(pause)
		f.Phase = conductor.PhasePause
		d.wait("server", "the end of the pause that the list asks for", pause, fault.StepTimeout)
		if pause == 0 {
			d.reservedEnds()
		}
	default:
		d.runOutOfBand(r)
	}
}

// reservedEnds ends the hold or wait step at work well and goes on.
func (d *decider) reservedEnds() {
	if r := d.running(); r != nil && r.Step.Where == step.Server {
		d.stepEnded(conductor.StepEnded{ID: r.ID, Outcome: api.Succeeded})
	}
}

// unhold leads out of a hold step. An agent that fell silent meanwhile is not waited for: the next in-band step boots
// anew.
func (d *decider) unhold(e conductor.VerbAsked) {
	if d.open() == nil || !d.enter(state.VerbUnhold) {
		return
	}
	d.note("INFO", "provisioning", 0, "released by %s", cmp.Or(e.Caller.Name, "an operator"))
	if d.live() && !d.heard() {
		d.n.Boot.Ended = true
	}
	d.reservedEnds()
}

// heard tells whether the agent of the current boot is there.
func (d *decider) heard() bool {
	b := d.n.Boot
	return d.live() && !b.Ready.IsZero() && d.n.Power == conductor.PowerOn && !d.s.Heard.IsZero() && d.now.Sub(d.s.Heard) <= fresh
}

// reusable tells whether a flow that begins now may use the agent that is up: one left by a flow that it replaces, or
// kept for it by fast-track. A ramdisk that somebody could log in to is no such: nobody knows what was done to it.
func (d *decider) reusable() bool {
	rescued := d.n.Flow != nil && d.n.Flow.Flow == state.RescueFlow
	return d.heard() && !rescued && (d.open() != nil || conductor.FastTrack(*d.n))
}

// keeps tells whether the flow leaves its agent up for the next one.
func (d *decider) keeps() bool {
	f := d.n.Flow
	return (f.Flow == state.Inspect || f.Flow == state.Clean) && conductor.FastTrack(*d.n) && f.Booted && d.heard()
}
