package raid_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/disk/content"
	"github.com/bessemer-metal/bessemer/agent/disk/disktest"
	"github.com/bessemer-metal/bessemer/agent/disk/erase"
	"github.com/bessemer-metal/bessemer/agent/raid"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

const mib, gib = 1 << 20, 1 << 30

// world is a machine with four disks, of 2 GiB or as said, and a builder over them.
type world struct {
	*raid.Builder
	t      *testing.T
	m      *disktest.Machine
	disks  []*disktest.Device
	mdadm  *disktest.Mdadm
	guard  *disk.Guard
	clears int
}

func newWorld(t *testing.T, sizes ...int64) *world {
	t.Helper()
	w := &world{t: t, m: disktest.New(t)}
	for i, s := range sizes {
		w.disks = append(w.disks, w.m.Add(disktest.Spec{
			Kernel: "vd" + string(rune('a'+i)), Serial: "S" + string(rune('1'+i)), Size: s, Class: inventory.VirtIO,
		}))
	}
	log := slog.New(slog.DiscardHandler)
	w.mdadm = disktest.NewMdadm(t, w.m, w.disks...)
	w.guard = w.m.Guard()
	e := &erase.Eraser{Now: time.Now, Log: log}
	w.Builder = &raid.Builder{Guard: w.guard, Exec: w.mdadm, Root: w.m.FS(), Notes: filepath.Join(t.TempDir(), "raid"), Log: log,
		Clear: func(ctx context.Context, disks []*disk.Disk, report func(step.Progress)) error {
			w.clears++
			_, err := e.Metadata(ctx, disks, report)
			return err
		}}
	return w
}

func (w *world) order(config string) raid.Order {
	w.t.Helper()
	o := raid.Order{Devices: disktest.IDs(w.disks...), Run: "run/0", Report: func(step.Progress) {}}
	if err := json.Unmarshal([]byte(config), &o.Config); err != nil {
		w.t.Fatal(err)
	}
	return o
}

