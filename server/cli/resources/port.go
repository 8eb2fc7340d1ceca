package resources

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/server/resource"
)

// PortCommand is about network cards: the verbs of their row, which take a card's address for its UUID.
func PortCommand(c *command.Run) *cobra.Command {
	r := resource.Port
	cmd := command.Group(&cobra.Command{Use: "port", Aliases: []string{"ports"}, Short: r.Short, Long: "A port is one network card of a node, known by its address. ID is its UUID or address."})
	create := createCommand(c, r)
	create.Short = "Tell a network card of a machine"
	create.Flags().Bool("no-pxe", false, "the ramdisk does not boot from it: the same as --pxe-enabled false")
	create.Args = cobra.MaximumNArgs(1)
	run := create.RunE
	create.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 { // as baremetal has it
			if cmd.Flags().Changed("address") {
				return input.Usage("give the address once: %s or --address", args[0])
			}
			if err := cmd.Flags().Set("address", args[0]); err != nil {
				return err
			}
		}
		if command.Given(cmd, "no-pxe") {
			if err := cmd.Flags().Set("pxe-enabled", "false"); err != nil {
				return err
			}
		}
		return run(cmd, nil)
	}
	remove := deleteCommand(c, r)
	remove.Short = "Forget network cards"
	cmd.AddCommand(create, listCommand(c, r), byAddress(c, showCommand(c, r)), byAddress(c, remove), byAddress(c, setCommand(c, r)), byAddress(c, unsetCommand(c, r)))
	return cmd
}

// byAddress lets a command that takes ports' UUIDs take their addresses as well.
func byAddress(c *command.Run, cmd *cobra.Command) *cobra.Command {
	run := cmd.RunE
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		ids := make([]string, 0, len(args))
		for _, arg := range args {
			if strings.Contains(arg, ":") {
				id, err := ofAddress(ctx, a, resource.Port, arg)
				if err != nil {
					return err
				}
				arg = id
			}
			ids = append(ids, arg)
		}
		return run(cmd, ids)
	})
	return cmd
}
