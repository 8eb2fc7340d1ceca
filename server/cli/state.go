package cli

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/server/selection"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// walks are the verbs that state set may take, with where each leads when it ends well. Adopt is not one: only a person
// can know that what runs on a machine is to be kept. Neither is rescue, which wants a password.
var walks = []struct {
	verb verb
	to   state.State
}{
	{verbNamed("manage"), state.Manageable}, {verbNamed("provide"), state.Available}, {verbDeploy, state.Active},
	{verbNamed("undeploy"), state.Available}, {verbNamed("unrescue"), state.Active},
}

// hop is one verb of a way.
type hop struct {
	Verb string      `json:"verb"`
	From state.State `json:"from"`
	To   state.State `json:"to"`
	verb verb
}

// way is the shortest row of verbs from one state to another; ok is false when there is none.
func way(from, to state.State) (hops []hop, ok bool) {
	type place struct {
		at   state.State
		hops []hop
	}
	seen := map[state.State]bool{from: true}
	for todo := []place{{at: from}}; len(todo) > 0; todo = todo[1:] {
		p := todo[0]
		if p.at == to {
			return p.hops, true
		}
		if _, going := state.FlowOf(p.at); going {
			return nil, false // work is going on: it ends by itself, or is aborted
		}
		for _, w := range walks {
			if _, legal := state.Next(p.at, w.verb.event); legal && !seen[w.to] {
				seen[w.to] = true
				todo = append(todo, place{w.to, append(slices.Clip(p.hops), hop{w.verb.name, p.at, w.to, w.verb})})
			}
		}
	}
	return nil, false
}

func wayText(hops []hop) string {
	if len(hops) == 0 {
		return "it is there already"
	}
	text := string(hops[0].From)
	for _, h := range hops {
		text += " -" + h.Verb + "-> " + string(h.To)
	}
	return text
}

func (c *command) stateCommand() *cobra.Command {
	cmd := group(&cobra.Command{Use: "state", Short: "Take machines to a provision state by the legal way"})
	ends := []state.State{state.Manageable, state.Available, state.Active}
	set := &cobra.Command{Use: "set STATE [NODE ...]", Short: "Walk machines to a state, verb by verb"}
	set.Long = `Finds the shortest legal way from the state each node is in to STATE (manageable, available or active), shows it, and
walks it verb by verb, staying until it is there. A way that erases or overwrites disks is asked about. Work in progress
is not interrupted, and machines are never adopted or rescued by it. active deploys what instance_info names.

` + nodesHelp
	set.Example = "  bessemer state set available n1\n  bessemer state set manageable --where 'state=clean failed' --dry-run"
	m := c.many(set)
	set.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return []string{string(ends[0]), string(ends[1]), string(ends[2])}, cobra.ShellCompDirectiveNoFileComp
	}
	set.RunE = c.with(func(ctx context.Context, a *client.Client, args []string) error {
		if len(args) == 0 || !slices.Contains(ends, state.State(args[0])) {
			return usage("give the state first: manageable, available or active")
		}
		return c.walk(ctx, a, m, args[1:], state.State(args[0]))
	})
	cmd.AddCommand(set)
	return cmd
}

// walk shows the way of each node and walks it.
func (c *command) walk(ctx context.Context, a *client.Client, m *many, args []string, to state.State) error {
	idents, err := m.named(args)
	if err != nil {
		return err
	}
	s, err := m.selected(ctx, a, idents)
	if err != nil {
		return err
	}
	type plan struct {
		selection.Node
		Way []hop `json:"way"`
	}
	var plans []plan
	moves, destroys := 0, ""
	w := c.notes()
	if len(s.Nodes) == 0 {
		fmt.Fprintf(w, "no node matches %q; nothing is done\n", s.Where)
		return c.emitOnly([]plan{})
	}
	fmt.Fprintf(w, "to %s, these nodes and no others:\n", to)
	_ = columns(w, func(w io.Writer) {
		row(w, "NAME", "UUID", "WAY")
		for _, n := range s.Nodes {
			hops, ok := way(n.State, to)
			plans = append(plans, plan{n, hops})
			text := wayText(hops)
			if !ok {
				text = fmt.Sprintf("left out: no way leads there from %s now", n.State)
			}
			if len(hops) > 0 {
				moves++
			}
			for _, h := range hops {
				if h.verb.destroys != "" {
					text += " (" + h.Verb + ": " + h.verb.destroys + ")"
					destroys = "disks are erased or overwritten"
				}
			}
			row(w, dash(n.Name), n.UUID, text)
		}
	})
	if m.dry {
		return c.emitOnly(plans)
	}
	if err := m.consent(fmt.Sprintf("walking %s to %s", nodesText(moves), to), destroys, moves); err != nil {
		return err
	}
	return m.begin(ctx, a, s, act{name: "state set", each: func(ctx context.Context, t *turn, node string) error {
		n, err := a.NodeFields(ctx, node, []string{"provision_state"})
		if err != nil {
			return err
		}
		at, _ := n["provision_state"].(string)
		hops, ok := way(state.State(at), to)
		if !ok {
			return &selection.Skip{Why: fmt.Sprintf("no way leads to %s from %s; work in progress ends by itself, or by bessemer node abort %s", to, at, t.label)}
		}
		if len(hops) == 0 {
			return t.done(nil, "node %s is %s already", t.label, to)
		}
		for _, h := range hops {
			if err := t.provision(ctx, node, h.verb, api.Provision{}, waiting{watch: true}); err != nil {
				return err
			}
		}
		return nil
	}})
}
