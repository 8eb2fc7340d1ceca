package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

func (c *command) nodePower() *cobra.Command {
	cmd := group(&cobra.Command{Use: "power [NODE]", Short: "Power a machine on or off, or show its power state",
		Example: "  bessemer node power n1\n  bessemer node power off n1 --soft --wait 2m\n  bessemer node power reboot n1"})
	help := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return help(cmd, args)
		}
		return c.with(func(ctx context.Context, a *client.Client, args []string) error {
			n, err := a.Node(ctx, args[0])
			if err != nil {
				return err
			}
			return c.emit(map[string]*string{"power_state": n.PowerState, "target_power_state": n.TargetPowerState}, func(w io.Writer) {
				fmt.Fprintln(w, cmp.Or(text(n.PowerState), "unknown")+strings.TrimSuffix(" -> "+text(n.TargetPowerState), " -> "))
			})
		})(cmd, args)
	}
	for _, p := range []struct{ name, hard, soft, end, short string }{
		{"on", "power on", "", "power on", "Power it on"},
		{"off", "power off", "soft power off", "power off", "Power it off"},
		{"reboot", "rebooting", "soft rebooting", "power on", "Power it off, make sure it is, and on again"},
	} {
		sub := &cobra.Command{Use: p.name + " [NODE ...]", Short: p.short, Long: p.short + ".\n\n" + nodesHelp}
		m := c.many(sub)
		soft, wait := new(bool), new(time.Duration)
		if p.soft != "" {
			soft = sub.Flags().Bool("soft", false, "ask the operating system to shut down first")
			wait = sub.Flags().Duration("wait", 0, "how long the machine may take; default: the server's setting")
		}
		watch := watchFlag(sub)
		sub.RunE = c.with(func(ctx context.Context, a *client.Client, args []string) error {
			body := api.PowerTarget{Target: p.hard}
			if *soft {
				body.Target = p.soft
			}
			if *wait > 0 {
				seconds := int(wait.Round(time.Second) / time.Second)
				body.Timeout = &seconds
			}
			return m.run(ctx, a, args, act{name: body.Target, each: func(ctx context.Context, t *turn, node string) error {
				if err := a.SetPower(ctx, node, body); err != nil {
					return err
				}
				if *watch {
					return t.followPower(ctx, node, p.end)
				}
				return t.done(nil, "%s of node %s has begun; bessemer node power %s shows the state", body.Target, t.label, t.label)
			}})
		})
		cmd.AddCommand(sub)
	}
	return cmd
}

func watchFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().BoolP("watch", "w", false, "stay until the work ends and show it")
}

