package work

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// errOver ends a watch that saw what it waited for.
var errOver = errors.New("over")

// Until looks at every event of the node (of all nodes when it is "") until see says that it is over; nil then.
func Until(ctx context.Context, a *client.Client, node string, see func(e api.Event) (over bool, err error)) error {
	err := a.Watch(ctx, node, func(e api.Event) error {
		over, err := see(e)
		if err == nil && over {
			err = errOver
		}
		return err
	})
	if errors.Is(err, errOver) {
		return nil
	}
	return err
}

// Follow shows a node's work until it ends, and fails when it does not end where the verb leads.
func Follow(ctx context.Context, p *output.Printer, a *client.Client, d *output.Display, node string, v Verb) error {
	w := &watcher{Printer: p, display: d, shown: map[step.ID]string{}}
	err := Until(ctx, a, node, func(api.Event) (bool, error) {
		s, err := a.Steps(ctx, node, "")
		if err != nil {
			return false, err
		}
		return w.see(s, v)
	})
	d.Clear(w.name)
	name := cmp.Or(w.name, node)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("stopped watching; the work on node %s goes on (bessemer node show %s, or abort it: bessemer node abort %s)", name, name, name)
	}
	return err
}

// watcher turns a node's steps, seen again and again, into lines for what is new.
type watcher struct {
	*output.Printer
	display *output.Display
	name    string
	state   state.State
	wait    string
	shown   map[step.ID]string // step to the last line about it
}

// see tells what changed. It is over when the work ended well; a fault says that it did not.
func (w *watcher) see(s api.StepsAnswer, v Verb) (over bool, err error) {
	w.name = cmp.Or(s.Name, string(s.Node))
	_, going := state.FlowOf(s.State)
	if going {
		w.seeState(s)
	}
	wait := ""
	if s.Wait != nil {
		wait = s.Wait.For + s.Wait.Evidence
		if wait != w.wait {
			w.say("waits for %s", w.WaitText(*s.Wait))
		}
	}
	w.wait = wait
	if b := s.Boot; b != nil && b.Contested && w.shown["contested"] == "" {
		w.shown["contested"] = "yes"
		w.say("CONTESTED: two machines claim to be this node; nothing secret or destructive is given to either")
	}
	var running []api.StepView
	for _, x := range s.Steps {
		if v.Event == state.VerbManage && s.Run != nil && s.Run.Flow != state.Verify {
			break // an earlier run's: manage alone may move a node without one
		}
		w.seeStep(x)
		if !x.Started.IsZero() && x.Ended.IsZero() {
			running = append(running, x)
		}
	}
	if !going { // the end comes after what led to it
		w.seeState(s)
	}
	w.display.Bars(w.name, s.Wait, running)
	return w.end(s, v)
}

func (w *watcher) seeState(s api.StepsAnswer) {
	if s.State != w.state {
		w.say("%s", output.StateText(s.State, s.Target))
		w.state = s.State
	}
}

// seeStep tells the start, the end and, in plain output, every tenth of a step.
func (w *watcher) seeStep(x api.StepView) {
	line, mark := "", x.State
	switch {
	case !x.Ended.IsZero() && x.Fault != nil:
		line = fmt.Sprintf("%s %s: %s", x.Step, x.State, output.FaultText(*x.Fault))
	case !x.Ended.IsZero() && !x.Started.IsZero():
		line = fmt.Sprintf("%s %s in %s", x.Step, x.State, output.Span(x.Ended.Sub(x.Started.Time)))
	case !x.Ended.IsZero():
		line = fmt.Sprintf("%s %s", x.Step, x.State)
	case !x.Started.IsZero() && w.shown[x.ID] == "":
		line = fmt.Sprintf("%s started, at most until %s", x.Step, cmp.Or(w.Clock(x.Deadline), "it ends"))
	case !x.Started.IsZero() && x.Progress != nil && !w.Terminal:
		tenth := fmt.Sprintf("%s %d", x.State, int(x.Progress.Percent/10))
		if tenth != w.shown[x.ID] && tenth != "started 0" {
			line, mark = fmt.Sprintf("%s %s", x.Step, output.ProgressText(x.Progress)), tenth
		} else {
			mark = w.shown[x.ID]
		}
	case !x.Started.IsZero():
		mark = w.shown[x.ID]
	default:
		return // not begun
	}
	if line != "" && mark != w.shown[x.ID] {
		w.say("%s", line)
	}
	w.shown[x.ID] = mark
}

// end tells whether the work is over, and how.
func (w *watcher) end(s api.StepsAnswer, v Verb) (over bool, err error) {
	if _, going := state.FlowOf(s.State); going {
		return false, nil
	}
	if s.Run != nil && s.Run.Ended.IsZero() {
		return false, nil // a verb's answer came before its flow's state did
	}
	if slices.Contains(v.ends, s.State) && (v.By == "" || s.LastReason == "" || s.LastReason == string(v.By)) {
		return true, nil
	}
	message := strings.TrimPrefix(s.LastError, s.LastReason+": ") // the reason is told on a line of its own
	switch {
	case message == "" && v.By != "":
		message = fmt.Sprintf("the work had ended in %q before %s could end it", s.State, v.Name)
	case message == "":
		message = fmt.Sprintf("%s ended in %q instead of %q", v.Name, s.State, v.ends[0])
	}
	f := &fault.Fault{Code: fault.Internal, Reason: fault.Reason(s.LastReason), Node: string(s.Node), Message: message}
	if row, ok := fault.Lookup(f.Reason); ok {
		f.Code = row.Code
		if !strings.Contains(message, "(") { // the message brings its own hint otherwise
			f.Hint = row.Hint
		}
	}
	if len(s.Next) > 0 {
		f.Hint = strings.TrimPrefix(f.Hint+"; ", "; ") + "from " + string(s.State) + " lead on: " + Typed(s.Next)
	}
	return false, f
}

func (w *watcher) say(format string, args ...any) {
	w.display.Line(fmt.Sprintf("%s %s  %s", w.Now().UTC().Format("15:04:05Z"), w.name, fmt.Sprintf(format, args...)))
}
