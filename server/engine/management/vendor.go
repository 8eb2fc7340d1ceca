package management

import (
	"context"
	"slices"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/machines"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Methods lists the calls of the node's vendor interface.
func (d *Desk) Methods(ctx context.Context, ident string) ([]conductor.Method, error) {
	return asked(ctx, d, ident, "vendor", "vendor calls", func(_ conductor.Node, p conductor.Passer) ([]conductor.Method, error) { return p.Methods(), nil })
}

// Pass makes a call of the node's vendor interface by a method of HTTP. An asynchronous one is accepted and seen on the
// node; what another answers comes back. One that changes something holds the node while it lasts.
func (d *Desk) Pass(ctx context.Context, who conductor.Caller, ident, httpMethod, name string, args map[string]any) (async bool, answer any, err error) {
	n, err := d.cfg.Nodes.Node(ctx, ident)
	if err != nil {
		return false, nil, err
	}
	p, err := machines.As[conductor.Passer](ctx, d.cfg.Machines, n, "vendor", "vendor calls")
	if err != nil {
		return false, nil, err
	}
	all := p.Methods()
	i := slices.IndexFunc(all, func(m conductor.Method) bool { return m.Name == name })
	if i < 0 || !slices.Contains(all[i].HTTP, httpMethod) {
		return false, nil, fault.New(fault.NoMethod, "the vendor interface has no method %.60q by %s", name, httpMethod).At(string(n.UUID), "")
	}
	if to, _ := args["Destination"].(string); to != "" && d.cfg.CheckOrigin != nil { // where a BMC is sent (I23)
		if err := d.cfg.CheckOrigin(ctx, to); err != nil {
			return false, nil, err
		}
	}
	async = all[i].Async
	if async {
		a, err := p.Deferred(name, args)
		if err != nil {
			return true, nil, err
		}
		if a.Kind != "" {
			return true, nil, d.Manage(ctx, who, ident, a)
		}
	}
	if !all[i].Exclusive {
		answer, err = p.Pass(ctx, name, args)
	} else {
		err = d.directly(ctx, who, ident, conductor.HolderNow, conductor.Audit{Act: "vendor." + name}, func(now conductor.Node) error {
			p, err := machines.As[conductor.Passer](ctx, d.cfg.Machines, now, "vendor", "vendor calls")
			if err == nil {
				answer, err = p.Pass(ctx, name, args)
			}
			return err
		})
	}
	if async {
		answer = nil
	}
	return async, answer, err
}