// followPower waits for the end of a power act, and fails when the machine is not as wanted then.
func (t *turn) followPower(ctx context.Context, node, want string) error {
	a := t.a
	err := until(ctx, a, node, func(api.Event) (bool, error) {
		n, err := a.Node(ctx, node)
		if err != nil {
			return false, err
		}
		switch {
		case n.TargetPowerState != nil:
			return false, nil
		case text(n.PowerState) != want:
			return false, fault.New(fault.BMCPower, "node %s is %s instead of %s: %s", nodeName(n), cmp.Or(text(n.PowerState), "in an unknown power state"), want,
				cmp.Or(text(n.LastError), "no error is told"))
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	return t.done(nil, "node %s: %s", t.label, want)
}

// lookCommands show of a machine what its record does not.
func (c *command) lookCommands() []*cobra.Command {
	return []*cobra.Command{c.nodeValidate(), c.nodeSteps(), c.nodeLogs(), c.nodeHistory(), c.nodeInventory()}
}

func (c *command) nodeValidate() *cobra.Command {
	cmd := one("validate NODE", 1)
	cmd.Short = "Check that a machine's record has what its interfaces need"
	cmd.RunE = c.with(func(ctx context.Context, a *client.Client, args []string) error {
		v, err := a.Validate(ctx, args[0])
		if err != nil {
			return err
		}
		return c.emit(v, func(w io.Writer) {
			row(w, "INTERFACE", "OK", "REASON")
			for _, name := range slices.Sorted(maps.Keys(v)) {
				ok := "yes"
				if !v[name].Result {
					ok = "no"
				}
				row(w, name, ok, v[name].Reason)
			}
		})
	})
	return cmd
}

func (c *command) nodeInventory() *cobra.Command {
	cmd := group(&cobra.Command{Use: "inventory [NODE]", Short: "Show what the last inspection found"})
	help := cmd.RunE
	cmd.AddCommand(c.inventorySave())
	cmd.Long = "Shows what the last inspection found, as JSON unless -o yaml is given."
	show := c.with(func(ctx context.Context, a *client.Client, args []string) error {
		v, err := a.Inventory(ctx, args[0])
		if err != nil {
			return err
		}
		if c.Format == "table" {
			c.Format = "json"
		}
		return c.emit(v, nil)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return help(cmd, args)
		}
		return show(cmd, args)
	}
	return cmd
}

func (c *command) nodeSteps() *cobra.Command {
	var run string
	var available bool
	cmd := one("steps NODE", 1)
	cmd.Short = "Show the steps of a machine's work, or those it may be asked for"
	cmd.Long = "Shows the steps of the work in progress or of the last one, with progress, results and failures."
	cmd.RunE = c.with(func(ctx context.Context, a *client.Client, args []string) error {
		if available {
			return c.availableSteps(ctx, a, args[0])
		}
		s, err := a.Steps(ctx, args[0], run)
		if err != nil {
			return err
		}
		return c.emit(s, func(w io.Writer) {
			if r := s.Run; r != nil {
				row(w, "run", r.ID)
				row(w, "flow", string(r.Flow)+", "+r.Phase+", started "+c.clock(r.Started)+strings.TrimSuffix(", ended "+c.clock(r.Ended), ", ended ")+strings.TrimSuffix(" by "+r.Actor, " by "))
			}
			if s.Wait != nil {
				row(w, "waits for", c.waitText(*s.Wait))
			}
			pair(w, "last error", s.LastError)
			if len(s.Steps) == 0 {
				row(w, "steps", "none")
				return
			}
			fmt.Fprintln(w)
			row(w, "STEP", "WHERE", "STATE", "STARTED", "TOOK", "DETAIL")
			for _, x := range s.Steps {
				took, detail := c.ago(x.Started), progressText(x.Progress)
				if !x.Ended.IsZero() && !x.Started.IsZero() {
					took, detail = span(x.Ended.Sub(x.Started.Time)), ""
				}
				if x.Fault != nil {
					detail = faultText(*x.Fault)
				}
				row(w, x.Step, string(x.Where), x.State, dash(c.clock(x.Started)), dash(took), detail)
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
			fmt.Fprintln(w, "  "+logLine(l))
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
				row(w, "STEP", "DISK", "PROGRESS")
				head = true
			}
			row(w, x.Step, d.Device, deviceText(d, x.Progress.Unit))
		}
	}
}

func (c *command) availableSteps(ctx context.Context, a *client.Client, node string) error {
	n, err := a.Node(ctx, node)
	if err != nil {
		return err
	}
	steps, err := a.Available(ctx, n.Driver)
	if err != nil {
		return err
	}
	return c.emit(steps, func(w io.Writer) {
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

func (c *command) nodeHistory() *cobra.Command {
	var limit int
	cmd := one("history NODE", 1)
	cmd.Short = "Show what happened to a machine, newest first"
	cmd.Long = "Shows what happened to a machine, newest first: who asked for it and by which request, how long the state, step or work\nlasted, and of a failure its reason and the agent's log."
	cmd.RunE = c.with(func(ctx context.Context, a *client.Client, args []string) error {
		if limit < 1 || limit > 1000 {
			return usage("--limit is %d, expected 1 to 1000", limit)
		}
		h, err := a.History(ctx, args[0], limit)
		if err != nil {
			return err
		}
		return c.emit(h, func(w io.Writer) {
			row(w, "TIME", "SEVERITY", "TYPE", "USER", "TOOK", "REQUEST", "EVENT")
			for _, e := range h {
				took, request, event := "-", "-", e.Event
				if m := e.HistoryMore; m != nil {
					if d := time.Duration(m.Duration * float64(time.Second)); d >= time.Second {
						took = span(d)
					}
					request = dash(m.Request)
					if m.Reason != "" {
						event = m.Reason + ": " + event
					}
					if m.Log != "" && e.Severity == "ERROR" {
						event += " [log: " + m.Log + "]"
					}
				}
				row(w, c.clock(e.CreatedAt), e.Severity, dash(e.EventType), dash(e.User), took, request, event)
			}
		})
	})
	cmd.Flags().IntVar(&limit, "limit", 50, "how many entries at most")
	return cmd
}

func (c *command) nodeLogs() *cobra.Command {
	var q client.LogQuery
	var raw bool
	cmd := one("logs NODE", 1)
	cmd.Short = "Show the log of a machine's agent"
	cmd.Long = "Shows the log that the agent in the ramdisk sends, of the newest boot unless --boot says otherwise.\nWith -f it waits for more, and goes on to the next boot."
	cmd.Example = "  bessemer node logs n1 -f\n  bessemer node logs n1 --boot 3 --raw > n1.jsonl"
	cmd.RunE = c.with(func(ctx context.Context, a *client.Client, args []string) error {
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
				fmt.Fprintln(c.Out, logLine(lines.Text()))
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

// logLine is a line of slog's JSON as people read it: time, level, message, then the rest by name. Control characters
// of a hostile agent do not reach the terminal.
func logLine(line string) string {
	var m map[string]any
	if err := json.Unmarshal([]byte(line), &m); err != nil || m["msg"] == nil {
		return printable(line)
	}
	when, _ := m["time"].(string)
	if t, err := time.Parse(time.RFC3339Nano, when); err == nil {
		when = t.UTC().Format("15:04:05.000Z")
	}
	level, _ := m["level"].(string)
	out := strings.TrimLeft(fmt.Sprintf("%s %-5s %v", when, level, m["msg"]), " ")
	delete(m, "time")
	delete(m, "level")
	delete(m, "msg")
	if rest := flat(m); rest != "" {
		out += "  " + rest
	}
	return printable(out)
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '\ufffd'
		}
		return r
	}, s)
}
