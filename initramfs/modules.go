package initramfs

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/u-root/mkuimage/cpio"
)

// Bundle is a named set of kernel modules. What they depend on comes along; a module that a kernel has built in or
// not at all is passed over.
type Bundle struct {
	Name    string
	Doc     string
	Modules []string
}

// Bundles are the drivers a ramdisk may hold: what servers of the last fifteen years need for disks, cards, BMC and
// the file systems of images.
var Bundles = []Bundle{
	{"virtual", "virtual machines: QEMU, VMware, Hyper-V, Xen", []string{
		"virtio_pci", "virtio_mmio", "virtio_blk", "virtio_scsi", "virtio_net", "virtio_rng", "virtio_console", "virtio_balloon",
		"vmw_pvscsi", "vmxnet3", "hv_vmbus", "hv_storvsc", "hv_netvsc", "xen_blkfront", "xen_netfront", "e1000", "mptspi", "8139cp"}},
	{"disk", "disks and controllers: NVMe, SATA, SAS, RAID", []string{
		"nvme", "ahci", "ata_piix", "ata_generic", "sata_mv", "sata_sil24", "isci", "sd_mod", "sg", "ses", "enclosure",
		"mpt3sas", "megaraid_sas", "hpsa", "smartpqi", "aacraid", "mvsas", "pm80xx", "3w_9xxx", "3w_sas", "arcmsr", "vmd",
		"sdhci_pci", "sdhci_acpi", "mmc_block"}},
	{"medium", "boot media: CD drives, also a BMC's virtual ones by USB", []string{
		"sr_mod", "cdrom", "usb_storage", "uas", "xhci_pci", "xhci_hcd", "ehci_pci", "ehci_hcd", "uhci_hcd", "ohci_pci",
		"usbhid", "hid_generic", "isofs", "nls_iso8859-1", "nls_cp437", "nls_ascii", "nls_utf8"}},
	{"network", "wired network cards", []string{
		"e1000e", "igb", "igc", "ixgbe", "i40e", "ice", "iavf", "ixgbevf", "igbvf", "tg3", "bnx2", "bnx2x", "bnxt_en", "mlx4_en",
		"mlx5_core", "be2net", "qede", "qlcnic", "cxgb4", "sfc", "enic", "nfp", "atlantic", "r8169", "r8152", "ax88179_178a",
		"cdc_ether", "cdc_ncm", "rndis_host", "ena", "gve", "hinic", "ionic", "8021q", "af_packet", "bonding", "realtek"}},
	{"fibre", "Fibre Channel adapters: their disks must be seen to be left alone", []string{"lpfc", "qla2xxx", "bfa", "fnic"}},
	{"storage", "software RAID, device mapper, file systems of images", []string{
		"raid0", "raid1", "raid10", "raid456", "dm_mod", "dm_multipath", "vfat", "ext4", "xfs", "loop",
		"crc32c_generic", "crc32c_intel", "crc32_pclmul", "efivarfs"}},
	{"management", "BMC by IPMI, sensors, watchdog, DMI", []string{
		"ipmi_si", "ipmi_devintf", "ipmi_msghandler", "ipmi_ssif", "dmi_sysfs", "i2c_i801", "acpi_ipmi", "msr"}},
}

// modules is the layer of the chosen bundles with the tables by which they are found at run time.
func (k kernel) modules(ctx context.Context) (layer, error) {
	var names []string
	for _, want := range k.o.Bundles {
		i := slices.IndexFunc(Bundles, func(b Bundle) bool { return b.Name == want })
		if i < 0 {
			known := make([]string, len(Bundles))
			for i, b := range Bundles {
				known[i] = b.Name
			}
			return layer{}, fmt.Errorf("driver bundle %q is not known; there are %s", want, strings.Join(known, ", "))
		}
		names = append(names, Bundles[i].Modules...)
	}
	key := keyOf(k.digest, strings.Join(names, " "), "v1")
	return k.o.cached(ctx, "modules", key, shipped, func() ([]cpio.Record, error) { return k.pick(ctx, names) })
}

