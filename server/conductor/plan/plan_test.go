package plan

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/defaults"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// planFor makes a plan for a new node of the redfish kind.
func planFor(t *testing.T, ask conductor.Provision, change func(*Input)) Plan {
	t.Helper()
	s := nodetest.Snapshot()
	in := Input{Node: s.Node, Ask: ask, Registry: s.Registry, Accepted: s.Accepted}
	if change != nil {
		change(&in)
	}
	return Build(in)
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

func TestPlans(t *testing.T) {
	clean := func(names ...string) conductor.Provision {
		return conductor.Provision{Verb: state.VerbClean, CleanSteps: nodetest.Wanted(names...)}
	}
	deploy := func(names ...string) conductor.Provision {
		return conductor.Provision{Verb: state.VerbDeploy, DeploySteps: nodetest.Wanted(names...)}
	}
	for name, c := range map[string]struct {
		ask    conductor.Provision
		change func(*Input)
		want   string
	}{
		"automated":                   {conductor.Provision{Verb: state.VerbProvide}, nil, "+ erase_devices_metadata erase_devices"},
		"after a deletion":            {conductor.Provision{Verb: state.VerbDelete}, nil, "+ erase_devices_metadata erase_devices"},
		"an agent is up":              {conductor.Provision{Verb: state.VerbProvide}, func(in *Input) { in.Agent = true }, "erase_devices_metadata erase_devices"},
		"out of band only":            {clean("management.reset_bmc", "bios.factory_reset"), nil, "reset_bmc factory_reset"},
		"an operator's order is kept": {clean("deploy.erase_devices_metadata", "management.reset_bmc", "deploy.erase_devices"), nil, "+ erase_devices_metadata reset_bmc erase_devices"},
		"a restart ends the ramdisk":  {clean("deploy.erase_devices_metadata", "bios.factory_reset", "deploy.erase_devices"), nil, "+ erase_devices_metadata factory_reset + erase_devices"},
		"so does a power act":         {clean("deploy.erase_devices_metadata", "power.reboot", "deploy.erase_devices"), nil, "+ erase_devices_metadata reboot + erase_devices"},
		"power on does not":           {clean("power.power_on", "deploy.erase_devices", "power.power_on", "deploy.erase_devices"), nil, "power_on + erase_devices power_on erase_devices"},
		"a hold boots nothing":        {clean("deploy.hold", "vendor.wait"), nil, "hold wait"},
		"an agent before a restart":   {clean("bios.factory_reset", "deploy.erase_devices"), func(in *Input) { in.Agent = true }, "factory_reset + erase_devices"},
		"inspection":                  {conductor.Provision{Verb: state.VerbInspect}, func(in *Input) { in.Agent = true }, "+"},
		"inspection through the BMC": {conductor.Provision{Verb: state.VerbInspect}, func(in *Input) {
			in.Interfaces = map[string]string{"inspect": "redfish", "boot": "ipxe"}
			in.Node.BMC = &conductor.Known{BootModes: []string{"bios"}}
		}, ""},
		"deployment":                    {deploy(), nil, "+ write_image"},
		"deploy: out of band first":     {deploy("deploy.erase_devices_metadata=90", "bios.factory_reset=1", "bios.apply_configuration=2"), nil, "apply_configuration factory_reset + erase_devices_metadata write_image"},
		"deploy: 0 leaves a step out":   {deploy("bios.factory_reset=0"), nil, "+ write_image"},
		"deploy: priority of the image": {deploy("deploy.erase_devices_metadata=70", "deploy.write_image=60"), nil, "+ erase_devices_metadata write_image"},
		"deploy: hold before the boot":  {deploy("deploy.hold=50", "bios.factory_reset=10"), nil, "hold factory_reset + write_image"},
		"deploy: hold behind the image": {deploy("deploy.hold=5", "bios.factory_reset=10"), nil, "factory_reset + write_image hold"},
		"a vendor's step joins": {conductor.Provision{Verb: state.VerbProvide}, func(in *Input) {
			in.Offered = append(slices.Clone(catalog.InBand), step.Step{Name: "vendor.burn_in", Where: step.InBand, Timeout: time.Hour, Priority: map[state.Flow]int{state.Clean: 50}})
		}, "+ erase_devices_metadata burn_in erase_devices"},
		"a vendor's step by name": {clean("vendor.burn_in"), func(in *Input) {
			in.Offered = []step.Step{{Name: "vendor.burn_in", Where: step.InBand, Timeout: time.Hour, Priority: map[state.Flow]int{state.Clean: 0}}}
		}, "+ burn_in"},
		"defaults order": {conductor.Provision{Verb: state.VerbProvide}, func(in *Input) {
			in.Defaults = []conductor.Default{
				{Scope: conductor.Scope{Kind: conductor.Fleet}, Flow: state.Clean, Step: "deploy.erase_devices", Key: conductor.KeyPriority, Value: 100.0},
				{Scope: conductor.Scope{Kind: conductor.Group, Name: "g"}, Flow: state.Clean, Step: "management.reset_bmc", Key: conductor.KeyPriority, Value: 1.0},
				{Scope: conductor.Scope{Kind: conductor.Fleet}, Flow: state.Deploy, Step: "bios.factory_reset", Key: conductor.KeyPriority, Value: 1.0},
			}
		}, "reset_bmc + erase_devices erase_devices_metadata"},
		"a default leaves out": {conductor.Provision{Verb: state.VerbProvide}, func(in *Input) {
			in.Defaults = []conductor.Default{{Scope: conductor.Scope{Kind: conductor.Fleet}, Flow: state.Clean, Step: "deploy.erase_devices_metadata", Key: conductor.KeyPriority, Value: 0.0}}
		}, "+ erase_devices"},
		"a default joins a deployment": {deploy(), func(in *Input) {
			in.Defaults = []conductor.Default{{Scope: conductor.Scope{Kind: conductor.Fleet}, Flow: state.Deploy, Step: "deploy.erase_devices_metadata", Key: conductor.KeyPriority, Value: 85.0}}
		}, "+ erase_devices_metadata write_image"},
		"excluded": {conductor.Provision{Verb: state.VerbProvide}, func(in *Input) { in.Node.AutomatedClean = new(bool) }, ""},
		"manage":   {conductor.Provision{Verb: state.VerbManage}, nil, ""},
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
	p := planFor(t, conductor.Provision{Verb: state.VerbClean, NoRamdisk: true, CleanSteps: []step.Wanted{
		{Name: "deploy.format_c"},
		{Name: "deploy.write_image"},
		{Name: "deploy.erase_devices", Args: step.Args{"method": "quick", "x": 1.0}},
		{Name: "bios.apply_configuration"},
		{Name: "deploy.wait"},
		{Name: "deploy.wait", Args: step.Args{"seconds": 31.0}},
		{Name: "power.power_off"},
	}}, func(in *Input) { in.Node.DisablePowerOff = true })
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
	vendors := func(limit time.Duration) func(*Input) {
		return func(in *Input) {
			in.Offered = []step.Step{{Name: "vendor.endless", Where: step.InBand, Timeout: limit, Priority: map[state.Flow]int{state.Clean: 5}}}
		}
	}
	for name, c := range map[string]struct {
		ask    conductor.Provision
		change func(*Input)
		want   fault.Reason
	}{
		"a vendor's step without end":   {conductor.Provision{Verb: state.VerbProvide}, vendors(0), fault.StepArgument},
		"and by name":                   {conductor.Provision{Verb: state.VerbClean, CleanSteps: nodetest.Wanted("vendor.endless")}, vendors(longest + 1), fault.StepArgument},
		"a deployment without an image": {conductor.Provision{Verb: state.VerbDeploy, DeploySteps: nodetest.Wanted("deploy.write_image=0")}, nil, fault.StepArgument},
		"the image's arguments by hand": {conductor.Provision{Verb: state.VerbDeploy, DeploySteps: []step.Wanted{{Name: "deploy.write_image", Priority: 80, Args: step.Args{"url": "x"}}}}, nil, fault.StepArgument},
		"no step is asked for twice":    {conductor.Provision{Verb: state.VerbDeploy, DeploySteps: nodetest.Wanted("deploy.nope=3")}, nil, fault.StepUnknown},
		"two disks and no hint": {conductor.Provision{Verb: state.VerbDeploy}, func(in *Input) {
			in.Accepted = &inventory.Inventory{Disks: []inventory.Disk{nodetest.Disk0, nodetest.Disk1}}
		}, fault.DiskAmbiguous},
		"a default that fits no more": {conductor.Provision{Verb: state.VerbProvide}, func(in *Input) {
			in.Defaults = []conductor.Default{{Scope: conductor.Scope{Kind: conductor.Fleet}, Flow: state.Clean, Step: "deploy.erase_devices", Key: "args.method", Value: "quick"}}
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
	p := planFor(t, conductor.Provision{Verb: state.VerbProvide}, func(in *Input) {
		in.Accepted = &inventory.Inventory{Disks: []inventory.Disk{nodetest.Disk0, nodetest.Disk1}}
		in.Node.Properties["skip_block_devices"] = []any{map[string]any{"serial": "S1"}, map[string]any{"serial": "S9"}}
		in.Defaults = []conductor.Default{
			{Scope: conductor.Scope{Kind: conductor.Fleet}, Flow: state.Clean, Step: "deploy.erase_devices", Key: "args.method", Value: "overwrite"},
			{Scope: conductor.Scope{Kind: conductor.Trait, Name: "CUSTOM_X"}, Flow: state.Clean, Step: "deploy.erase_devices", Key: conductor.KeyPriority, Value: 12.0},
		}
		in.Took = map[string]time.Duration{"deploy.erase_devices": 90 * time.Second, "": 70 * time.Second}
	})
	erase := p.Items[1]
	if erase.Origins["method"] != "fleet" || erase.Origins["verify"] != defaults.FromStep || erase.Priority != (Valued{12, "trait:CUSTOM_X"}) {
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
	p = planFor(t, conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "deploy.erase_devices", Args: step.Args{"verify": "full"}}}}, nil)
	if o := p.Items[0].Origins; o["verify"] != FromOperator || o["method"] != defaults.FromStep {
		t.Errorf("origins %v", o)
	}
	p = planFor(t, conductor.Provision{Verb: state.VerbDeploy}, nil)
	if o := p.Items[0].Origins; o["url"] != FromInstance || o["digest"] != FromInstance || p.Unknown != 1 || len(p.Items[0].Disks) != 1 {
		t.Errorf("origins %v, %d unknown, disks %v", o, p.Unknown, p.Items[0].Disks)
	}
	p = planFor(t, conductor.Provision{Verb: state.VerbProvide}, func(in *Input) { in.Accepted = nil })
	if len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "never inspected") {
		t.Errorf("notes %v", p.Notes)
	}
}
