// Package erase destroys what disks hold, by the best way each of them has, and proves it by reading back. It works on
// disks that a disk.Guard handed out and on no other. Start at Eraser.Erase.
package erase

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/meter"
	"github.com/bessemer-metal/bessemer/agent/system"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Eraser erases disks that a disk.Guard handed out.
type Eraser struct {
	Now func() time.Time
	Log *slog.Logger
	// Every is how many bytes are overwritten between two flushes; 0 is 1 GiB. After each a later attempt can go on.
	Every int64
}

// Options say how to erase.
type Options struct {
	Overwrite bool // write zeros even where the device has an erase of its own
	Full      bool // read all of it back, not a sample
	// Resume is where an earlier attempt of the same run came to. It saves writing, never reading back.
	Resume []step.Checkpoint
}

// Record is what became of one disk. Method is the one that really did it; Tried lists those before it that failed,
// each with its reason (safety.md I5, F20).
type Record struct {
	Device  string             `json:"device"`
	ID      inventory.DeviceID `json:"id"`
	Method  string             `json:"method"`
	Tried   []string           `json:"tried,omitempty"`
	From    int64              `json:"from"`              // first byte erased
	To      int64              `json:"to"`                // first byte after
	Resumed int64              `json:"resumed,omitempty"` // first byte this attempt wrote itself; what is before is an earlier one's
	Verify  Proof              `json:"verify"`
	Seconds float64            `json:"seconds"`
	Rate    float64            `json:"rate,omitempty"` // bytes a second of the erase itself
	Error   string             `json:"error,omitempty"`
}

// The methods of a Record.
const (
	MethodFormatCrypto = "nvme-format-crypto"
	MethodFormat       = "nvme-format-user-data"
	MethodPunch        = "zero-by-unmap"
	MethodZeroOut      = "zero-by-command"
	MethodWrite        = "overwrite-zeros"
	MethodMetadata     = "metadata"
)

// Erase erases all disks at once and reads each back. Every disk is tried to its end whatever becomes of the others;
// if one failed, the records say which and the error is a fault that names the first. When ctx ends, the disks stop at
// the next piece (a drive's own format runs to its end) and the error is a step.Stopped that says what each holds.
func (e *Eraser) Erase(ctx context.Context, disks []*disk.Disk, opt Options, report func(step.Progress)) ([]Record, error) {
	var c controllers
	z := newZeros()
	return e.parallel(ctx, disks, report, func(ctx context.Context, d *disk.Disk, t *meter.Track, r *Record) error {
		// A drive's own erase may reach every namespace of its controller.
		alone := !slices.ContainsFunc(d.Siblings, func(s string) bool {
			return !slices.ContainsFunc(disks, func(o *disk.Disk) bool { return o.Info.Kernel == s })
		})
		return e.eraseOne(ctx, d, opt, alone, &c, z, t, r)
	})
}

func (e *Eraser) parallel(ctx context.Context, disks []*disk.Disk, report func(step.Progress),
	fn func(context.Context, *disk.Disk, *meter.Track, *Record) error) ([]Record, error) {
	m := meter.New(report, e.Now)
	defer m.Tick()()
	records, errs := make([]Record, len(disks)), make([]error, len(disks))
	tracks, holds := make([]*meter.Track, len(disks)), make([]string, len(disks))
	for i, d := range disks {
		records[i] = Record{Device: d.String(), ID: d.ID, To: d.Bytes}
		tracks[i] = m.Track(d.String(), d.Bytes)
	}
	var wg sync.WaitGroup
	for i, d := range disks {
		wg.Go(func() {
			began := e.Now()
			errs[i] = fn(ctx, d, tracks[i], &records[i])
			records[i].Seconds = e.Now().Sub(began).Seconds()
			if errs[i] != nil {
				records[i].Error = fault.From(errs[i]).Message
				holds[i] = left(tracks[i], d.Bytes)
				tracks[i].Stage(map[bool]string{false: "failed", true: "stopped"}[ctx.Err() != nil])
				e.Log.Error("erase failed", "device", d.String(), "err", errs[i])
				return
			}
			tracks[i].Stage("done")
			e.Log.Info("erased", "device", d.String(), "method", records[i].Method, "seconds", records[i].Seconds)
		})
	}
	wg.Wait()
	return records, outcome(ctx, disks, holds, errs)
}

// outcome joins what became of several disks into one error.
func outcome(ctx context.Context, disks []*disk.Disk, holds []string, errs []error) error {
	bad := slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil })
	if len(bad) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		var how []string
		for i, d := range disks {
			if errs[i] == nil {
				holds[i] = "finished before"
			}
			how = append(how, fmt.Sprintf("%s (%s): %s", d.Info.Name, d, holds[i]))
		}
		return &step.Stopped{Left: strings.Join(how, "; "), Err: context.Cause(ctx)}
	}
	first := fault.From(bad[0])
	f := *first
	if len(disks) > 1 {
		texts := make([]string, len(bad))
		for i, err := range bad {
			texts[i] = fault.From(err).Message
		}
		f.Message = fmt.Sprintf("%d of %d disks failed: %s", len(bad), len(disks), strings.Join(texts, "; "))
	}
	return f.Because(errors.Join(bad...))
}

