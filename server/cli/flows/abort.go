package flows

import (
	"context"
	"io"
	"time"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// abortPlan says what an abort will do, before it is asked for.
func abortPlan(ctx context.Context, c *command.Run, a *client.Client, node string) error {
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
		return c.Emit(plan, nil)
	}
	return c.Emit(plan, func(w io.Writer) {
		output.Pair(w, "abort now", plan.Now)
		if !plan.Expected.IsZero() {
			output.Row(w, "expected end", "of "+plan.Running+": "+c.Clock(api.Time{Time: plan.Expected}))
		}
		for _, x := range plan.Steps {
			if !x.Ended.IsZero() {
				continue
			}
			how := "can't be stopped, ends first"
			switch {
			case x.Started.IsZero():
				how = "does not begin"
			case x.Abortable && x.Progress != nil && x.Progress.Uncut != "":
				how = "can't be stopped now (" + x.Progress.Uncut + "), ends that first"
			case x.Abortable:
				how = "stops at a safe point"
			}
			output.Row(w, "step", x.Step+" ("+x.State+"): "+how)
		}
	})
}
