package observe

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/client"
)

func logsCommand(c *command.Run) *cobra.Command {
	var q client.LogQuery
	var raw bool
	cmd := command.Exactly("logs NODE", 1)
	cmd.Short = "Show the log of a machine's agent"
	cmd.Long = "Shows the log that the agent in the ramdisk sends, of the newest boot unless --boot says otherwise.\nWith -f it waits for more, and goes on to the next boot."
	cmd.Example = "  bessemer node logs n1 -f\n  bessemer node logs n1 --boot 3 --raw > n1.jsonl"
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		log, err := a.Logs(ctx, args[0], q)
		if err != nil {
			return err
		}
		defer log.Close()
		if raw || c.Format == "json" {
			_, err = io.Copy(c.Out, log)
		} else {
			lines := bufio.NewScanner(log)
			lines.Buffer(nil, 1<<20)
			for lines.Scan() {
				fmt.Fprintln(c.Out, output.LogLine(lines.Text()))
			}
			err = lines.Err()
		}
		if ctx.Err() != nil {
			return nil // the way to end -f
		}
		return err
	})
	f := cmd.Flags()
	f.BoolVarP(&q.Follow, "follow", "f", false, "wait for more")
	f.Uint64Var(&q.Generation, "boot", 0, "number of the boot; 0: the newest")
	f.Int64Var(&q.Offset, "offset", 0, "leave out so many bytes of the beginning")
	f.BoolVar(&raw, "raw", false, "the lines as they are: JSON")
	return cmd
}
