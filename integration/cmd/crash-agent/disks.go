package main

import (
	"context"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/integration/evidence"
	"github.com/bessemer-metal/bessemer/integration/ledger"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

type stepID = step.ID

// disks are what every machine has: the image goes to the smaller.
func disks(machine string) []inventory.Disk {
	return []inventory.Disk{
		{Name: "/dev/nvme0n1", Serial: machine + "-A", Size: 8 << 30, Class: inventory.NVMePCIe},
		{Name: "/dev/nvme1n1", Serial: machine + "-B", Size: 16 << 30, Class: inventory.NVMePCIe},
	}
}

// machine is the hardware manager: it offers what the stock ramdisk does, and its disks keep the ledger.
type machine struct {
	options
	ledger *ledger.File
	lies   bool
}

func (m *machine) Steps() []step.Step { return catalog.InBand }

// Run works on the step's disks, one after the other, and stops between two slices of work when it is told to.
func (m *machine) Run(ctx context.Context, name string, c step.Call) (step.Result, error) {
	i := slices.IndexFunc(catalog.InBand, func(s step.Step) bool { return s.Name == name })
	if i < 0 {
		return step.Result{}, fault.New(fault.StepVersion, "this ramdisk does not offer %s", name)
	}
	for _, secret := range catalog.InBand[i].Secrets {
		if _, err := c.Secret(ctx, secret); err != nil {
			return step.Result{}, err
		}
	}
	for n, d := range c.Devices {
		if err := m.use(ctx, name, c, n, d); err != nil {
			return step.Result{}, err
		}
	}
	return evidence.Left(name, c.Args, c.Devices), nil
}

const parts = 10 // of the work on one disk; between two of them it may stop

func (m *machine) use(ctx context.Context, name string, c step.Call, n int, d inventory.DeviceID) error {
	if m.lies {
		return nil
	}
	line := ledger.Line{Kind: ledger.Begin, Machine: m.machine, Step: c.ID, Name: name, Device: d.Serial}
	if err := m.ledger.Append(line); err != nil {
		return err
	}
	t := time.NewTicker(m.work / parts)
	defer t.Stop()
	for i := range parts {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		c.Report(step.Progress{Percent: 100 * (float64(n) + float64(i+1)/parts) / float64(len(c.Devices)), Item: d.Serial})
	}
	line.Kind = ledger.End
	return m.ledger.Append(line)
}
