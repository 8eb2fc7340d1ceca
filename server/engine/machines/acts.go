package machines

import (
	"context"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Act carries the node's act out, and looks at the machine afterwards.
func (m *Machines) Act(ctx context.Context, n conductor.Node) (*conductor.Status, error) {
	a := n.Act
	if a == nil {
		return nil, fault.New(fault.FlowAborted, "not wanted any more")
	}
	if err := m.Held(); err != nil {
		return nil, err
	}
	switch a.Kind {
	case conductor.ActAttach, conductor.ActDetach:
		p, err := As[conductor.MediaHolder](ctx, m, n, "management", "virtual media")
		if err != nil {
			return nil, err
		}
		if a.Kind == conductor.ActAttach {
			return nil, p.Attach(ctx, a.Device, a.URL)
		}
		return nil, p.Detach(ctx, a.Devices)
	}
	p, err := As[conductor.ModeSetter](ctx, m, n, "management", string(a.Kind))
	if err != nil {
		return nil, err
	}
	if a.Kind == conductor.ActBootMode {
		err = p.SetBootMode(ctx, a.Mode)
	} else {
		err = p.SetSecureBoot(ctx, a.On)
	}
	teller, ok := p.(conductor.StatusReader)
	if err != nil || !ok {
		return nil, err
	}
	if s, err := teller.Status(ctx); err == nil {
		return &s, nil
	}
	return nil, nil // the act came about; the next look tells the rest
}

// Look reads how the node's machine is.
func (m *Machines) Look(ctx context.Context, n conductor.Node) (conductor.Power, *conductor.Status, error) {
	b, err := m.Open(ctx, n, false)
	if err != nil {
		return "", nil, err
	}
	return conductor.LookAt(ctx, b)
}

// Detach takes out what the last instance left in drives that no ramdisk uses.
func (m *Machines) Detach(ctx context.Context, n conductor.Node) error {
	kinds := conductor.Left(n)
	if len(kinds) == 0 {
		return nil // it was carried out before
	}
	if err := m.Held(); err != nil {
		return err
	}
	p, err := As[conductor.MediaHolder](ctx, m, n, "management", "virtual media")
	if err != nil {
		return err
	}
	return p.Detach(ctx, kinds)
}

// Parts reads a machine's parts, as far as its BMC tells of them and its interfaces are there. That it does not come
// about stops nothing: the lists stay as they are, and the next reading brings them.
func (m *Machines) Parts(ctx context.Context, n conductor.Node) *conductor.Parts {
	b, err := m.Open(ctx, n, false)
	if err != nil {
		return nil
	}
	teller, ok := b.(conductor.PartsReader)
	if !ok {
		return nil
	}
	p, err := teller.Parts(ctx)
	if err != nil {
		m.cfg.Log.Warn("the machine's parts can't be read; what is known of them stays", "node", n.Name, "err", err)
		return nil
	}
	if m.Offers(n, "bios") != nil {
		p.BIOS = nil
	}
	if m.Offers(n, "firmware") != nil {
		p.Firmware = nil
	}
	return &p
}

// Inspect reads what the machine is made of through its BMC. Reading needs no lease of the store.
func (m *Machines) Inspect(ctx context.Context, n conductor.Node) (*conductor.Found, error) {
	p, err := As[conductor.Inspector](ctx, m, n, "inspect", "an inspection through the BMC")
	if err != nil {
		return nil, err
	}
	found, err := p.Inspect(ctx)
	if err != nil {
		return nil, err
	}
	return &found, nil
}

// ChangesParts tells whether a step may leave other settings or versions behind than were read last.
func ChangesParts(step string) bool {
	return strings.HasPrefix(step, "bios.") || strings.HasPrefix(step, "firmware.")
}
