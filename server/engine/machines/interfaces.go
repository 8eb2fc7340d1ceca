package machines

import (
	"slices"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/fit"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Interfaces is a node's implementation of each interface; nil for an unknown hardware type.
func (m *Machines) Interfaces(n conductor.Node) map[string]string {
	d, ok := m.drivers[n.Driver]
	if !ok {
		return nil
	}
	return drivers.Resolve(d.Interfaces(), n.Interfaces)
}

// Registry is every step that the node may be asked for: those of its hardware type that its interfaces offer. nil for an
// unknown hardware type. It is made once for each set of interfaces.
func (m *Machines) Registry(n conductor.Node) *step.Registry {
	all := m.catalogs[n.Driver]
	t, ok := drivers.Named(n.Driver)
	if all == nil || !ok {
		return all
	}
	chosen := m.Interfaces(n)
	key := n.Driver
	for _, kind := range drivers.Kinds {
		key += "\n" + chosen[kind]
	}
	if r, ok := m.narrowed.Load(key); ok {
		return r.(*step.Registry)
	}
	var offered []step.Step
	for _, s := range slices.Concat(m.drivers[n.Driver].Steps(), catalog.InBand) {
		if t.Offers(chosen, s) {
			offered = append(offered, s)
		}
	}
	r, err := step.NewRegistry(offered...)
	if err != nil {
		return all // it can't be: an interface offers a step in band or out of band, never both
	}
	m.narrowed.Store(key, r)
	return r
}

// Validate tells for each interface whether the node's record suffices: "" or the reason why not. driver.unknown.
func (m *Machines) Validate(n conductor.Node) (map[string]string, error) {
	d, ok := m.drivers[n.Driver]
	if !ok {
		return nil, fault.New(fault.DriverUnknown, "hardware type %q is not known here", n.Driver)
	}
	out := map[string]string{}
	for kind, f := range fit.Validate(n, m.Interfaces(n), d.Validate(n.DriverInfo)) {
		out[kind] = ""
		if f != nil {
			out[kind] = f.Error()
		}
	}
	return out, nil
}

// Offers refuses what the node's interface of a kind does not do.
func (m *Machines) Offers(n conductor.Node, kind string) error {
	if m.drivers[n.Driver] == nil {
		return fault.New(fault.DriverUnknown, "hardware type %q is not known here", n.Driver)
	}
	name := m.Interfaces(n)[kind]
	if name == "noop" {
		return fault.New(fault.BMCUnsupported, "driver %s does not support this: the node's %s interface is %s", n.Driver, kind, name).
			WithHint("choose another %s_interface: bessemer driver show %s lists them", kind, n.Driver).At(string(n.UUID), "")
	}
	switch kind {
	case drivers.BIOS, drivers.Firmware, drivers.RAID: // what is read, or wanted, needs nobody who changes it
		if !drivers.Disabled(name) {
			return nil
		}
	}
	if f := drivers.Check(n.Driver, kind, name); f != nil {
		return f.At(string(n.UUID), "")
	}
	return nil
}