func (w *world) create(o raid.Order) map[string]any {
	w.t.Helper()
	got, err := w.Create(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return got
}

func (w *world) arrays() []disk.Array {
	w.t.Helper()
	all, err := w.guard.Disks()
	if err != nil {
		w.t.Fatal(err)
	}
	out, _ := w.guard.Arrays(w.t.Context(), all)
	return out
}

func (w *world) written() (n int64) {
	for _, d := range w.disks {
		n += d.Writes.Load()
	}
	return n
}

// idle checks that nothing runs and nothing is held.
func (w *world) idle() {
	w.t.Helper()
	if r := w.mdadm.Running(); len(r) != 0 {
		w.t.Errorf("arrays still run: %v", r)
	}
	for _, d := range w.disks {
		if d.Opened() != 0 || d.Held {
			w.t.Errorf("%s is still held", d.Kernel)
		}
	}
}

func (w *world) table(d *disktest.Device) content.Table {
	w.t.Helper()
	got, err := content.ReadTable(func(off int64, n int) ([]byte, error) { return d.Bytes(w.t, off, n), nil }, d.Size, d.Align)
	if err != nil {
		w.t.Fatalf("%s: %v", d.Kernel, err)
	}
	return got
}

const (
	mirror = `{"logical_disks": [{"controller": "software", "raid_level": "1", "size_gb": "MAX", "volume_name": "os", "is_root_volume": true}]}`
	two    = `{"logical_disks": [{"controller": "software", "raid_level": "1", "size_gb": "MAX"}, {"controller": "software", "raid_level": "5", "size_gb": 1, "volume_name": "data"}]}`
)

func TestCreateTellsWhatWasBuilt(t *testing.T) {
	w := newWorld(t, 2*gib, 3*gib)
	got := w.create(w.order(mirror))
	w.idle()
	list := got["logical_disks"].([]any)
	v := list[0].(map[string]any)
	size := v["size_bytes"].(float64)
	if len(list) != 1 || v["raid_level"] != "1" || v["size_gb"] != 1.0 || v["volume_name"] != "os" || v["is_root_volume"] != true || v["controller"] != "software" ||
		size < 1.9*gib || size > 2*gib || len(v["physical_disks"].([]any)) != 2 {
		t.Errorf("got %v", v)
	}
	a := w.arrays()
	if len(a) != 1 || a[0].Name != "/dev/md/os" || a[0].Serial != v["uuid"] || float64(a[0].Disk.Size) != size || !slices.Equal(a[0].Members, disktest.IDs(w.disks...)) {
		t.Errorf("on the disks is %+v", a)
	}
	for _, d := range w.disks {
		if got := w.table(d); got.Backup || len(got.Partitions) != 1 || got.Partitions[0].Start != 8*mib {
			t.Errorf("%s has %+v", d.Kernel, got)
		}
	}
	want := "mdadm --create /dev/md0 --run --force --metadata=1.0 --homehost=any --name=os --level=1 --raid-devices=2 --bitmap=internal /dev/vda1 /dev/vdb1"
	if !slices.Contains(w.mdadm.Said, want) {
		t.Errorf("commands %q", w.mdadm.Said)
	}
}

// On UEFI the first partition of the first volume's disks is the firmware's, mirrored; the largest volume goes last.
func TestLayoutForUEFI(t *testing.T) {
	w := newWorld(t, 4*gib, 4*gib, 4*gib)
	w.m.Write("sys/firmware/efi/runtime", "")
	o := w.order(two)
	o.Config["logical_disks"].([]any)[0].(map[string]any)["physical_disks"] = []any{map[string]any{"serial": "S3"}, map[string]any{"size": ">= 1"}}
	got := w.create(o)
	w.idle()
	if list := got["logical_disks"].([]any); len(list) != 2 || list[1].(map[string]any)["size_gb"] != 1.0 { // two of three parts of 1 GiB, less a little
		t.Errorf("got %v", list)
	}
	names := func(d *disktest.Device) (out []string) {
		for _, p := range w.table(d).Partitions {
			out = append(out, p.Name)
		}
		return out
	}
	for i, want := range []string{"esp,raid data,raid md0", "raid data", "esp,raid data,raid md0"} {
		if got := strings.Join(names(w.disks[i]), ","); got != want {
			t.Errorf("%s has %s, expected %s", w.disks[i].Kernel, got, want)
		}
	}
	if p := w.table(w.disks[1]).Partitions[0]; p.Start != 551*mib || p.Size != gib {
		t.Errorf("the part begins at %d, and has %d", p.Start, p.Size)
	}
	var arrays []string
	for _, a := range w.arrays() {
		arrays = append(arrays, a.Name)
	}
	if !slices.Equal(arrays, []string{"/dev/md/data", "/dev/md/esp", "/dev/md/md0"}) {
		t.Errorf("arrays %v", arrays)
	}
}

// Whatever is wrong with any disk of the step, or with the order, no byte of any is changed (safety.md I1, I2, I3).
func TestI03_NothingIsTouchedBeforeAllIsExamined(t *testing.T) {
	for name, c := range map[string]struct {
		config string
		spoil  func(w *world, o *raid.Order)
		reason fault.Reason
	}{
		"a disk that is not local": {mirror, func(w *world, o *raid.Order) { o.Devices[1].Class = inventory.USB }, fault.DiskChanged},
		"a disk that is mounted": {mirror, func(w *world, _ *raid.Order) {
			w.m.Write("proc/self/mountinfo", "30 22 "+w.disks[1].Number+" / /mnt rw - ext4 /dev/x rw\n")
		}, fault.DiskBusy},
		"a skipped disk": {mirror, func(w *world, o *raid.Order) {
			o.Node = map[string]any{"skip_block_devices": []any{map[string]any{"serial": "S2"}}}
		}, fault.DiskProtected},
		"a disk that is gone": {mirror, func(w *world, _ *raid.Order) { w.m.Remove(w.disks[1]) }, fault.DiskMissing},
		"a partition on the last disk": {mirror, func(w *world, _ *raid.Order) {
			w.disks[1].Put(w.t, 0, disktest.GPT(512, w.disks[1].Size, []disktest.Part{{Start: mib, Size: mib, Kind: disktest.Linux, Name: "x"}}))
		}, fault.DiskProtected},
		"a volume group on the last disk": {mirror, func(w *world, _ *raid.Order) { w.disks[1].Put(w.t, 0, disktest.LVM(strings.Repeat("a", 38), "")) }, fault.DiskProtected},
		"a part that can't be read": {mirror, func(w *world, _ *raid.Order) {
			w.disks[1].Fail = func(op string, _ int64, _ int) error {
				return map[bool]error{true: errors.New("medium error")}[op == "read"]
			}
		}, fault.DiskProtected},
		"too few disks": {two, func(*world, *raid.Order) {}, fault.DiskNone},
		"no such disk": {mirror, func(_ *world, o *raid.Order) {
			o.Config["logical_disks"].([]any)[0].(map[string]any)["physical_disks"] = []any{map[string]any{"serial": "S1"}, map[string]any{"serial": "S1"}}
		}, fault.DiskHint},
		"too large": {mirror, func(_ *world, o *raid.Order) { o.Config["logical_disks"].([]any)[0].(map[string]any)["size_gb"] = 3.0 }, fault.DiskTooSmall},
		"against the rules": {mirror, func(_ *world, o *raid.Order) {
			o.Config["logical_disks"].([]any)[0].(map[string]any)["raid_level"] = "0"
		}, fault.RequestInvalid},
		"no mdadm": {mirror, func(w *world, _ *raid.Order) {
			w.mdadm.Fail = func(a []string) error {
				return map[bool]error{true: errors.New("not in this ramdisk")}[a[0] == "mdadm"]
			}
		}, fault.StepVersion},
		"no module": {mirror, func(w *world, _ *raid.Order) {
			w.mdadm.Fail = func(a []string) error { return map[bool]error{true: errors.New("exit 1")}[a[0] == "modprobe"] }
		}, fault.StepVersion},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2*gib, 2*gib)
			o := w.order(c.config)
			c.spoil(w, &o)
			if _, err := w.Create(t.Context(), o); !fault.Has(err, c.reason) {
				t.Errorf("got %v, expected %s", err, c.reason)
			}
			if w.written() != 0 {
				t.Errorf("%d bytes were written", w.written())
			}
			w.idle()
		})
	}
}

