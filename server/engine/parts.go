package engine

import (
	"context"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/raid"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// What is kept of a machine's parts, and what an operator wants of them.

// readParts reads a machine's parts, as far as its BMC tells of them and its interfaces are there. That it does not come
// about stops nothing: the lists stay as they are, and the next reading brings them.
func (eng *Engine) readParts(ctx context.Context, n conductor.Node) *conductor.Parts {
	b, err := eng.open(ctx, n, false)
	if err != nil {
		return nil
	}
	teller, ok := b.(conductor.PartsReader)
	if !ok {
		return nil
	}
	p, err := teller.Parts(ctx)
	if err != nil {
		eng.cfg.Log.Warn("the machine's parts can't be read; what is known of them stays", "node", n.Name, "err", err)
		return nil
	}
	if eng.offers(n, "bios") != nil {
		p.BIOS = nil
	}
	if eng.offers(n, "firmware") != nil {
		p.Firmware = nil
	}
	return &p
}

// keepParts stores what a reading brought, when it differs from what is there.
func (eng *Engine) keepParts(tx conductor.Tx, node conductor.NodeID, p *conductor.Parts) error {
	if p == nil {
		return nil
	}
	now := eng.cfg.Now()
	if p.BIOS != nil {
		kept, err := tx.BIOSSettings(node)
		if err != nil {
			return err
		}
		if all, changed := conductor.MergeBIOS(kept, p.BIOS, now); changed {
			if err := tx.PutBIOSSettings(node, all); err != nil {
				return err
			}
		}
	}
	if p.Firmware != nil {
		kept, err := tx.Firmware(node)
		if err != nil {
			return err
		}
		if all, changed := conductor.MergeFirmware(kept, p.Firmware, now); changed {
			return tx.PutFirmware(node, all)
		}
	}
	return nil
}

// changesParts tells whether a step may leave other settings or versions behind than were read last.
func changesParts(step string) bool {
	return strings.HasPrefix(step, "bios.") || strings.HasPrefix(step, "firmware.")
}

// SetTargetRAID keeps the arrays that a later step is to build; an empty configuration forgets them. driver.no_raid where
// the node's interface builds none.
func (eng *Engine) SetTargetRAID(ctx context.Context, who conductor.Caller, ident string, target map[string]any) error {
	return eng.Edit(ctx, who, ident, conductor.Audit{Act: "raid.target"}, func(n *conductor.Node) error {
		if err := eng.offers(*n, "raid"); err != nil {
			f := fault.New(fault.NoRAID, "%s", fault.From(err).Message)
			return f.At(string(n.UUID), "")
		}
		if f, busy := state.FlowOf(n.State); busy && n.State == f.Doing {
			return fault.New(fault.NodeBusy, "the node is %s", n.State).At(string(n.UUID), "")
		}
		if err := raid.Check(target); err != nil {
			return err
		}
		n.TargetRAID = target
		return nil
	})
}

// Console tells whether the node's console is on.
func (eng *Engine) Console(ctx context.Context, ident string) (bool, error) {
	n, err := eng.Node(ctx, ident)
	if err != nil {
		return false, err
	}
	return n.Console, eng.offers(n, "console")
}

// SetConsole switches it. There is nothing behind it: only fake-hardware has a console, for clients to try.
func (eng *Engine) SetConsole(ctx context.Context, who conductor.Caller, ident string, on bool) error {
	return eng.Edit(ctx, who, ident, conductor.Audit{Act: "console", Detail: map[string]any{"on": on}}, func(n *conductor.Node) error {
		if err := eng.offers(*n, "console"); err != nil {
			return err
		}
		n.Console = on
		return nil
	})
}
