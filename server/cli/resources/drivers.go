package resources

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/cli/parts"
	"github.com/bessemer-metal/bessemer/server/client"
)

// driverCommands are what a hardware type has beside its fields.
func driverCommands(c *command.Run) []*cobra.Command {
	described := func(use, short string, path ...string) *cobra.Command {
		cmd := command.Exactly(use+" DRIVER", 1)
		cmd.Short = short
		cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
			o, err := a.Get(ctx, client.Path(append([]string{"drivers", args[0]}, path...)...), nil)
			if err != nil {
				return err
			}
			return c.Emit(o, func(w io.Writer) { output.Pairs(w, o) })
		})
		return cmd
	}
	property := command.Group(&cobra.Command{Use: "property", Short: "What driver_info of its nodes may hold"})
	property.AddCommand(described("list", "List the keys, with what each means", "properties"))
	raid := command.Group(&cobra.Command{Use: "raid", Short: "What it knows of disk arrays"})
	inRAID := command.Group(&cobra.Command{Use: "property", Short: "What a logical disk may hold"})
	inRAID.AddCommand(described("list", "List the keys, with what each means", "raid", "logical_disk_properties"))
	raid.AddCommand(inRAID)
	return []*cobra.Command{property, raid, parts.PassthruCommand(c, "drivers", "DRIVER", "a driver's")}
}
