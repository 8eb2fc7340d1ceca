// Package observe has the commands that look and change nothing: a machine's steps, history, logs and inventory, the
// server's events, and the doctor, which changes only what --fix is given for.
package observe

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// NodeCommands show of a machine what its record does not.
func NodeCommands(c *command.Run) []*cobra.Command {
	return []*cobra.Command{validateCommand(c), stepsCommand(c), logsCommand(c), historyCommand(c), inventoryCommand(c)}
}

func validateCommand(c *command.Run) *cobra.Command {
	cmd := command.Exactly("validate NODE", 1)
	cmd.Short = "Check that a machine's record has what its interfaces need"
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		v, err := a.Validate(ctx, args[0])
		if err != nil {
			return err
		}
		return c.Emit(v, func(w io.Writer) {
			output.Row(w, "INTERFACE", "OK", "REASON")
			for _, name := range slices.Sorted(maps.Keys(v)) {
				ok := "yes"
				if !v[name].Result {
					ok = "no"
				}
				output.Row(w, name, ok, v[name].Reason)
			}
		})
	})
	return cmd
}

func stepsCommand(c *command.Run) *cobra.Command {
	var run string
	var available bool
	cmd := command.Exactly("steps NODE", 1)
	cmd.Short = "Show the steps of a machine's work, or those it may be asked for"
	cmd.Long = "Shows the steps of the work in progress or of the last one, with progress, results and failures."
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		if available {
			return availableSteps(ctx, c, a, args[0])
		}
		s, err := a.Steps(ctx, args[0], run)
		if err != nil {
			return err
		}
		return c.Emit(s, func(w io.Writer) {
			if r := s.Run; r != nil {
				output.Row(w, "run", r.ID)
				output.Row(w, "flow", string(r.Flow)+", "+r.Phase+", started "+c.Clock(r.Started)+strings.TrimSuffix(", ended "+c.Clock(r.Ended), ", ended ")+strings.TrimSuffix(" by "+r.Actor, " by "))
			}
			if s.Wait != nil {
				output.Row(w, "waits for", c.WaitText(*s.Wait))
			}
			output.Pair(w, "last error", s.LastError)
			if len(s.Steps) == 0 {
				output.Row(w, "steps", "none")
				return
			}
			fmt.Fprintln(w)
			output.Row(w, "STEP", "WHERE", "STATE", "STARTED", "TOOK", "DETAIL")
			for _, x := range s.Steps {
				took, detail := c.Ago(x.Started), output.ProgressText(x.Progress)
				if !x.Ended.IsZero() && !x.Started.IsZero() {
					took, detail = output.Span(x.Ended.Sub(x.Started.Time)), ""
				}
				if x.Fault != nil {
					detail = output.FaultText(*x.Fault)
				}
				output.Row(w, x.Step, string(x.Where), x.State, output.Dash(c.Clock(x.Started)), output.Dash(took), detail)
			}
			stepDevices(w, s.Steps)
			stepLogs(w, s)
		})
	})
	cmd.Flags().StringVar(&run, "run", "", "an earlier run, by its UUID")
	cmd.Flags().BoolVar(&available, "available", false, "list the steps that may be asked for, with their arguments")
	return cmd
}

// stepLogs shows the last lines that the agent said before a step failed.
func stepLogs(w io.Writer, s api.StepsAnswer) {
	for _, x := range s.Steps {
		if len(x.Log) == 0 {
			continue
		}
		fmt.Fprintf(w, "\nthe last lines of boot %d before %s was %s (all: bessemer node logs %s --boot %d)\n", x.Generation, x.Step, x.State, cmp.Or(s.Name, string(s.Node)), x.Generation)
		for _, l := range x.Log {
			fmt.Fprintln(w, "  "+output.LogLine(l))
		}
	}
}

