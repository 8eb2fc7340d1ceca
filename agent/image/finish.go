package image

import (
	"context"
	"fmt"
	"runtime"
	"slices"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// bootLabel names the firmware's entry; one of this name is replaced at each deployment.
const bootLabel = "Bessemer"

// finish makes what was written fit its disk and machine: the backup partition table moves to the disk's end, the
// config drive is put on, the firmware learns of the boot loader. Each is read back.
func (w *Writer) finish(ctx context.Context, s Spec, to *disk.Disk, drive []byte, firmware Firmware, out *Written) error {
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
	boot := s.Boot
	if boot == nil {
		boot = func(context.Context) ([]disk.BootPlace, error) { return ownLoader(to) }
	}
	places, err := boot(ctx)
	if err != nil {
		return err
	}
	for i, p := range slices.Backward(places) { // the last one set is the first one tried
		label := bootLabel
		if i > 0 {
			label = fmt.Sprintf("%s %d", bootLabel, i+1)
		}
		out.Loader = p.Loader
		if err := firmware.SetBootEntry(label, p.Partition, p.Loader); err != nil {
			return err
		}
	}
	return nil
}

// ownLoader is the boot loader on the disk's own EFI system partition.
func ownLoader(to *disk.Disk) ([]disk.BootPlace, error) {
	p, loader, err := to.FindLoader(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	if loader == "" {
		return nil, fault.New(fault.BootEntry, "the image written to %s has no EFI system partition with a boot loader", to).
			WithHint("use an image that boots by UEFI")
	}
	return []disk.BootPlace{{Partition: p, Loader: loader}}, nil
}
