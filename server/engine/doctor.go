package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/doctor"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Diagnose says of a node what it waits for, what is wrong with it and what leads on.
func (eng *Engine) Diagnose(ctx context.Context, ident string) (api.Diagnosis, error) {
	var c doctor.Case
	err := eng.cfg.Store.View(ctx, func(tx conductor.Tx) error {
		n, err := nodes.Find(tx, ident)
		if err != nil {
			return err
		}
		effects, err := tx.Effects()
		if err != nil {
			return err
		}
		c, err = eng.caseOf(tx, n, effects)
		return err
	})
	if err != nil {
		return api.Diagnosis{}, err
	}
	return doctor.Diagnose(c, eng.cfg.Now()), nil
}

// DiagnoseAll gives the nodes that wait or are not well, in order of creation, and counts the others.
func (eng *Engine) DiagnoseAll(ctx context.Context) (out []api.Diagnosis, well int, err error) {
	var cases []doctor.Case
	err = eng.cfg.Store.View(ctx, func(tx conductor.Tx) error {
		nodes, err := tx.Nodes(conductor.NodeFilter{})
		if err != nil {
			return err
		}
		effects, err := tx.Effects()
		if err != nil {
			return err
		}
		cases = nil
		for _, n := range nodes {
			c, err := eng.caseOf(tx, n, effects)
			if err != nil {
				return err
			}
			cases = append(cases, c)
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	now := eng.cfg.Now()
	for _, c := range cases {
		if d := doctor.Diagnose(c, now); d.Verdict != api.VerdictWell {
			out = append(out, d)
		} else {
			well++
		}
	}
	return out, well, nil
}

func (eng *Engine) caseOf(tx conductor.Tx, n conductor.Node, effects []conductor.Effect) (doctor.Case, error) {
	c := doctor.Case{Node: n, Listening: eng.listening, Timeouts: eng.cfg.Timeouts, Strange: eng.machines.Registry(n) == nil, Interfaces: eng.machines.Interfaces(n)}
	var err error
	if c.Open, err = tx.OpenSteps(n.UUID); err != nil {
		return c, err
	}
	for _, e := range effects {
		if e.Node == n.UUID {
			c.Effects = append(c.Effects, e)
		}
	}
	c.Heard = eng.Heard(n)
	c.BMC = eng.BMCHealth(n)
	eng.mu.Lock()
	defer eng.mu.Unlock()
	if w := eng.workers[n.UUID]; w != nil && w.current != nil {
		c.Acting = w.current.Kind
	}
	return c, nil
}

// Treat takes one of the legal ways on that Diagnose names, for an operator who asked the doctor to. Why is audited
// first; the act itself is audited as any other of its kind. An act that is no way on now is refused.
func (eng *Engine) Treat(ctx context.Context, who conductor.Caller, ident, act string) error {
	d, err := eng.Diagnose(ctx, ident)
	if err != nil {
		return err
	}
	if act == "" || !slices.ContainsFunc(d.Exits, func(e api.Exit) bool { return e.Act == act }) {
		var have []string
		for _, e := range d.Exits {
			if e.Act != "" {
				have = append(have, e.Act)
			}
		}
		hint := "nothing leads on from here by itself; it waits"
		if len(have) > 0 {
			hint = "possible here: " + strings.Join(have, ", ")
		}
		return fault.New(fault.StateVerb, "%q is no way on for a node that is %q", act, d.State).WithHint("%s", hint).At(string(d.Node), "")
	}
	var wrong []string
	for _, p := range d.Problems {
		wrong = append(wrong, p.Reason+": "+p.Message)
	}
	err = eng.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		return tx.AppendAudit(conductor.Audit{Time: eng.cfg.Now(), Actor: who.Name, Request: who.Request, Node: d.Node, Act: "doctor.fix",
			Detail: map[string]any{"act": act, "state": d.State, "wrong": wrong}})
	})
	if err != nil {
		return err
	}
	verb, isVerb := strings.CutPrefix(act, doctor.ActVerb)
	switch {
	case isVerb:
		return eng.Provision(ctx, who, string(d.Node), conductor.Provision{Verb: state.Event(verb)})
	case act == doctor.ActConfirm:
		return eng.ConfirmNode(ctx, who, string(d.Node))
	case act == doctor.ActGiveUp:
		return eng.giveUp(ctx, who, d.Node)
	case act == doctor.ActMaintenance:
		return eng.SetMaintenance(ctx, who, string(d.Node), false, "")
	default:
		return eng.SetPower(ctx, who, string(d.Node), conductor.PowerRequest{Target: "power off"})
	}
}

// giveUp forgets an act of which the record says that it is under way, if nothing is stored that would carry it out.
func (eng *Engine) giveUp(ctx context.Context, who conductor.Caller, id conductor.NodeID) error {
	return eng.apply(ctx, id, conductor.ActGivenUp{Caller: who}, func(tx conductor.Tx) error {
		effects, err := tx.Effects()
		if err != nil {
			return err
		}
		if slices.ContainsFunc(effects, func(e conductor.Effect) bool {
			return e.Node == id && (e.Kind == conductor.EffectPower || e.Kind == conductor.EffectAct)
		}) {
			return fault.New(fault.NodeBusy, "an act upon the machine is stored and will be carried out").At(string(id), "")
		}
		return nil
	})
}
