// Package inventory finds out what a machine is: processors, memory, disks, network cards, firmware. It reads files
// below a given root and asks the kernel about network cards; it changes nothing and never fails as a whole: what
// could not be read is told in Inventory.Problems. Start at Read.
package inventory

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/jaypipes/ghw"

	"github.com/bessemer-metal/bessemer/agent/block"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// Source is where an inventory is read from. Live gives the running machine; a test gives a recorded one.
type Source struct {
	Root       string                                      // a directory laid out like "/"
	BootMedium string                                      // kernel name of the disk the ramdisk came from, or ""
	PermAddr   func(nic string) (mac string, err error)    // the card's own address; nil where only files are read
	Addresses  func(nic string) (ip4, ip6 string, e error) // first address of each family, "" for none; may be nil
}

// bounds of what is listed (safety.md §6, Z3)
const (
	maxCards   = 128
	maxPCI     = 4096
	maxFlags   = 1024
	maxProblem = 100
)

// Read takes the inventory. Its parts are read side by side, because SMBIOS and PCI are slow on some machines. When ctx
// ends it returns what it has, with a problem for the rest.
func Read(ctx context.Context, src Source, log *slog.Logger) inventory.Inventory {
	root := os.DirFS(src.Root)
	inv := inventory.Inventory{Interfaces: []inventory.Interface{}, Disks: []inventory.Disk{}}
	var mu sync.Mutex
	problem := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		if len(inv.Problems) < maxProblem {
			inv.Problems = append(inv.Problems, fmt.Sprintf(format, args...))
		}
	}
	parts := map[string]func(){
		"processors":    func() { inv.CPU = readCPU(src.Root, root, problem) },
		"disks":         func() { inv.Disks = readDisks(root, src.BootMedium, problem) },
		"network cards": func() { inv.Interfaces = readCards(root, src, problem) },
		"PCI devices":   func() { inv.PCIDevices = readPCI(root, problem) },
		"SMBIOS":        func() { inv.SystemVendor, inv.Memory = readFirmware(src.Root, root, problem) },
		"boot":          func() { inv.Boot, inv.Hostname = readBoot(root) },
	}
	var wg sync.WaitGroup
	for name, part := range parts {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil { // a library stumbling over odd firmware must not cost the rest
					problem("%s: reading them crashed: %v", name, p)
				}
			}()
			if err := ctx.Err(); err != nil {
				problem("%s: not read: %v", name, err)
				return
			}
			part()
		})
	}
	wg.Wait()
	problem("the BMC's address is not read in band; the server knows the BMC by the node's own record")
	slices.Sort(inv.Problems)
	for _, p := range inv.Problems {
		log.Info("inventory", "problem", p)
	}
	return inv
}

func readDisks(root fs.FS, medium string, problem func(string, ...any)) []inventory.Disk {
	disks, problems, err := block.New(root).Disks()
	if err != nil {
		problem("disks: %v", err)
	}
	for _, p := range problems {
		problem("disks: %s", p)
	}
	out := []inventory.Disk{}
	for _, d := range disks {
		d.BootMedium = medium != "" && d.Kernel == medium
		out = append(out, d.Disk)
	}
	return out
}

func readCPU(dir string, root fs.FS, problem func(string, ...any)) inventory.CPU {
	out := inventory.CPU{Architecture: architecture(root), Flags: []string{}}
	info, err := ghw.CPU(ghw.WithChroot(dir), ghw.WithDisableTools(), ghw.WithDisableWarnings())
	if err != nil {
		problem("processors: %v", err)
		return out
	}
	out.Count = int(info.TotalHardwareThreads)
	out.SocketCount = len(info.Processors)
	if len(info.Processors) > 0 {
		p := info.Processors[0]
		out.ModelName = p.Model
		out.Flags = append(out.Flags, p.Capabilities[:min(len(p.Capabilities), maxFlags)]...)
	}
	out.Frequency = frequency(root)
	return out
}

// architecture is the kernel's name for it, as Ironic expects it. A recorded tree tells it; the running machine's is
// the one this program was built for.
func architecture(root fs.FS) string {
	if s := text(root, "proc/sys/kernel/arch"); s != "" {
		return s
	}
	if a, ok := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]; ok {
		return a
	}
	return runtime.GOARCH
}

// frequency is the highest clock in MHz: the governor's limit, else what /proc/cpuinfo says of now.
func frequency(root fs.FS) string {
	if khz, err := strconv.ParseInt(text(root, "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq"), 10, 64); err == nil && khz > 0 {
		return fmt.Sprintf("%.4f", float64(khz)/1000)
	}
	for line := range strings.Lines(text(root, "proc/cpuinfo")) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "cpu MHz" {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func readPCI(root fs.FS, problem func(string, ...any)) []inventory.PCIDevice {
	entries, err := fs.ReadDir(root, "sys/bus/pci/devices")
	if err != nil {
		problem("PCI devices: %v", err)
		return nil
	}
	if len(entries) > maxPCI {
		problem("PCI devices: %d found, %d are listed", len(entries), maxPCI)
		entries = entries[:maxPCI]
	}
	hex := func(name, file string) string {
		return strings.TrimPrefix(text(root, "sys/bus/pci/devices/"+name+"/"+file), "0x")
	}
	var out []inventory.PCIDevice
	for _, e := range entries {
		n := e.Name()
		out = append(out, inventory.PCIDevice{
			VendorID: hex(n, "vendor"), ProductID: hex(n, "device"), Class: hex(n, "class"), Revision: hex(n, "revision"), Bus: n,
		})
	}
	return out
}

func readBoot(root fs.FS) (boot inventory.Boot, hostname string) {
	boot.CurrentBootMode = "bios"
	if _, err := fs.Stat(root, "sys/firmware/efi"); err == nil {
		boot.CurrentBootMode = "uefi"
	}
	for word := range strings.FieldsSeq(text(root, "proc/cmdline")) {
		if v, ok := strings.CutPrefix(word, "BOOTIF="); ok {
			boot.PXEInterface = &v
		}
	}
	return boot, cmp.Or(text(root, "proc/sys/kernel/hostname"), "localhost")
}
