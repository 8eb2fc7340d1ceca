package inventory

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/jaypipes/ghw"
	"github.com/u-root/u-root/pkg/smbios"

	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// readFirmware joins what the kernel already took from SMBIOS with the memory modules, which it does not list.
func readFirmware(dir string, root fs.FS, problem func(string, ...any)) (inventory.SystemVendor, inventory.Memory) {
	dmi := func(name string) string { return text(root, "sys/class/dmi/id/"+name) }
	v := inventory.SystemVendor{
		ProductName: dmi("product_name"), SerialNumber: dmi("product_serial"), Manufacturer: dmi("sys_vendor"), UUID: strings.ToLower(dmi("product_uuid")),
		Firmware: inventory.Firmware{Vendor: dmi("bios_vendor"), Version: dmi("bios_version"), BuildDate: dmi("bios_date")},
	}
	if v.ProductName == "" && v.Manufacturer == "" {
		problem("SMBIOS: the firmware tells neither maker nor model")
	}
	var m inventory.Memory
	if info, err := ghw.Memory(ghw.WithChroot(dir), ghw.WithDisableTools(), ghw.WithDisableWarnings()); err != nil {
		problem("memory: %v", err)
	} else {
		m.Total = info.TotalUsableBytes
	}
	installed, err := installedMemory(root)
	if err != nil {
		problem("memory modules: %v", err)
	}
	if m.PhysicalMB = installed; installed == 0 {
		m.PhysicalMB = m.Total >> 20
	}
	return v, m
}

// installedMemory sums the modules of SMBIOS type 17, in MiB; 0 when it lists none.
func installedMemory(root fs.FS) (mib int64, err error) {
	entry, err := read(root, "sys/firmware/dmi/tables/smbios_entry_point", 4<<10)
	if err != nil {
		return 0, err
	}
	table, err := read(root, "sys/firmware/dmi/tables/DMI", 1<<20)
	if err != nil {
		return 0, err
	}
	return modules(entry, table)
}

func modules(entry, table []byte) (mib int64, err error) {
	defer func() {
		if p := recover(); p != nil {
			mib, err = 0, fmt.Errorf("the table is malformed: %v", p)
		}
	}()
	info, err := smbios.ParseInfo(entry, table)
	if err != nil {
		return 0, fmt.Errorf("read the table: %w", err)
	}
	devices, err := info.GetMemoryDevices()
	if err != nil {
		return 0, fmt.Errorf("read the memory devices: %w", err)
	}
	const most = 1 << 30 // MiB: a pebibyte
	for _, d := range devices {
		if d.Size == 0 || d.Size == 0xffff { // an empty slot; not known
			continue
		}
		if n := d.GetSizeBytes() >> 20; n <= most {
			mib += int64(n)
		}
	}
	if mib > most {
		return 0, fmt.Errorf("the modules add up to %d MiB", mib)
	}
	return mib, nil
}
