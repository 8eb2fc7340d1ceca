package nodes

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// What may be done to a node's record by state, as Ironic has it. The table test of rules_test.go writes it down once more.

// open are the states of a flow in which its node may be changed all the same.
var open = []state.State{state.Verifying, state.Inspecting, state.InspectWait, state.ServiceHold}

// MayChange keeps a node as it is while a flow reads it.
func MayChange(n conductor.Node) error {
	if _, busy := state.FlowOf(n.State); !busy || slices.Contains(open, n.State) {
		return nil
	}
	return fault.New(fault.NodeBusy, "the node is %s; it can be changed when that has ended", n.State).At(string(n.UUID), "")
}

// Locked refuses what Ironic makes wait for a node's lock, which a flow has while it works, and lets go of while it waits for
// the ramdisk or an operator.
func Locked(n conductor.Node) error {
	if f, busy := state.FlowOf(n.State); busy && n.State == f.Doing {
		return MayChange(n)
	}
	return nil
}

// mayUpdate is MayChange for what a node is to become: its instance, and nothing else, may be taken off it in maintenance
// at any time. secrets are those that change with it, which the record does not show.
func mayUpdate(was, n conductor.Node, secrets map[string]string) error {
	err := MayChange(was)
	if err == nil || !was.Maintenance || was.InstanceUUID == "" || n.InstanceUUID != "" || len(secrets) > 0 {
		return err
	}
	n.InstanceUUID = was.InstanceUUID
	if !reflect.DeepEqual(n, was) {
		return err
	}
	return nil
}

// settled refuses changes of what a node's user relies on.
func settled(was, n conductor.Node) error {
	id := string(n.UUID)
	early := slices.Contains(resting, was.State)
	switch {
	case n.Driver != was.Driver && was.Console:
		return fault.New(fault.NodeInUse, "driver can't change while the node's console is on").
			WithHint("switch it off first: bessemer node console disable %s", cmp.Or(n.Name, id)).At(id, "")
	case drivers.Pretends(n.Driver) != drivers.Pretends(was.Driver) && was.State != state.Enroll:
		return fault.New(fault.NodeInUse, "driver can't change from %s to %s in state %s: one of them has no machine, and what it says is erased is not (I5)", was.Driver, n.Driver, was.State).
			WithHint("enroll it anew: bessemer node delete %s, then bessemer node create", cmp.Or(n.Name, id)).At(id, "")
	case was.ResourceClass != "" && n.ResourceClass != was.ResourceClass && !early:
		return fault.New(fault.NodeInUse, "resource_class can't change in state %s", was.State).
			WithHint("it can in %s", inWords(resting)).At(id, "")
	case (n.Driver != was.Driver || !maps.Equal(n.Interfaces, was.Interfaces)) && !early && !n.Maintenance:
		return fault.New(fault.NodeInUse, "driver and interfaces can't change in state %s", was.State).WithHint("bessemer node maintenance set %s first", cmp.Or(n.Name, id)).At(id, "")
	case n.Owner != was.Owner && was.State == state.Active:
		return fault.New(fault.NodeInUse, "the owner of an active node can't change").
			WithHint("undeploy it first: bessemer node undeploy %s", cmp.Or(n.Name, id)).At(id, "")
	}
	return nil
}

// mayDelete says whether a node's record may go. Maintenance is for records that nothing else gets rid of: also for one whose
// machine could not be powered off, whose steps nobody can claim, start or end any more
// (docs/adr/0269-what-is-owed-to-a-machine.md).
func mayDelete(n conductor.Node) error {
	id := string(n.UUID)
	switch {
	case !n.Maintenance && n.InstanceUUID != "":
		return fault.New(fault.NodeInUse, "the node belongs to instance %s", n.InstanceUUID).At(id, "")
	case n.Protected:
		return fault.New(fault.NodeProtected, "the node is protected (%s)", cmp.Or(n.ProtectedReason, "no reason given")).At(id, "")
	case !n.Maintenance && !slices.Contains([]state.State{state.Enroll, state.Manageable, state.AdoptFail, state.Available}, n.State):
		return fault.New(fault.NodeInUse, "a node that is %q can't be deleted", n.State).At(id, "")
	case !n.Maintenance:
		return conductor.Fenced(n)
	}
	return nil
}

// coherent checks the rules between fields.
func coherent(was conductor.Node, n *conductor.Node) error {
	id := string(n.UUID)
	if err := settled(was, *n); err != nil {
		return err
	}
	if n.Protected && !was.Protected && n.State != state.Active && n.State != state.Rescue {
		return fault.New(fault.NodeInUse, "only an active node can be protected; this one is %s", n.State).At(id, "")
	}
	if n.Retired && !was.Retired && n.State == state.Available {
		return fault.New(fault.NodeInUse, "an available node can't be retired").WithHint("bessemer node manage %s first", cmp.Or(n.Name, id)).At(id, "")
	}
	if n.InstanceUUID != "" && was.InstanceUUID != "" && n.InstanceUUID != was.InstanceUUID {
		return fault.New(fault.NodeInUse, "the node already belongs to instance %s", was.InstanceUUID).At(id, "")
	}
	if !n.Protected {
		n.ProtectedReason = ""
	}
	if !n.Retired {
		n.RetiredReason = ""
	}
	return nil
}

// fitting checks that a hardware type offers the implementations that a node names.
func fitting(d conductor.Driver, chosen map[string]string) error {
	have := d.Interfaces()
	for _, kind := range slices.Sorted(maps.Keys(chosen)) {
		if !slices.Contains(have[kind], chosen[kind]) {
			return fault.New(fault.RequestInvalid, "%s_interface %q does not fit hardware type %s, which has %s",
				kind, chosen[kind], d.Name(), cmp.Or(strings.Join(have[kind], ", "), "none")).
				WithHint("choose one of these, or leave the field out for the default")
		}
	}
	return nil
}
