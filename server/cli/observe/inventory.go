package observe

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/client"
)

func inventoryCommand(c *command.Run) *cobra.Command {
	cmd := command.Group(&cobra.Command{Use: "inventory [NODE]", Short: "Show what the last inspection found"})
	help := cmd.RunE
	cmd.AddCommand(saveCommand(c))
	cmd.Long = "Shows what the last inspection found, as JSON unless -o yaml is given."
	show := c.With(func(ctx context.Context, a *client.Client, args []string) error {
		v, err := a.Inventory(ctx, args[0])
		if err != nil {
			return err
		}
		if c.Format == "table" {
			c.Format = "json"
		}
		return c.Emit(v, nil)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return help(cmd, args)
		}
		return show(cmd, args)
	}
	return cmd
}

// saveCommand writes the inventory into a file.
func saveCommand(c *command.Run) *cobra.Command {
	cmd := command.Exactly("save NODE", 1)
	cmd.Short = "Write what the last inspection found into a file, as JSON"
	file := cmd.Flags().String("file", "", "where to; without it, the standard output")
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		v, err := a.Inventory(ctx, args[0])
		if err != nil {
			return err
		}
		if *file == "" {
			fmt.Fprintln(c.Out, string(v))
			return nil
		}
		if err := os.WriteFile(*file, append(v, '\n'), 0o644); err != nil {
			return fmt.Errorf("write the inventory: %w", err)
		}
		return nil
	})
	return cmd
}
