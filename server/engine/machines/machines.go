// Package machines reaches the machines of nodes: which hardware type, steps and interfaces a node has, its BMC with the
// credentials that the store keeps, and the acts upon it that are confirmed by looking again. What of it acts asks first
// whether the server's lease of the store holds. It decides nothing and writes nothing.
//
// Start at Machines.BMC; power.go brings a machine to a power state.
package machines

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/server/engine/retry"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/failpoint"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Config is what machines are reached with. All fields but BootChain and Held are required.
type Config struct {
	Store    conductor.Store // keeps the BMCs' credentials
	Drivers  []conductor.Driver
	Clock    *retry.Clock
	Log      *slog.Logger
	Timeouts conductor.Timeouts
	// BootChain is what machines are shown that boot over HTTPS; nil: none do.
	BootChain [][]byte
	Held      func() error // why the server's lease of the store does not hold; nil: it does
}

// Machines knows the hardware types. Its methods are safe for concurrent use.
type Machines struct {
	cfg      Config
	drivers  map[string]conductor.Driver
	catalogs map[string]*step.Registry
	narrowed sync.Map // *step.Registry by hardware type and interfaces (interfaces.go)
}

// New makes the step catalogue of each hardware type.
func New(cfg Config) (*Machines, error) {
	m := &Machines{cfg: cfg, drivers: map[string]conductor.Driver{}, catalogs: map[string]*step.Registry{}}
	for _, d := range cfg.Drivers {
		reg, err := step.NewRegistry(catalog.With(d.Steps())...)
		if err != nil {
			return nil, fmt.Errorf("steps of hardware type %s: %w", d.Name(), err)
		}
		m.drivers[d.Name()], m.catalogs[d.Name()] = d, reg
	}
	return m, nil
}

// Drivers lists the hardware types.
func (m *Machines) Drivers() []conductor.Driver { return m.cfg.Drivers }

// ByName gives them by their names.
func (m *Machines) ByName() map[string]conductor.Driver { return m.drivers }

// Catalog is every step a node of this hardware type may be asked for; nil for an unknown type.
func (m *Machines) Catalog(driver string) *step.Registry { return m.catalogs[driver] }

// Held is nil while the server's lease of the store holds (I16, F30).
func (m *Machines) Held() error {
	if m.cfg.Held == nil {
		return nil
	}
	return m.cfg.Held()
}

// BMC opens the node's controller for acts; again is for an operator who asks anew.
func (m *Machines) BMC(ctx context.Context, n conductor.Node, again bool) (conductor.BMC, error) {
	return m.acting(ctx, n, again, m.cfg.Held)
}

// ForStep is BMC for a step, which acts by itself once it runs: its driver asks may, too, before each act.
func (m *Machines) ForStep(ctx context.Context, n conductor.Node, may func() error) (conductor.BMC, error) {
	return m.acting(ctx, n, false, func() error {
		if err := m.Held(); err != nil {
			return err
		}
		return may()
	})
}

// acting opens a BMC whose driver asks held.
func (m *Machines) acting(ctx context.Context, n conductor.Node, again bool, held func() error) (conductor.BMC, error) {
	b, err := m.open(ctx, n, again, held)
	if failpoint.On && err == nil {
		b = marked{b}
	}
	if err != nil || m.cfg.Held == nil {
		return b, err
	}
	return fenced{b, m.cfg.Held}, nil
}

// Open opens the node's controller with its credentials, as the hardware type has it. Who acts by it asks Held first:
// BMC does, and so do the acts of this package and of management. The driver asks again before each request that acts.
func (m *Machines) Open(ctx context.Context, n conductor.Node, again bool) (conductor.BMC, error) {
	return m.open(ctx, n, again, m.cfg.Held)
}

func (m *Machines) open(ctx context.Context, n conductor.Node, again bool, held func() error) (conductor.BMC, error) {
	d, ok := m.drivers[n.Driver]
	if !ok {
		return nil, fault.New(fault.DriverUnknown, "hardware type %q is not known here", n.Driver)
	}
	a := conductor.Access{Node: n.UUID, Info: n.DriverInfo, Machine: n.Machine, ISO: n.LiveISO, Secrets: map[string]string{}, Again: again, Held: held}
	for _, m := range n.Media {
		a.Keep = append(a.Keep, m.URL)
	}
	if m.Interfaces(n)[drivers.Boot] == drivers.HTTPBoot {
		a.BootChain = m.cfg.BootChain
	}
	err := m.cfg.Store.View(ctx, func(tx conductor.Tx) error {
		for _, k := range d.SecretKeys() {
			v, err := tx.Secret(n.UUID, conductor.DriverSecret(k))
			if fault.Is(err, fault.NotFound) {
				continue
			}
			if err != nil {
				return err
			}
			a.Secrets[k] = string(v)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d.Open(ctx, a)
}

// Health is what the node's driver knows of its BMC; the zero Health of one that keeps no account.
func (m *Machines) Health(n conductor.Node) conductor.Health {
	if d, ok := m.drivers[n.Driver].(conductor.HealthTeller); ok {
		return d.Health(n.DriverInfo)
	}
	return conductor.Health{}
}

// As gives the node's BMC as something that has a power which not every one has.
func As[T any](ctx context.Context, m *Machines, n conductor.Node, kind, what string) (T, error) {
	var none T
	if err := m.Offers(n, kind); err != nil {
		return none, err
	}
	b, err := m.Open(ctx, n, false)
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

// IsBMC tells whether an address is that of the node's BMC.
func (m *Machines) IsBMC(ctx context.Context, n conductor.Node, from netip.Addr) bool {
	d, ok := m.drivers[n.Driver]
	if !ok {
		return false
	}
	host := d.Address(n.DriverInfo)
	if host == "" {
		return true // fake-hardware has no BMC and nothing to lose
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap() == from.Unmap()
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if a.Unmap() == from.Unmap() {
			return true
		}
	}
	return false
}
