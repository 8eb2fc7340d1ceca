package nodes

import (
	"cmp"
	"reflect"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/netdata"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// resting are the states in which Ironic lets driver, interfaces and resource class change.
var resting = []state.State{state.Enroll, state.Inspecting, state.InspectWait, state.Manageable, state.Available}

func inWords(states []state.State) string {
	words := make([]string, len(states))
	for i, s := range states {
		words[i] = string(s)
	}
	return strings.Join(words, ", ")
}

// related checks what of a changed node leads elsewhere, and completes it: the node that it is a part of, by name or
// UUID; its network's description; the instance's name. What did not change is not judged again.
func related(tx conductor.Tx, was conductor.Node, n *conductor.Node) error {
	if n.Parent != was.Parent && n.Parent != "" {
		parent, err := Find(tx, string(n.Parent))
		if fault.Is(err, fault.NotFound) {
			return fault.New(fault.RequestInvalid, "parent_node: there is no node %q", n.Parent)
		}
		if err != nil {
			return err
		}
		if err := above(tx, parent, n.UUID); err != nil {
			return err
		}
		n.Parent = parent.UUID
	}
	if n.Chassis != was.Chassis && n.Chassis != "" {
		if _, err := tx.Record(conductor.KindChassis, n.Chassis); fault.Is(err, fault.NotFound) {
			return fault.New(fault.RequestInvalid, "Chassis %s could not be found.", n.Chassis)
		} else if err != nil {
			return err
		}
	}
	if err := kept(tx, was, *n); err != nil {
		return err
	}
	if err := released(tx, was, n); err != nil {
		return err
	}
	if !reflect.DeepEqual(n.NetworkData, was.NetworkData) {
		if err := netdata.Check(n.NetworkData); err != nil {
			return err
		}
	}
	if shown, _ := n.InstanceInfo["display_name"].(string); n.InstanceName == "" && len([]rune(shown)) <= maxName && !reflect.DeepEqual(n.InstanceInfo, was.InstanceInfo) {
		n.InstanceName = shown
	}
	return nil
}

const maxName = 255

// deepest is how many nodes may stand above one: a chassis, a server, its cards leave room to spare.
const deepest = 8

// above refuses a node to stand above another that it is, or is a part of.
func above(tx conductor.Tx, n conductor.Node, below conductor.NodeID) error {
	for range deepest {
		if n.UUID == below {
			return fault.New(fault.RequestInvalid, "parent_node: a node can't be a part of itself")
		}
		if n.Parent == "" {
			return nil
		}
		next, err := tx.Node(n.Parent)
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		n = next
	}
	return fault.New(fault.RequestInvalid, "parent_node: more than %d nodes would stand above it", deepest)
}

// childless refuses to delete a node that others are parts of.
func childless(tx conductor.Tx, n conductor.Node) error {
	parts, err := tx.Nodes(conductor.NodeFilter{Parent: n.UUID, Limit: 1})
	if err != nil || len(parts) == 0 {
		return err
	}
	return fault.New(fault.NodeInUse, "other nodes are parts of it: %s", cmp.Or(parts[0].Name, string(parts[0].UUID))).
		WithHint("delete them first, or take parent_node away from them; bessemer node children list %s shows them", cmp.Or(n.Name, string(n.UUID))).At(string(n.UUID), "")
}

// kept refuses another owner for a node that an owner's allocation has.
func kept(tx conductor.Tx, was, n conductor.Node) error {
	if n.Owner == was.Owner || was.Allocation == "" {
		return nil
	}
	a, err := conductor.RecordOf[conductor.Allocation](tx, was.Allocation)
	if fault.Is(err, fault.NotFound) || err == nil && a.Owner == "" {
		return nil
	}
	if err != nil {
		return err
	}
	return fault.New(fault.NodeInUse, "the node's owner can't change: allocation %s of project %s has the node", a.UUID, a.Owner).
		WithHint("bessemer allocation delete %s first", a.UUID).At(string(n.UUID), "")
}

// released keeps a node and its allocation together when an operator takes the instance away.
func released(tx conductor.Tx, was conductor.Node, n *conductor.Node) error {
	n.Allocation = was.Allocation
	if n.Allocation == "" || n.InstanceUUID == was.InstanceUUID {
		return nil
	}
	if !n.Maintenance && !slices.Contains(resting, was.State) {
		return fault.New(fault.NodeInUse, "Node %s with an allocation can not have instance_uuid removed in state %s", n.UUID, was.State).
			WithHint("it can in %s, or in maintenance: bessemer node maintenance set %s", inWords(resting), cmp.Or(n.Name, string(n.UUID))).At(string(n.UUID), "")
	}
	n.Allocation = ""
	return tx.DeleteRecord(conductor.KindAllocation, was.Allocation)
}
