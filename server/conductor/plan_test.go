package conductor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// planFor makes a plan for a new node of the redfish kind.
func planFor(t *testing.T, ask Provision, change func(*PlanInput)) Plan {
	t.Helper()
	l := newLife(t)
	in := PlanInput{Node: l.s.Node, Ask: ask, Registry: l.s.Registry, Accepted: l.s.Accepted}
	if change != nil {
		change(&in)
	}
	return BuildPlan(in)
}

// shown is a plan on one line; "+" is a boot.
func shown(p Plan) string {
	var out []string
	if p.BootFirst {
		out = append(out, "+")
	}
	for _, it := range p.Items {
		if it.Boots {
			out = append(out, "+")
		}
		out = append(out, it.Step.Short())
	}
	return strings.Join(out, " ")
}

func wants(names ...string) (out []step.Wanted) {
	for _, n := range names {
		name, priority, _ := strings.Cut(n, "=")
		w := step.Wanted{Name: name}
		fmt.Sscan(priority, &w.Priority)
		if strings.HasSuffix(name, ".apply_configuration") {
			w.Args = step.Args{"settings": []any{}}
		}
		if strings.HasSuffix(name, ".wait") {
			w.Args = step.Args{"seconds": 3.0}
		}
		out = append(out, w)
	}
	return out
}

func TestPlans(t *testing.T) {
	clean := func(names ...string) Provision {
		return Provision{Verb: state.VerbClean, CleanSteps: wants(names...)}
	}
	deploy := func(names ...string) Provision {
		return Provision{Verb: state.VerbDeploy, DeploySteps: wants(names...)}
	}
	for name, c := range map[string]struct {
		ask    Provision
		change func(*PlanInput)
		want   string
	}{
		"automated":                     {Provision{Verb: state.VerbProvide}, nil, "+ erase_devices_metadata erase_devices"},
		"after a deletion":              {Provision{Verb: state.VerbDelete}, nil, "+ erase_devices_metadata erase_devices"},
		"an agent is up":                {Provision{Verb: state.VerbProvide}, func(in *PlanInput) { in.Agent = true }, "erase_devices_metadata erase_devices"},
		"out of band only":              {clean("management.reset_bmc", "bios.factory_reset"), nil, "reset_bmc factory_reset"},
		"an operator's order is kept":   {clean("deploy.erase_devices_metadata", "management.reset_bmc", "deploy.erase_devices"), nil, "+ erase_devices_metadata reset_bmc erase_devices"},
		"a restart ends the ramdisk":    {clean("deploy.erase_devices_metadata", "bios.factory_reset", "deploy.erase_devices"), nil, "+ erase_devices_metadata factory_reset + erase_devices"},
		"so does a power act":           {clean("deploy.erase_devices_metadata", "power.reboot", "deploy.erase_devices"), nil, "+ erase_devices_metadata reboot + erase_devices"},
		"power on does not":             {clean("power.power_on", "deploy.erase_devices", "power.power_on", "deploy.erase_devices"), nil, "power_on + erase_devices power_on erase_devices"},
		"a hold boots nothing":          {clean("deploy.hold", "vendor.wait"), nil, "hold wait"},
		"an agent before a restart":     {clean("bios.factory_reset", "deploy.erase_devices"), func(in *PlanInput) { in.Agent = true }, "factory_reset + erase_devices"},
		"inspection":                    {Provision{Verb: state.VerbInspect}, func(in *PlanInput) { in.Agent = true }, "+"},
		"deployment":                    {deploy(), nil, "+ write_image"},
		"deploy: out of band first":     {deploy("deploy.erase_devices_metadata=90", "bios.factory_reset=1", "bios.apply_configuration=2"), nil, "apply_configuration factory_reset + erase_devices_metadata write_image"},
		"deploy: 0 leaves a step out":   {deploy("bios.factory_reset=0"), nil, "+ write_image"},
		"deploy: priority of the image": {deploy("deploy.erase_devices_metadata=70", "deploy.write_image=60"), nil, "+ erase_devices_metadata write_image"},
		"deploy: hold before the boot":  {deploy("deploy.hold=50", "bios.factory_reset=10"), nil, "hold factory_reset + write_image"},
		"deploy: hold behind the image": {deploy("deploy.hold=5", "bios.factory_reset=10"), nil, "factory_reset + write_image hold"},
		"a vendor's step joins": {Provision{Verb: state.VerbProvide}, func(in *PlanInput) {
			in.Offered = append(slices.Clone(catalog.InBand), step.Step{Name: "vendor.burn_in", Where: step.InBand, Timeout: time.Hour, Priority: map[state.Flow]int{state.Clean: 50}})
		}, "+ erase_devices_metadata burn_in erase_devices"},
		"a vendor's step by name": {clean("vendor.burn_in"), func(in *PlanInput) {
			in.Offered = []step.Step{{Name: "vendor.burn_in", Where: step.InBand, Timeout: time.Hour, Priority: map[state.Flow]int{state.Clean: 0}}}
		}, "+ burn_in"},
		"defaults order": {Provision{Verb: state.VerbProvide}, func(in *PlanInput) {
			in.Defaults = []Default{
				{Scope{Kind: Fleet}, state.Clean, "deploy.erase_devices", KeyPriority, 100.0},
				{Scope{Group, "g"}, state.Clean, "management.reset_bmc", KeyPriority, 1.0},
				{Scope{Kind: Fleet}, state.Deploy, "bios.factory_reset", KeyPriority, 1.0},
			}
		}, "reset_bmc + erase_devices erase_devices_metadata"},
		"a default leaves out": {Provision{Verb: state.VerbProvide}, func(in *PlanInput) {
			in.Defaults = []Default{{Scope{Kind: Fleet}, state.Clean, "deploy.erase_devices_metadata", KeyPriority, 0.0}}
		}, "+ erase_devices"},
		"a default joins a deployment": {deploy(), func(in *PlanInput) {
			in.Defaults = []Default{{Scope{Kind: Fleet}, state.Deploy, "deploy.erase_devices_metadata", KeyPriority, 85.0}}
		}, "+ erase_devices_metadata write_image"},
		"excluded": {Provision{Verb: state.VerbProvide}, func(in *PlanInput) { in.Node.AutomatedClean = new(bool) }, ""},
		"manage":   {Provision{Verb: state.VerbManage}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := planFor(t, c.ask, c.change)
			if got := shown(p); got != c.want || p.Err() != nil {
				t.Errorf("plan %q (%v), want %q", got, p.Err(), c.want)
			}
			if got := strings.Count(c.want, "+"); p.Boots != got {
				t.Errorf("%d boots, want %d", p.Boots, got)
			}
		})
	}
}

