package provision

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/plan"
	"github.com/bessemer-metal/bessemer/server/rest/mask"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// planned are the verbs that have a plan.
var planned = []state.Event{state.VerbClean, state.VerbProvide, state.VerbDeploy, state.VerbRebuild, state.VerbDelete, state.VerbInspect, state.VerbService}

// plan answers what PUT states/provision with the same words would do. Its form is checked as there; unknown steps and
// wrong arguments are problems of the plan.
func (a *API) plan(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	target := c.Arg("target")
	verb, err := a.verb(c, target)
	if err != nil {
		return err
	}
	if !slices.Contains(planned, verb) {
		return fault.New(fault.RequestInvalid, "the target %s has no plan", target).WithHint("one of clean, provide, active, rebuild, deleted, inspect, service")
	}
	n, err := a.backend.Node(c.R.Context(), id)
	if err != nil {
		return err
	}
	body := map[string]any{}
	if c.Given("disable_ramdisk") {
		body["disable_ramdisk"] = c.Arg("disable_ramdisk")
	}
	if c.Given("steps") {
		var steps any
		if err := json.Unmarshal([]byte(c.Arg("steps")), &steps); err != nil {
			return fault.New(fault.RequestInvalid, "steps must be a list of steps in JSON")
		}
		field := "clean_steps"
		switch verb {
		case state.VerbDeploy, state.VerbRebuild:
			field = "deploy_steps"
		case state.VerbService:
			field = "service_steps"
		}
		body[field] = steps
	}
	p := conductor.Provision{Verb: verb}
	if err := a.provisionArguments(c, &p, target, body, n, access.NodeRead); err != nil {
		return err
	}
	plan, err := a.backend.Plan(c.R.Context(), id, p)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, planView(n, target, plan))
}

func planView(n conductor.Node, target string, p plan.Plan) api.Plan {
	out := api.Plan{
		Node: n.UUID, Name: n.Name, State: n.State, Target: target, Flow: p.Flow, Automated: p.Automated, Blocked: p.Blocked,
		Boots: p.Boots, BootFirst: p.BootFirst, BootTime: seconds(p.BootTime), Steps: []api.PlannedStep{}, Skipped: plannedDisks(p.Skipped),
		Exclusion: p.Exclusion, Notes: append([]string{}, p.Notes...), Problems: []api.Fault{}, Expected: seconds(p.Expect), Unknown: p.Unknown,
	}
	for _, it := range p.Items {
		s := api.PlannedStep{
			Step: it.Step.Name, Doc: it.Step.Doc, Where: it.Step.Where, Boots: it.Boots, Restarts: it.Step.Reboot, Args: mask.Args(it.Step, it.Args),
			Origins: map[string]string{}, Priority: it.Priority.Value, PriorityOrigin: string(it.Priority.Origin), Disks: plannedDisks(it.Disks),
			Expected: seconds(it.Expect), Basis: it.Basis, Deadline: seconds(it.Step.Timeout), Repeat: it.Step.Repeat, Abortable: it.Step.Abortable,
		}
		for name, o := range it.Origins {
			s.Origins[name] = string(o)
		}
		out.Steps = append(out.Steps, s)
	}
	for _, f := range p.Problems {
		v := api.FaultOf(f)
		if f.Step != "" {
			v.Message = f.Step + ": " + v.Message
		}
		out.Problems = append(out.Problems, v)
	}
	return out
}

func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

func plannedDisks(disks []inventory.Disk) []api.PlannedDisk {
	out := []api.PlannedDisk{}
	for _, d := range disks {
		out = append(out, api.PlannedDisk{Name: d.Name, Model: d.Model, Serial: d.Serial, WWN: d.WWN, Size: d.Size})
	}
	return out
}
