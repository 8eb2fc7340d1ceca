package flows

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/acts"
	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/cli/work"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/server/selection"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// walks are the verbs that state set may take, with where each leads when it ends well. Adopt is not one: only a person
// can know that what runs on a machine is to be kept. Neither is rescue, which wants a password.
var walks = []struct {
	verb work.Verb
	to   state.State
}{
	{work.Named("manage"), state.Manageable}, {work.Named("provide"), state.Available}, {work.Deploy, state.Active},
	{work.Named("undeploy"), state.Available}, {work.Named("unrescue"), state.Active},
}

// hop is one verb of a way.
type hop struct {
	Verb string      `json:"verb"`
	From state.State `json:"from"`
	To   state.State `json:"to"`
	verb work.Verb
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
			if _, legal := state.Next(p.at, w.verb.Event); legal && !seen[w.to] {
				seen[w.to] = true
				todo = append(todo, place{w.to, append(slices.Clip(p.hops), hop{w.verb.Name, p.at, w.to, w.verb})})
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

// StateCommand takes machines to a state by the legal way.
func StateCommand(c *command.Run) *cobra.Command {
	cmd := command.Group(&cobra.Command{Use: "state", Short: "Take machines to a provision state by the legal way"})
	ends := []state.State{state.Manageable, state.Available, state.Active}
	set := &cobra.Command{Use: "set STATE [NODE ...]", Short: "Walk machines to a state, verb by verb"}
	set.Long = `Finds the shortest legal way from the state each node is in to STATE (manageable, available or active), shows it, and
walks it verb by verb, staying until it is there. A way that erases or overwrites disks is asked about. Work in progress
is not interrupted, and machines are never adopted or rescued by it. active deploys what instance_info names.

` + acts.Help
	set.Example = "  bessemer state set available n1\n  bessemer state set manageable --where 'state=clean failed' --dry-run"
	m := acts.On(c, set)
	set.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return []string{string(ends[0]), string(ends[1]), string(ends[2])}, cobra.ShellCompDirectiveNoFileComp
	}
	set.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		if len(args) == 0 || !slices.Contains(ends, state.State(args[0])) {
			return input.Usage("give the state first: manageable, available or active")
		}
		return walk(ctx, c, a, m, args[1:], state.State(args[0]))
	})
	cmd.AddCommand(set)
	return cmd
}

// walk shows the way of each node and walks it.
func walk(ctx context.Context, c *command.Run, a *client.Client, m *acts.Nodes, args []string, to state.State) error {
	s, err := m.Select(ctx, a, args)
	if err != nil {
		return err
	}
	type plan struct {
		selection.Node
		Way []hop `json:"way"`
	}
	var plans []plan
	moves, destroys := 0, ""
	w := c.Notes()
	if len(s.Nodes) == 0 {
		fmt.Fprintf(w, "no node matches %q; nothing is done\n", s.Where)
		return c.EmitOnly([]plan{})
	}
	fmt.Fprintf(w, "to %s, these nodes and no others:\n", to)
	_ = output.Columns(w, func(w io.Writer) {
		output.Row(w, "NAME", "UUID", "WAY")
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
				if h.verb.Destroys != "" {
					text += " (" + h.Verb + ": " + h.verb.Destroys + ")"
					destroys = "disks are erased or overwritten"
				}
			}
			output.Row(w, output.Dash(n.Name), n.UUID, text)
		}
	})
	if m.Dry {
		return c.EmitOnly(plans)
	}
	if err := m.Consent(fmt.Sprintf("walking %s to %s", acts.Count(moves), to), destroys, moves); err != nil {
		return err
	}
	return m.Begin(ctx, a, s, acts.Act{Name: "state set", Each: func(ctx context.Context, t *acts.Turn, node string) error {
		n, err := a.NodeFields(ctx, node, []string{"provision_state"})
		if err != nil {
			return err
		}
		at, _ := n["provision_state"].(string)
		hops, ok := way(state.State(at), to)
		if !ok {
			return &selection.Skip{Why: fmt.Sprintf("no way leads to %s from %s; work in progress ends by itself, or by bessemer node abort %s", to, at, t.Label)}
		}
		if len(hops) == 0 {
			return t.Done(nil, "node %s is %s already", t.Label, to)
		}
		for _, h := range hops {
			if err := provision(ctx, t, node, h.verb, api.Provision{}, waiting{watch: true}); err != nil {
				return err
			}
		}
		return nil
	}})
}
