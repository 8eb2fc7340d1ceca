// Package qemu runs one emulated server as a QEMU process: x86-64, UEFI, with the disks and cards it is told. It has the
// powers a BMC has over a machine: power, reset, boot source, virtual CD, console; it knows nothing of Redfish.
//
// The machine's NVRAM and disks persist over power cycles. A guest's reboot is a warm reset, except when something is
// due that takes effect at a reset (Arm): then the machine is started afresh. Nothing here leaves a process behind: QEMU
// is killed with Close, and by the kernel when this process dies.
// Start reading at Machine.
package qemu

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/integration/ovmf"
)

// Config describes a machine. The JSON names are those of the emulator's configuration file.
type Config struct {
	CPUs     int    `json:"cpus,omitempty"`      // default 1
	MemoryMB int    `json:"memory_mb,omitempty"` // default 1024
	Disks    []Disk `json:"disks,omitempty"`
	TFTP     string `json:"tftp,omitempty"`     // directory that the first card's network serves by TFTP
	BootFile string `json:"bootfile,omitempty"` // the name its DHCP gives for PXE
	Code     string `json:"code,omitempty"`     // firmware, default Debian's OVMF_CODE_4M.fd
	Vars     string `json:"vars,omitempty"`     // what the NVRAM starts from, default OVMF_VARS_4M.fd

	Dir                           string             `json:"-"` // NVRAM, console, sockets; must exist
	UUID, Serial, Maker, ProductN string             `json:"-"`
	NICs                          []net.HardwareAddr `json:"-"`
}

// Disk is one drive backed by a raw file.
type Disk struct {
	Path   string `json:"path"`
	SizeMB int64  `json:"size_mb,omitempty"` // the file is made with this size when it is not there
	Bus    string `json:"bus,omitempty"`     // nvme (default), scsi or virtio
	Serial string `json:"serial,omitempty"`  // at most 20 characters
	WWN    string `json:"wwn,omitempty"`     // 16 hex digits: EUI-64 (nvme) or NAA (scsi)
}

// Where things sit on the PCI bus; the firmware's device paths follow from it.
const (
	slotCD    = 2
	slotNIC   = 3
	slotRNG   = 8
	slotDisk  = 9
	maxNICs   = slotRNG - slotNIC
	maxDisks  = 0x1f - slotDisk
	cdID      = "cd0"
	debianDir = "/usr/share/OVMF/"
)

func (c *Config) complete() error {
	if c.CPUs == 0 {
		c.CPUs = 1
	}
	if c.MemoryMB == 0 {
		c.MemoryMB = 1024
	}
	if c.Code == "" {
		c.Code = debianDir + "OVMF_CODE_4M.fd"
	}
	if c.Vars == "" {
		c.Vars = debianDir + "OVMF_VARS_4M.fd"
	}
	if len(c.NICs) > maxNICs {
		return fmt.Errorf("%d network cards, at most %d fit", len(c.NICs), maxNICs)
	}
	for i := range c.Disks {
		if err := c.Disks[i].complete(i); err != nil {
			return fmt.Errorf("disk %d: %w", i, err)
		}
	}
	if len(c.Disks) > maxDisks {
		return fmt.Errorf("%d disks, at most %d fit", len(c.Disks), maxDisks)
	}
	return nil
}

func (d *Disk) complete(i int) error {
	if d.Bus == "" {
		d.Bus = "nvme"
	}
	if d.Serial == "" {
		d.Serial = fmt.Sprintf("EMU%05d", i)
	}
	switch {
	case d.Path == "":
		return errors.New("path is missing")
	case len(d.Serial) > 20:
		return fmt.Errorf("serial %q is longer than 20 characters", d.Serial)
	case d.Bus != "nvme" && d.Bus != "scsi" && d.Bus != "virtio":
		return fmt.Errorf("bus %q is none of nvme, scsi, virtio", d.Bus)
	case d.WWN != "" && d.Bus == "virtio":
		return errors.New("a virtio disk has no wwn")
	}
	if _, err := d.wwn(); err != nil {
		return err
	}
	if _, err := os.Stat(d.Path); err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if d.SizeMB <= 0 {
		return fmt.Errorf("%s does not exist, and no size_mb is given to make it", d.Path)
	}
	f, err := os.OpenFile(d.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(d.SizeMB<<20), f.Close())
}

