package erase

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/meter"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// usualEvery is how much is written between two flushes; each is a place to go on from.
const usualEvery = 1 << 30

// zeroing zeroes a range; all before reached is zero when it returns.
type zeroing func(ctx context.Context, from, to int64) (reached int64, err error)

// ranged zeroes the disk from a byte on to its end, and flushes and tells a checkpoint every so often. When ctx ends it
// flushes what it did, so that what the disk holds can be told.
func (e *Eraser) ranged(ctx context.Context, d *disk.Disk, t *meter.Track, name string, from int64, zero zeroing) error {
	keep := func(until int64) error {
		if err := d.Failure("flush", until, d.Sync()); err != nil {
			return err
		}
		t.Keep(step.Checkpoint{Disk: d.ID, Method: name, Until: until})
		return nil
	}
	if from > 0 {
		t.Keep(step.Checkpoint{Disk: d.ID, Method: name, Until: from})
	}
	for from < d.Bytes {
		reached, err := zero(ctx, from, min(from+e.every(), d.Bytes))
		if err != nil && (ctx.Err() == nil || reached == from) {
			return err
		}
		if flush := keep(reached); err == nil {
			err = flush
		}
		if err != nil {
			return err
		}
		from = reached
	}
	return nil
}

func (e *Eraser) every() int64 { return cmp.Or(e.Every, usualEvery) }

// overlap is what is zeroed again before the place that is gone on from, and read back on both sides of it.
func (e *Eraser) overlap() int64 { return e.every() / 16 }

// resumed puts before the methods the one that an earlier attempt was at, from where it came to: if what is said of it
// fits this very disk, byte for byte of its identity and size, and the method is one whose part is known. Should that
// fail, all of them follow from zero. What was erased by whom counts for nothing in the proof.
func (e *Eraser) resumed(d *disk.Disk, opt Options, ms []method) []method {
	for _, c := range opt.Resume {
		i := slices.IndexFunc(ms, func(m method) bool { return m.name == c.Method && m.ranged })
		if i < 0 || c.Disk != d.ID || d.ID == (inventory.DeviceID{}) || d.ID.Size != d.Bytes || c.Until > d.Bytes {
			continue
		}
		unit := max(int64(d.Align), headBytes)
		from := (c.Until - e.overlap()) / unit * unit
		if from <= 0 {
			continue
		}
		m := ms[i]
		m.from, m.last = from, false
		e.Log.Info("erase goes on where an earlier attempt came to", "device", d.String(), "method", m.name, "from", from)
		return append([]method{m}, ms...)
	}
	return ms
}

// seam is what is read back around the place that was gone on from, besides the sample.
func (e *Eraser) seam(d *disk.Disk, from int64) []place {
	if from == 0 {
		return nil
	}
	begin, end := max(0, from-e.overlap()), min(d.Bytes, from+2*e.overlap())
	unit := int64(d.Align)
	begin = begin / unit * unit
	return []place{{begin, (end - begin) / unit * unit}}
}

// left tells for people what is on a disk whose erasing was stopped or failed.
func left(t *meter.Track, size int64) string {
	switch at := t.At(); {
	case at.Method == MethodMetadata && at.Stage != "":
		return "some of its signatures and partition tables are removed, its data is not"
	case at.Stage == "":
		return "it was not touched"
	case at.Verify != "":
		return fmt.Sprintf("all of it was erased by %s, but not all of that was proven by reading back", at.Method)
	case at.Stage == "format":
		return fmt.Sprintf("%s was begun and is not known to have ended: it may need to be erased again before it can be used", at.Method)
	case at.Checkpoint == nil:
		return "its first bytes may be zeros, the rest holds what it held"
	default:
		until := at.Checkpoint.Until
		return fmt.Sprintf("its first %s (%.0f %%) are zeros, the rest holds what it held; it has no boot sector and no partition table at its start",
			inventory.Bytes(until), meter.Percent(until, size))
	}
}
