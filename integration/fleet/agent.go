package fleet

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	agentchannel "github.com/bessemer-metal/bessemer/agent/channel"
	"github.com/bessemer-metal/bessemer/agent/run"
	"github.com/bessemer-metal/bessemer/integration/evidence"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// version is what simulated agents call themselves.
const version = "simulated"

// agent is one agent process, from its lookup until ctx ends. at is when it was to start.
func (m *machine) agent(ctx context.Context, config api.BootConfig, boot string, at time.Time) error {
	f := m.fleet
	arrived, err := f.arrive(ctx)
	if err != nil {
		return err
	}
	defer arrived()
	m.mu.Lock()
	m.arrived = arrived
	m.mu.Unlock()
	key, err := agentchannel.NewKey()
	if err != nil {
		return err
	}
	journal := run.NewJournal()
	quiet := slog.New(slog.DiscardHandler)
	whose := ""
	if m.number < f.Busy {
		whose = Cleaned
	}
	dialer := &net.Dialer{Timeout: 15 * time.Second, LocalAddr: &net.TCPAddr{IP: m.address.AsSlice()}}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if f.Host != "" {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			address = net.JoinHostPort(f.Host, port)
		}
		return dialer.DialContext(ctx, network, address)
	}
	client, err := agentchannel.New(agentchannel.Config{
		Boot: config, Key: key, BootID: boot, Version: version, Seq: journal.Seq, Now: time.Now, Log: quiet,
		Inventory: m.inventory(), Dial: dial, Tried: f.figures.watch(ctx, whose),
	})
	if err != nil {
		return err
	}
	defer client.Close()
	ex := run.New(run.Config{Server: client, Manager: m, Journal: journal, Now: time.Now, Log: quiet})
	if _, err := client.Lookup(ctx); err != nil {
		return err
	}
	f.figures.lookups.add(time.Since(at))
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { ended(f, ex.Run(ctx)) })
	if f.Quiet {
		return m.wait(ctx, client, ex)
	}
	if m.redials() {
		return m.redial(ctx, client, ex)
	}
	return client.Run(ctx, ex, agentchannel.Offer{Steps: m.Steps(), Versions: map[string]string{"simulated": "1"}})
}

// ended counts an executor that gave up by itself.
func ended(f *Fleet, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		f.figures.failed("executor", err)
	}
}

// wait brings an agent to its first running step, and then lets it speak only through Beats.
func (m *machine) wait(ctx context.Context, client *agentchannel.Client, ex *run.Executor) error {
	q := api.HeartbeatRequest{Steps: m.Steps()}
	for {
		a, err := client.Heartbeat(ctx, q)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if err := pause(ctx, time.Second); err != nil {
				return err
			}
			continue
		}
		q = api.HeartbeatRequest{Hold: true}
		if a.Command != nil {
			ex.Command(*a.Command)
			break
		}
	}
	for {
		if id, _ := ex.Running(); id != "" {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ex.Changed():
		}
	}
	m.mu.Lock()
	m.client = &beating{client: client, ex: ex}
	m.mu.Unlock()
	m.fleet.joined(m)
	<-ctx.Done()
	return ctx.Err()
}

func (m *machine) inventory() inventory.Inventory {
	inv := inventory.Inventory{
		Interfaces: []inventory.Interface{{Name: "eth0", MACAddress: MAC(m.number), HasCarrier: true}},
		Disks:      []inventory.Disk{m.disk()},
		CPU:        inventory.CPU{ModelName: "simulated", Count: 2, Architecture: "x86_64", Flags: []string{}, SocketCount: 1},
		Memory:     inventory.Memory{Total: 4 << 30, PhysicalMB: 4096},
		SystemVendor: inventory.SystemVendor{
			ProductName: "fleet", Manufacturer: "Bessemer", SerialNumber: string(m.node),
		},
		Boot: inventory.Boot{CurrentBootMode: "uefi"},
	}
	m.fleet.pad(&inv)
	return inv
}

func (m *machine) disk() inventory.Disk {
	return inventory.Disk{Name: "/dev/nvme0n1", Model: "simulated", Serial: string(m.node), Size: 8 << 30, Class: inventory.NVMePCIe, Tran: "nvme"}
}

// Steps are the stock ramdisk's (run.Manager).
func (m *machine) Steps() []step.Step { return catalog.InBand }

// reports is how many times a step tells its progress.
const reports = 20

// Run takes the time that a step takes, and keeps the ledger (run.Manager).
func (m *machine) Run(ctx context.Context, name string, c step.Call) (step.Result, error) {
	now := time.Now()
	m.mu.Lock()
	if !m.ended.IsZero() {
		m.fleet.figures.gaps.add(now.Sub(m.ended))
		if m.fleet.figures.counted(m.ended) && !m.redials() {
			m.fleet.figures.heldGaps.add(now.Sub(m.ended))
		}
	}
	arrived := m.arrived
	m.mu.Unlock()
	arrived()
	m.fleet.figures.executed(c.ID)
	lasting := m.fleet.StepTime
	if name == catalog.EraseStep && m.fleet.EraseTime > 0 && m.number >= m.fleet.Busy {
		lasting = m.fleet.EraseTime
		m.fleet.figures.erasing.Add(1)
		defer m.fleet.figures.erasing.Add(-1)
	}
	for i := range reports {
		c.Report(step.Progress{Percent: 100 * float64(i) / reports, Item: name})
		if err := pause(ctx, lasting/reports); err != nil {
			return step.Result{}, err
		}
	}
	m.mu.Lock()
	m.ended = time.Now()
	m.mu.Unlock()
	return evidence.Left(name, c.Args, c.Devices), nil
}
