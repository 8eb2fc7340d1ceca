package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
)

func (c *command) nodeRescue() *cobra.Command {
	cmd := &cobra.Command{Use: "rescue [NODE ...]", Short: "Boot a rescue ramdisk beside a machine's instance"}
	cmd.Long = `Boots the ramdisk on a machine that is active and lets you log in to it; the instance's disks are not written.
bessemer node unrescue boots the instance again. The password is read from a file, never from the command line.

` + nodesHelp
	cmd.Example = "  bessemer node rescue n1 --rescue-password-file secret.txt --watch"
	m := c.many(cmd)
	var w waiting
	w.add(cmd)
	file := cmd.Flags().String("rescue-password-file", "", "file that holds the password to log in with; - is the standard input")
	cmd.RunE = c.with(func(ctx context.Context, a *client.Client, args []string) error {
		if *file == "" {
			return usage("give --rescue-password-file: the password to log in to the ramdisk with")
		}
		password, err := c.secret(*file, "--rescue-password-file")
		if err != nil {
			return err
		}
		return m.verb(ctx, a, args, verbRescue, w, func(ctx context.Context, t *turn, node string) error {
			return t.provision(ctx, node, verbRescue, api.Provision{RescuePassword: password}, w)
		})
	})
	return cmd
}
