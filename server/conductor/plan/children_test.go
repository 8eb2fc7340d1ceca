package plan

import (
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// A step on the nodes below a node is nothing to the node's own ramdisk, whatever it does there; and none may wait there.
func TestStepsOnChildNodes(t *testing.T) {
	below := func(name string, args step.Args) step.Wanted {
		return step.Wanted{Name: name, Args: args, Children: &step.Children{All: true}}
	}
	p := planFor(t, conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{
		{Name: "deploy.erase_devices"}, below("power.power_off", nil), below("deploy.wait", step.Args{"seconds": 2.0}), below("bios.reboot", nil), {Name: "deploy.erase_devices"},
	}}, func(in *Input) { in.Node.DisablePowerOff = true })
	if shown(p) != "+ erase_devices power_off wait reboot erase_devices" || p.Err() != nil {
		t.Errorf("%s, %v", shown(p), p.Err())
	}
	for i, it := range p.Items {
		if on := it.Children != nil; on != (i > 0 && i < 4) || on && (it.Step.Reboot || it.Step.Timeout != longestOnChildren || !strings.HasPrefix(it.Step.Doc, "On each of the nodes below")) {
			t.Errorf("%d: %+v", i, it)
		}
	}
	for name, args := range map[string]step.Args{"deploy.hold": nil, "deploy.wait": nil, "management.reset_bmc": nil, "deploy.erase_devices": nil} {
		p := planFor(t, conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{below(name, args)}}, nil)
		if f := fault.From(p.Err()); p.Err() == nil || f.Reason != fault.StepArgument || !strings.Contains(f.Message, "wait") || f.Step != name {
			t.Errorf("%s: %v", name, p.Err())
		}
	}
}
