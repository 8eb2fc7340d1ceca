package observe

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// mostFixes is how many ways out --fix takes of one node: a maintenance to end, then a verb, then a look.
const mostFixes = 3

// DoctorCommand takes what looks at the data directory of a server that does not run; nil: that can't be done here.
func DoctorCommand(c *command.Run, look func(ctx context.Context, s config.Server) []api.Check) *cobra.Command {
	var fix, yes bool
	var file, dataDir string
	cmd := &cobra.Command{Use: "doctor [NODE]", Short: "Say what is wrong, what each machine waits for, and what leads on"}
	cmd.Args = cobra.MaximumNArgs(1)
	cmd.Long = `Says of the server whether its clock, disk, certificates, database and the addresses machines use are well; and of each
machine what it waits for, who is to act, until when, what is wrong with it and which ways lead on. Machines that are
well are only counted. The exit code is 1 when something is wrong.

--fix takes the way out that needs no judgement: it ends a maintenance that the server itself has set, and brings a
machine out of a failed state. Ending work that is stuck, or cutting a machine off, it does with --yes only; data on
disks it never touches. Each such act is in the audit.

When the server does not run, it looks at its data directory instead, and changes nothing there.`
	cmd.Example = "  bessemer doctor\n  bessemer doctor n1 --fix\n  bessemer doctor -o json"
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := c.With(func(ctx context.Context, a *client.Client, args []string) error {
			return doctor(ctx, c, a, args, fix, yes)
		})(cmd, args)
		if !fault.Has(err, fault.ServerUnreachable) || look == nil {
			return err
		}
		c.Tell("", err)
		s, err := c.Settings(file, dataDir)
		if err != nil {
			return err
		}
		found := look(cmd.Context(), s)
		if c.Format == "table" {
			fmt.Fprintf(c.Out, "what is in the data directory %s:\n", s.DataDir)
		}
		return orTold(c.Emit(api.Doctor{Server: found, Nodes: []api.Diagnosis{}}, func(w io.Writer) { checks(w, found) }))
	}
	f := cmd.Flags()
	f.BoolVar(&fix, "fix", false, "take the way out that needs no judgement")
	f.BoolVar(&yes, "yes", false, "with --fix: also end work that is stuck, and cut machines off")
	f.StringVar(&file, "config", "", "settings file of a server that does not run (BESSEMER_CONFIG)")
	f.StringVar(&dataDir, "data-dir", "", "data directory of a server that does not run")
	return cmd
}

// orTold is the end of a command that has shown something wrong.
func orTold(err error) error {
	if err == nil {
		return command.ErrTold
	}
	return err
}

func doctor(ctx context.Context, c *command.Run, a *client.Client, args []string, fix, yes bool) error {
	seen, err := examine(ctx, a, args)
	if err != nil {
		return err
	}
	if fix {
		for _, d := range seen.Nodes {
			if err := treat(ctx, c, a, d, yes); err != nil {
				return err
			}
		}
		if seen, err = examine(ctx, a, args); err != nil {
			return err
		}
	}
	if err := c.Emit(seen, func(w io.Writer) { showDoctor(c, w, seen, len(args) == 0) }); err != nil {
		return err
	}
	if seen.Wrong > 0 {
		return command.ErrTold
	}
	return nil
}

// examine asks about everything, or about one node.
func examine(ctx context.Context, a *client.Client, args []string) (api.Doctor, error) {
	if len(args) == 0 {
		return a.Doctor(ctx)
	}
	d, err := a.Diagnose(ctx, args[0])
	out := api.Doctor{Server: []api.Check{}, Nodes: []api.Diagnosis{d}}
	if d.Verdict == api.VerdictWrong {
		out.Wrong = 1
	}
	return out, err
}

// treat takes the node's way out, and the next one where the first led to another: never one that ends something
// unless yes, never one that destroys.
func treat(ctx context.Context, c *command.Run, a *client.Client, d api.Diagnosis, yes bool) error {
	node, last := cmp.Or(d.Name, string(d.Node)), ""
	for range mostFixes {
		f := d.Fix
		switch {
		case f == nil || f.Act == last || f.Destroys:
			return nil
		case f.Ends && !yes:
			fmt.Fprintf(c.Err, "node %s: %s would end work or cut the machine off; give --yes if that is meant\n", node, f.Command)
			return nil
		}
		if err := a.Treat(ctx, string(d.Node), f.Act); err != nil {
			c.Tell("node "+node+": ", err)
			return nil
		}
		fmt.Fprintf(c.Err, "node %s: did what %s does\n", node, f.Command)
		last = f.Act
		var err error
		if d, err = a.Diagnose(ctx, string(d.Node)); err != nil {
			return err
		}
	}
	return nil
}

func showDoctor(c *command.Run, w io.Writer, seen api.Doctor, all bool) {
	if all {
		checks(w, seen.Server)
	}
	for i, d := range seen.Nodes {
		if i > 0 || all {
			fmt.Fprintln(w)
		}
		showDiagnosis(c, w, d)
	}
	if all {
		fmt.Fprintf(w, "\n%s well, %s not; %s wrong\n", numbered(seen.Well, "node is", "nodes are"), numbered(len(seen.Nodes), "waits or is", "wait or are"),
			numbered(seen.Wrong, "thing is", "things are"))
	}
}

// numbered is a number with the words that go with it.
func numbered(n int, one, many string) string {
	if n == 1 {
		many = one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func checks(w io.Writer, list []api.Check) {
	for _, k := range list {
		mark := "ok"
		if !k.OK {
			mark = "WRONG"
		}
		output.Row(w, mark, k.Name, k.Found)
		if k.Hint != "" {
			output.Row(w, "", "", "what to do: "+k.Hint)
		}
	}
}

func showDiagnosis(c *command.Run, w io.Writer, d api.Diagnosis) {
	output.Row(w, "node", cmp.Or(d.Name, string(d.Node))+": "+d.Verdict)
	output.Row(w, "state", output.StateText(d.State, d.Target)+", for "+c.Ago(d.Since))
	if d.Wait != nil {
		output.Row(w, "waits for", c.WaitText(*d.Wait))
	}
	if d.Step != nil {
		output.Row(w, "step", d.Step.Step+" "+d.Step.State+", until "+output.Dash(c.Clock(d.Step.Deadline)))
		output.Row(w, "abort", d.Step.Abort)
	}
	output.Pair(w, "held by", d.Lease)
	if !d.Heard.IsZero() {
		output.Row(w, "agent", "last heard "+c.Clock(d.Heard)+" ("+c.Ago(d.Heard)+" ago)")
	}
	for _, p := range d.Problems {
		text := p.Message
		if !strings.HasPrefix(text, p.Reason) {
			text = p.Reason + ": " + text
		}
		output.Row(w, "wrong", text)
		if p.Evidence != "" {
			output.Row(w, "evidence", fmt.Sprintf("%s, at %s (%s ago)", p.Evidence, c.Clock(p.Seen), c.Ago(p.Seen)))
		}
		output.Pair(w, "what to do", p.Hint)
	}
	for _, p := range d.Doubts {
		output.Row(w, "look after", p.Reason+": "+p.Message)
		output.Pair(w, "what to do", p.Hint)
	}
	for _, e := range d.Exits {
		text := e.Command
		if e.To != "" {
			text += " -> " + string(e.To)
		}
		switch {
		case e.Destroys:
			text += " (erases or overwrites disks)"
		case e.Ends:
			text += " (ends what is going on)"
		}
		if d.Fix != nil && d.Fix.Act == e.Act {
			text += " (--fix does this)"
		}
		output.Row(w, "way on", text)
	}
}
