package bmc

import (
	"os"
	"slices"
)

// Parts is what a machine is made of, beside its cards.
type Parts struct {
	CPUs     int     `json:"cpus"`
	MemoryMB int     `json:"memory_mb"`
	Drives   []Drive `json:"drives,omitempty"`
	RAID     *RAID   `json:"raid,omitempty"` // nil: no RAID controller
}

// Drive is a disk in the machine.
type Drive struct {
	Serial string `json:"serial"`
	WWN    string `json:"wwn,omitempty"` // 16 hex digits
	Bus    string `json:"bus,omitempty"` // nvme (default), scsi, sata or virtio
	Bytes  int64  `json:"bytes"`
	// Rotational is told of fake drives alone.
	Rotational bool `json:"rotational,omitempty"`
}

// made is what a fake machine is made of unless its configuration says so.
func made() *Parts {
	return &Parts{CPUs: 4, MemoryMB: 8192, Drives: []Drive{{Serial: "EMU00000", Bus: "nvme", Bytes: 64 << 30}}}
}

// Parts are those of the machine's configuration; of a QEMU machine with the disks that were attached since.
func (m *Machine) Parts() Parts {
	if m.real == nil {
		p := *m.cfg.Fake
		p.Drives = slices.Clone(p.Drives)
		return p
	}
	c := m.real.Config()
	p := Parts{CPUs: c.CPUs, MemoryMB: c.MemoryMB}
	for _, d := range c.Disks {
		drive := Drive{Serial: d.Serial, WWN: d.WWN, Bus: d.Bus, Bytes: d.SizeMB << 20}
		if f, err := os.Stat(d.Path); err == nil {
			drive.Bytes = f.Size() // a file that was there already has its own
		}
		p.Drives = append(p.Drives, drive)
	}
	return p
}
