package record

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/acts"
	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/client"
)

func confirmCommand(c *command.Run) *cobra.Command {
	var all bool
	cmd := &cobra.Command{Use: "confirm [NODE ...]", Short: "Say that a node's record is right"}
	cmd.Long = "Say that a node's record is right.\n\nAfter an older database was put back no machine is touched: what happened since is not in it, and a node that it\ncalls available may carry somebody's data. Look at the machine, correct the record if need be, then confirm it.\n\nOf a node whose machine could not be powered off when work on it had failed it says that the machine is off: look at it\nfirst. Until then what ran there may still run, and nothing is begun that could meet it.\n\nOf a node of which neither is so it says that the machine behind its BMC is the node's, although its UUID or serial\nnumber is another than when it was verified: the board was replaced. Not while work on the node is under way."
	cmd.Example = "  bessemer node confirm n1\n  bessemer node confirm --all"
	m := acts.On(c, cmd)
	cmd.Flags().BoolVar(&all, "all", false, "confirm every unverified node: only if you know that the database is the newest there is")
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		if all {
			if len(args) > 0 || m.Where != "" {
				return input.Usage("give the nodes to confirm, or --all")
			}
			m.Where = "driver_internal_info.unverified!="
		}
		return m.Run(ctx, a, args, acts.Act{Name: "confirm", Each: func(ctx context.Context, t *acts.Turn, node string) error {
			if err := a.Confirm(ctx, node); err != nil {
				return err
			}
			return t.Done(nil, "the record of node %s is confirmed", t.Label)
		}})
	})
	return cmd
}
