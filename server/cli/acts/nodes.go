// Package acts does one thing to the nodes that an operator names or selects: which nodes they are, the question before
// several or before data is lost, the acts side by side, and the report.
//
// On adds the flags to a command; Run does the rest.
package acts

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/server/selection"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Nodes is what all commands share that act on nodes: which nodes, and how careful.
type Nodes struct {
	c        *command.Run
	Where    string
	yes, Dry bool
	Parallel int
}

// Help is what the help of a command says of how its nodes are named.
const Help = `NODE is a name or UUID; n1,n2 and @FILE (one a line) name several. --where EXPRESSION takes all nodes that match instead:
state=manageable,resource_class=big. The nodes are listed before anything is done, and no others are touched; what has
changed when its turn comes is left out. bessemer selectors explains expressions.`

// On adds the shared flags.
func On(c *command.Run, cmd *cobra.Command) *Nodes {
	m := &Nodes{c: c}
	f := cmd.Flags()
	f.StringVar(&m.Where, "where", "", "act on the nodes that match EXPRESSION: state=manageable,resource_class=big")
	f.BoolVarP(&m.yes, "yes", "y", false, "do not ask before acting on several nodes, or on data")
	f.BoolVar(&m.Dry, "dry-run", false, "show the nodes and what would be asked of each; do nothing")
	f.IntVar(&m.Parallel, "parallel", 32, "how many nodes at once")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if m.Parallel < 1 {
			return input.Usage("--parallel is %d, expected 1 or more", m.Parallel)
		}
		return nil
	}
	return m
}

// Act is what is to be done to each node.
type Act struct {
	Name     string // what it is called: "provide"
	Destroys string // what is lost by it, "" nothing: asked for with one node, too
	// Fits says why a node in this state is left out; nil or "": it is not.
	Fits func(s state.State) string
	// Each acts on the node of this UUID; the one node that was named comes as it was named. Its name may meanwhile be
	// another machine's: t.Label, the name, is for messages alone.
	Each func(ctx context.Context, t *Turn, node string) error
}

// Turn is where the act on one node tells what comes of it.
type Turn struct {
	*command.Run
	API     *client.Client
	Display *output.Display
	Alone   bool   // the one node that was named
	Label   string // what people call the node
}

// Done says what was done: a line, or with one node and for programs the object v.
func (t *Turn) Done(v any, format string, args ...any) error {
	if t.Alone && t.Format != "table" && v != nil {
		return t.Emit(v, nil)
	}
	t.Display.Line(fmt.Sprintf(format, args...))
	return nil
}

// Run does x to the nodes that args or --where name.
func (m *Nodes) Run(ctx context.Context, a *client.Client, args []string, x Act) error {
	idents, err := m.named(args)
	if err != nil {
		return err
	}
	if len(idents) == 1 && m.Where == "" && !m.Dry {
		if err := m.Consent(fmt.Sprintf("%s of node %s", x.Name, idents[0]), x.Destroys, 1); err != nil {
			return err
		}
		t := &Turn{m.c, a, output.NewDisplay(m.c.Printer), true, idents[0]}
		defer t.Display.Close()
		return notBegun(x.Each(ctx, t, idents[0]))
	}
	s, err := m.selected(ctx, a, idents)
	if err != nil {
		return err
	}
	fit := m.show(s, x)
	switch {
	case m.Dry || len(s.Nodes) == 0:
		return m.c.EmitOnly(append([]selection.Node{}, s.Nodes...))
	case fit == 0:
		return command.ErrLeftOut
	}
	if err := m.Consent(x.Name+" of "+Count(fit), x.Destroys, fit); err != nil {
		return err
	}
	return m.Begin(ctx, a, s, x)
}

// Begin acts on a selection that was agreed to, and reports.
func (m *Nodes) Begin(ctx context.Context, a *client.Client, s selection.Selection, x Act) error {
	d := output.NewDisplay(m.c.Printer)
	results := s.Run(ctx, a, m.Parallel, func(ctx context.Context, n selection.Node) error {
		if x.Fits != nil {
			if why := x.Fits(n.State); why != "" {
				return &selection.Skip{Why: why}
			}
		}
		return x.Each(ctx, &Turn{m.c, a, d, false, n.Label()}, n.UUID)
	})
	d.Close()
	return report(m.c, x.Name, results)
}