func TestPlanTellsAllProblemsAtOnce(t *testing.T) {
	p := planFor(t, Provision{Verb: state.VerbClean, NoRamdisk: true, CleanSteps: []step.Wanted{
		{Name: "deploy.format_c"},
		{Name: "deploy.write_image"},
		{Name: "deploy.erase_devices", Args: step.Args{"method": "quick", "x": 1.0}},
		{Name: "bios.apply_configuration"},
		{Name: "deploy.wait"},
		{Name: "deploy.wait", Args: step.Args{"seconds": 31.0}},
		{Name: "power.power_off"},
	}}, func(in *PlanInput) { in.Node.DisablePowerOff = true })
	err := p.Err()
	if !fault.Has(err, fault.StepUnknown) {
		t.Fatalf("%v; the unknown step leads", err)
	}
	for _, part := range []string{"deploy.format_c: the step is not known", "deploy.write_image: the step is not offered for clean", `"quick"`, `"x" is not known`,
		`"settings" (list) is missing`, "no agent is up there", "31 is not between 0 and 30", "disable_ramdisk is set", "power off is disabled", "the steps for clean are"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
	for _, f := range p.Problems {
		if f.Hint == "" || f.Step == "" {
			t.Errorf("%+v names no step or no way out", f)
		}
	}
}

func TestPlanProblems(t *testing.T) {
	vendors := func(limit time.Duration) func(*PlanInput) {
		return func(in *PlanInput) {
			in.Offered = []step.Step{{Name: "vendor.endless", Where: step.InBand, Timeout: limit, Priority: map[state.Flow]int{state.Clean: 5}}}
		}
	}
	for name, c := range map[string]struct {
		ask    Provision
		change func(*PlanInput)
		want   fault.Reason
	}{
		"a vendor's step without end":   {Provision{Verb: state.VerbProvide}, vendors(0), fault.StepArgument},
		"and by name":                   {Provision{Verb: state.VerbClean, CleanSteps: wants("vendor.endless")}, vendors(longest + 1), fault.StepArgument},
		"a deployment without an image": {Provision{Verb: state.VerbDeploy, DeploySteps: wants("deploy.write_image=0")}, nil, fault.StepArgument},
		"the image's arguments by hand": {Provision{Verb: state.VerbDeploy, DeploySteps: []step.Wanted{{Name: "deploy.write_image", Priority: 80, Args: step.Args{"url": "x"}}}}, nil, fault.StepArgument},
		"no step is asked for twice":    {Provision{Verb: state.VerbDeploy, DeploySteps: wants("deploy.nope=3")}, nil, fault.StepUnknown},
		"two disks and no hint": {Provision{Verb: state.VerbDeploy}, func(in *PlanInput) {
			in.Accepted = &inventory.Inventory{Disks: []inventory.Disk{disk0, disk1}}
		}, fault.DiskAmbiguous},
		"a default that fits no more": {Provision{Verb: state.VerbProvide}, func(in *PlanInput) {
			in.Defaults = []Default{{Scope{Kind: Fleet}, state.Clean, "deploy.erase_devices", "args.method", "quick"}}
		}, fault.StepArgument},
	} {
		t.Run(name, func(t *testing.T) {
			if err := planFor(t, c.ask, c.change).Err(); !fault.Has(err, c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

func TestPlanOriginsDisksAndTime(t *testing.T) {
	p := planFor(t, Provision{Verb: state.VerbProvide}, func(in *PlanInput) {
		in.Accepted = &inventory.Inventory{Disks: []inventory.Disk{disk0, disk1}}
		in.Node.Properties["skip_block_devices"] = []any{map[string]any{"serial": "S1"}, map[string]any{"serial": "S9"}}
		in.Defaults = []Default{
			{Scope{Kind: Fleet}, state.Clean, "deploy.erase_devices", "args.method", "overwrite"},
			{Scope{Trait, "CUSTOM_X"}, state.Clean, "deploy.erase_devices", KeyPriority, 12.0},
		}
		in.Took = map[string]time.Duration{"deploy.erase_devices": 90 * time.Second, "": 70 * time.Second}
	})
	erase := p.Items[1]
	if erase.Origins["method"] != "fleet" || erase.Origins["verify"] != FromStep || erase.Priority != (Valued{12, "trait:CUSTOM_X"}) {
		t.Errorf("origins %v, priority %+v", erase.Origins, erase.Priority)
	}
	if len(erase.Disks) != 1 || erase.Disks[0].Serial != "S0" || len(p.Skipped) != 1 || p.Skipped[0].Serial != "S1" {
		t.Errorf("disks %v, skipped %v", erase.Disks, p.Skipped)
	}
	if len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "serial=s9") {
		t.Errorf("notes %v", p.Notes)
	}
	if erase.Basis != "measured" || p.Items[0].Basis != "estimate" || p.Expect != 90*time.Second+70*time.Second+quick || p.Unknown != 0 {
		t.Errorf("%s %s %s", p.Expect, erase.Basis, p.Items[0].Basis)
	}
	p = planFor(t, Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "deploy.erase_devices", Args: step.Args{"verify": "full"}}}}, nil)
	if o := p.Items[0].Origins; o["verify"] != FromOperator || o["method"] != FromStep {
		t.Errorf("origins %v", o)
	}
	p = planFor(t, Provision{Verb: state.VerbDeploy}, nil)
	if o := p.Items[0].Origins; o["url"] != FromInstance || o["digest"] != FromInstance || p.Unknown != 1 || len(p.Items[0].Disks) != 1 {
		t.Errorf("origins %v, %d unknown, disks %v", o, p.Unknown, p.Items[0].Disks)
	}
	p = planFor(t, Provision{Verb: state.VerbProvide}, func(in *PlanInput) { in.Accepted = nil })
	if len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "never inspected") {
		t.Errorf("notes %v", p.Notes)
	}
}

func TestI05_CleaningWithoutTheEraseStepIsAProblem(t *testing.T) {
	without := []Default{{Scope{Kind: Fleet}, state.Clean, eraseStep, KeyPriority, 0.0}, {Scope{Kind: Fleet}, state.Clean, "deploy.erase_devices_metadata", KeyPriority, 0.0}}
	for _, defaults := range [][]Default{without[:1], without} {
		l := newLife(t)
		l.manageable()
		l.s.Defaults = defaults
		l.verb(state.VerbProvide)
		l.want(state.CleanFail)
		if l.s.Node.LastReason != fault.DiskNotErased || len(l.effects) != 0 || l.s.Node.Maintenance {
			t.Errorf("%s, effects %v", l.s.Node.LastError, l.kinds())
		}
	}
	l := newLife(t)
	l.manageable()
	l.s.Node.AutomatedClean = new(bool)
	l.verb(state.VerbProvide)
	l.want(state.Available)
	if !slices.ContainsFunc(l.audit, func(a Audit) bool { return a.Act == "clean.skipped" }) {
		t.Errorf("the exclusion is not audited: %+v", l.audit)
	}
}

// The records are what the plan says, and all there before anything runs.
func TestI10_ThePlanIsStoredBeforeAnythingRuns(t *testing.T) {
	l := newLife(t)
	l.manageable()
	list := wants("management.reset_bmc", "deploy.hold", "deploy.erase_devices")
	plan := planFor(t, Provision{Verb: state.VerbClean, CleanSteps: list}, nil)
	d := Decide(l.s, VerbAsked{Ask: Provision{Verb: state.VerbClean, CleanSteps: list}}, l.now)
	if len(d.Steps) != len(plan.Items) {
		t.Fatalf("%d records of %d steps", len(d.Steps), len(plan.Items))
	}
	ids := map[step.ID]bool{}
	for i, r := range d.Steps {
		it := plan.Items[i]
		if r.Order != i || r.Attempt != 1 || r.ID == "" || ids[r.ID] || r.Step.Name != it.Step.Name || r.Step.Where != it.Step.Where ||
			r.Step.Timeout <= 0 || r.Step.Repeat == "" || fmt.Sprint(r.Args) != fmt.Sprint(it.Args) {
			t.Errorf("record %d: %+v", i, r)
		}
		ids[r.ID] = true
	}
}
