package parts

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/client"
)

// raidCommand shows what was built beside what is wanted.
func raidCommand(c *command.Run) *cobra.Command {
	cmd := command.Exactly("raid NODE", 1)
	cmd.Short = "Show a machine's RAID volumes: those that were built, and those that are wanted"
	cmd.Long = cmd.Short + ".\n\nnode set --target-raid-config says what is wanted; the clean step raid.create_configuration builds it."
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		o, err := a.Get(ctx, client.Path("nodes", args[0], "states"), nil)
		if err != nil {
			return err
		}
		var all []map[string]any
		for _, from := range []struct{ key, is, name string }{{"raid_config", "built", "name"}, {"target_raid_config", "wanted", "volume_name"}} {
			config, _ := o[from.key].(map[string]any)
			disks, _ := config["logical_disks"].([]any)
			for _, d := range disks {
				disk, ok := d.(map[string]any)
				if !ok {
					continue
				}
				row := map[string]any{"is": from.is, "name": disk[from.name]}
				for _, key := range raidColumns[2:] {
					row[key] = disk[key]
				}
				all = append(all, row)
			}
		}
		return c.Objects(all, raidColumns, false)
	})
	return cmd
}

var raidColumns = []string{"is", "name", "raid_level", "size_gb", "controller", "physical_disks", "is_root_volume"}
