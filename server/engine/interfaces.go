package engine

import (
	"context"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/fit"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// interfaces is a node's implementation of each interface; nil for an unknown hardware type.
func (eng *Engine) interfaces(n conductor.Node) map[string]string {
	d, ok := eng.drivers[n.Driver]
	if !ok {
		return nil
	}
	return drivers.Resolve(d.Interfaces(), n.Interfaces)
}

// registry is every step that the node may be asked for: those of its hardware type that its interfaces offer. nil for an
// unknown hardware type. It is made once for each set of interfaces.
func (eng *Engine) registry(n conductor.Node) *step.Registry {
	all := eng.catalogs[n.Driver]
	t, ok := drivers.Named(n.Driver)
	if all == nil || !ok {
		return all
	}
	chosen := eng.interfaces(n)
	key := n.Driver
	for _, kind := range drivers.Kinds {
		key += "\n" + chosen[kind]
	}
	if r, ok := eng.narrowed.Load(key); ok {
		return r.(*step.Registry)
	}
	var offered []step.Step
	for _, s := range all.All() {
		if t.Offers(chosen, s) {
			offered = append(offered, s)
		}
	}
	r, err := step.NewRegistry(offered...)
	if err != nil {
		return all // it can't be: they are some of those that made a registry already
	}
	eng.narrowed.Store(key, r)
	return r
}

// Validate tells for each interface whether the node's record suffices: "" or the reason why not.
func (eng *Engine) Validate(ctx context.Context, ident string) (map[string]string, error) {
	n, err := eng.Node(ctx, ident)
	if err != nil {
		return nil, err
	}
	d, ok := eng.drivers[n.Driver]
	if !ok {
		return nil, fault.New(fault.DriverUnknown, "hardware type %q is not known here", n.Driver)
	}
	out := map[string]string{}
	for kind, f := range fit.Validate(n, eng.interfaces(n), d.Validate(n.DriverInfo)) {
		out[kind] = ""
		if f != nil {
			out[kind] = f.Error()
		}
	}
	return out, nil
}
