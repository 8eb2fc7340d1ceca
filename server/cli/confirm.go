package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/client"
)

func (c *command) nodeConfirm() *cobra.Command {
	var all bool
	cmd := &cobra.Command{Use: "confirm [NODE ...]", Short: "Say that a node's record is right"}
	cmd.Long = "Say that a node's record is right.\n\nAfter an older database was put back no machine is touched: what happened since is not in it, and a node that it\ncalls available may carry somebody's data. Look at the machine, correct the record if need be, then confirm it."
	cmd.Example = "  bessemer node confirm n1\n  bessemer node confirm --all"
	cmd.Flags().BoolVar(&all, "all", false, "confirm every unverified node: only if you know that the database is the newest there is")
	cmd.RunE = c.with(func(ctx context.Context, a *client.Client, args []string) error {
		if all == (len(args) > 0) {
			return usage("give the nodes to confirm, or --all")
		}
		if all {
			nodes, err := a.Nodes(ctx, nil)
			if err != nil {
				return err
			}
			for _, n := range nodes {
				if n.DriverInternalInfo["unverified"] != nil {
					args = append(args, n.UUID)
				}
			}
		}
		for _, node := range args {
			if err := a.Confirm(ctx, node); err != nil {
				return err
			}
			fmt.Fprintf(c.Out, "the record of node %s is confirmed\n", node)
		}
		return nil
	})
	return cmd
}
