// Package fake is the hardware type "fake-hardware": BMCs in memory on which every act succeeds, at once or after the
// delays it is given, for trying out the server and for tests of its clients. There is no machine behind them: with the
// deploy interface fake, flows only pretend; with another one a ramdisk is waited for, which a test may play. It reaches
// nothing outside the process, but the Unix socket of a program that plays the machines when it is given one (play.go).
// Start at Driver.
package fake

import (
	"context"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Config is what a Driver may be given; the zero value has machines in memory that act at once.
type Config struct {
	Socket     string                   // Unix socket of the program that plays the machines; "": they are in memory
	Interfaces map[string][]string      // what is offered of the hardware type (drivers.Settings); nil is all
	Delays     map[string]drivers.Delay // how long acts take, by interface
}

// Driver keeps the machines, by node, for as long as it lives. It may be used by many goroutines.
type Driver struct {
	cfg    Config
	player *player // nil: the machines are in memory

	mu       sync.Mutex
	machines map[conductor.NodeID]*machine
}

// machine is what a node's fake hardware remembers. Power starts unknown.
type machine struct {
	delays map[string]drivers.Delay

	mu    sync.Mutex
	power conductor.Power
	boot  conductor.BootTarget
	media string
	bios  map[string]any
	extras
}

var (
	_ conductor.Driver = (*Driver)(nil)
	_ conductor.BMC    = (*machine)(nil)
)

// New makes the driver, without machines; each comes to be when it is opened first. A player is not connected to yet.
func New(cfg Config) *Driver {
	if cfg.Interfaces == nil {
		cfg.Interfaces = drivers.Offered(name)
	}
	d := &Driver{cfg: cfg, machines: map[conductor.NodeID]*machine{}}
	if cfg.Socket != "" {
		d.player = newPlayer(cfg.Socket)
	}
	return d
}

// Close gives idle connections to a player back.
func (d *Driver) Close() {
	if d.player != nil {
		d.player.http.CloseIdleConnections()
	}
}

const name = "fake-hardware"

// Name is the hardware type's name.
func (d *Driver) Name() string { return name }

// Interfaces lists what is offered, the default first.
func (d *Driver) Interfaces() map[string][]string { return d.cfg.Interfaces }

// Properties is empty: any driver_info will do.
func (d *Driver) Properties() map[string]string { return map[string]string{} }

// SecretKeys is empty.
func (d *Driver) SecretKeys() []string { return nil }

// Validate accepts everything.
func (d *Driver) Validate(map[string]any) error { return nil }

// Steps lists the out-of-band steps.
func (d *Driver) Steps() []step.Step { return catalog.Fake }

// Address is empty: there is no BMC on a network.
func (d *Driver) Address(map[string]any) string { return "" }

// Open gives the node's machine, which is the same each time.
func (d *Driver) Open(_ context.Context, a conductor.Access) (conductor.BMC, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m, ok := d.machines[a.Node]
	if !ok {
		m = &machine{delays: d.cfg.Delays, boot: conductor.BootTarget{Device: "pxe"}, bios: map[string]any{}}
		d.machines[a.Node] = m
	}
	if d.player != nil {
		return &played{m, a.Node, d.player}, nil
	}
	return m, nil
}

// Facts tells what was set; the rest is empty.
func (m *machine) Facts(ctx context.Context) (conductor.Facts, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return conductor.Facts{
		Power: m.power, BootMode: m.mode, SecureBoot: m.secure, Vendor: "Bessemer", Model: "fake",
		BootDevices: []string{"cdrom", "disk", "pxe", "uefihttp"}, VirtualMedia: true, BIOS: maps.Clone(m.bios),
	}, ctx.Err()
}

// Power is what was asked for last; empty before.
func (m *machine) Power(ctx context.Context) (conductor.Power, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.power, ctx.Err()
}

// SetPower succeeds.
func (m *machine) SetPower(ctx context.Context, a conductor.PowerAction) error {
	if err := m.take(ctx, drivers.Power); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch a {
	case conductor.On:
		m.power = conductor.PowerOn
	case conductor.ForceOff, conductor.GracefulShutdown:
		m.power = conductor.PowerOff
	default:
		return fault.New(fault.BMCUnsupported, "power action %q is not known; On, ForceOff and GracefulShutdown are", a)
	}
	return nil
}

// SetBoot remembers the device.
func (m *machine) SetBoot(ctx context.Context, t conductor.BootTarget) error {
	if err := m.take(ctx, drivers.Management); err != nil {
		return err
	}
	switch t.Device {
	case "cdrom", "disk", "pxe", "uefihttp":
	case "":
		t = conductor.BootTarget{Device: "pxe"} // its own order
	default:
		return fault.New(fault.BMCUnsupported, "boot device %q is not known; cdrom, disk, pxe and uefihttp are", t.Device)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boot = t
	return nil
}

// Boot is what SetBoot was given last.
func (m *machine) Boot(ctx context.Context) (conductor.BootTarget, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.boot, ctx.Err()
}

// SetMedia remembers the medium; nothing reads it.
func (m *machine) SetMedia(ctx context.Context, url string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.media = url
	return nil
}

// take lets an act of an interface last as long as it is to; it ends early, with ctx's error, when ctx does.
func (m *machine) take(ctx context.Context, kind string) error {
	if d := m.delays[kind].Draw(rand.Float64()); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
	return ctx.Err()
}
