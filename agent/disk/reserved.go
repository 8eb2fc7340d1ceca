package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/bessemer-metal/bessemer/agent/system"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// reservation refuses a disk that some host has reserved (safety.md I2). Disks that speak neither SCSI nor NVMe can't be
// reserved; where the question makes sense and can't be answered, the disk counts as reserved.
func (g *Guard) reservation(d *Disk) error {
	if strings.HasPrefix(d.Info.Kernel, "nvme") {
		reserved, err := nvmeReserved(d)
		return g.judged(d, reserved, err, "NVMe reservation")
	}
	if d.Info.HCTL == "" {
		return nil
	}
	reserved, err := d.Reserved()
	switch {
	case errors.Is(err, system.ErrUnsupported):
		return nil
	case err != nil && (d.ID.Class == inventory.SATA || d.ID.Class == inventory.VirtIO):
		g.Log.Warn("reservation not told", "device", d.String(), "err", err)
		return nil
	}
	return g.judged(d, reserved, err, "SCSI persistent reservation")
}

func (g *Guard) judged(d *Disk, reserved bool, err error, kind string) error {
	switch {
	case err != nil:
		return fault.New(fault.DiskProtected, "whether %s (%s) is reserved by another host can't be told: %v", d.Info.Name, d, err).
			WithHint("skip it in properties.skip_block_devices, or repair it").Because(err)
	case reserved:
		return fault.New(fault.DiskProtected, "%s (%s) is reserved by a host (%s)", d.Info.Name, d, kind).
			WithHint("release the reservation on the host that holds it, or skip the disk in properties.skip_block_devices")
	}
	return nil
}

// nvmeReserved tells whether a reservation is held on an NVMe namespace, by whomever. A controller says whether it knows
// reservations at all, and a namespace which kinds; one that knows them and does not tell is an error.
func nvmeReserved(d Device) (bool, error) {
	nsid, err := d.NVMeNamespace()
	if err != nil {
		return false, fmt.Errorf("namespace id: %w", err)
	}
	controller, err := d.NVMeIdentify(0, 1)
	if err != nil {
		return false, fmt.Errorf("identify controller: %w", err)
	}
	namespace, err := d.NVMeIdentify(nsid, 0)
	if err != nil {
		return false, fmt.Errorf("identify namespace: %w", err)
	}
	if len(controller) < 4096 || len(namespace) < 4096 {
		return false, errors.New("identify: short answer")
	}
	const reservations = 1 << 5 // of ONCS, the optional commands
	if binary.LittleEndian.Uint16(controller[520:])&reservations == 0 || namespace[31] == 0 {
		return false, nil
	}
	report, err := d.NVMeReservations(nsid)
	if err != nil {
		return false, fmt.Errorf("reservation report: %w", err)
	}
	if len(report) < 5 {
		return false, errors.New("reservation report: short answer")
	}
	return report[4] != 0, nil
}