// named reads the nodes that the arguments name.
func (m *Nodes) named(args []string) ([]string, error) {
	var out []string
	for _, arg := range args {
		if file, ok := strings.CutPrefix(arg, "@"); ok {
			content, err := m.c.Read(file, "the nodes")
			if err != nil {
				return nil, err
			}
			out = append(out, strings.Fields(string(content))...)
			continue
		}
		out = append(out, slices.DeleteFunc(strings.Split(arg, ","), func(s string) bool { return s == "" })...)
	}
	switch {
	case len(out) > 0 && m.Where != "":
		return nil, input.Usage("give nodes or --where, not both")
	case len(out) == 0 && m.Where == "":
		return nil, input.Usage("name the nodes, or select them: --where state=manageable")
	}
	return out, nil
}

// Named reads the nodes that the arguments of a command without --where name.
func Named(c *command.Run, args []string) ([]string, error) { return (&Nodes{c: c}).named(args) }

// Select freezes the nodes that args or --where name.
func (m *Nodes) Select(ctx context.Context, a *client.Client, args []string) (selection.Selection, error) {
	idents, err := m.named(args)
	if err != nil {
		return selection.Selection{}, err
	}
	return m.selected(ctx, a, idents)
}

func (m *Nodes) selected(ctx context.Context, a *client.Client, idents []string) (selection.Selection, error) {
	if m.Where == "" {
		return selection.Named(ctx, a, idents)
	}
	q, err := selection.Parse(m.Where)
	if err != nil {
		return selection.Selection{}, input.Usage("--where: %v", err)
	}
	return selection.Find(ctx, a, q)
}

// show lists the selection and tells how many nodes x fits.
func (m *Nodes) show(s selection.Selection, x Act) (fit int) {
	w := m.c.Notes()
	if len(s.Nodes) == 0 {
		fmt.Fprintf(w, "no node matches %q; nothing is done\n", s.Where)
		return 0
	}
	fmt.Fprintf(w, "%s, these nodes and no others:\n", x.Name)
	_ = output.Columns(w, func(w io.Writer) {
		output.Row(w, "NAME", "UUID", "STATE", "NOTE")
		for _, n := range s.Nodes {
			note := ""
			if x.Fits != nil {
				note = x.Fits(n.State)
			}
			if note == "" {
				fit++
			} else {
				note = "left out: " + note
			}
			output.Row(w, output.Dash(n.Name), n.UUID, string(n.State), note)
		}
	})
	return fit
}

// Consent asks, or wants --yes where nobody can be asked.
func (m *Nodes) Consent(what, destroys string, nodes int) error {
	if m.yes || nodes < 2 && destroys == "" {
		return nil
	}
	if destroys != "" {
		what += ": " + destroys
	}
	if !m.c.Interactive {
		return input.Usage("%s; give --yes if that is meant", what)
	}
	fmt.Fprintf(m.c.Err, "%s. Go on? [y/N] ", what)
	answer, err := bufio.NewReader(m.c.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("nothing was done: the answer was not yes")
	}
	return nil
}

// Count is a number of nodes with its word.
func Count(n int) string {
	if n == 1 {
		return "1 node"
	}
	return fmt.Sprintf("%d nodes", n)
}

// notBegun turns the skip of the one node that was named into an error to tell.
func notBegun(err error) error {
	var skip *selection.Skip
	if errors.As(err, &skip) {
		return errors.New(skip.Why)
	}
	return err
}

// report tells what came of a run; its error is that of the worst result.
func report(c *command.Run, name string, results []selection.Result) error {
	count := map[selection.Outcome]int{}
	for _, r := range results {
		count[r.Outcome]++
		switch r.Outcome {
		case selection.Skipped:
			fmt.Fprintf(c.Notes(), "node %s: left out: %s\n", r.Node.Label(), r.Reason)
		case selection.Failed:
			c.Tell("node "+r.Node.Label()+": ", r.Err)
		}
	}
	fmt.Fprintf(c.Notes(), "%s: %d done, %d left out, %d failed\n", name, count[selection.Done], count[selection.Skipped], count[selection.Failed])
	if err := c.EmitOnly(results); err != nil {
		return err
	}
	switch selection.Worst(results) {
	case selection.Failed:
		return command.ErrTold
	case selection.Skipped:
		return command.ErrLeftOut
	}
	return nil
}

// Operands parts the arguments of a command that takes nodes and something else: with --where all are the latter.
func (m *Nodes) Operands(args []string, least int) (nodes, rest []string, err error) {
	if m.Where == "" {
		if len(args) > 0 {
			nodes, rest = args[:1], args[1:]
		}
	} else {
		rest = args
	}
	if len(rest) < least {
		return nil, nil, input.Usage("too few arguments are given")
	}
	return nodes, rest, nil
}
