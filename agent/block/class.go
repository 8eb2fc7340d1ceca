package block

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// class derives how a disk is attached from its place in sysfs. Only what is proven there is local: a path that is not
// recognised is unknown, and an unknown disk is not written (safety.md I1).
func (r Reader) class(name, dir, where string) (inventory.Class, string) {
	segments := strings.Split(where, "/")
	has := func(prefix string) bool {
		return slices.ContainsFunc(segments, func(s string) bool {
			rest, ok := strings.CutPrefix(s, prefix)
			return ok && rest != "" && rest[0] >= '0' && rest[0] <= '9'
		})
	}
	switch {
	case strings.HasPrefix(name, "nvme"):
		return r.nvmeClass(dir), "nvme"
	case strings.HasPrefix(name, "md") && r.value(dir+"/md/array_state") != "":
		return inventory.MDRAID, "md"
	case has("session"): // an iSCSI session, whatever card carries it
		return inventory.ISCSI, "iscsi"
	case has("rport-"), has("vport-"):
		return inventory.FC, "fc"
	case has("usb"):
		return inventory.USB, "usb"
	case strings.HasPrefix(name, "mmcblk"):
		if r.value(dir+"/device/type") == "MMC" { // soldered; "SD" is a card anyone may have put in
			return inventory.EMMC, "mmc"
		}
		return inventory.ClassUnknown, "mmc"
	case has("ata"):
		return inventory.SATA, "sata"
	case has("virtio"):
		return inventory.VirtIO, "virtio"
	case has("end_device-"), slices.Contains(raidDrivers, r.hostDriver(segments)):
		return inventory.SAS, "sas"
	}
	return inventory.ClassUnknown, ""
}

// raidDrivers are those of cards whose volumes are made of disks in the machine but show no SAS device in their path.
var raidDrivers = []string{
	"megaraid_sas", "mpt2sas", "mpt3sas", "mpi3mr", "hpsa", "smartpqi", "aacraid", "arcmsr", "3w-sas", "3w-9xxx", "isci", "mvsas", "pm80xx",
}

func (r Reader) hostDriver(segments []string) string {
	for _, s := range segments {
		if n, ok := strings.CutPrefix(s, "host"); ok {
			if _, err := strconv.Atoi(n); err == nil {
				return r.value("sys/class/scsi_host/" + s + "/proc_name")
			}
		}
	}
	return ""
}

// nvmeClass asks every controller of a namespace for its transport. A namespace may hang on one controller directly
// or, with the kernel's own multipath, on a subsystem of several.
func (r Reader) nvmeClass(dir string) inventory.Class {
	seen := r.transports(dir)
	switch {
	case len(seen) == 0:
		return inventory.ClassUnknown
	case !slices.ContainsFunc(seen, func(t string) bool { return t != "pcie" }):
		return inventory.NVMePCIe
	}
	return inventory.NVMeOF
}

func (r Reader) transports(dir string) []string {
	if t := r.value(dir + "/device/transport"); t != "" {
		return []string{t}
	}
	var out []string
	entries, _ := fs.ReadDir(r.root, dir+"/device")
	for _, e := range entries {
		if controllerName.MatchString(e.Name()) {
			out = append(out, r.value(path.Join(dir, "device", e.Name(), "transport"))) // "", which is not local, when it can't be read
		}
	}
	return out
}

var (
	controllerName = regexp.MustCompile(`^nvme\d+$`)
	namespaceName  = regexp.MustCompile(`^nvme(\d+)n(\d+)$`)
	pciAddress     = regexp.MustCompile(`^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$`)
	ataPort        = regexp.MustCompile(`^ata(\d+)$`)
)

// controllerOf is what the namespaces of one NVMe controller share; any other disk has one of its own.
func controllerOf(name, where string) string {
	if strings.HasPrefix(name, "nvme") {
		return path.Dir(where)
	}
	return where
}

// byPath gives the name that udev would make below /dev/disk/by-path, for the kinds of path it is certain of.
func (r Reader) byPath(d *Disk, dir, where string) string {
	segments := strings.Split(where, "/")
	pci := ""
	for _, s := range segments {
		if pciAddress.MatchString(s) {
			pci = s
		}
	}
	if pci == "" {
		return ""
	}
	base := "/dev/disk/by-path/pci-" + pci
	switch {
	case strings.HasPrefix(d.Kernel, "vd"):
		return base
	case d.Class == inventory.NVMePCIe:
		if m := namespaceName.FindStringSubmatch(d.Kernel); m != nil {
			nsid := r.value(dir + "/nsid")
			if nsid == "" {
				nsid = m[2]
			}
			return base + "-nvme-" + nsid
		}
	case d.Class == inventory.SATA:
		for _, s := range segments {
			if m := ataPort.FindStringSubmatch(s); m != nil {
				if port := r.value("sys/class/ata_port/" + s + "/port_no"); port != "" {
					return base + "-ata-" + port
				}
			}
		}
	case d.Class == inventory.VirtIO && d.HCTL != "":
		_, rest, _ := strings.Cut(d.HCTL, ":")
		return base + "-scsi-0:" + rest
	}
	return ""
}
