package provision

import (
	"net/http"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/doctor"
	"github.com/bessemer-metal/bessemer/server/rest/mask"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// steps tells how far the node's flow has come.
func (a *API) steps(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	n, err := a.backend.Node(c.R.Context(), id)
	if err != nil {
		return err
	}
	records, err := a.backend.Steps(c.R.Context(), id, c.Arg("run"))
	if err != nil {
		return err
	}
	answer := api.StepsAnswer{
		Node: n.UUID, Name: n.Name, State: n.State, Target: n.Target, Since: api.Time{Time: n.StateSince}, Power: string(n.Power),
		LastError: n.LastError, LastReason: string(n.LastReason), Next: verbsFrom(n.State), Steps: []api.StepView{},
	}
	if f := n.Flow; f != nil && (c.Arg("run") == "" || c.Arg("run") == f.Run) {
		answer.Run = &api.Run{ID: f.Run, Flow: f.Flow, Phase: string(f.Phase), Manual: f.Manual, Aborting: f.Aborting,
			Started: api.Time{Time: f.Started}, Ended: api.Time{Time: f.Ended}, Actor: f.Actor, Request: f.Request}
		if w := f.Wait; w != nil && f.Ended.IsZero() {
			answer.Wait = doctor.WaitOf(w, a.backend.Heard(n), records)
		}
	}
	if b := n.Boot; b != nil {
		answer.Boot = &api.BootStatus{Generation: b.Generation, Level: b.Level, Contested: b.Contested, Opened: api.Time{Time: b.Opened},
			Closes: api.Time{Time: b.Closes}, MediumRead: api.Time{Time: b.MediumRead}, LookedUp: api.Time{Time: b.Redeemed},
			Source: b.Source, AgentVersion: b.AgentVersion, Ended: b.Ended}
	}
	answer.Abort = doctor.AbortOf(n, records)
	for _, r := range records {
		answer.Steps = append(answer.Steps, stepView(c, r))
	}
	return c.JSON(http.StatusOK, answer)
}

// verbsFrom is what a caller may ask for in a state, in the wire's words.
func verbsFrom(s state.State) []string {
	out := []string{}
	if f, ok := state.FlowOf(s); ok && s == f.Doing {
		return out // the table's verbs from there are the server's own: a manual clean that ended, a delete that goes on
	}
	for _, e := range state.Legal(s) {
		for _, v := range api.Verbs() {
			if VerbEvents[v.Target] == e {
				out = append(out, v.Target)
				break // further words for it are newer
			}
		}
	}
	return out
}

// stepView is an attempt as it is shown. Of the nodes below the node that a step ran on those are told that the caller may see.
func stepView(c *serve.Call, r conductor.StepRecord) api.StepView {
	v := api.StepView{
		ID: r.ID, Order: r.Order, Attempt: r.Attempt, Step: r.Step.Name, Doc: r.Step.Doc, Where: r.Step.Where,
		Args: mask.Args(r.Step, r.Args), State: string(r.State), Generation: r.Generation, Progress: r.Progress,
		Abortable: r.Step.Abortable, Offered: api.Time{Time: r.Offered}, Started: api.Time{Time: r.Started},
		Ended: api.Time{Time: r.Ended}, Deadline: api.Time{Time: r.Deadline},
	}
	v.Log = r.Log
	if r.Result != nil {
		masked, _ := mask.Deep(r.Result.Data).(map[string]any)
		if r.Children != nil {
			masked = seenBelow(c, masked)
		}
		v.Result = &step.Result{Data: masked, Reboot: r.Result.Reboot}
	}
	if r.Fault != nil {
		f := api.FaultOf(r.Fault)
		v.Fault = &f
	}
	return v
}
