package record

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/acts"
	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/cli/work"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

func showCommand(c *command.Run) *cobra.Command {
	cmd := &cobra.Command{Use: "show NODE ...", Short: "Show a machine: its state, what it waits for, what leads on"}
	cmd.Long = cmd.Short + `.

NODE is a name or UUID; n1,n2 and @FILE (one a line) name several, of which the fields are shown that are set.`
	cmd.Example = "  bessemer node show n1\n  bessemer node show n1 n2 --fields name,provision_state\n  bessemer node show @rack7.txt -o json"
	fields := cmd.Flags().StringSlice("fields", nil, "only these fields: a,b")
	instance := cmd.Flags().String("instance", "", "the machine of the instance with this UUID, instead of NODE")
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		if *instance != "" {
			if len(args) > 0 {
				return input.Usage("give NODE or --instance, not both")
			}
			found, err := a.Nodes(ctx, url.Values{"instance_uuid": {*instance}})
			if err != nil {
				return err
			}
			if len(found) == 0 {
				return fault.New(fault.NodeNotFound, "there is no node with the instance %s", *instance)
			}
			args = []string{found[0].UUID}
		}
		if len(args) == 0 {
			return input.Usage("name the node, or several: bessemer node show NODE ...")
		}
		idents, err := acts.Named(c, args)
		switch {
		case err != nil:
			return err
		case len(idents) > 1 || strings.HasPrefix(args[0], "@"):
			return showBatch(ctx, c, a, idents, *fields)
		case len(*fields) > 0:
			o, err := a.NodeFields(ctx, idents[0], *fields)
			if err != nil {
				return err
			}
			return c.WriteObject(o, *fields)
		}
		n, err := a.Node(ctx, idents[0])
		if err != nil {
			return err
		}
		if c.Format != "table" {
			return c.Emit(n, nil)
		}
		steps, err := a.Steps(ctx, idents[0], "")
		if err != nil {
			return err
		}
		ports, err := a.Ports(ctx, n.UUID, "")
		if err != nil {
			return err
		}
		return c.Emit(n, func(w io.Writer) { showNode(c, w, n, steps, ports) })
	})
	return cmd
}

// showBatch shows many nodes by one request: the fields as columns, or all that are set one below the other. Names of
// nothing are told, and make the exit code.
func showBatch(ctx context.Context, c *command.Run, a *client.Client, idents, fields []string) error {
	nodes, missing, err := a.Batch(ctx, idents, fields)
	if err != nil {
		return err
	}
	if err := c.Objects(nodes, fields, len(fields) == 0); err != nil {
		return err
	}
	for _, id := range missing {
		c.Tell("", fault.New(fault.NodeNotFound, "there is no node %s", id))
	}
	if len(missing) > 0 {
		return command.ErrTold
	}
	return nil
}

// lastSaid shows the agent's last three lines before the work failed; node steps shows the others.
func lastSaid(w io.Writer, s api.StepsAnswer) {
	if s.LastReason == "" || len(s.Steps) == 0 {
		return
	}
	said := s.Steps[len(s.Steps)-1].Log
	for i := len(s.Steps) - 2; i >= 0 && len(said) == 0; i-- {
		said = s.Steps[i].Log
	}
	for i, l := range said[max(0, len(said)-3):] {
		output.Row(w, map[bool]string{true: "last said", false: ""}[i == 0], output.LogLine(l))
	}
}

func showNode(c *command.Run, w io.Writer, n api.Node, s api.StepsAnswer, ports []api.Port) {
	output.Pair(w, "name", output.Text(n.Name))
	output.Pair(w, "uuid", n.UUID)
	output.Pair(w, "state", output.StateText(state.State(output.Text(n.ProvisionState)), state.State(output.Text(n.TargetProvisionState)))+", for "+c.Ago(n.ProvisionUpdatedAt))
	power := cmp.Or(output.Text(n.PowerState), "unknown")
	if t := output.Text(n.TargetPowerState); t != "" {
		power += " -> " + t
	}
	output.Pair(w, "power", power)
	if n.Maintenance {
		output.Pair(w, "maintenance", cmp.Or(output.Text(n.MaintenanceReason), "yes")+strings.TrimSuffix(" ("+output.Text(n.Fault)+")", " ()"))
	}
	if why, ok := n.DriverInternalInfo["unverified"].(string); ok {
		output.Pair(w, "unverified", why)
	}
	if what, ok := n.DriverInternalInfo["owed"].(string); ok {
		output.Pair(w, "owed", what)
	}
	if s.Wait != nil {
		output.Pair(w, "waits for", c.WaitText(*s.Wait))
	}
	for _, v := range s.Steps {
		if v.Ended.IsZero() && !v.Started.IsZero() {
			output.Pair(w, "step", v.Step+" "+output.ProgressText(v.Progress))
		}
	}
	output.Pair(w, "last error", output.Text(n.LastError))
	output.Pair(w, "reason", s.LastReason)
	lastSaid(w, s)
	output.Pair(w, "verbs", work.Typed(s.Next))
	output.Pair(w, "description", output.Text(n.Description))
	output.Pair(w, "driver", n.Driver)
	output.Pair(w, "driver_info", output.Flat(n.DriverInfo))
	output.Pair(w, "properties", output.Flat(n.Properties))
	output.Pair(w, "instance_info", output.Flat(n.InstanceInfo))
	output.Pair(w, "instance_uuid", output.Text(n.InstanceUUID))
	output.Pair(w, "extra", output.Flat(n.Extra))
	output.Pair(w, "traits", strings.Join(n.Traits, " "))
	output.Pair(w, "resource class", output.Text(n.ResourceClass))
	output.Pair(w, "owner", output.Text(n.Owner))
	if n.Protected {
		output.Pair(w, "protected", cmp.Or(output.Text(n.ProtectedReason), "yes"))
	}
	if n.Retired {
		output.Pair(w, "retired", cmp.Or(output.Text(n.RetiredReason), "yes"))
	}
	output.Pair(w, "boot mode", output.Text(n.BootMode))
	output.Pair(w, "health", output.Text(n.Health))
	for _, p := range ports {
		output.Pair(w, "port", p.Address+"  "+p.UUID)
	}
	if b := s.Boot; b != nil && !b.Ended {
		line := fmt.Sprintf("boot %d, opened %s, level A%d", b.Generation, c.Clock(b.Opened), b.Level)
		if b.Contested {
			line += ", CONTESTED: two machines claim to be this node"
		}
		if b.Source != "" {
			line += ", agent at " + b.Source
		}
		output.Pair(w, "ramdisk", line)
	}
	output.Pair(w, "created", c.Clock(n.CreatedAt))
}
