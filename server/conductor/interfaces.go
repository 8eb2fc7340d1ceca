package conductor

import (
	"cmp"

	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// What a node's interfaces mean for its work: which implementation carries a flow, and what is asked of the record before
// one begins.

// coreStep is Ironic's name for what a deploy interface does by itself.
const coreStep = "deploy.deploy"

// pretends tells whether a flow only pretends: no machine is booted, switched or erased. Only fake-hardware has what leads
// to it.
func pretends(interfaces map[string]string, f state.Flow) bool {
	kind := drivers.Deploy
	switch f {
	case state.Inspect:
		kind = drivers.Inspect
	case state.RescueFlow, state.UnrescueFlow:
		kind = drivers.Rescue
	}
	return interfaces[kind] == drivers.Fake
}

// writesImage tells whether the node's deploy interface writes the image by itself.
func writesImage(interfaces map[string]string) bool {
	return cmp.Or(interfaces[drivers.Deploy], "direct") == "direct"
}

// unfitFor says why a flow can't succeed on this node: first by its interfaces, then by what its BMC is known to be able to
// do. nil when nothing speaks against it.
func unfitFor(n Node, interfaces map[string]string, f state.Flow) *fault.Fault {
	var used []string
	switch f {
	case state.Inspect:
		used = []string{drivers.Inspect}
	case state.RescueFlow:
		used = []string{drivers.Rescue}
	case state.Deploy:
		used = []string{drivers.Deploy, drivers.Network, drivers.Storage}
	}
	if !pretends(interfaces, f) && f != state.Verify {
		used = append(used, drivers.Boot, drivers.Power, drivers.Management)
	}
	for _, kind := range used {
		if err := drivers.Check(n.Driver, kind, interfaces[kind]); err != nil {
			return err
		}
	}
	if pretends(interfaces, f) {
		return nil
	}
	return unfit(n, f)
}

// checkInstance checks what a deployment takes from the record whatever writes the image: the root device hints, the
// capabilities, and that the node has the traits its instance asks for.
func checkInstance(n Node, interfaces map[string]string) *fault.Fault {
	if f := instanceTraits(n); f != nil || pretends(interfaces, state.Deploy) {
		return f
	}
	for _, p := range []struct {
		name string
		from map[string]any
	}{{"instance_info", n.InstanceInfo}, {"properties", n.Properties}} {
		v, there := p.from["root_device"]
		if !there || v == nil {
			continue
		}
		hints, ok := v.(map[string]any)
		if !ok {
			return fault.New(fault.RequestInvalid, "%s.root_device must be an object of hints", p.name)
		}
		if _, err := inventory.ParseHints(hints); err != nil {
			return fault.From(err)
		}
	}
	if _, _, _, err := wantedBoot(n); err != nil {
		return fault.From(err)
	}
	return nil
}

// Validate tells for each interface but vendor whether the record suffices for it: nil, or why not. info is what the
// hardware type says of driver_info, nil when it is whole.
func Validate(n Node, interfaces map[string]string, info error) map[string]*fault.Fault {
	out := map[string]*fault.Fault{}
	for _, kind := range drivers.Kinds {
		if kind == drivers.Vendor {
			continue
		}
		name := interfaces[kind]
		f := drivers.Check(n.Driver, kind, name)
		if t, ok := drivers.Named(n.Driver); f == nil && ok && (name == t.Own || kind == drivers.Boot) {
			f = fault.From(info) // it speaks to the BMC
		}
		out[kind] = f
	}
	if out[drivers.Boot] == nil && !pretends(interfaces, state.Deploy) {
		if _, _, _, err := wantedBoot(n); err != nil {
			out[drivers.Boot] = fault.From(err)
		}
	}
	if out[drivers.Deploy] == nil {
		out[drivers.Deploy] = validDeploy(n, interfaces, out[drivers.Boot])
	}
	return out
}

// validDeploy is what active would refuse; boot is what is wrong with the boot interface.
func validDeploy(n Node, interfaces map[string]string, boot *fault.Fault) *fault.Fault {
	if f := checkInstance(n, interfaces); f != nil || pretends(interfaces, state.Deploy) {
		return f
	}
	if boot != nil {
		return boot
	}
	if !writesImage(interfaces) {
		return nil
	}
	if _, err := ImageArgs(n.InstanceInfo); err != nil {
		return fault.From(err)
	}
	return nil
}
