package disk_test

import (
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/disk/disktest"
	"github.com/bessemer-metal/bessemer/agent/system"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// TestI02_NVMeReservations: a namespace that a host has reserved is not written, nor one that can't tell; a drive that
// knows no reservations is.
func TestI02_NVMeReservations(t *testing.T) {
	const known = 1 << 5
	broken := func(at string, off int64) func(string, int64, int) error {
		return func(op string, o int64, _ int) error {
			if op == at && o == off {
				return &system.NVMeStatusError{Opcode: 0x0e, Status: 0x4001} // invalid opcode
			}
			return nil
		}
	}
	report, controller, namespace := broken("report", 0), broken("identify", 1), broken("identify", 0)
	for name, c := range map[string]struct {
		nvme disktest.NVMe
		fail func(string, int64, int) error
		says string // "": it is handed out
	}{
		"the controller knows none":         {disktest.NVMe{RESCAP: 1, Type: 1}, report, ""},
		"the namespace knows none":          {disktest.NVMe{ONCS: known, Type: 1}, report, ""},
		"none is held":                      {disktest.NVMe{ONCS: known, RESCAP: 1}, nil, ""},
		"write exclusive":                   {disktest.NVMe{ONCS: known, RESCAP: 0xff, Type: 1}, nil, "reserved by a host (NVMe reservation)"},
		"exclusive access, all registrants": {disktest.NVMe{ONCS: known, RESCAP: 0xff, Type: 6}, nil, "reserved by a host (NVMe reservation)"},
		"does not tell":                     {disktest.NVMe{ONCS: known, RESCAP: 1}, report, "can't be told: reservation report: NVMe command 0x0e failed"},
		"tells too little":                  {disktest.NVMe{ONCS: known, RESCAP: 1, Short: "report"}, nil, "can't be told: reservation report: short answer"},
		"it has no namespace":               {disktest.NVMe{}, broken("nsid", 0), "can't be told: namespace id: NVMe command"},
		"the controller does not say":       {disktest.NVMe{}, controller, "can't be told: identify controller: NVMe command"},
		"the namespace does not say":        {disktest.NVMe{}, namespace, "can't be told: identify namespace: NVMe command"},
		"the controller says too little":    {disktest.NVMe{Short: "controller"}, nil, "can't be told: identify: short answer"},
		"the namespace says too little":     {disktest.NVMe{Short: "namespace"}, nil, "can't be told: identify: short answer"},
	} {
		t.Run(name, func(t *testing.T) {
			m, devices := disktest.World(t)
			d := devices[3]
			d.NVMe, d.Fail = &c.nvme, c.fail
			got, err := m.Guard().Check(t.Context(), disktest.IDs(d), nil)
			if c.says == "" && err == nil {
				disk.Close(got)
				return
			}
			if c.says == "" || !fault.Has(err, fault.DiskProtected) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %d disks and %v, want %q", len(got), err, c.says)
			}
			if d.Writes.Load() != 0 || d.Opened() != 0 {
				t.Errorf("%d bytes written, %d descriptors open", d.Writes.Load(), d.Opened())
			}
		})
	}
}

// TestI02_AnyFailureOnAnNVMeDiskCountsAsProtected is the test above on a drive that knows reservations: here each
// operation must succeed.
func TestI02_AnyFailureOnAnNVMeDiskCountsAsProtected(t *testing.T) {
	for n := 1; ; n++ {
		m, devices := disktest.World(t)
		d, count, failed := devices[3], 0, ""
		d.NVMe.ONCS, d.NVMe.RESCAP = 1<<5, 1
		d.Fail = func(op string, _ int64, _ int) error {
			if count++; count == n {
				failed = op
				return &fs.PathError{Op: op, Path: "/dev/nvme0n1", Err: syscall.EIO}
			}
			return nil
		}
		got, err := m.Guard().Check(t.Context(), disktest.IDs(d), nil)
		if count < n {
			if err != nil || n < 8 {
				t.Fatalf("%d operations, %v", n-1, err)
			}
			disk.Close(got)
			return
		}
		if err == nil {
			t.Errorf("operation %d, %s, fails, and the disk is handed out", n, failed)
			disk.Close(got)
		}
	}
}