// A disk that the step does not name is never a member, though its hints fit (safety.md I1).
func TestI01_OnlyDisksOfTheStepAreUsed(t *testing.T) {
	w := newWorld(t, 2*gib, 2*gib, 2*gib)
	o := w.order(mirror)
	o.Devices = o.Devices[:2]
	w.create(o)
	if w.disks[2].Writes.Load() != 0 || len(w.arrays()[0].Members) != 2 {
		t.Error("the third disk was used")
	}
}

var errCut = errors.New("the machine lost its power")

// Cut off at any write, table or command, the step can be run again in its run, and ends as if nothing had been; in another
// run it refuses what it finds (F15).
func TestF15_CreateCutOffAnywhereEndsWell(t *testing.T) {
	for n := 1; ; n++ {
		w := newWorld(t, 2*gib, 2*gib)
		w.m.Write("sys/firmware/efi/runtime", "")
		var left atomic.Int64 // disks are cleared side by side
		left.Store(int64(n))
		cut := func() error {
			if left.Add(-1) <= 0 {
				return errCut
			}
			return nil
		}
		for _, d := range w.disks {
			known := d.Fail
			d.Fail = func(op string, off int64, k int) error {
				if err := known(op, off, k); err != nil || op != "write" && op != "reread" {
					return err
				}
				return cut()
			}
		}
		w.mdadm.Fail = func(a []string) error {
			if a[0] != "mdadm" || a[1] == "--version" {
				return nil
			}
			return cut()
		}
		_, err := w.Create(t.Context(), w.order(mirror))
		if left.Load() > 0 {
			if err != nil {
				t.Fatal(err)
			}
			if n < 10 {
				t.Fatalf("only %d places to cut at", n)
			}
			break
		}
		if err == nil {
			t.Fatalf("cut at %d: no error", n)
		}
		left.Store(1 << 30) // the next process: what ran is stopped by its notes, or by the power
		got, err := w.Create(t.Context(), w.order(mirror))
		if err != nil {
			t.Fatalf("cut at %d, then: %v", n, err)
		}
		if a := w.arrays(); len(a) != 2 || a[1].Serial != got["logical_disks"].([]any)[0].(map[string]any)["uuid"] {
			t.Fatalf("cut at %d: arrays %+v", n, a)
		}
		w.idle()
		o := w.order(mirror)
		o.Run = "run/1"
		before := w.written()
		if _, err := w.Create(t.Context(), o); !fault.Has(err, fault.DiskProtected) || w.written() != before {
			t.Fatalf("another run took the arrays of the first for its own: %v, %d bytes written", err, w.written()-before)
		}
	}
}

