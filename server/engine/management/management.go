// Package management is what operators do with a machine's BMC beside power and provisioning: some of it is waited for by
// the caller (directly), some is accepted and carried out after (Manage). Reading needs no hold on the node.
//
// Start at directly and Manage.
package management

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/machines"
	"github.com/bessemer-metal/bessemer/server/engine/medium"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Config is what a desk is made with. All fields but CheckOrigin are required.
type Config struct {
	Store       conductor.Store
	Now         func() time.Time
	Nodes       *nodes.Keeper
	Machines    *machines.Machines
	Media       *medium.Media
	CheckOrigin func(ctx context.Context, rawURL string) error // T4; nil allows all
	// Hand is the one slot of who acts upon the node's BMC (I16).
	Hand  func(id conductor.NodeID) chan struct{}
	Apply func(ctx context.Context, id conductor.NodeID, e conductor.Event) error
}

// Desk takes operators' requests. Its methods are safe for concurrent use.
type Desk struct{ cfg Config }

// New makes a desk.
func New(cfg Config) *Desk { return &Desk{cfg} }

// lockWait is how long a caller waits for an act upon the BMC to end: as long as Ironic does by default (three tries, a
// second apart).
const lockWait = 3 * time.Second

// asked finds a node and reads from its BMC what only it knows.
func asked[T, V any](ctx context.Context, d *Desk, ident, kind, what string, read func(n conductor.Node, p T) (V, error)) (V, error) {
	var none V
	n, err := d.cfg.Nodes.Node(ctx, ident)
	if err != nil {
		return none, err
	}
	p, err := machines.As[T](ctx, d.cfg.Machines, n, kind, what)
	if err != nil {
		return none, err
	}
	return read(n, p)
}

// directly does an act upon a node's BMC that its caller waits for; not while a flow owns the machine. A flow that begins
// meanwhile waits for its end, and a short act that is under way is waited for. The act is audited before it begins, so that
// none is without a trace (I27), and what it came to after it.
func (d *Desk) directly(ctx context.Context, who conductor.Caller, ident, holder string, entry conductor.Audit, act func(conductor.Node) error) error {
	n, err := d.cfg.Nodes.Node(ctx, ident)
	if err != nil {
		return err
	}
	hand := d.cfg.Hand(n.UUID)
	patience, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	select {
	case hand <- struct{}{}:
		defer func() { <-hand }()
	case <-patience.Done():
		return fault.New(fault.NodeBusy, "the server is acting upon the node's BMC").At(string(n.UUID), "")
	}
	if err := d.cfg.Store.Update(ctx, func(tx conductor.Tx) (err error) {
		if n, err = tx.Node(n.UUID); err != nil {
			return err
		}
		if _, busy := state.FlowOf(n.State); busy {
			return fault.New(fault.NodeBusy, "the node is %s", n.State).At(string(n.UUID), "")
		}
		if err := conductor.Confirmed(n); err != nil {
			return err
		}
		if err := conductor.HoldBriefly(&n, holder, d.cfg.Now()); err != nil {
			return err
		}
		if err := tx.PutNode(&n); err != nil {
			return err
		}
		entry.Time, entry.Actor, entry.Request, entry.Node = d.cfg.Now(), who.Name, who.Request, n.UUID
		return tx.AppendAudit(entry)
	}); err != nil {
		return err
	}
	err = d.cfg.Machines.Held() // the store's lease may have run out since (I16)
	if err == nil {
		err = act(n)
	}
	end := entry
	end.Act, end.Detail = entry.Act+".done", nil
	if err != nil {
		end.Act, end.Detail = entry.Act+".failed", map[string]any{"reason": fault.From(err).Reason}
	}
	// Also for a caller who has gone: nobody else gives the lease back before it has run out.
	return errors.Join(err, d.cfg.Store.Update(context.WithoutCancel(ctx), func(tx conductor.Tx) error {
		now, err := tx.Node(n.UUID)
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if now.Lease != nil && now.Lease.Number == n.Lease.Number {
			now.Lease = nil
			if err := tx.PutNode(&now); err != nil {
				return err
			}
		}
		end.Time = d.cfg.Now()
		return tx.AppendAudit(end)
	}))
}

// BootDevice asks the BMC what the machine boots from.
func (d *Desk) BootDevice(ctx context.Context, ident string) (conductor.BootTarget, error) {
	return asked(ctx, d, ident, "management", "boot devices", func(_ conductor.Node, b conductor.BMC) (conductor.BootTarget, error) { return b.Boot(ctx) })
}

