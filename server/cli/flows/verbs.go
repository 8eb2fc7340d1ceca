// Package flows has the commands that set machines going: the verbs, the steps that an operator names, the plans of both,
// and the way to a state.
//
// A verb's flags and its end are in waiting.go, for all of them.
package flows

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/acts"
	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/work"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// NodeCommands are the verbs of a machine, and what shows what they would do.
func NodeCommands(c *command.Run) []*cobra.Command {
	out := []*cobra.Command{deployCommand(c, work.Deploy), deployCommand(c, work.Rebuild), manualCommand(c, work.Clean), manualCommand(c, work.Service), rescueCommand(c), planCommand(c)}
	for _, v := range work.Verbs {
		out = append(out, VerbCommand(c, v))
	}
	return out
}

// VerbCommand is the command of a verb that needs no more than the nodes.
func VerbCommand(c *command.Run, v work.Verb) *cobra.Command {
	cmd := &cobra.Command{Use: v.Name + " [NODE ...]"}
	cmd.Short, cmd.Long = v.Short, v.Short+".\n\n"+v.Long+"\n\n"+acts.Help
	cmd.Example = "  bessemer node " + v.Name + " n1 --watch\n  bessemer node " + v.Name + " --where resource_class=big --dry-run"
	m := acts.On(c, cmd)
	var w waiting
	w.add(cmd)
	var look bool
	var manageable bool
	if v.Event == state.VerbProvide || v.Event == state.VerbInspect {
		cmd.Flags().BoolVar(&manageable, "all-manageable", false, "the same as --where state=manageable")
	}
	if v.By == fault.FlowAborted {
		cmd.Long += "\n\nFirst it says what the abort will do right now, and which steps stop at a safe point; with --look it does no more."
		cmd.Flags().BoolVar(&look, "look", false, "only say what an abort would do")
	}
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		if manageable {
			if m.Where != "" || len(args) > 0 {
				return input.Usage("--all-manageable stands alone")
			}
			m.Where = "state=manageable"
		}
		return runVerb(ctx, m, a, args, v, w, func(ctx context.Context, t *acts.Turn, node string) error {
			if v.By == fault.FlowAborted && t.Alone {
				err := abortPlan(ctx, c, a, node)
				switch {
				case err != nil || look:
					return err
				case c.Format != "table" && !w.stays(): // one document, for programs
					return a.Provision(ctx, node, api.Provision{Target: v.Target})
				}
			}
			return provision(ctx, t, node, v, api.Provision{}, w)
		})
	})
	return cmd
}
