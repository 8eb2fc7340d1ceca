package qemu

import (
	"errors"
	"fmt"

	"github.com/bessemer-metal/bessemer/integration/ovmf"
)

// Target is what one boot starts from.
type Target string

// The targets; the names are Redfish's.
const (
	Default  Target = "None" // the firmware's own boot order
	CD       Target = "Cd"
	Disk0    Target = "Hdd" // what is first among the disks in the boot order
	PXE      Target = "Pxe" // the first network card
	UEFIHTTP Target = "UefiHttp"
)

// Boot is one boot's source.
type Boot struct {
	Target Target
	URI    string   // for UEFIHTTP: what to load; "" leaves it to DHCP
	Trust  [][]byte // the certificates, DER, that the firmware trusts for HTTPS boot
	Due    bool     // the boot after this one is to be asked for too: see Machine.Arm
}

// prepare writes the source of the next boot into the NVRAM.
func (c *Config) prepare(s *ovmf.Store, b Boot) error {
	s.ClearOverride()
	s.SetTrust(b.Trust)
	switch b.Target {
	case Default, "":
	case CD:
		s.SetBootNext("Virtual CD", ovmf.PCI(slotCD, 0).SCSI(0, 0))
	case Disk0:
		return c.prepareDisk(s)
	case PXE, UEFIHTTP:
		if len(c.NICs) == 0 {
			return errors.New("boot from the network: the machine has no network card")
		}
		p := ovmf.PCI(slotNIC, 0).MAC(c.NICs[0]).IPv4()
		if b.Target == UEFIHTTP {
			p = p.URI(b.URI)
		}
		s.SetBootNext("Network "+string(b.Target), p)
	default:
		return fmt.Errorf("boot target %q is unknown", b.Target)
	}
	return nil
}

// prepareDisk prefers what an installed system wrote into the boot order over the bare disk.
func (c *Config) prepareDisk(s *ovmf.Store) error {
	if len(c.Disks) == 0 {
		return errors.New("boot from disk: the machine has no disk")
	}
	options, err := s.BootOptions()
	if err != nil {
		return fmt.Errorf("boot from disk: %w", err)
	}
	for _, o := range options {
		if o.Active && (o.Path.Partition() || c.onDisk(o.Path)) {
			s.SetBootNextNumber(o.Number)
			return nil
		}
	}
	s.SetBootNext("Disk", c.diskPath(0))
	return nil
}

func (c *Config) onDisk(p ovmf.Path) bool {
	for i := range c.Disks {
		if p.HasPrefix(c.diskPath(i)) {
			return true
		}
	}
	return false
}
