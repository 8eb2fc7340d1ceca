package decide

import (
	"slices"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// leads is the reference for verbs: the published table of Ironic's API, written down by hand and apart from package
// state. A verb that is missing in a row is refused there.
var leads = map[state.State]map[state.Event]state.State{
	"enroll":          {"manage": "verifying"},
	"manageable":      {"provide": "cleaning", "clean": "cleaning", "inspect": "inspecting", "adopt": "adopting"},
	"available":       {"manage": "manageable", "deploy": "deploying"},
	"active":          {"rebuild": "deploying", "delete": "cleaning", "rescue": "rescuing", "service": "servicing"},
	"error":           {"rebuild": "deploying", "delete": "cleaning"},
	"rescue":          {"rescue": "rescuing", "unrescue": "unrescuing", "delete": "cleaning"},
	"inspect failed":  {"manage": "manageable", "inspect": "inspecting"},
	"clean failed":    {"manage": "manageable"},
	"adopt failed":    {"manage": "manageable", "adopt": "adopting"},
	"deploy failed":   {"deploy": "deploying", "rebuild": "deploying", "delete": "cleaning"},
	"rescue failed":   {"rescue": "rescuing", "unrescue": "unrescuing", "delete": "cleaning"},
	"unrescue failed": {"rescue": "rescuing", "unrescue": "unrescuing", "delete": "cleaning"},
	"service failed":  {"service": "servicing", "rescue": "rescuing", "abort": "active", "delete": "cleaning"},
	"inspect wait":    {"abort": "inspect failed"},
	"clean wait":      {"abort": "clean failed"},
	"wait call-back":  {"abort": "deploy failed", "delete": "cleaning"},
	"rescue wait":     {"abort": "rescue failed", "delete": "cleaning"},
	"service wait":    {"abort": "servicing", "delete": "cleaning"}, // the disk is booted again; then active
	"clean hold":      {"abort": "clean failed", "unhold": "clean wait"},
	"deploy hold":     {"abort": "deploy failed", "unhold": "wait call-back"},
	"service hold":    {"abort": "servicing", "unhold": "service wait", "service": "servicing"},
	"verifying":       {}, "inspecting": {}, "cleaning": {}, "deploying": {}, "servicing": {}, "rescuing": {}, "unrescuing": {}, "adopting": {}, "deleting": {},
}

// workers are the states in which the server itself is at work: what is asked there may be right later.
var workers = []state.State{"verifying", "inspecting", "cleaning", "deploying", "servicing", "rescuing", "unrescuing", "adopting", "deleting"}

var everyVerb = []state.Event{
	state.VerbManage, state.VerbProvide, state.VerbClean, state.VerbInspect, state.VerbAdopt, state.VerbDeploy, state.VerbRebuild,
	state.VerbRescue, state.VerbUnrescue, state.VerbService, state.VerbDelete, state.VerbAbort, state.VerbUnhold,
}

// situation is where the step of a node's work stands when the operator acts.
type situation struct {
	name string
	step *conductor.StepRecord // nil: none was begun
}

func (s situation) atBMC() bool { return s.step != nil && s.step.Step.Where == step.OutOfBand }

func situations() []situation {
	var abortable, stubborn step.Step
	abortable = catalog.InBand[1]
	stubborn = abortable
	stubborn.Abortable = false
	rec := func(s step.Step, st conductor.StepState) *conductor.StepRecord {
		r := &conductor.StepRecord{ID: "the-step", Run: "run", Attempt: 1, Step: s, State: st, Generation: 1, Command: &api.Command{ID: "the-step"}, Nonce: "n"}
		if st == conductor.StepStarted {
			r.Started = newLifeTime
		}
		return r
	}
	bios := func(st conductor.StepState, abortable bool) *conductor.StepRecord {
		r := rec(step.Step{Name: "bios.factory_reset", Where: step.OutOfBand, Abortable: abortable, Repeat: step.Again, Timeout: time.Second}, st)
		r.Generation, r.Command, r.Nonce = 0, nil, ""
		return r
	}
	return []situation{
		{"in line for the BMC", bios(conductor.StepOffered, false)}, {"begun at the BMC", bios(conductor.StepStarted, false)}, {"begun at the BMC, can be stopped", bios(conductor.StepStarted, true)},
		{"no step", nil}, {"planned", rec(abortable, conductor.StepPlanned)}, {"offered", rec(abortable, conductor.StepOffered)},
		{"started, can be stopped", rec(abortable, conductor.StepStarted)}, {"started, can't be stopped", rec(stubborn, conductor.StepStarted)},
	}
}

var newLifeTime = newLife(&testing.T{}).now

// placed is a node in a state, with the work and the step that go with it.
func placed(t *testing.T, s state.State, at situation) *life {
	l := newLife(t)
	l.byHand = true
	n := &l.s.Node
	n.State, n.Generation = s, 1
	f, busy := state.FlowOf(s)
	if !busy {
		return l
	}
	n.Boot = &conductor.Boot{Generation: 1, Key: "key-a", Redeemed: l.now, Ready: l.now, Level: api.A1}
	n.Flow = &conductor.Flow{Run: "run", Flow: f.Flow, Phase: conductor.PhaseAgent, Booted: true, Wait: &conductor.Wait{For: "it", Owner: "agent", Since: l.now, Deadline: l.now.Add(1e12), Reason: fault.FlowSilent}}
	if at.step != nil {
		r := *at.step
		r.Node, r.Deadline = n.UUID, l.now.Add(1e12)
		if at.atBMC() {
			n.Flow.Phase, n.Flow.Wait.Owner = conductor.PhaseSteps, "bmc"
		}
		if !state.Destroys(s) {
			r.Step.Touches = step.Nothing
		}
		l.s.Steps = []conductor.StepRecord{r}
	}
	return l
}

// TestF40_EveryVerbInEveryStateAndStep asks for each verb in each state, wherever the step stands: what the reference
// allows happens, everything else is refused with a way out and changes nothing; and no step that runs loses its owner.
func TestF40_EveryVerbInEveryStateAndStep(t *testing.T) {
	if len(leads) != len(state.All()) {
		t.Fatalf("the reference has %d states, the table %d", len(leads), len(state.All()))
	}
	for _, s := range state.All() {
		for _, at := range situations() {
			if _, busy := state.FlowOf(s); !busy && at.step != nil {
				continue
			}
			for _, v := range everyVerb {
				l := placed(t, s, at)
				ask := conductor.Provision{Verb: v}
				switch v {
				case state.VerbClean:
					ask.CleanSteps = []step.Wanted{{Name: "management.reset_bmc"}}
				case state.VerbService:
					ask.ServiceSteps = []step.Wanted{{Name: "management.reset_bmc"}}
				}
				replaces := v == state.VerbDelete || v == state.VerbService // the work in progress: not while a step runs
				started := at.step != nil && at.step.State == conductor.StepStarted
				to, legal := leads[s][v]
				if v == state.VerbClean || v == state.VerbService { // the list begins with a step that the BMC does
					f, _ := state.FlowOf(to)
					to = f.Waiting
				}
				before := l.s
				err := l.do(conductor.VerbAsked{Ask: ask})
				what := string(v) + " in " + string(s) + " (" + at.name + ")"
				switch {
				case !legal, replaces && started:
					f := fault.From(err)
					if err == nil || f.Hint == "" {
						t.Errorf("%s: expected a refusal with a way out, got %v", what, err)
						continue
					}
					if busy := slices.Contains(workers, s) || replaces && started && legal; busy != (f.Reason == fault.NodeBusy) {
						t.Errorf("%s: refused as %s", what, f.Reason)
					}
					if l.s.Node.State != before.Node.State || len(l.effects) != 0 {
						t.Errorf("%s: the refusal changed something", what)
					}
				case err != nil:
					t.Errorf("%s: %v", what, err)
				case v == state.VerbAbort && started:
					if l.s.Node.State != s || !l.s.Node.Flow.Aborting || l.running().State != conductor.StepStarted {
						t.Errorf("%s: the step should end first, or stop at a safe point", what)
					}
					if told := slices.Contains(l.kinds(), conductor.EffectWithdraw); told != at.step.Step.Abortable {
						t.Errorf("%s: whoever runs it is told to stop: %v", what, told)
					}
				case l.s.Node.State != to:
					t.Errorf("%s: led to %s, the reference says %s", what, l.s.Node.State, to)
				}
				owned(t, l, what)
			}
		}
	}
}

// TestF40_EveryPowerActInEveryStateAndStep: a power act is refused, or cuts the step off in the records before the machine
// loses power.
func TestF40_EveryPowerActInEveryStateAndStep(t *testing.T) {
	for _, s := range state.All() {
		for _, at := range situations() {
			f, busy := state.FlowOf(s)
			if !busy && at.step != nil {
				continue
			}
			for _, act := range []string{"power on", "power off", "rebooting", "soft power off", "soft rebooting", "sideways"} {
				l := placed(t, s, at)
				err := l.do(conductor.PowerAsked{Ask: conductor.PowerRequest{Target: act}})
				what := act + " in " + string(s) + " (" + at.name + ")"
				cleaning := busy && f.Flow == state.Clean
				switch {
				case act == "sideways":
					if !fault.Has(err, fault.RequestInvalid) {
						t.Errorf("%s: %v", what, err)
					}
				case cleaning:
					if !fault.Has(err, fault.StateVerb) {
						t.Errorf("%s: %v", what, err)
					}
				case slices.Contains(workers, s), at.atBMC(): // nobody cuts off in passing what the BMC does
					if !fault.Has(err, fault.NodeBusy) {
						t.Errorf("%s: %v", what, err)
					}
				case err != nil:
					t.Errorf("%s: %v", what, err)
				case busy && act != "power on":
					if l.s.Node.State != f.Failed || l.s.Node.LastReason != fault.StepInterrupted {
						t.Errorf("%s: led to %s, %s", what, l.s.Node.State, l.s.Node.LastReason)
					}
					if r := l.s.Steps; len(r) > 0 && r[0].State != conductor.StepPlanned && r[0].State != conductor.StepInterrupted {
						t.Errorf("%s: the step is %s", what, r[0].State)
					}
					k := l.kinds()
					if fence := slices.Index(k, conductor.EffectFinish); fence < 0 || fence > slices.Index(k, conductor.EffectPower) {
						t.Errorf("%s: the machine is not fenced before the act: %v", what, k)
					}
				}
				if err == nil && l.s.Node.PowerTarget == "" {
					t.Errorf("%s: accepted without a target", what)
				}
				owned(t, l, what)
			}
		}
	}
}

// owned checks that a step which may be running is recorded as started in open work, or that the machine is powered off.
func owned(t *testing.T, l *life, what string) {
	t.Helper()
	if err := sane(l.s); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	for _, r := range l.s.Steps {
		if r.Started.IsZero() || r.State == conductor.StepStarted {
			continue
		}
		if !slices.ContainsFunc(l.effects, func(e conductor.Effect) bool {
			return e.Kind == conductor.EffectFinish && e.Power == conductor.ForceOff
		}) {
			t.Errorf("%s: step %s is %s, and nothing powers the machine off", what, r.ID, r.State)
		}
	}
}