func (k kernel) pick(ctx context.Context, names []string) ([]cpio.Record, error) {
	from := filepath.Join(k.tree, "lib/modules", k.release)
	files, err := closure(from, names)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("kernel %s has none of the modules asked for", k.release)
	}
	// depmod makes the tables anew for what is left.
	tree, err := os.MkdirTemp(k.o.Cache, "modules")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tree)
	to := filepath.Join(tree, "lib/modules", k.release)
	for _, f := range append(files, "modules.order", "modules.builtin", "modules.builtin.modinfo") {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, f)), 0o755); err != nil {
			return nil, err
		}
		if err := plain(ctx, filepath.Join(from, f), filepath.Join(to, f)); err != nil {
			return nil, err
		}
	}
	for i, f := range files {
		files[i] = uncompressed(f)
	}
	if _, err := run(ctx, "", "depmod", "-b", tree, k.release); err != nil {
		return nil, err
	}
	var records []cpio.Record
	for _, f := range append(files, "modules.dep", "modules.alias", "modules.softdep", "modules.builtin") {
		b, err := os.ReadFile(filepath.Join(to, f))
		if err != nil {
			return nil, err
		}
		records = append(records, cpio.StaticFile(path.Join("lib/modules", k.release, f), string(b), 0o644))
	}
	return records, nil
}

// plain puts a file at to, without the compression that newer distributions give each module: the layer is compressed
// as a whole, which is smaller.
func plain(ctx context.Context, from, to string) error {
	program := map[string]string{".zst": "zstd", ".xz": "xz", ".gz": "gzip"}[filepath.Ext(from)]
	if program == "" {
		return os.Link(from, to)
	}
	b, err := run(ctx, "", program, "-dc", from)
	if err != nil {
		return err
	}
	return os.WriteFile(uncompressed(to), b, 0o644)
}

// uncompressed is a module's name without the ending that tells its compression.
func uncompressed(file string) string {
	if i := strings.LastIndex(file, ".ko."); i >= 0 {
		return file[:i+len(".ko")]
	}
	return file
}

// closure is the files, relative to the modules folder, of the named modules and all they need, sorted.
func closure(dir string, names []string) ([]string, error) {
	byName, deps := map[string]string{}, map[string][]string{}
	err := lines(filepath.Join(dir, "modules.dep"), func(line string) {
		file, rest, ok := strings.Cut(line, ":")
		if ok {
			byName[moduleName(file)] = file
			deps[file] = strings.Fields(rest)
		}
	})
	if err != nil {
		return nil, err
	}
	soft := map[string][]string{}
	if err := lines(filepath.Join(dir, "modules.softdep"), func(line string) {
		w := strings.Fields(line)
		if len(w) < 3 || w[0] != "softdep" {
			return
		}
		for _, d := range w[2:] {
			if d != "pre:" && d != "post:" {
				soft[moduleName(w[1])] = append(soft[moduleName(w[1])], d)
			}
		}
	}); err != nil {
		return nil, err
	}
	alias := map[string][]string{}
	if err := lines(filepath.Join(dir, "modules.alias"), func(line string) {
		if w := strings.Fields(line); len(w) == 3 && w[0] == "alias" && !strings.ContainsAny(w[1], "*?[") {
			alias[moduleName(w[1])] = append(alias[moduleName(w[1])], w[2])
		}
	}); err != nil {
		return nil, err
	}

	picked := map[string]bool{}
	var take func(name string)
	take = func(name string) {
		name = moduleName(name)
		file, ok := byName[name]
		if !ok {
			for _, a := range alias[name] {
				if f, ok := byName[moduleName(a)]; ok && !picked[f] {
					take(a)
				}
			}
			return
		}
		if picked[file] {
			return
		}
		picked[file] = true
		for _, d := range deps[file] {
			take(moduleName(d))
		}
		for _, d := range soft[name] {
			take(d)
		}
	}
	for _, n := range names {
		take(n)
	}
	return slices.Sorted(maps.Keys(picked)), nil
}

// moduleName is how modprobe knows a file or name: kernel/fs/nls/nls_iso8859-1.ko.xz is nls_iso8859_1.
func moduleName(file string) string {
	n := path.Base(file)
	if i := strings.Index(n, ".ko"); i >= 0 {
		n = n[:i]
	}
	return strings.ReplaceAll(n, "-", "_")
}

func lines(file string, fn func(string)) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for l := range strings.Lines(string(b)) {
		fn(strings.TrimSpace(l))
	}
	return nil
}
