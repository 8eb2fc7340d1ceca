package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
)

func (c *command) bmcCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "bmc", Short: "Help a machine's BMC"}
	cmd.AddCommand(
		c.bmcStep("reset", "management.reset_bmc", "Restart a machine's BMC",
			"Restarts the BMC and waits until machine and log-in work again. The machine itself is neither stopped nor started."),
		c.bmcStep("repair", "management.known_good_state", "Bring a jammed BMC back to a known good state",
			"Empties the BMC's job queue, restarts the BMC where jobs stay or it answers badly, and sets its clock. The machine itself is\nneither stopped nor started."),
	)
	return group(cmd)
}

// bmcStep is a command that runs one step through the BMC, as the manual clean list that it is.
func (c *command) bmcStep(name, stepName, short, long string) *cobra.Command {
	cmd := &cobra.Command{Use: name + " [NODE ...]", Short: short}
	cmd.Long = long + "\n\nThe same as bessemer node clean NODE --disable-ramdisk --step " + stepName + ": the node must be manageable, and is so again at the end.\n\n" + nodesHelp
	cmd.Example = "  bessemer bmc " + name + " n1 --watch"
	m := c.many(cmd)
	var w waiting
	w.add(cmd)
	cmd.RunE = c.with(func(ctx context.Context, a *client.Client, args []string) error {
		wanted, err := c.wanted("", []string{stepName})
		if err != nil {
			return err
		}
		without := true
		return m.verb(ctx, a, args, verbClean, w, func(ctx context.Context, t *turn, node string) error {
			return t.provision(ctx, node, verbClean, api.Provision{CleanSteps: wanted, DisableRamdisk: &without}, w)
		})
	})
	return cmd
}
