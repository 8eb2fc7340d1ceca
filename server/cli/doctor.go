package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// mostFixes is how many ways out --fix takes of one node: a maintenance to end, then a verb, then a look.
const mostFixes = 3

// doctorCommand takes what looks at the data directory of a server that does not run; nil: that can't be done here.
func (c *command) doctorCommand(look func(ctx context.Context, s config.Server) []api.Check) *cobra.Command {
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
		err := c.with(func(ctx context.Context, a *client.Client, args []string) error {
			return c.doctor(ctx, a, args, fix, yes)
		})(cmd, args)
		if !fault.Has(err, fault.ServerUnreachable) || look == nil {
			return err
		}
		c.tell("", err)
		flags := map[string]any{}
		if dataDir != "" {
			flags["data_dir"] = dataDir
		}
		s, _, loadErr := config.Load(file, c.Environment, flags)
		if loadErr != nil {
			return usage("%v", loadErr)
		}
		found := look(cmd.Context(), s)
		if c.Format == "table" {
			fmt.Fprintf(c.Out, "what is in the data directory %s:\n", s.DataDir)
		}
		return orTold(c.emit(api.Doctor{Server: found, Nodes: []api.Diagnosis{}}, func(w io.Writer) { checks(w, found) }))
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
		return errTold
	}
	return err
}

func (c *command) doctor(ctx context.Context, a *client.Client, args []string, fix, yes bool) error {
	seen, err := examine(ctx, a, args)
	if err != nil {
		return err
	}
	if fix {
		for _, d := range seen.Nodes {
			if err := c.treat(ctx, a, d, yes); err != nil {
				return err
			}
		}
		if seen, err = examine(ctx, a, args); err != nil {
			return err
		}
	}
	if err := c.emit(seen, func(w io.Writer) { c.showDoctor(w, seen, len(args) == 0) }); err != nil {
		return err
	}
	if seen.Wrong > 0 {
		return errTold
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
func (c *command) treat(ctx context.Context, a *client.Client, d api.Diagnosis, yes bool) error {
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
			c.tell("node "+node+": ", err)
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

func (c *command) showDoctor(w io.Writer, seen api.Doctor, all bool) {
	if all {
		checks(w, seen.Server)
	}
	for i, d := range seen.Nodes {
		if i > 0 || all {
			fmt.Fprintln(w)
		}
		c.showDiagnosis(w, d)
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
		row(w, mark, k.Name, k.Found)
		if k.Hint != "" {
			row(w, "", "", "what to do: "+k.Hint)
		}
	}
}

func (c *command) showDiagnosis(w io.Writer, d api.Diagnosis) {
	row(w, "node", cmp.Or(d.Name, string(d.Node))+": "+d.Verdict)
	row(w, "state", stateText(d.State, d.Target)+", for "+c.ago(d.Since))
	if d.Wait != nil {
		row(w, "waits for", c.waitText(*d.Wait))
	}
	if d.Step != nil {
		row(w, "step", d.Step.Step+" "+d.Step.State+", until "+dash(c.clock(d.Step.Deadline)))
		row(w, "abort", d.Step.Abort)
	}
	pair(w, "held by", d.Lease)
	if !d.Heard.IsZero() {
		row(w, "agent", "last heard "+c.clock(d.Heard)+" ("+c.ago(d.Heard)+" ago)")
	}
	for _, p := range d.Problems {
		text := p.Message
		if !strings.HasPrefix(text, p.Reason) {
			text = p.Reason + ": " + text
		}
		row(w, "wrong", text)
		pair(w, "what to do", p.Hint)
	}
	for _, p := range d.Doubts {
		row(w, "look after", p.Reason+": "+p.Message)
		pair(w, "what to do", p.Hint)
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
		row(w, "way on", text)
	}
}

// abortPlan says what an abort will do, before it is asked for.
func (c *command) abortPlan(ctx context.Context, a *client.Client, node string) error {
	s, err := a.Steps(ctx, node, "")
	if err != nil {
		return err
	}
	plan := struct {
		Node      api.NodeID     `json:"node"`
		Now       string         `json:"now"`
		Abortable []string       `json:"abortable"`
		Others    []string       `json:"not_abortable"`
		Running   string         `json:"running,omitempty"`
		Expected  time.Time      `json:"expected_end,omitzero"`
		Until     time.Time      `json:"at_the_latest,omitzero"`
		Steps     []api.StepView `json:"-"`
	}{Node: s.Node, Now: s.Abort, Abortable: []string{}, Others: []string{}, Steps: s.Steps}
	for _, x := range s.Steps {
		if !x.Ended.IsZero() {
			continue
		}
		if x.Abortable {
			plan.Abortable = append(plan.Abortable, x.Step)
		} else {
			plan.Others = append(plan.Others, x.Step)
		}
		if x.Started.IsZero() {
			continue
		}
		plan.Running, plan.Until = x.Step, x.Deadline.Time
		if x.Progress != nil && x.Progress.Left > 0 {
			plan.Expected = c.Now().Add(x.Progress.Left).UTC().Truncate(time.Second)
		}
	}
	if c.Format != "table" {
		return c.emit(plan, nil)
	}
	return c.emit(plan, func(w io.Writer) {
		pair(w, "abort now", plan.Now)
		if !plan.Expected.IsZero() {
			row(w, "expected end", "of "+plan.Running+": "+c.clock(api.Time{Time: plan.Expected}))
		}
		for _, x := range plan.Steps {
			if !x.Ended.IsZero() {
				continue
			}
			how := "can't be stopped, ends first"
			if x.Abortable {
				how = "stops at a safe point"
			}
			row(w, "step", x.Step+" ("+x.State+"): "+how)
		}
	})
}
