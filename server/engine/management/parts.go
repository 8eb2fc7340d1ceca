package management

import (
	"context"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/raid"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// SetTargetRAID keeps the arrays that a later step is to build; an empty configuration forgets them. driver.no_raid where
// the node's interface builds none.
func (d *Desk) SetTargetRAID(ctx context.Context, who conductor.Caller, ident string, target map[string]any) error {
	return d.cfg.Nodes.Edit(ctx, who, ident, conductor.Audit{Act: "raid.target"}, func(n *conductor.Node) error {
		if err := d.cfg.Machines.Offers(*n, "raid"); err != nil {
			f := fault.New(fault.NoRAID, "%s", fault.From(err).Message)
			return f.At(string(n.UUID), "")
		}
		if f, busy := state.FlowOf(n.State); busy && n.State == f.Doing {
			return fault.New(fault.NodeBusy, "the node is %s", n.State).At(string(n.UUID), "")
		}
		if err := raid.Check(target); err != nil {
			return err
		}
		if d.cfg.Machines.Interfaces(*n)["raid"] == "redfish" {
			if _, err := raid.ThroughBMC(target); err != nil {
				return err
			}
		}
		n.TargetRAID = target
		return nil
	})
}

// Console tells whether the node's console is on.
func (d *Desk) Console(ctx context.Context, ident string) (bool, error) {
	n, err := d.cfg.Nodes.Node(ctx, ident)
	if err != nil {
		return false, err
	}
	return n.Console, d.cfg.Machines.Offers(n, "console")
}

// SetConsole switches it. There is nothing behind it: only fake-hardware has a console, for clients to try.
func (d *Desk) SetConsole(ctx context.Context, who conductor.Caller, ident string, on bool) error {
	return d.cfg.Nodes.Edit(ctx, who, ident, conductor.Audit{Act: "console", Detail: map[string]any{"on": on}}, func(n *conductor.Node) error {
		if err := d.cfg.Machines.Offers(*n, "console"); err != nil {
			return err
		}
		n.Console = on
		return nil
	})
}
