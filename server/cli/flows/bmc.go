package flows

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/acts"
	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/work"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// BMCCommand helps BMCs by the steps that do so.
func BMCCommand(c *command.Run) *cobra.Command {
	cmd := &cobra.Command{Use: "bmc", Short: "Help a machine's BMC"}
	cmd.AddCommand(
		stepCommand(c, "reset", "management.reset_bmc", "Restart a machine's BMC",
			"Restarts the BMC and waits until machine and log-in work again. The machine itself is neither stopped nor started."),
		stepCommand(c, "repair", "management.known_good_state", "Bring a jammed BMC back to a known good state",
			"Empties the BMC's job queue, restarts the BMC where jobs stay or it answers badly, and sets its clock. The machine itself is\nneither stopped nor started."),
	)
	return command.Group(cmd)
}

// stepCommand is a command that runs one step through the BMC, as the manual clean list that it is.
func stepCommand(c *command.Run, name, stepName, short, long string) *cobra.Command {
	cmd := &cobra.Command{Use: name + " [NODE ...]", Short: short}
	cmd.Long = long + "\n\nThe same as bessemer node clean NODE --disable-ramdisk --step " + stepName + ": the node must be manageable, and is so again at the end.\n\n" + acts.Help
	cmd.Example = "  bessemer bmc " + name + " n1 --watch"
	m := acts.On(c, cmd)
	var w waiting
	w.add(cmd)
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		wanted, err := c.WantedSteps("", []string{stepName})
		if err != nil {
			return err
		}
		without := true
		return runVerb(ctx, m, a, args, work.Clean, w, func(ctx context.Context, t *acts.Turn, node string) error {
			return provision(ctx, t, node, work.Clean, api.Provision{CleanSteps: wanted, DisableRamdisk: &without}, w)
		})
	})
	return cmd
}
