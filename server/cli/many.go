package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/server/selection"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// many is what all commands share that act on nodes: which nodes, and how careful.
type many struct {
	c        *command
	where    string
	yes, dry bool
	parallel int
}

const nodesHelp = `NODE is a name or UUID; n1,n2 and @FILE (one a line) name several. --where EXPRESSION takes all nodes that match instead:
state=manageable,resource_class=big. The nodes are listed before anything is done, and no others are touched; what has
changed when its turn comes is left out. bessemer selectors explains expressions.`

// many adds the shared flags.
func (c *command) many(cmd *cobra.Command) *many {
	m := &many{c: c}
	f := cmd.Flags()
	f.StringVar(&m.where, "where", "", "act on the nodes that match EXPRESSION: state=manageable,resource_class=big")
	f.BoolVarP(&m.yes, "yes", "y", false, "do not ask before acting on several nodes, or on data")
	f.BoolVar(&m.dry, "dry-run", false, "show the nodes and what would be asked of each; do nothing")
	f.IntVar(&m.parallel, "parallel", 32, "how many nodes at once")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if m.parallel < 1 {
			return usage("--parallel is %d, expected 1 or more", m.parallel)
		}
		return nil
	}
	return m
}

// act is what is to be done to each node.
type act struct {
	name     string // what it is called: "provide"
	destroys string // what is lost by it, "" nothing: asked for with one node, too
	// fits says why a node in this state is left out; nil or "": it is not.
	fits func(s state.State) string
	// each acts on the node of this UUID; the one node that was named comes as it was named. Its name may meanwhile be
	// another machine's: t.label, the name, is for messages alone.
	each func(ctx context.Context, t *turn, node string) error
}

// turn is where the act on one node tells what comes of it.
type turn struct {
	*command
	a       *client.Client
	display *display
	alone   bool   // the one node that was named
	label   string // what people call the node
}

// done says what was done: a line, or with one node and for programs the object v.
func (t *turn) done(v any, format string, args ...any) error {
	if t.alone && t.Format != "table" && v != nil {
		return t.emit(v, nil)
	}
	t.display.line(fmt.Sprintf(format, args...))
	return nil
}

// run does x to the nodes that args or --where name.
func (m *many) run(ctx context.Context, a *client.Client, args []string, x act) error {
	idents, err := m.named(args)
	if err != nil {
		return err
	}
	if len(idents) == 1 && m.where == "" && !m.dry {
		if err := m.consent(fmt.Sprintf("%s of node %s", x.name, idents[0]), x.destroys, 1); err != nil {
			return err
		}
		t := &turn{m.c, a, newDisplay(m.c.printer), true, idents[0]}
		defer t.display.close()
		return notBegun(x.each(ctx, t, idents[0]))
	}
	s, err := m.selected(ctx, a, idents)
	if err != nil {
		return err
	}
	fit := m.show(s, x)
	switch {
	case m.dry || len(s.Nodes) == 0:
		return m.c.emitOnly(append([]selection.Node{}, s.Nodes...))
	case fit == 0:
		return errLeftOut
	}
	if err := m.consent(x.name+" of "+nodesText(fit), x.destroys, fit); err != nil {
		return err
	}
	return m.begin(ctx, a, s, x)
}

// begin acts on a selection that was agreed to, and reports.
func (m *many) begin(ctx context.Context, a *client.Client, s selection.Selection, x act) error {
	d := newDisplay(m.c.printer)
	results := s.Run(ctx, a, m.parallel, func(ctx context.Context, n selection.Node) error {
		if x.fits != nil {
			if why := x.fits(n.State); why != "" {
				return &selection.Skip{Why: why}
			}
		}
		return x.each(ctx, &turn{m.c, a, d, false, n.Label()}, n.UUID)
	})
	d.close()
	return report(m.c, x.name, results)
}

// named reads the nodes that the arguments name.
func (m *many) named(args []string) ([]string, error) {
	var out []string
	for _, arg := range args {
		if file, ok := strings.CutPrefix(arg, "@"); ok {
			content, err := m.c.read(file, "the nodes")
			if err != nil {
				return nil, err
			}
			out = append(out, strings.Fields(string(content))...)
			continue
		}
		out = append(out, slices.DeleteFunc(strings.Split(arg, ","), func(s string) bool { return s == "" })...)
	}
	switch {
	case len(out) > 0 && m.where != "":
		return nil, usage("give nodes or --where, not both")
	case len(out) == 0 && m.where == "":
		return nil, usage("name the nodes, or select them: --where state=manageable")
	}
	return out, nil
}

// named reads the nodes that the arguments of a command without --where name.
func named(c *command, args []string) ([]string, error) { return (&many{c: c}).named(args) }

// selected freezes the nodes.
func (m *many) selected(ctx context.Context, a *client.Client, idents []string) (selection.Selection, error) {
	if m.where == "" {
		return selection.Named(ctx, a, idents)
	}
	q, err := selection.Parse(m.where)
	if err != nil {
		return selection.Selection{}, usage("--where: %v", err)
	}
	return selection.Find(ctx, a, q)
}