// SetBootDevice sets it.
func (d *Desk) SetBootDevice(ctx context.Context, who conductor.Caller, ident string, t conductor.BootTarget) error {
	entry := conductor.Audit{Act: "boot_device", Detail: map[string]any{"device": t.Device, "always": t.Always}}
	return d.directly(ctx, who, ident, conductor.HolderBootDevice, entry, func(n conductor.Node) error {
		if err := d.cfg.Machines.Offers(n, "management"); err != nil {
			return err
		}
		b, err := d.cfg.Machines.BMC(ctx, n, false)
		if err != nil {
			return err
		}
		return b.SetBoot(ctx, t)
	})
}

// BootDevices lists what the machine can be told to boot from.
func (d *Desk) BootDevices(ctx context.Context, ident string) ([]string, error) {
	return asked(ctx, d, ident, "management", "boot devices", func(_ conductor.Node, b conductor.BootDeviceLister) ([]string, error) { return b.BootDevices(ctx) })
}

// InjectNMI makes the machine take a non-maskable interrupt.
func (d *Desk) InjectNMI(ctx context.Context, who conductor.Caller, ident string) error {
	return d.directly(ctx, who, ident, conductor.HolderNow, conductor.Audit{Act: "inject_nmi"}, func(n conductor.Node) error {
		p, err := machines.As[conductor.Interrupter](ctx, d.cfg.Machines, n, "management", "interrupts")
		if err != nil {
			return err
		}
		return p.InjectNMI(ctx)
	})
}

// Lights lists the machine's indicators as they are now.
func (d *Desk) Lights(ctx context.Context, ident string) ([]conductor.Light, error) {
	return asked(ctx, d, ident, "management", "indicators", func(_ conductor.Node, p conductor.Lamps) ([]conductor.Light, error) { return p.Lights(ctx) })
}

// SetLight switches one.
func (d *Desk) SetLight(ctx context.Context, who conductor.Caller, ident, component, name, state string) error {
	entry := conductor.Audit{Act: "indicator", Detail: map[string]any{"indicator": name + "@" + component, "state": state}}
	return d.directly(ctx, who, ident, conductor.HolderNow, entry, func(n conductor.Node) error {
		p, err := machines.As[conductor.Lamps](ctx, d.cfg.Machines, n, "management", "indicators")
		if err != nil {
			return err
		}
		return p.SetLight(ctx, component, name, state)
	})
}

// Drives lists the virtual drives as they are now. The address of the ramdisk's medium is a key, and is masked (I22).
func (d *Desk) Drives(ctx context.Context, ident string) ([]conductor.Drive, error) {
	return asked(ctx, d, ident, "management", "virtual media", func(n conductor.Node, p conductor.MediaHolder) ([]conductor.Drive, error) {
		all, err := p.Drives(ctx)
		if err != nil {
			return nil, err
		}
		for i := range all {
			if d.cfg.Media.Own(n, all[i].Image) {
				all[i].Image = conductor.Masked
			}
		}
		return all, nil
	})
}

// Manage asks for an act that is carried out after; what comes of it is seen on the node.
func (d *Desk) Manage(ctx context.Context, who conductor.Caller, ident string, a conductor.Act) error {
	n, err := d.cfg.Nodes.Node(ctx, ident)
	if err != nil {
		return err
	}
	switch a.Kind {
	case conductor.ActAttach:
		if err := conductor.CheckMediaDevices(a.Device); err != nil {
			return err
		}
		if err := d.mayFetch(ctx, a.URL); err != nil {
			return err
		}
	case conductor.ActDetach:
		if err := conductor.CheckMediaDevices(a.Devices...); err != nil {
			return err
		}
	}
	if a.Kind == conductor.ActAttach || a.Kind == conductor.ActDetach {
		// That the node has no drives is told by the act's end, as Ironic does it: clients count on the answer.
		if _, err = machines.As[conductor.MediaHolder](ctx, d.cfg.Machines, n, "management", "virtual media"); fault.Is(err, fault.Unsupported) {
			err = nil
		}
	} else {
		_, err = machines.As[conductor.ModeSetter](ctx, d.cfg.Machines, n, "management", string(a.Kind))
	}
	if err != nil {
		return err
	}
	return d.cfg.Apply(ctx, n.UUID, conductor.ActAsked{Caller: who, Ask: a})
}

// mayFetch judges where a BMC is sent for a medium: schemes that BMCs know, no credentials in it, and a destination that
// the server would go to itself (I23).
func (d *Desk) mayFetch(ctx context.Context, raw string) error {
	u, err := conductor.MediumURL("image_url", raw, "http", "https", "nfs", "cifs")
	if err != nil {
		return err
	}
	if d.cfg.CheckOrigin == nil {
		return nil
	}
	if u.Scheme == "nfs" || u.Scheme == "cifs" {
		raw = (&url.URL{Scheme: "http", Host: u.Host, Path: "/"}).String() // the host is what is judged
	}
	return d.cfg.CheckOrigin(ctx, raw)
}
