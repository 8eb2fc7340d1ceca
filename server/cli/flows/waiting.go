package flows

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/acts"
	"github.com/bessemer-metal/bessemer/server/cli/work"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

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

// runVerb runs a verb's command: over nodes that are in a state from which it leads on, for as long as w says.
func runVerb(ctx context.Context, m *acts.Nodes, a *client.Client, args []string, v work.Verb, w waiting, each func(ctx context.Context, t *acts.Turn, node string) error) error {
	ctx, done := w.bound(ctx)
	defer done()
	return m.Run(ctx, a, args, acts.Act{Name: v.Name, Destroys: v.Destroys, Fits: from(v.Name, v.Event), Each: each})
}

// provision asks for a verb and watches it when wanted.
func provision(ctx context.Context, t *acts.Turn, node string, v work.Verb, p api.Provision, w waiting) error {
	p.Target = v.Target
	if err := t.API.Provision(ctx, node, p); err != nil {
		return err
	}
	switch {
	case w.stays():
		return work.Follow(ctx, t.Printer, t.API, t.Display, node, v)
	case v.Event == state.VerbAbort:
		return aborting(ctx, t, node)
	}
	return t.Done(nil, "%s of node %s has begun; bessemer node show %s says how it goes, --watch shows it live", v.Name, t.Label, t.Label)
}

// aborting tells what an abort that was just accepted has to wait for.
func aborting(ctx context.Context, t *acts.Turn, node string) error {
	s, err := t.API.Steps(ctx, node, "")
	if err != nil {
		return err
	}
	for _, x := range s.Steps {
		if x.Started.IsZero() || !x.Ended.IsZero() {
			continue
		}
		if !x.Abortable {
			return t.Done(nil, "abort of node %s is noted: step %s can't be cut off and ends first, at the latest at %s", t.Label, x.Step, cmp.Or(t.Clock(x.Deadline), "its own end"))
		}
		what := "step " + x.Step + " to stop"
		if s.Wait != nil {
			what = t.WaitText(*s.Wait)
		}
		return t.Done(nil, "abort of node %s has begun: it waits for %s", t.Label, what)
	}
	return t.Done(nil, "abort of node %s has begun; no step had to be stopped; bessemer node show %s says how it goes", t.Label, t.Label)
}
