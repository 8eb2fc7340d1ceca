package engine

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// What operators do with a machine's BMC beside power and provisioning: some of it is waited for by the caller
// (directly), some is accepted and carried out after (Manage). Reading needs no hold on the node.

// lockWait is how long a caller waits for an act upon the BMC to end: as long as Ironic does by default (three tries, a
// second apart).
const lockWait = 3 * time.Second

// power gives the node's BMC as something that has a power which not every one has.
func power[T any](ctx context.Context, eng *Engine, n conductor.Node, kind, what string) (T, error) {
	var none T
	if err := eng.offers(n, kind); err != nil {
		return none, err
	}
	b, err := eng.open(ctx, n, false)
	if err != nil {
		return none, err
	}
	p, ok := b.(T)
	if !ok {
		return none, fault.New(fault.BMCUnsupported, "hardware type %s does not support %s", n.Driver, what).
			WithHint("bessemer driver show %s says what it does", n.Driver).At(string(n.UUID), "")
	}
	return p, nil
}

// offers refuses what the node's interface of a kind does not do.
func (eng *Engine) offers(n conductor.Node, kind string) error {
	if eng.drivers[n.Driver] == nil {
		return fault.New(fault.DriverUnknown, "hardware type %q is not known here", n.Driver)
	}
	name := eng.interfaces(n)[kind]
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

// asked finds a node and reads from its BMC what only it knows.
func asked[T, V any](ctx context.Context, eng *Engine, ident, kind, what string, read func(n conductor.Node, p T) (V, error)) (V, error) {
	var none V
	n, err := eng.Node(ctx, ident)
	if err != nil {
		return none, err
	}
	p, err := power[T](ctx, eng, n, kind, what)
	if err != nil {
		return none, err
	}
	return read(n, p)
}

// directly does an act upon a node's BMC that its caller waits for; not while a flow owns the machine. A flow that begins
// meanwhile waits for its end, and a short act that is under way is waited for. The act is audited before it begins, so that
// none is without a trace (I27), and what it came to after it.
func (eng *Engine) directly(ctx context.Context, who conductor.Caller, ident, holder string, entry conductor.Audit, act func(conductor.Node) error) error {
	n, err := eng.Node(ctx, ident)
	if err != nil {
		return err
	}
	hand := eng.hand(n.UUID)
	patience, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	select {
	case hand <- struct{}{}:
		defer func() { <-hand }()
	case <-patience.Done():
		return fault.New(fault.NodeBusy, "the server is acting upon the node's BMC").At(string(n.UUID), "")
	}
	if err := eng.cfg.Store.Update(ctx, func(tx conductor.Tx) (err error) {
		if n, err = tx.Node(n.UUID); err != nil {
			return err
		}
		if _, busy := state.FlowOf(n.State); busy {
			return fault.New(fault.NodeBusy, "the node is %s", n.State).At(string(n.UUID), "")
		}
		if err := conductor.Confirmed(n); err != nil {
			return err
		}
		if err := conductor.HoldBriefly(&n, holder, eng.cfg.Now()); err != nil {
			return err
		}
		if err := tx.PutNode(&n); err != nil {
			return err
		}
		entry.Time, entry.Actor, entry.Request, entry.Node = eng.cfg.Now(), who.Name, who.Request, n.UUID
		return tx.AppendAudit(entry)
	}); err != nil {
		return err
	}
	if eng.cfg.Held != nil { // the store's lease may have run out since (I16)
		err = eng.cfg.Held()
	}
	if err == nil {
		err = act(n)
	}
	end := entry
	end.Act, end.Detail = entry.Act+".done", nil
	if err != nil {
		end.Act, end.Detail = entry.Act+".failed", map[string]any{"reason": fault.From(err).Reason}
	}
	// Also for a caller who has gone: nobody else gives the lease back before it has run out.
	return errors.Join(err, eng.cfg.Store.Update(context.WithoutCancel(ctx), func(tx conductor.Tx) error {
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
		end.Time = eng.cfg.Now()
		return tx.AppendAudit(end)
	}))
}

// BootDevice asks the BMC what the machine boots from.
func (eng *Engine) BootDevice(ctx context.Context, ident string) (conductor.BootTarget, error) {
	return asked(ctx, eng, ident, "management", "boot devices", func(_ conductor.Node, b conductor.BMC) (conductor.BootTarget, error) { return b.Boot(ctx) })
}

// SetBootDevice sets it.
func (eng *Engine) SetBootDevice(ctx context.Context, who conductor.Caller, ident string, t conductor.BootTarget) error {
	entry := conductor.Audit{Act: "boot_device", Detail: map[string]any{"device": t.Device, "always": t.Always}}
	return eng.directly(ctx, who, ident, conductor.HolderBootDevice, entry, func(n conductor.Node) error {
		if err := eng.offers(n, "management"); err != nil {
			return err
		}
		b, err := eng.bmc(ctx, n, false)
		if err != nil {
			return err
		}
		return b.SetBoot(ctx, t)
	})
}

// BootDevices lists what the machine can be told to boot from.
func (eng *Engine) BootDevices(ctx context.Context, ident string) ([]string, error) {
	return asked(ctx, eng, ident, "management", "boot devices", func(_ conductor.Node, b conductor.BootDeviceLister) ([]string, error) { return b.BootDevices(ctx) })
}

// InjectNMI makes the machine take a non-maskable interrupt.
func (eng *Engine) InjectNMI(ctx context.Context, who conductor.Caller, ident string) error {
	return eng.directly(ctx, who, ident, conductor.HolderNow, conductor.Audit{Act: "inject_nmi"}, func(n conductor.Node) error {
		p, err := power[conductor.Interrupter](ctx, eng, n, "management", "interrupts")
		if err != nil {
			return err
		}
		return p.InjectNMI(ctx)
	})
}

// Lights lists the machine's indicators as they are now.
func (eng *Engine) Lights(ctx context.Context, ident string) ([]conductor.Light, error) {
	return asked(ctx, eng, ident, "management", "indicators", func(_ conductor.Node, p conductor.Lamps) ([]conductor.Light, error) { return p.Lights(ctx) })
}

// SetLight switches one.
func (eng *Engine) SetLight(ctx context.Context, who conductor.Caller, ident, component, name, state string) error {
	entry := conductor.Audit{Act: "indicator", Detail: map[string]any{"indicator": name + "@" + component, "state": state}}
	return eng.directly(ctx, who, ident, conductor.HolderNow, entry, func(n conductor.Node) error {
		p, err := power[conductor.Lamps](ctx, eng, n, "management", "indicators")
		if err != nil {
			return err
		}
		return p.SetLight(ctx, component, name, state)
	})
}

// Drives lists the virtual drives as they are now. The address of the ramdisk's medium is a key, and is masked (I22).
func (eng *Engine) Drives(ctx context.Context, ident string) ([]conductor.Drive, error) {
	return asked(ctx, eng, ident, "management", "virtual media", func(n conductor.Node, p conductor.MediaHolder) ([]conductor.Drive, error) {
		all, err := p.Drives(ctx)
		if err != nil {
			return nil, err
		}
		const token = "anytoken"
		own, _, _ := strings.Cut(eng.cfg.MediumURL(token), token)
		for i := range all {
			if n.Boot != nil && strings.Contains(all[i].Image, eng.mediumToken(n)) || mediumOf(own, all[i].Image) {
				all[i].Image = conductor.Masked
			}
		}
		return all, nil
	})
}

// mediumOf tells whether an address is one of those that the boot listener serves media under, of whichever boot.
func mediumOf(prefix, image string) bool {
	u, err := url.Parse(prefix)
	v, err2 := url.Parse(image)
	return err == nil && err2 == nil && u.Host != "" && u.Host == v.Host && strings.HasPrefix(v.Path, u.Path)
}

// Manage asks for an act that is carried out after; what comes of it is seen on the node.
func (eng *Engine) Manage(ctx context.Context, who conductor.Caller, ident string, a conductor.Act) error {
	n, err := eng.Node(ctx, ident)
	if err != nil {
		return err
	}
	switch a.Kind {
	case conductor.ActAttach:
		if err := conductor.CheckMediaDevices(a.Device); err != nil {
			return err
		}
		if err := eng.mayFetch(ctx, a.URL); err != nil {
			return err
		}
	case conductor.ActDetach:
		if err := conductor.CheckMediaDevices(a.Devices...); err != nil {
			return err
		}
	}
	if a.Kind == conductor.ActAttach || a.Kind == conductor.ActDetach {
		_, err = power[conductor.MediaHolder](ctx, eng, n, "management", "virtual media")
	} else {
		_, err = power[conductor.ModeSetter](ctx, eng, n, "management", string(a.Kind))
	}
	if err != nil {
		return err
	}
	return eng.apply(ctx, n.UUID, conductor.ActAsked{Caller: who, Ask: a}, nil)
}

// mayFetch judges where a BMC is sent for a medium: schemes that BMCs know, no credentials in it, and a destination that
// the server would go to itself (I23).
func (eng *Engine) mayFetch(ctx context.Context, raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || len(raw) > maxURL:
		return fault.New(fault.RequestInvalid, "image_url can't be parsed, or is longer than %d bytes", maxURL)
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "nfs" && u.Scheme != "cifs":
		return fault.New(fault.RequestInvalid, "image_url has scheme %q, expected http, https, nfs or cifs", u.Scheme)
	case u.User != nil:
		return fault.New(fault.RequestInvalid, "image_url has a user or password in it, which the BMC would show to everybody")
	case u.Hostname() == "":
		return fault.New(fault.RequestInvalid, "image_url names no host")
	}
	if eng.cfg.CheckOrigin == nil {
		return nil
	}
	if u.Scheme == "nfs" || u.Scheme == "cifs" {
		raw = (&url.URL{Scheme: "http", Host: u.Host, Path: "/"}).String() // the host is what is judged
	}
	return eng.cfg.CheckOrigin(ctx, raw)
}

const maxURL = 2048

// manageAct carries the node's act out, and looks at the machine afterwards.
func (eng *Engine) manageAct(ctx context.Context, n conductor.Node) (*conductor.Status, error) {
	a := n.Act
	if a == nil {
		return nil, fault.New(fault.FlowAborted, "not wanted any more")
	}
	if eng.cfg.Held != nil {
		if err := eng.cfg.Held(); err != nil {
			return nil, err
		}
	}
	switch a.Kind {
	case conductor.ActAttach, conductor.ActDetach:
		p, err := power[conductor.MediaHolder](ctx, eng, n, "management", "virtual media")
		if err != nil {
			return nil, err
		}
		if a.Kind == conductor.ActAttach {
			return nil, p.Attach(ctx, a.Device, a.URL)
		}
		return nil, p.Detach(ctx, a.Devices)
	}
	p, err := power[conductor.ModeSetter](ctx, eng, n, "management", string(a.Kind))
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
