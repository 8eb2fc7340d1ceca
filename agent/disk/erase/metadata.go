package erase

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/disk/content"
	"github.com/bessemer-metal/bessemer/agent/meter"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Where signatures lie: every file system, RAID and volume manager that Linux knows has its own within the first two
// MiB or the last one of its disk or partition; btrfs keeps copies at 64 MiB and 256 GiB.
const (
	headArea = 4 << 20
	tailArea = 4 << 20
	partHead = 2 << 20
	partTail = 1 << 20
)

var copies = []int64{64 << 20, 256 << 30}

// Metadata removes partition tables (both copies of a GPT) and all signatures from the disks and every partition on
// them, and reads the places back. The data between stays; it is the quick step before a full erase.
func (e *Eraser) Metadata(ctx context.Context, disks []*disk.Disk, report func(step.Progress)) ([]Record, error) {
	return e.parallel(ctx, disks, report, func(ctx context.Context, d *disk.Disk, t *meter.Track, r *Record) error {
		r.Method = MethodMetadata
		t.Method(MethodMetadata)
		areas, err := signatureAreas(d)
		if err != nil {
			return err
		}
		var total int64
		for _, a := range areas {
			total += a.n
		}
		t.Total(2 * total)
		if err := d.Confirm(); err != nil {
			return err
		}
		t.Stage("overwrite")
		// From the end to the start: the tables in front go last, so that after an abort the next run finds what is left.
		for _, a := range slices.Backward(areas) {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			if err := d.Blank(a.off, a.n); err != nil {
				return err
			}
			t.Add(a.n)
		}
		if err := d.Failure("flush", 0, d.Sync()); err != nil {
			return err
		}
		t.Stage("verify")
		r.Verify = Proof{Mode: "full", Windows: len(areas), Expect: "zeros"}
		if r.Verify.Digest, r.Verify.Bytes, err = blankAreas(ctx, d, areas, t); err != nil {
			return err
		}
		if err := d.RereadPartitions(); err != nil {
			e.Log.Warn("partitions not read again", "device", d.String(), "err", err)
		}
		return nil
	})
}

func blankAreas(ctx context.Context, d *disk.Disk, areas []place, t *meter.Track) (digest string, read int64, err error) {
	p, err := check(ctx, d, pieces(areas), nil, t.Add)
	return p.Digest, p.Bytes, err
}

// signatureAreas lists, in the order of the disk and without overlap, what Metadata clears.
func signatureAreas(d *disk.Disk) ([]place, error) {
	spans := disk.Partitions(d.Info)
	t, err := content.ReadTable(d.Read, d.Bytes, d.Align)
	var damaged *content.DamagedError
	if err != nil && !errors.Is(err, content.ErrNoTable) && !errors.As(err, &damaged) {
		return nil, d.Failure("read the partition table of", 0, err)
	}
	for _, p := range t.Partitions {
		spans = append(spans, content.Span{Name: fmt.Sprint(p.Index), Start: p.Start, Size: p.Size})
	}
	var out []place
	add := func(from, to int64) {
		a := int64(d.Align)
		from, to = max(0, from/a*a), min(d.Bytes, (to+a-1)/a*a)
		if from < to {
			out = append(out, place{from, to - from})
		}
	}
	add(0, headArea)
	add(d.Bytes-tailArea, d.Bytes)
	for _, c := range copies {
		add(c, c+64<<10)
	}
	for _, s := range spans {
		end := s.Start + s.Size
		add(s.Start, min(end, s.Start+partHead))
		add(max(s.Start, end-partTail), end)
		for _, c := range copies {
			if c < s.Size {
				add(s.Start+c, s.Start+c+64<<10)
			}
		}
	}
	return merge(out), nil
}

// merge sorts places and joins those that touch.
func merge(in []place) []place {
	slices.SortFunc(in, func(a, b place) int { return int(min(1, max(-1, a.off-b.off))) })
	var out []place
	for _, p := range in {
		if n := len(out); n > 0 && p.off <= out[n-1].off+out[n-1].n {
			out[n-1].n = max(out[n-1].n, p.off+p.n-out[n-1].off)
			continue
		}
		out = append(out, p)
	}
	return out
}
