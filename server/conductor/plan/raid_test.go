package plan

import (
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func raidConfig(disks ...map[string]any) map[string]any {
	list := []any{}
	for _, d := range disks {
		list = append(list, d)
	}
	return map[string]any{"logical_disks": list}
}

// What a step of RAID through the BMC is to build is settled when the verb is asked for, and what no BMC builds is refused then.
func TestPlansOfRAIDThroughTheBMC(t *testing.T) {
	mirror := map[string]any{"raid_level": "1", "size_gb": 50.0}
	root := map[string]any{"raid_level": "1", "size_gb": 50.0, "is_root_volume": true}
	software := map[string]any{"raid_level": "1", "size_gb": 50.0, "controller": "software"}
	for name, c := range map[string]struct {
		target map[string]any
		args   step.Args
		says   string // "": it is good
	}{
		"the node's target":         {target: raidConfig(mirror)},
		"one of the list's own":     {args: step.Args{"raid_config": raidConfig(mirror)}},
		"the list's own counts":     {target: raidConfig(software), args: step.Args{"raid_config": raidConfig(mirror)}},
		"no target":                 {says: "no target_raid_config"},
		"software":                  {target: raidConfig(software), says: "raid_interface agent"},
		"malformed":                 {args: step.Args{"raid_config": map[string]any{"x": 1.0}}, says: "logical_disks is"},
		"no root volume is wanted":  {target: raidConfig(mirror), args: step.Args{"create_nonroot_volumes": false}, says: "none is left to build"},
		"no other volume is wanted": {target: raidConfig(root), args: step.Args{"create_root_volume": false}, says: "none is left to build"},
	} {
		ask := conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: catalog.CreateRAID, Args: c.args}}}
		p := planFor(t, ask, func(in *Input) { in.Node.TargetRAID = c.target })
		switch {
		case c.says == "":
			if p.Err() != nil || len(p.Items) != 1 || p.Items[0].Args[catalog.ArgRAID] == nil || p.Boots != 0 {
				t.Errorf("%s: %v, %+v", name, p.Err(), p.Items)
			}
			if want := FromNode; c.target != nil && c.args == nil && p.Items[0].Origins[catalog.ArgRAID] != want {
				t.Errorf("%s: from %s", name, p.Items[0].Origins[catalog.ArgRAID])
			}
		case p.Err() == nil || !strings.Contains(p.Problems[0].Error(), c.says):
			t.Errorf("%s: %v, expected %q", name, p.Err(), c.says)
		}
	}
}

// After volumes were made there are other disks: those that were accepted before decide about no image, and the plan says so.
func TestI04_APlanWithRAIDNamesNoDisks(t *testing.T) {
	ask := conductor.Provision{Verb: state.VerbDeploy, DeploySteps: []step.Wanted{{Name: catalog.ApplyRAID, Priority: 90, Args: step.Args{"raid_config": raidConfig(map[string]any{"raid_level": "1", "size_gb": 50.0, "is_root_volume": true})}}}}
	change := func(in *Input) { in.Accepted.Disks = append(in.Accepted.Disks, nodetest.Disk1) } // two fit, without hints
	p := planFor(t, ask, change)
	if p.Err() != nil || shown(p) != "apply_configuration + write_image" || !strings.Contains(strings.Join(p.Notes, "; "), "only when that is done") {
		t.Errorf("%v: %s, %v", p.Err(), shown(p), p.Notes)
	}
	for _, it := range p.Items {
		if len(it.Disks) > 0 {
			t.Errorf("%s touches %v", it.Step.Name, it.Disks)
		}
	}
	if p := planFor(t, conductor.Provision{Verb: state.VerbDeploy}, change); p.Err() == nil {
		t.Error("without RAID two disks fit, and it is no problem")
	}
}
