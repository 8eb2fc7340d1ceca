package resources

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

const scopeHelp = `SCOPE is fleet, group:NAME, trait:NAME or node:NODE; of these a later one wins, and of two traits the later name. A
node's group is extra.config_group, or else its conductor_group. FLOW is clean or deploy.`

// DefaultsCommands are about the defaults of steps.
func DefaultsCommands(c *command.Run) []*cobra.Command {
	return []*cobra.Command{listDefaults(c), setDefault(c), unsetDefault(c), explainDefaults(c)}
}

func listDefaults(c *command.Run) *cobra.Command {
	var scope string
	cmd := command.Exactly("list", 0)
	cmd.Aliases = []string{"ls"}
	cmd.Short = "List the defaults that are set"
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, _ []string) error {
		all, err := a.Defaults(ctx, scope)
		if err != nil {
			return err
		}
		return c.Emit(all, func(w io.Writer) {
			if len(all) == 0 {
				fmt.Fprintln(w, "no defaults are set; bessemer config set sets some")
				return
			}
			output.Row(w, "SCOPE", "FLOW", "STEP", "KEY", "VALUE")
			for _, d := range all {
				output.Row(w, d.Scope, string(d.Flow), d.Step, keyText(d.Key), output.ValueText(d.Value))
			}
		})
	})
	cmd.Flags().StringVar(&scope, "scope", "", "only those of this scope")
	return cmd
}

func setDefault(c *command.Run) *cobra.Command {
	var priority int
	var args []string
	cmd := command.Exactly("set SCOPE FLOW STEP", 3)
	cmd.Short = "Set a default of a step"
	cmd.Long = "Sets the priority or arguments that a step has in the plan of a flow, where the flow chooses its own steps. Values are\nchecked at once. Priority 0 leaves a step out.\n\n" + scopeHelp
	cmd.Example = `  bessemer config set fleet clean deploy.erase_devices --arg verify=full
  bessemer config set group:rack1 clean management.reset_bmc --priority 50
  bessemer config set node:n1 clean deploy.erase_devices --arg method=overwrite`
	f := cmd.Flags()
	f.IntVar(&priority, "priority", 0, "0 to 1000; the highest runs first")
	f.StringArrayVar(&args, "arg", nil, "KEY=VALUE of an argument; may be repeated")
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, words []string) error {
		d := api.DefaultChange{Scope: words[0], Flow: state.Flow(words[1]), Step: words[2]}
		if f.Changed("priority") {
			d.Priority = &priority
		}
		m, err := c.Object(args, false)
		if err != nil {
			return err
		}
		if d.Args = m; len(m) == 0 && d.Priority == nil {
			return input.Usage("nothing to set: give --priority or --arg")
		}
		if err := a.SetDefaults(ctx, d); err != nil {
			return err
		}
		fmt.Fprintf(c.Out, "set for %s; bessemer config explain NODE shows what holds for a node\n", d.Scope)
		return nil
	})
	return cmd
}

func unsetDefault(c *command.Run) *cobra.Command {
	var priority bool
	var args []string
	cmd := command.Exactly("unset SCOPE FLOW STEP", 3)
	cmd.Short = "Forget a default of a step"
	cmd.Long = "Forgets what is named, or all that the scope sets for the step.\n\n" + scopeHelp
	cmd.Example = `  bessemer config unset fleet clean deploy.erase_devices --arg verify
  bessemer config unset group:rack1 clean management.reset_bmc`
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, words []string) error {
		keys := []string{}
		if priority {
			keys = append(keys, "priority")
		}
		for _, k := range args {
			keys = append(keys, "args."+k)
		}
		if len(keys) == 0 {
			keys = []string{""}
		}
		for _, k := range keys {
			if err := a.UnsetDefault(ctx, words[0], words[1], words[2], k); err != nil {
				return err
			}
		}
		fmt.Fprintf(c.Notes(), "forgotten for %s; bessemer config explain NODE shows what holds for a node\n", words[0])
		return nil
	})
	cmd.Flags().BoolVar(&priority, "priority", false, "forget the priority")
	cmd.Flags().StringArrayVar(&args, "arg", nil, "name of an argument to forget; may be repeated")
	return cmd
}

func explainDefaults(c *command.Run) *cobra.Command {
	cmd := command.Exactly("explain NODE", 1)
	cmd.Short = "Say which defaults hold for a machine, and why"
	cmd.Long = "Shows for each step that a flow runs by itself, or can be made to, its priority and arguments: the value that holds, where it\ncomes from, and what it overrode."
	var all bool
	cmd.Flags().BoolVar(&all, "all", false, "show the values that no default sets, too")
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		d, err := a.DefaultsOfNode(ctx, args[0])
		if err != nil {
			return err
		}
		return c.Emit(d, func(w io.Writer) {
			output.Row(w, "node", cmp.Or(d.Name, string(d.Node)))
			output.Row(w, "scopes", strings.Join(d.Scopes, " < "))
			fmt.Fprintln(w)
			output.Row(w, "FLOW", "STEP", "KEY", "VALUE", "FROM", "OVERRIDES", "NOTE")
			left := 0
			for _, v := range d.Values {
				if v.Origin == "step" && !all {
					left++
					continue
				}
				var over []string
				for _, l := range v.Overrides {
					over = append(over, output.ValueText(l.Value)+" ("+l.Origin+")")
				}
				output.Row(w, string(v.Flow), v.Step, keyText(v.Key), output.ValueText(v.Value), v.Origin, output.Dash(strings.Join(over, ", ")), v.Note)
			}
			if left > 0 {
				fmt.Fprintf(w, "\n%d values are the steps' own; --all shows them\n", left)
			}
		})
	})
	return cmd
}

func keyText(key string) string { return strings.TrimPrefix(key, "args.") }