func (d *Disk) wwn() (uint64, error) {
	if d.WWN == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(d.WWN, "0x"), 16, 64)
	if err != nil {
		return 0, fmt.Errorf("wwn %q: 16 hex digits are expected", d.WWN)
	}
	return n, nil
}

// args is QEMU's command line, without what belongs to one process: sockets and console.
func (c *Config) args(accel, vars string) []string {
	cpu := "max"
	if accel == "kvm" {
		cpu = "host"
	} else {
		accel = "tcg,thread=multi"
	}
	a := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel", accel, "-cpu", cpu,
		"-smp", strconv.Itoa(c.CPUs), "-m", strconv.Itoa(c.MemoryMB),
		"-smbios", fmt.Sprintf("type=1,manufacturer=%s,product=%s,serial=%s,uuid=%s", quote(c.Maker), quote(c.ProductN), quote(c.Serial), c.UUID),
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + quote(c.Code),
		"-drive", "if=pflash,unit=1,format=raw,file=" + quote(vars),
		"-device", fmt.Sprintf("virtio-rng-pci,addr=%#x", slotRNG),
		"-device", fmt.Sprintf("virtio-scsi-pci,id=cd,addr=%#x", slotCD),
		"-device", fmt.Sprintf("scsi-cd,id=%s,bus=cd.0,channel=0,scsi-id=0,lun=0", cdID),
	}
	for i, mac := range c.NICs {
		n := fmt.Sprintf("user,id=net%d", i)
		if i == 0 && c.TFTP != "" {
			n += ",tftp=" + quote(c.TFTP) + ",bootfile=" + quote(c.BootFile)
		}
		// No option ROM: the firmware's own driver serves PXE, and iPXE would come first.
		a = append(a, "-netdev", n, "-device", fmt.Sprintf("virtio-net-pci,netdev=net%d,mac=%s,romfile=,addr=%#x", i, mac, slotNIC+i))
	}
	for i, d := range c.Disks {
		a = append(a, "-drive", fmt.Sprintf("if=none,id=disk%d,format=raw,cache=unsafe,discard=unmap,file=%s", i, quote(d.Path)))
		wwn, _ := d.wwn() // checked by complete
		switch d.Bus {
		case "nvme":
			a = append(a, "-device", fmt.Sprintf("nvme,id=nvme%d,serial=%s,addr=%#x", i, quote(d.Serial), slotDisk+i),
				"-device", fmt.Sprintf("nvme-ns,drive=disk%d,bus=nvme%d,nsid=1,eui64=%#x", i, i, d.eui64(i)))
		case "scsi":
			// A controller for each: the firmware looks at target 0 only.
			s := fmt.Sprintf("scsi-hd,drive=disk%d,bus=scsi%d.0,channel=0,scsi-id=0,lun=0,serial=%s", i, i, quote(d.Serial))
			if wwn != 0 {
				s += fmt.Sprintf(",wwn=%#x", wwn)
			}
			a = append(a, "-device", fmt.Sprintf("virtio-scsi-pci,id=scsi%d,addr=%#x", i, slotDisk+i), "-device", s)
		default:
			a = append(a, "-device", fmt.Sprintf("virtio-blk-pci,drive=disk%d,serial=%s,addr=%#x", i, quote(d.Serial), slotDisk+i))
		}
	}
	return a
}

// eui64 names the namespace, also where no wwn was given: its device path must be known.
func (d *Disk) eui64(i int) uint64 {
	if n, _ := d.wwn(); n != 0 {
		return n
	}
	return 0x525400fffe000000 + uint64(i)
}

// diskPath is where the firmware sees disk i.
func (c *Config) diskPath(i int) ovmf.Path {
	switch c.Disks[i].Bus {
	case "nvme":
		return ovmf.PCI(uint8(slotDisk+i), 0).NVMe(1, c.Disks[i].eui64(i))
	case "scsi":
		return ovmf.PCI(uint8(slotDisk+i), 0).SCSI(0, 0)
	default:
		return ovmf.PCI(uint8(slotDisk+i), 0)
	}
}

// quote protects the commas of a value in QEMU's option syntax.
func quote(s string) string { return strings.ReplaceAll(s, ",", ",,") }
