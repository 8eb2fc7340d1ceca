package fit

import (
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Validate tells for each interface but vendor whether the record suffices for it: nil, or why not. info is what the
// hardware type says of driver_info, nil when it is whole.
func Validate(n conductor.Node, interfaces map[string]string, info error) map[string]*fault.Fault {
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
	if out[drivers.Boot] == nil && !Pretends(interfaces, state.Deploy) {
		if _, _, _, err := wantedBoot(n); err != nil {
			out[drivers.Boot] = fault.From(err)
		} else if k := n.BMC; k != nil && interfaces[drivers.Boot] == drivers.HTTPBoot && unfitHTTP(k) != nil {
			out[drivers.Boot] = unfitHTTP(k)
		} else if BootsISO(interfaces) { // as Ironic has it: what is booted is the boot interface's business
			_, err := BootISO(n.InstanceInfo)
			out[drivers.Boot] = fault.From(err)
		}
	}
	if out[drivers.Deploy] == nil {
		out[drivers.Deploy] = validDeploy(n, interfaces, out[drivers.Boot])
	}
	return out
}

// validDeploy is what active would refuse; boot is what is wrong with the boot interface.
func validDeploy(n conductor.Node, interfaces map[string]string, boot *fault.Fault) *fault.Fault {
	if f := Instance(n, interfaces); f != nil || Pretends(interfaces, state.Deploy) {
		return f
	}
	if boot != nil {
		return boot
	}
	if !WritesImage(interfaces) {
		return nil
	}
	if _, err := ImageArgs(n.InstanceInfo, nil); err != nil {
		return fault.From(err)
	}
	return nil
}