// stepDevices tells how far each disk is, or came, of those steps that work on disks.
func stepDevices(w io.Writer, steps []api.StepView) {
	head := false
	for _, x := range steps {
		if x.Progress == nil {
			continue
		}
		for _, d := range x.Progress.Devices {
			if !head {
				fmt.Fprintln(w)
				output.Row(w, "STEP", "DISK", "PROGRESS")
				head = true
			}
			output.Row(w, x.Step, d.Device, output.DeviceText(d, x.Progress.Unit))
		}
	}
}

func availableSteps(ctx context.Context, c *command.Run, a *client.Client, node string) error {
	n, err := a.Node(ctx, node)
	if err != nil {
		return err
	}
	steps, err := a.Available(ctx, n.Driver)
	if err != nil {
		return err
	}
	return c.Emit(steps, func(w io.Writer) {
		for i, s := range steps {
			if i > 0 {
				fmt.Fprintln(w)
			}
			var flows []string
			for _, f := range state.Flows {
				if p, ok := s.Priority[f.Flow]; ok {
					flows = append(flows, fmt.Sprintf("%s %d", f.Flow, p))
				}
			}
			fmt.Fprintf(w, "%s (%s; priority: %s)\n  %s\n", s.Name, s.Where, strings.Join(flows, ", "), s.Doc)
			for _, arg := range s.Args {
				kind := string(arg.Type)
				if len(arg.Enum) > 0 {
					kind = strings.Join(arg.Enum, "|")
				}
				switch {
				case arg.Required:
					kind += ", required"
				case arg.Default != nil:
					kind += fmt.Sprintf(", default %v", arg.Default)
				}
				fmt.Fprintf(w, "    %s (%s): %s\n", arg.Name, kind, arg.Doc)
			}
		}
	})
}

func historyCommand(c *command.Run) *cobra.Command {
	cmd := historyList(c, "history")
	list := historyList(c, "list")
	list.Hidden = true // as Ironic's command has them: the history of a node is its list
	list.Flags().Bool("long", false, "nothing more: all is shown")
	command.Hide(list, "long")
	get := command.Exactly("get NODE EVENT", 2)
	get.Hidden = true
	get.Short = "Show one entry of a machine's history, by its UUID"
	get.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		o, err := a.Get(ctx, client.Path("nodes", args[0], "history", args[1]), nil)
		if err != nil {
			return err
		}
		if inner, ok := o["history"].(map[string]any); ok {
			o = inner
		}
		return c.WriteObject(o, nil)
	})
	cmd.AddCommand(list, get)
	return cmd
}

func historyList(c *command.Run, name string) *cobra.Command {
	var limit int
	cmd := command.Exactly(name+" NODE", 1)
	cmd.Short = "Show what happened to a machine, newest first"
	cmd.Long = "Shows what happened to a machine, newest first: who asked for it and by which request, how long the state, step or work\nlasted, and of a failure its reason and the agent's log."
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		if limit < 1 || limit > 1000 {
			return input.Usage("--limit is %d, expected 1 to 1000", limit)
		}
		h, err := a.History(ctx, args[0], limit)
		if err != nil {
			return err
		}
		return c.Emit(h, func(w io.Writer) {
			output.Row(w, "TIME", "SEVERITY", "TYPE", "USER", "TOOK", "REQUEST", "EVENT")
			for _, e := range h {
				took, request, event := "-", "-", e.Event
				if m := e.HistoryMore; m != nil {
					if d := time.Duration(m.Duration * float64(time.Second)); d >= time.Second {
						took = output.Span(d)
					}
					request = output.Dash(m.Request)
					if m.Reason != "" {
						event = m.Reason + ": " + event
					}
					if m.Log != "" && e.Severity == "ERROR" {
						event += " [log: " + m.Log + "]"
					}
				}
				output.Row(w, c.Clock(e.CreatedAt), e.Severity, output.Dash(e.EventType), output.Dash(e.User), took, request, event)
			}
		})
	})
	cmd.Flags().IntVar(&limit, "limit", 50, "how many entries at most")
	return cmd
}
