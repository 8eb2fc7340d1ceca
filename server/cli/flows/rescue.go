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
)

func rescueCommand(c *command.Run) *cobra.Command {
	cmd := &cobra.Command{Use: "rescue [NODE ...]", Short: "Boot a rescue ramdisk beside a machine's instance"}
	cmd.Long = `Boots the ramdisk on a machine that is active and lets you log in to it; the instance's disks are not written.
bessemer node unrescue boots the instance again. The password is read from a file, never from the command line.

` + acts.Help
	cmd.Example = "  bessemer node rescue n1 --rescue-password-file secret.txt --watch"
	m := acts.On(c, cmd)
	var w waiting
	w.add(cmd)
	file := cmd.Flags().String("rescue-password-file", "", "file that holds the password to log in with; - is the standard input")
	cmd.Flags().String("rescue-password", "", "give --rescue-password-file instead")
	command.Hide(cmd, "rescue-password")
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		if cmd.Flags().Changed("rescue-password") {
			return input.Usage("other users of this host could read --rescue-password on the command line: give --rescue-password-file FILE, or - for the standard input")
		}
		if *file == "" {
			return input.Usage("give --rescue-password-file: the password to log in to the ramdisk with")
		}
		password, err := c.Secret(*file, "--rescue-password-file")
		if err != nil {
			return err
		}
		return runVerb(ctx, m, a, args, work.Rescue, w, func(ctx context.Context, t *acts.Turn, node string) error {
			return provision(ctx, t, node, work.Rescue, api.Provision{RescuePassword: password}, w)
		})
	})
	return cmd
}
