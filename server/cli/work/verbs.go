// Package work is what goes on at a node: the verbs that begin it, and watching it until it ends.
package work

import (
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Verb is a word that moves a node on.
type Verb struct {
	Name, Target string
	ends         []state.State // where it is meant to lead
	Event        state.Event
	Short, Long  string
	Destroys     string       // what is lost by it; "" nothing
	By           fault.Reason // what must have ended the work, of a verb that ends another's; else ""
}

const erases = "every disk that properties.skip_block_devices does not name is erased"

// Verbs are those whose commands need no more than the nodes.
var Verbs = []Verb{
	{Name: "manage", Target: "manage", Event: state.VerbManage, ends: []state.State{state.Manageable}, Short: "Check the BMC and take the machine under management",
		Long: "Reads the machine's BMC with the credentials of driver_info. Brings a node out of a failed state, too."},
	{Name: "inspect", Target: "inspect", Event: state.VerbInspect, ends: []state.State{state.Manageable}, Short: "Find out what the machine is, by its ramdisk or its BMC",
		Long: "Boots the ramdisk, or with the inspect interface redfish reads the BMC and boots nothing. The inventory is stored; bessemer node inventory shows it. Disks are only read."},
	{Name: "provide", Target: "provide", Event: state.VerbProvide, ends: []state.State{state.Available}, Short: "Erase the machine's disks and offer it", Destroys: erases,
		Long: "Runs the automated clean steps: EVERY disk that properties.skip_block_devices does not name is erased, and read back."},
	{Name: "undeploy", Target: "deleted", Event: state.VerbDelete, ends: []state.State{state.Available, state.Manageable}, Short: "Take the instance away and erase the disks", Destroys: erases,
		Long: "Powers the machine off, forgets instance_info, and cleans as provide does."},
	{Name: "adopt", Target: "adopt", Event: state.VerbAdopt, ends: []state.State{state.Active}, Short: "Take over a machine that runs already",
		Long: "The node becomes active as it is: nothing is written to its disks, and it is neither stopped nor started."},
	{Name: "unrescue", Target: "unrescue", Event: state.VerbUnrescue, ends: []state.State{state.Active}, Short: "Boot the instance again after a rescue",
		Long: "Ends the rescue ramdisk and boots the machine from its disk, or from the ISO of its instance."},
	{Name: "unhold", Target: "unhold", Event: state.VerbUnhold, ends: []state.State{state.Manageable, state.Available, state.Active}, Short: "Go on after a hold step",
		Long: "Releases a node that a hold step of its list holds; the steps behind it run."},
	{Name: "abort", Target: "abort", Event: state.VerbAbort, ends: failed(), By: fault.FlowAborted, Short: "End the work in progress",
		Long: "A step that can't be cut off is let finish first. The node is in the failed state of its flow then; the next verb leads on."},
}

func failed() (out []state.State) {
	for _, f := range state.Flows {
		out = append(out, f.Failed)
	}
	return append(out, state.Active) // a service that is aborted
}

// Deploy and the others have commands of their own.
var (
	Deploy = Verb{Name: "deploy", Target: "active", Event: state.VerbDeploy, ends: []state.State{state.Active}, Short: "Write an image to a machine and boot it",
		Destroys: "what is on the root disk is overwritten"}
	Rebuild = Verb{Name: "rebuild", Target: "rebuild", Event: state.VerbRebuild, ends: []state.State{state.Active}, Short: "Write an image over an instance and boot it",
		Destroys: "what is on the root disk is overwritten"}
	Clean   = Verb{Name: "clean", Target: "clean", Event: state.VerbClean, ends: []state.State{state.Manageable}}
	Service = Verb{Name: "service", Target: "service", Event: state.VerbService, ends: []state.State{state.Active}}
	Rescue  = Verb{Name: "rescue", Target: "rescue", Event: state.VerbRescue, ends: []state.State{state.Rescue}}
)

// Named is the verb of Verbs with this name.
func Named(name string) Verb {
	for _, v := range Verbs {
		if v.Name == name {
			return v
		}
	}
	return Verb{}
}

// Typed are the API's targets as the verbs that are typed here: undeploy for deleted.
func Typed(targets []string) string {
	out := slices.Clone(targets)
	for i, t := range out {
		for _, v := range append([]Verb{Deploy, Rebuild}, Verbs...) {
			if v.Target == t {
				out[i] = v.Name
			}
		}
	}
	return strings.Join(out, ", ")
}