// show lists the selection and tells how many nodes x fits.
func (m *many) show(s selection.Selection, x act) (fit int) {
	w := m.c.notes()
	if len(s.Nodes) == 0 {
		fmt.Fprintf(w, "no node matches %q; nothing is done\n", s.Where)
		return 0
	}
	fmt.Fprintf(w, "%s, these nodes and no others:\n", x.name)
	_ = columns(w, func(w io.Writer) {
		row(w, "NAME", "UUID", "STATE", "NOTE")
		for _, n := range s.Nodes {
			note := ""
			if x.fits != nil {
				note = x.fits(n.State)
			}
			if note == "" {
				fit++
			} else {
				note = "left out: " + note
			}
			row(w, dash(n.Name), n.UUID, string(n.State), note)
		}
	})
	return fit
}

// consent asks, or wants --yes where nobody can be asked.
func (m *many) consent(what, destroys string, nodes int) error {
	if m.yes || nodes < 2 && destroys == "" {
		return nil
	}
	if destroys != "" {
		what += ": " + destroys
	}
	if !m.c.Interactive {
		return usage("%s; give --yes if that is meant", what)
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

func nodesText(n int) string {
	if n == 1 {
		return "1 node"
	}
	return fmt.Sprintf("%d nodes", n)
}

// errLeftOut ends a command that left nodes out and failed at none.
var errLeftOut = errors.New("some nodes were left out")

// notBegun turns the skip of the one node that was named into an error to tell.
func notBegun(err error) error {
	var skip *selection.Skip
	if errors.As(err, &skip) {
		return errors.New(skip.Why)
	}
	return err
}

// report tells what came of a run; its error is that of the worst result.
func report(c *command, name string, results []selection.Result) error {
	count := map[selection.Outcome]int{}
	for _, r := range results {
		count[r.Outcome]++
		switch r.Outcome {
		case selection.Skipped:
			fmt.Fprintf(c.notes(), "node %s: left out: %s\n", r.Node.Label(), r.Reason)
		case selection.Failed:
			c.tell("node "+r.Node.Label()+": ", r.Err)
		}
	}
	fmt.Fprintf(c.notes(), "%s: %d done, %d left out, %d failed\n", name, count[selection.Done], count[selection.Skipped], count[selection.Failed])
	if err := c.emitOnly(results); err != nil {
		return err
	}
	switch selection.Worst(results) {
	case selection.Failed:
		return errTold
	case selection.Skipped:
		return errLeftOut
	}
	return nil
}

// from leaves out the nodes from whose state none of the events leads on.
func from(name string, events ...state.Event) func(state.State) string {
	var possible []string
	for _, s := range state.All() {
		for _, e := range events {
			if f, going := state.FlowOf(s); going && s == f.Doing && e != state.VerbAbort {
				continue // the server's own moves inside a flow
			}
			if _, ok := state.Next(s, e); ok {
				possible = append(possible, string(s))
				break
			}
		}
	}
	return func(s state.State) string {
		if slices.Contains(possible, string(s)) {
			return ""
		}
		return fmt.Sprintf("it is %s; %s is possible from %s", s, name, strings.Join(possible, ", "))
	}
}

// waiting are the flags of commands that begin work: whether to stay, and how long at most.
type waiting struct {
	watch bool
	wait  time.Duration
}

func (w *waiting) add(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&w.watch, "watch", "w", false, "stay until the work ends and show it")
	cmd.Flags().DurationVar(&w.wait, "wait", 0, "the same, for so long at most: 30m; the work goes on when it is over")
}

func (w *waiting) stays() bool { return w.watch || w.wait > 0 }

// bound limits how long a command stays.
func (w *waiting) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if w.wait <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, w.wait, fmt.Errorf("it took longer than --wait %s", w.wait))
}

// operands parts the arguments of a command that takes nodes and something else: with --where all are the latter.
func (m *many) operands(args []string, least int) (nodes, rest []string, err error) {
	if m.where == "" {
		if len(args) > 0 {
			nodes, rest = args[:1], args[1:]
		}
	} else {
		rest = args
	}
	if len(rest) < least {
		return nil, nil, usage("too few arguments are given")
	}
	return nodes, rest, nil
}

// selectorsCommand explains --where.
func selectorsCommand() *cobra.Command {
	cmd := one("selectors", 0)
	cmd.Short = "Explain how commands select nodes: --where"
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.Long = nodesHelp + "\n\n" + selection.Grammar + `

  bessemer inspect --where state=manageable,extra.rack=7 --watch
  bessemer node set --where 'name=rack7-*' --resource-class big
  bessemer provide --where 'state=manageable,resource_class=big|huge,traits!=CUSTOM_KEEP' --dry-run

With one node that is named the command just acts; for several, and where data is lost, it asks first, or wants --yes
where nobody can be asked. The exit code is the worst result: 0 all was done, 3 nodes were left out, 1 some failed,
2 the command line was wrong.`
	return cmd
}
