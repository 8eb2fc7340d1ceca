package disk

import (
	"bytes"
	"errors"

	"github.com/bessemer-metal/bessemer/agent/system"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// ClearTables blanks the primary area (the first MiB) and the place of a backup GPT at the end, so that nothing on the
// disk can be booted or found, and flushes.
func (d *Disk) ClearTables() error {
	for _, a := range []struct{ off, n int64 }{{0, min(headHeld, d.Bytes)}, {max(0, d.Bytes-tailHeld), min(tailHeld, d.Bytes)}} {
		if err := d.Blank(a.off, a.n); err != nil {
			return err
		}
	}
	if err := d.Failure("flush", 0, d.Sync()); err != nil {
		return err
	}
	for _, off := range []int64{0, max(0, d.Bytes-tailHeld)} {
		b, err := d.Read(off, int(min(tailHeld, d.Bytes)))
		if err != nil {
			return d.Failure("read back", off, err)
		}
		if !bytes.Equal(b, make([]byte, len(b))) {
			return fault.New(fault.DiskNotErased, "%s (%s) still holds its old partition table after it was cleared", d.Info.Name, d)
		}
	}
	return nil
}

// What ClearTables blanks: all that firmware reads to find something to boot.
const (
	headHeld = 1 << 20
	tailHeld = 1 << 20
)

// Clear makes an aligned range read as zeros, by the quickest way the device promises. The range may hold old data;
// nothing of it can be read afterwards.
func (d *Disk) Clear(off, n int64) error {
	err := d.PunchHole(off, n)
	if errors.Is(err, system.ErrUnsupported) {
		return d.Blank(off, n)
	}
	return d.Failure("clear", off, err)
}

// Blank writes zeros over an aligned range.
func (d *Disk) Blank(off, n int64) error {
	b := Buffer(int(min(n, 1<<20)))
	for n > 0 {
		k := min(n, int64(len(b)))
		if _, err := d.WriteAt(b[:k], off); err != nil {
			return d.Failure("write zeros to", off, err)
		}
		off, n = off+k, n-k
	}
	return nil
}
