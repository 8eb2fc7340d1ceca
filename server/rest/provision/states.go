package provision

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/decide"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/server/rest/mask"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func (a *API) states(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	n, err := a.backend.Node(c.R.Context(), id)
	if err != nil {
		return err
	}
	s := a.wire.Show(c, n)
	answer := api.States{
		ConsoleEnabled: s.ConsoleEnabled, LastError: s.LastError, PowerState: s.PowerState, ProvisionState: s.ProvisionState,
		TargetPowerState: s.TargetPowerState, TargetProvisionState: s.TargetProvisionState, ProvisionUpdatedAt: s.ProvisionUpdatedAt,
		RAIDConfig: s.RAIDConfig, TargetRAIDConfig: s.TargetRAIDConfig, BootMode: s.BootMode, SecureBoot: s.SecureBoot,
	}
	form := shape.New(answer, statesFields)
	text, err := form.Encode(answer, form.All(c.Version, false))
	if err != nil {
		return err
	}
	return c.Raw(http.StatusOK, text)
}

// statesFields is the table of what states shows.
var statesFields = []api.Field{
	{Name: "console_enabled", Since: 1}, {Name: "last_error", Since: 1}, {Name: "power_state", Since: 1}, {Name: "provision_state", Since: 1},
	{Name: "target_power_state", Since: 1}, {Name: "target_provision_state", Since: 1}, {Name: "provision_updated_at", Since: 1},
	{Name: "raid_config", Since: 12}, {Name: "target_raid_config", Since: 12}, {Name: "boot_mode", Since: 75}, {Name: "secure_boot", Since: 75},
}

// VerbEvents maps the targets of states/provision to the state table's verbs.
var VerbEvents = map[string]state.Event{
	"manage": state.VerbManage, "provide": state.VerbProvide, "inspect": state.VerbInspect, "clean": state.VerbClean,
	"active": state.VerbDeploy, "deploy": state.VerbDeploy, "rebuild": state.VerbRebuild,
	"deleted": state.VerbDelete, "undeploy": state.VerbDelete, "abort": state.VerbAbort, "unhold": state.VerbUnhold,
	"adopt": state.VerbAdopt, "service": state.VerbService, "rescue": state.VerbRescue, "unrescue": state.VerbUnrescue,
}

func (a *API) provision(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	body, err := c.Body(false, "target", "configdrive", "clean_steps", "deploy_steps", "service_steps", "rescue_password",
		"disable_ramdisk", "runbook")
	if err != nil {
		return err
	}
	target, _ := body["target"].(string)
	verb, err := a.verb(c, target)
	if err != nil {
		return err
	}
	n, err := a.backend.Node(c.R.Context(), id)
	if err != nil {
		return err
	}
	// Upstream looks at the state before it looks at what else is asked for, and clients know the answers.
	if err := decide.Allowed(n, verb); err != nil {
		return err
	}
	if verb == state.VerbAbort {
		if since := abortSince(n.State); since > c.Version {
			return fault.New(fault.RequestVersion, "abort in %s is there from version %s on, %s was asked for", n.State, since, c.Version)
		}
	}
	p := conductor.Provision{Verb: verb}
	if err := a.provisionArguments(c, &p, target, body, n, access.NodeProvision); err != nil {
		return err
	}
	if err := a.backend.Provision(c.R.Context(), c.Who, id, p); err != nil {
		return err
	}
	return c.Accepted(id)
}

func (a *API) verb(c *serve.Call, target string) (state.Event, error) {
	var known []string
	for _, v := range api.Verbs() {
		if v.Target == target {
			if v.Since > c.Version {
				return "", fault.New(fault.RequestVersion, "the verb %s is there from version %s on, %s was asked for", target, v.Since, c.Version)
			}
			return VerbEvents[target], nil
		}
		if v.Since <= c.Version {
			known = append(known, v.Target)
		}
	}
	return "", fault.New(fault.RequestInvalid, "the target %q is not served; served are %s", target, strings.Join(known, ", "))
}

// abortSince is the first version in which a flow in this state can be aborted.
func abortSince(s state.State) api.Version {
	switch s {
	case state.InspectWait:
		return 41
	case state.RescueWait:
		return 38
	case state.DeployWait:
		return 110
	case state.ServiceWait, state.ServiceHold, state.ServiceFail:
		return 87
	}
	return 13
}

// provisionArguments reads what goes with a verb and refuses what does not. below is the right that the caller needs on nodes below
// the node which a step is to run on.
func (a *API) provisionArguments(c *serve.Call, p *conductor.Provision, target string, body map[string]any, n conductor.Node, below access.Right) error {
	only := func(name string, since api.Version) (any, error) {
		v, given := body[name]
		if !given || v == nil || isEmpty(name, v) {
			return nil, nil
		}
		if since > c.Version {
			return nil, fault.New(fault.RequestVersion, "%s is there from version %s on, %s was asked for", name, since, c.Version)
		}
		if !slices.Contains(ArgumentVerbs[name], p.Verb) {
			return nil, fault.New(fault.RequestInvalid, "%s is not possible with the target %s", name, target)
		}
		return v, nil
	}
	drive, err := only("configdrive", 1)
	if err != nil {
		return err
	}
	if drive != nil {
		if p.Verb == state.VerbRebuild && c.Version < 35 {
			return fault.New(fault.RequestVersion, "configdrive with rebuild is there from version 1.35 on, %s was asked for", c.Version)
		}
		if p.ConfigDrive, err = configDrive(drive, c.Version); err != nil {
			return err
		}
	}
	book, err := only("runbook", 92)
	if err == nil && book != nil {
		err = a.useRunbook(c, p, book, body, n)
	}
	if err == nil {
		err = a.instanceArguments(c, p, n, below, only)
	}
	if err != nil {
		return err
	}
	since := api.Version(70)
	clean, err := only("clean_steps", 15)
	if err != nil {
		return err
	}
	if p.Verb == state.VerbClean && book == nil {
		if p.CleanSteps, err = a.wantedSteps(c, n, "clean_steps", clean, below); err != nil {
			return err
		}
		if len(p.CleanSteps) == 0 {
			return fault.New(fault.RequestInvalid, "clean_steps are required with the target clean").
				WithHint("give a list of objects with interface, step and args; bessemer node steps --available %s lists them", cmp.Or(n.Name, string(n.UUID)))
		}
	}
	deploy, err := only("deploy_steps", 69)
	if err != nil {
		return err
	}
	if deploy != nil {
		if p.DeploySteps, err = a.wantedSteps(c, n, "deploy_steps", deploy, below); err != nil {
			return err
		}
	}
	if p.Verb == state.VerbService {
		since = 108
	}
	without, err := only("disable_ramdisk", since)
	if err != nil {
		return err
	}
	if without != nil && book == nil {
		if p.NoRamdisk, err = api.Bool(without); err != nil {
			return fault.New(fault.RequestInvalid, "disable_ramdisk: %v", err)
		}
	}
	return nil
}

