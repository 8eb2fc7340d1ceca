package parts

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/acts"
	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/cli/work"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

func powerCommand(c *command.Run) *cobra.Command {
	cmd := command.Group(&cobra.Command{Use: "power [NODE]", Short: "Power a machine on or off, or show its power state",
		Example: "  bessemer node power n1\n  bessemer node power off n1 --soft --wait 2m\n  bessemer node power reboot n1"})
	help := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return help(cmd, args)
		}
		return c.With(func(ctx context.Context, a *client.Client, args []string) error {
			n, err := a.Node(ctx, args[0])
			if err != nil {
				return err
			}
			return c.Emit(map[string]*string{"power_state": n.PowerState, "target_power_state": n.TargetPowerState}, func(w io.Writer) {
				fmt.Fprintln(w, cmp.Or(output.Text(n.PowerState), "unknown")+strings.TrimSuffix(" -> "+output.Text(n.TargetPowerState), " -> "))
			})
		})(cmd, args)
	}
	for _, p := range powers {
		cmd.AddCommand(powerAct(c, p, p.name))
	}
	return cmd
}

// power is an act upon a machine's power.
type power struct{ name, hard, soft, end, short string }

var powers = []power{
	{"on", "power on", "", "power on", "Power it on"},
	{"off", "power off", "soft power off", "power off", "Power it off"},
	{"reboot", "rebooting", "soft rebooting", "power on", "Power it off, make sure it is, and on again"},
}

// powerAct is the command of an act.
func powerAct(c *command.Run, p power, name string) *cobra.Command {
	sub := &cobra.Command{Use: name + " [NODE ...]", Short: p.short, Long: p.short + ".\n\n" + acts.Help}
	m := acts.On(c, sub)
	soft, wait := new(bool), new(time.Duration)
	if p.soft != "" {
		soft = sub.Flags().Bool("soft", false, "ask the operating system to shut down first")
		wait = sub.Flags().Duration("wait", 0, "how long the machine may take; default: the server's setting")
	}
	watch := watchFlag(sub)
	seconds := sub.Flags().Int("power-timeout", 0, "the same as --wait, in seconds")
	command.Hide(sub, "power-timeout")
	sub.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		body := api.PowerTarget{Target: p.hard}
		if *soft {
			body.Target = p.soft
		}
		if *wait > 0 {
			*seconds = int(wait.Round(time.Second) / time.Second)
		}
		if sub.Flags().Changed("power-timeout") && *seconds < 1 {
			return input.Usage("--power-timeout is %d, expected a number of seconds", *seconds)
		}
		if *seconds > 0 {
			body.Timeout = seconds
		}
		return m.Run(ctx, a, args, acts.Act{Name: body.Target, Each: func(ctx context.Context, t *acts.Turn, node string) error {
			if err := a.SetPower(ctx, node, body); err != nil {
				return err
			}
			if *watch {
				return followPower(ctx, t, node, p.end)
			}
			return t.Done(nil, "%s of node %s has begun; bessemer node power %s shows the state", body.Target, t.Label, t.Label)
		}})
	})
	return sub
}

func watchFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().BoolP("watch", "w", false, "stay until the work ends and show it")
}

// followPower waits for the end of a power act, and fails when the machine is not as wanted then.
func followPower(ctx context.Context, t *acts.Turn, node, want string) error {
	a := t.API
	err := work.Until(ctx, a, node, func(api.Event) (bool, error) {
		n, err := a.Node(ctx, node)
		if err != nil {
			return false, err
		}
		switch {
		case n.TargetPowerState != nil:
			return false, nil
		case output.Text(n.PowerState) != want:
			return false, fault.New(fault.BMCPower, "node %s is %s instead of %s: %s", output.NodeName(n), cmp.Or(output.Text(n.PowerState), "in an unknown power state"), want,
				cmp.Or(output.Text(n.LastError), "no error is told"))
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	return t.Done(nil, "node %s: %s", t.Label, want)
}