func (e *Eraser) eraseOne(ctx context.Context, d *disk.Disk, opt Options, alone bool, c *controllers, z zeros, t *meter.Track, r *Record) error {
	var seed [32]byte
	rand.Read(seed[:]) // never fails
	windows := places(d.Bytes, d.Align, seed, opt.Full)
	sampled := pieces(windows)
	sum := func(places []place) (n int64) {
		for _, p := range places {
			n += p.n
		}
		return n
	}
	t.Total(d.Bytes + sum(windows))
	if err := d.Confirm(); err != nil {
		return err
	}
	prove := func(where []place, before [][32]byte) error {
		t.Stage("verify")
		p, err := check(ctx, d, where, before, t.Add)
		p.Mode, p.Windows, p.Seed = "sample", len(windows), hex.EncodeToString(seed[:])
		if len(windows) == 1 {
			p.Mode, p.Seed = "full", ""
		}
		r.Verify = p
		return err
	}
	for _, m := range e.resumed(d, opt, e.methods(d, opt, alone, c, z, r)) {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		e.Log.Info("erase", "device", d.String(), "method", m.name)
		t.Method(m.name)
		seam := e.seam(d, m.from)
		where := append(slices.Clip(sampled), pieces(seam)...)
		t.Total(d.Bytes + sum(windows) + sum(seam))
		t.Stage(m.stage)
		if m.from > 0 {
			t.Skip(m.from)
		}
		var before [][32]byte
		var err error
		if m.name == MethodFormatCrypto && !opt.Full { // what it leaves need not read as zeros
			if before, err = heads(ctx, d, where); err != nil {
				return err
			}
		}
		began := e.Now()
		err = m.run(ctx, t, m.from)
		r.Rate = meter.Rate(d.Bytes-m.from, e.Now().Sub(began))
		if err == nil {
			err = d.Confirm()
		}
		if err == nil {
			err = prove(where, before)
		}
		if err == nil {
			r.Method, r.Resumed = m.name, m.from
			// The kernel still shows the partitions that are gone; nothing was lost if it can't look again now.
			if err := d.RereadPartitions(); err != nil {
				e.Log.Warn("partitions not read again", "device", d.String(), "err", err)
			}
			return nil
		}
		if ctx.Err() != nil || m.last {
			return err
		}
		if f := fault.From(err); f.Reason == fault.DiskChanged {
			return err
		}
		tried := m.name
		if m.from > 0 {
			tried = fmt.Sprintf("%s from byte %d on", m.name, m.from)
		}
		r.Tried = append(r.Tried, fmt.Sprintf("%s: %v", tried, err))
		e.Log.Warn("erase method failed, taking the next", "device", d.String(), "method", m.name, "err", err)
	}
	return fault.New(fault.DiskNotErased, "%s (%s): no method erased it: %s", d.Info.Name, d, strings.Join(r.Tried, "; "))
}

// method is one way to erase a disk.
type method struct {
	name, stage string
	last        bool  // nothing comes after it: its error is the disk's
	ranged      bool  // it goes through the disk from its start: what part of it has done is known
	from        int64 // where it begins, when it is ranged
	run         func(ctx context.Context, t *meter.Track, from int64) error
}

// methods lists the ways to erase a disk, best first; the next is taken when one fails or its result does not hold.
// Writing zeros stands at the end for every disk.
func (e *Eraser) methods(d *disk.Disk, opt Options, alone bool, c *controllers, z zeros, r *Record) []method {
	var out []method
	if d.ID.Class == inventory.NVMePCIe && !opt.Overwrite {
		f, err := nvmeFormats(d)
		switch {
		case err != nil:
			r.Tried = append(r.Tried, fmt.Sprintf("nvme-format: %v", err))
		case f.all && !alone:
			r.Tried = append(r.Tried, "nvme-format: would reach other namespaces of the drive, which this step leaves alone")
		default:
			for _, ses := range f.settings() {
				name := MethodFormat
				if ses == sesCrypto {
					name = MethodFormatCrypto
				}
				out = append(out, method{name: name, stage: "format", run: func(_ context.Context, t *meter.Track, _ int64) error {
					defer c.lock(d.Info.Controller)()
					t.Uncut(true)
					defer t.Uncut(false)
					if err := d.NVMeFormat(f.nsid, f.keep|ses<<9); err != nil {
						return d.Failure("format", 0, err)
					}
					t.Skip(d.Bytes)
					return nil
				}})
			}
		}
	}
	// A virtual disk has no flash of its own to reach: what reads as zeros is gone. A real one is written over.
	if d.ID.Class == inventory.VirtIO && !opt.Overwrite {
		for _, m := range []struct {
			name string
			zero func(off, n int64) error
		}{{MethodPunch, d.PunchHole}, {MethodZeroOut, d.ZeroOut}} {
			out = append(out, method{name: m.name, stage: "overwrite", ranged: true, run: func(ctx context.Context, t *meter.Track, from int64) error {
				err := e.ranged(ctx, d, t, m.name, from, func(ctx context.Context, from, to int64) (int64, error) {
					return command(ctx, d, m.zero, from, to, t.Add)
				})
				if errors.Is(err, system.ErrUnsupported) {
					return err
				}
				return d.Failure("zero", from, err)
			}})
		}
	}
	return append(out, method{name: MethodWrite, stage: "overwrite", last: true, ranged: true, run: func(ctx context.Context, t *meter.Track, from int64) error {
		return e.ranged(ctx, d, t, MethodWrite, from, func(ctx context.Context, from, to int64) (int64, error) {
			return overwrite(ctx, d, z, from, to, t.Add)
		})
	}})
}