// ServiceInterfaces are those of the steps of a service.
var ServiceInterfaces = append([]string{"network"}, drivers.StepKinds...)

// wantedSteps checks the form of a list of steps; whether the steps exist is the conductor's question.
func (a *API) wantedSteps(c *serve.Call, n conductor.Node, name string, v any, below access.Right) ([]step.Wanted, error) {
	list, ok := v.([]any)
	if v != nil && !ok {
		return nil, fault.New(fault.RequestInvalid, "%s must be a list", name)
	}
	if len(list) > serve.MaxPage {
		return nil, fault.New(fault.RequestInvalid, "%s has %d entries, at most %d are taken", name, len(list), serve.MaxPage).WithHint("ask for them in several runs")
	}
	known := []string{"interface", "step", "args"}
	interfaces := drivers.StepKinds
	switch name {
	case "deploy_steps":
		known = append(known, "priority")
	case "service_steps":
		interfaces = ServiceInterfaces
		fallthrough
	default:
		known = append(known, "order", onChildNodes, limitChildNodes) // order: a number that upstream takes and does not order by
	}
	var out []step.Wanted
	seen := map[string]bool{}
	for i, x := range list {
		wrong := func(format string, args ...any) *fault.Fault {
			f := fault.New(fault.RequestInvalid, format, args...)
			f.Message = name + ": entry " + strconv.Itoa(i+1) + ": " + f.Message
			return f
		}
		m, ok := x.(map[string]any)
		if !ok {
			return nil, wrong("expected an object")
		}
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !slices.Contains(known, k) {
				return nil, wrong("%q is not known; known are %s", k, strings.Join(known, ", "))
			}
		}
		iface, _ := m["interface"].(string)
		short, _ := m["step"].(string)
		if !slices.Contains(interfaces, iface) {
			return nil, wrong("interface is %q, expected one of %s", iface, strings.Join(interfaces, ", "))
		}
		if mask.HasSecretPair(m["args"]) {
			return nil, wrong("args would hold a secret, and this server keeps none there").
				WithHint("whoever may see the node would see it; set it at the BMC itself")
		}
		if order, given := m["order"]; given {
			if _, ok := shape.WholeNumber(order); !ok {
				return nil, wrong("order must be a whole number from 0 on")
			}
		}
		if short == "" {
			return nil, wrong("step is required")
		}
		w := step.Wanted{Name: iface + "." + short}
		if _, reserved := catalog.ReservedStep(w.Name); reserved && c.Version < 85 {
			return nil, fault.New(fault.RequestVersion, "%s: the step %s is there from version 1.85 on, %s was asked for", name, short, c.Version)
		}
		args, isMap := m["args"].(map[string]any)
		if m["args"] != nil && !isMap {
			return nil, wrong("args must be an object")
		}
		w.Args = args
		var err error
		if w.Children, err = a.children(c, n, m, below, wrong); err != nil {
			return nil, err
		}
		if name == "deploy_steps" {
			if !isMap {
				return nil, wrong("args is required")
			}
			if w.Priority, ok = shape.WholeNumber(m["priority"]); !ok {
				return nil, wrong("priority must be a whole number from 0 on")
			}
			if seen[w.Name] {
				return nil, wrong("step %s is there twice", w.Name)
			}
			seen[w.Name] = true
		}
		out = append(out, w)
	}
	return out, nil
}

// isEmpty tells an argument that says nothing: an empty config drive, the name of no runbook, an empty list of steps. Like Ironic, the server takes
// it for one that is not given, whatever the verb and the version.
func isEmpty(name string, v any) bool {
	switch t := v.(type) {
	case string:
		return (name == "configdrive" || name == "runbook") && t == ""
	case map[string]any:
		return name == "configdrive" && len(t) == 0
	case []any:
		return strings.HasSuffix(name, "_steps") && len(t) == 0
	}
	return false
}

// ArgumentVerbs are the verbs that an argument of states/provision goes with; with another it is refused unless it is null
// or empty.
var ArgumentVerbs = map[string][]state.Event{
	"configdrive":     {state.VerbDeploy, state.VerbRebuild},
	"deploy_steps":    {state.VerbDeploy, state.VerbRebuild},
	"clean_steps":     {state.VerbClean},
	"service_steps":   {state.VerbService},
	"runbook":         {state.VerbClean, state.VerbService},
	"disable_ramdisk": {state.VerbClean, state.VerbService},
	"rescue_password": {state.VerbRescue},
}