// A table that was begun is known by its run, and by nothing else.
func TestF15_WhatAnotherRunBeganIsRefused(t *testing.T) {
	w := newWorld(t, 2*gib, 2*gib)
	w.mdadm.Fail = func(a []string) error {
		return map[bool]error{true: errCut}[len(a) > 1 && a[1] == "--create"]
	}
	if _, err := w.Create(t.Context(), w.order(mirror)); err == nil {
		t.Fatal("not cut off")
	}
	w.mdadm.Fail = nil
	for _, run := range []string{"run/1", ""} {
		o := w.order(mirror)
		o.Run = run
		if _, err := w.Create(t.Context(), o); !fault.Has(err, fault.DiskProtected) {
			t.Errorf("run %q: %v", run, err)
		}
	}
	o := w.order(mirror)
	o.Run = "run/0"
	w.create(o)
}

func TestDeleteRemovesArraysAndLeavesTheRest(t *testing.T) {
	w := newWorld(t, 2*gib, 2*gib, 2*gib)
	w.disks[2].Put(t, 0, disktest.GPT(512, w.disks[2].Size, []disktest.Part{{Start: mib, Size: mib, Kind: disktest.Linux, Name: "x"}}))
	o := w.order(mirror)
	o.Devices = o.Devices[:2]
	w.create(o)
	third := w.disks[2].Writes.Load()
	names, err := w.Delete(t.Context(), w.order(`{}`))
	if err != nil || len(names) != 1 || !strings.HasPrefix(names[0], "os (") {
		t.Errorf("got %v, %v", names, err)
	}
	if len(w.arrays()) != 0 || w.clears != 1 || w.disks[2].Writes.Load() != third {
		t.Errorf("arrays %v, cleared %d times, %d bytes on the disk without an array", w.arrays(), w.clears, w.disks[2].Writes.Load()-third)
	}
	for _, d := range w.disks[:2] {
		if !bytes.Equal(d.Bytes(t, 0, mib), make([]byte, mib)) {
			t.Errorf("%s has its table still", d.Kernel)
		}
	}
	if names, err := w.Delete(t.Context(), w.order(`{}`)); err != nil || len(names) != 0 {
		t.Errorf("again: %v, %v", names, err)
	}
	w.idle()
}

// An array that reaches over a disk which the step leaves alone is refused (safety.md I2), and what stays though it was
// removed is told.
func TestI02_DeleteRefusesAnArrayOverOtherDisks(t *testing.T) {
	w := newWorld(t, 2*gib, 2*gib)
	w.create(w.order(mirror))
	before := w.written()
	o := w.order(`{}`)
	o.Devices = o.Devices[:1]
	if _, err := w.Delete(t.Context(), o); !fault.Has(err, fault.DiskProtected) || w.written() != before {
		t.Errorf("got %v", err)
	}
	w.Clear = func(context.Context, []*disk.Disk, func(step.Progress)) error { w.clears++; return nil }
	if _, err := w.Delete(t.Context(), w.order(`{}`)); !fault.Has(err, fault.DiskNotErased) || w.clears != 2 {
		t.Errorf("after %d passes: %v", w.clears, err)
	}
}

func TestDeleteExistingMakesRoom(t *testing.T) {
	w := newWorld(t, 2*gib, 2*gib)
	w.create(w.order(mirror))
	first := w.arrays()[0].Serial
	o := w.order(mirror)
	o.Run, o.Delete = "run/1", true
	w.create(o)
	if a := w.arrays(); len(a) != 1 || a[0].Serial == first {
		t.Errorf("arrays %+v", a)
	}
	// what is no array stays, and is in the way
	w = newWorld(t, 2*gib, 2*gib)
	w.disks[0].Put(t, 0, disktest.GPT(512, w.disks[0].Size, []disktest.Part{{Start: mib, Size: mib, Kind: disktest.Linux, Name: "x"}}))
	o = w.order(mirror)
	o.Delete = true
	if _, err := w.Create(t.Context(), o); !fault.Has(err, fault.DiskProtected) || w.written() != 0 {
		t.Errorf("got %v, %d bytes written", err, w.written())
	}
}

