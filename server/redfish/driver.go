// Package redfish is the hardware type "redfish": the driver, what is read of machines and BMCs, and the powers of a BMC
// that concern no flow. It decides nothing about nodes and stores nothing but the pins of certificates, through Pins.
//
// Start at Driver. How requests reach a BMC that is not trusted is in package wire, what one machine is and how it is driven
// in package machine, the out-of-band steps in package steps; docs/adr/0320-redfish-is-parted.md has the map.
package redfish

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/server/redfish/machine"
	"github.com/bessemer-metal/bessemer/server/redfish/target"
	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Config is what a Driver needs. Dial and Log must be set. Without Pins, pins last as long as the Driver.
type Config struct {
	Dial wire.Dialer
	Pins wire.Pins
	Log  *slog.Logger
	Now  func() time.Time // wall time, for certificates; nil is time.Now
	// Interfaces is what is offered of the hardware type (drivers.Settings); nil is all.
	Interfaces map[string][]string
}

// Driver is the hardware type. It may be used by many goroutines.
type Driver struct {
	cfg       Config
	mu        sync.Mutex
	endpoints map[string]*wire.Endpoint // by origin
}

var (
	_ conductor.Driver       = (*Driver)(nil)
	_ conductor.HealthTeller = (*Driver)(nil)
)

// New makes the driver. Close ends its sessions.
func New(cfg Config) *Driver {
	if cfg.Pins == nil {
		cfg.Pins = &memoryPins{pins: map[string]string{}}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Interfaces == nil {
		cfg.Interfaces = drivers.Offered("redfish")
	}
	return &Driver{cfg: cfg, endpoints: map[string]*wire.Endpoint{}}
}

// Close logs out of every BMC, as far as ctx leaves time, and closes idle connections.
func (d *Driver) Close(ctx context.Context) {
	d.mu.Lock()
	all := make([]*wire.Endpoint, 0, len(d.endpoints))
	for _, e := range d.endpoints {
		all = append(all, e)
	}
	d.mu.Unlock()
	var wg sync.WaitGroup
	for _, e := range all {
		wg.Go(func() { e.Close(ctx) })
	}
	wg.Wait()
}

// Name is the hardware type's name.
func (d *Driver) Name() string { return "redfish" }

// Interfaces lists what is offered of the hardware type, the default first.
func (d *Driver) Interfaces() map[string][]string { return d.cfg.Interfaces }

// Steps lists the out-of-band steps. Which of them a machine can run shows when it runs them: asking the BMC first
// would keep management.reset_bmc from the BMCs that need it.
func (d *Driver) Steps() []step.Step { return catalog.Redfish }

// Properties gives each key of driver_info in one sentence.
func (d *Driver) Properties() map[string]string { return target.Properties() }

// SecretKeys lists what is sealed.
func (d *Driver) SecretKeys() []string { return []string{target.KeyPassword} }

// Address is the host of redfish_address, without its port; "" when there is none.
func (d *Driver) Address(info map[string]any) string {
	u, err := target.Address(info)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// Validate checks driver_info: driver.info_missing names all that is missing, request.invalid all that is wrong.
func (d *Driver) Validate(info map[string]any) error {
	_, err := target.Parse(info, nil)
	return err
}

// Open prepares access to one machine. It makes no connection; the faults are those of Validate.
func (d *Driver) Open(ctx context.Context, a conductor.Access) (conductor.BMC, error) {
	t, err := target.Parse(a.Info, a.Secrets)
	if err != nil {
		return nil, err
	}
	e := d.endpoint(t)
	acct, err := e.Account(t)
	if err != nil {
		return nil, err
	}
	if a.Again {
		if err := acct.Forgive(ctx); err != nil {
			return nil, err
		}
	}
	return &bmc{machine.New(t, e, acct, a, d.cfg.Log.With("node", a.Node))}, nil
}

// Health tells how the BMC that driver_info names has answered lately; the zero Health when driver_info names none.
func (d *Driver) Health(info map[string]any) conductor.Health {
	u, err := target.Address(info)
	if err != nil {
		return conductor.Health{}
	}
	origin := u.Scheme + "://" + u.Host
	d.mu.Lock()
	e := d.endpoints[origin]
	d.mu.Unlock()
	if e == nil {
		return conductor.Health{Origin: origin}
	}
	return e.Health()
}

// endpoint is the BMC's shared part, made at first use.
func (d *Driver) endpoint(t target.Target) *wire.Endpoint {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := d.endpoints[t.Origin]
	if !ok {
		e = wire.NewEndpoint(t, wire.Config{Dial: d.cfg.Dial, Pins: d.cfg.Pins, Log: d.cfg.Log, Now: d.cfg.Now})
		d.endpoints[t.Origin] = e
	}
	return e
}

// memoryPins is Pins for as long as the process runs.
type memoryPins struct {
	mu   sync.Mutex
	pins map[string]string
}

func (m *memoryPins) Pin(_ context.Context, origin string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pins[origin], nil
}

func (m *memoryPins) PutPin(_ context.Context, origin, pin string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pins[origin] = pin
	return nil
}
