package image

import (
	"runtime"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// bootLabel names the firmware's entry; one of this name is replaced at each deployment.
const bootLabel = "Bessemer"

// finish makes what was written fit its disk and machine: the backup partition table moves to the disk's end, the
// config drive is put on, the firmware learns of the boot loader. Each is read back.
func (w *Writer) finish(to *disk.Disk, drive []byte, firmware Firmware, out *Written) error {
	t, err := to.MendTable()
	if err != nil {
		return err
	}
	out.Table, out.Partitions = t.Kind, len(t.Partitions)
	if drive != nil {
		if out.ConfigDrive, err = to.PutConfigDrive(drive); err != nil {
			return err
		}
	}
	if err := to.RereadPartitions(); err != nil {
		w.Log.Warn("partitions not read again", "device", to.String(), "err", err)
	}
	p, loader, err := to.FindLoader(runtime.GOARCH)
	if err != nil {
		return err
	}
	if loader == "" {
		return fault.New(fault.BootEntry, "the image written to %s has no EFI system partition with a boot loader", to).
			WithHint("use an image that boots by UEFI")
	}
	out.Loader = loader
	return firmware.SetBootEntry(bootLabel, p, loader)
}
