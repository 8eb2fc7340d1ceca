package observe

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/cli/work"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// EventsCommand shows what changes, as it changes.
func EventsCommand(c *command.Run) *cobra.Command {
	cmd := command.Exactly("events", 0)
	cmd.Short = "Show what changes, as it changes"
	cmd.Long = `Shows how each machine is now, then every change, until it is stopped. Several changes of one machine in quick succession
come as one. -o json writes an object a line.`
	cmd.Example = "  bessemer events\n  bessemer events --node n1 -o json"
	node := cmd.Flags().String("node", "", "only this machine")
	limit := cmd.Flags().Int("limit", 0, "end after so many; 0: never")
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, _ []string) error {
		seen := 0
		err := work.Until(ctx, a, *node, func(e api.Event) (bool, error) {
			if c.Format == "table" {
				fmt.Fprintf(c.Out, "%s %s\n", c.Now().UTC().Format("15:04:05Z"), output.Printable(eventText(e)))
			} else if err := json.NewEncoder(c.Out).Encode(e); err != nil {
				return false, fmt.Errorf("write the event: %w", err)
			}
			seen++
			return seen == *limit, nil
		})
		if ctx.Err() != nil { // the way to end it
			return nil
		}
		return err
	})
	return cmd
}

func eventText(e api.Event) string {
	name := cmp.Or(e.Name, string(e.Node))
	if e.Gone {
		return name + "  is gone"
	}
	text := name + "  " + output.StateText(e.State, e.Target) + ", " + cmp.Or(e.Power, "power unknown")
	if e.Maintenance {
		text += ", maintenance"
	}
	if e.LastError != "" {
		text += ", " + e.LastError
	}
	return text
}
