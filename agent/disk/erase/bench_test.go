package erase_test

import (
	"testing"

	"github.com/bessemer-metal/bessemer/agent/disk/disktest"
	"github.com/bessemer-metal/bessemer/agent/disk/erase"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// BenchmarkErase overwrites and verifies by sample; BenchmarkPlainZeros only writes the same bytes.
func BenchmarkErase(b *testing.B) {
	m := disktest.New(b)
	d := m.Add(disktest.Spec{Kernel: "sda", Serial: "S", Size: 256 * mib, Class: inventory.SATA})
	disks := m.Held(b, d)
	b.SetBytes(d.Size)
	for b.Loop() {
		if _, err := eraser().Erase(b.Context(), disks, erase.Options{Overwrite: true}, none); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPlainZeros(b *testing.B) {
	m := disktest.New(b)
	d := m.Add(disktest.Spec{Kernel: "sda", Serial: "S", Size: 256 * mib, Class: inventory.SATA})
	zero := make([]byte, 4*mib)
	b.SetBytes(d.Size)
	for b.Loop() {
		for off := int64(0); off < d.Size; off += int64(len(zero)) {
			if _, err := d.File.WriteAt(zero, off); err != nil {
				b.Fatal(err)
			}
		}
	}
}