// A disk in the way is found before any array is removed (safety.md I3): an order that can't be met destroys nothing.
func TestI03_NoArrayIsRemovedForABuildThatCannotBe(t *testing.T) {
	w := newWorld(t, 2*gib, 2*gib, 2*gib)
	o := w.order(mirror)
	o.Devices = o.Devices[:2]
	w.create(o)
	w.disks[2].Put(t, 0, disktest.GPT(512, w.disks[2].Size, []disktest.Part{{Start: mib, Size: mib, Kind: disktest.Linux, Name: "x"}}))
	o = w.order(mirror)
	o.Run, o.Delete = "run/1", true
	before := w.written()
	if _, err := w.Create(t.Context(), o); !fault.Has(err, fault.DiskProtected) || w.written() != before || len(w.arrays()) != 1 {
		t.Errorf("got %v, %d bytes written, arrays %v", err, w.written()-before, w.arrays())
	}
}

// A process that ended while an array ran leaves a note of it; the next one stops it, and no other.
func TestF14_ArraysLeftRunningAreStopped(t *testing.T) {
	w := newWorld(t, 2*gib, 2*gib)
	w.mdadm.Fail = func(a []string) error {
		return map[bool]error{true: errCut}[len(a) > 1 && a[1] == "--stop"]
	}
	if _, err := w.Create(t.Context(), w.order(mirror)); err == nil || len(w.mdadm.Running()) != 1 {
		t.Fatal(err, w.mdadm.Running())
	}
	if err := w.Release(t.Context()); !fault.Has(err, fault.DiskBusy) {
		t.Errorf("it can't be stopped: %v", err)
	}
	w.mdadm.Fail = nil
	if err := w.Release(t.Context()); err != nil {
		t.Error(err)
	}
	w.idle()
	if err := w.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// A command that never ends is ended, also the one that stops an array after its step was told to end (safety.md I25).
func TestI25_NoCommandIsWaitedForWithoutEnd(t *testing.T) {
	for _, stuck := range []string{"--create", "--stop"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 2*gib, 2*gib)
			w.Exec = hanging{w.mdadm, stuck}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if stuck == "--create" { // whose step has no end of its own
				ctx = t.Context()
			}
			if _, err := w.Create(ctx, w.order(mirror)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", stuck, err)
			}
		})
	}
}

// hanging is an mdadm of which one command ends only when it is killed.
type hanging struct {
	*disktest.Mdadm
	stuck string
}

func (h hanging) Run(ctx context.Context, program string, args ...string) ([]byte, error) {
	if args[0] == h.stuck {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return h.Mdadm.Run(ctx, program, args...)
}

// What mdadm or the kernel made otherwise than asked is a failure.
func TestCreateChecksWhatTheKernelTells(t *testing.T) {
	for file, text := range map[string]string{"level": "raid5", "raid_disks": "3", "degraded": "1"} {
		w := newWorld(t, 2*gib, 2*gib)
		x := &lying{Mdadm: w.mdadm, w: w, file: file, text: text}
		w.Exec = x
		if _, err := w.Create(t.Context(), w.order(mirror)); !fault.Has(err, fault.StepFailed) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s %s: %v", file, text, err)
		}
		w.idle()
	}
}

type lying struct {
	*disktest.Mdadm
	w          *world
	file, text string
}

func (l *lying) Run(ctx context.Context, program string, args ...string) ([]byte, error) {
	out, err := l.Mdadm.Run(ctx, program, args...)
	if args[0] == "--create" {
		l.w.m.Write("sys/block/md0/md/"+l.file, l.text+"\n")
	}
	return out, err
}

// What a machine's last user wrote on its disks can't make the inventory longer than a server takes (safety.md I25): a node whose
// lookup is refused could never be cleaned.
func TestI25_SuperblocksWithoutEndMakeNoInventoryWithoutEnd(t *testing.T) {
	w := newWorld(t, 2*gib)
	d := w.disks[0]
	for i := range 1000 {
		start := int64(mib + i*mib)
		w.m.Partition(d, fmt.Sprint("vda", i+1), start, mib)
		md := disktest.MD{UUID: [16]byte{1, byte(i >> 8), byte(i)}, Name: "x", Level: 1, Members: 1 + i%2, Used: 64 << 10, Data: 64 << 10, At: 4096, Events: 1}
		d.Put(t, start+4096, disktest.Superblock(md))
	}
	disks, problems := w.Inventory(t.Context())
	if len(disks) != 256 || len(problems) != 65 || !strings.Contains(problems[64], "244 more arrays") || !strings.Contains(problems[64], "436 more problems") {
		t.Errorf("%d disks, %d problems, the last one %q", len(disks), len(problems), problems[len(problems)-1])
	}
}
