package erase_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/agent/disk/disktest"
	"github.com/bessemer-metal/bessemer/agent/disk/erase"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// fine is an eraser that flushes every 4 MiB.
func fine() *erase.Eraser { return &erase.Eraser{Now: time.Now, Log: quiet, Every: 4 * mib} }

const (
	resumed = 80 * mib // the disks of these tests
	overlap = 4 * mib / 16
)

// cut erases a disk until so many bytes are written, then its power goes: what was not flushed is gone, as if it had
// stood in the drive's cache only. It gives where a later attempt may go on.
func cut(t *testing.T, m *disktest.Machine, d *disktest.Device, after int64, opt erase.Options) []step.Checkpoint {
	t.Helper()
	var mu sync.Mutex
	var told []step.Checkpoint
	start := d.Writes.Load()
	d.Fail = func(op string, _ int64, _ int) error {
		if (op == "write" || op == "sync") && d.Writes.Load()-start >= after {
			return syscall.ENODEV
		}
		return nil
	}
	_, err := fine().Erase(t.Context(), m.Held(t, d), opt, func(p step.Progress) {
		mu.Lock()
		defer mu.Unlock()
		told = p.Checkpoints
	})
	if err == nil {
		t.Fatal("the power did not go")
	}
	d.Fail = nil
	for _, c := range told {
		lost := make([]byte, d.Size-c.Until)
		for i := range lost {
			lost[i] = 0xa5
		}
		d.Put(t, c.Until, lost)
	}
	return told
}

func one(t *testing.T, class inventory.Class) (*disktest.Machine, *disktest.Device) {
	t.Helper()
	m := disktest.New(t)
	d := m.Add(disktest.Spec{Kernel: map[bool]string{false: "sda", true: "nvme0n1"}[class == inventory.NVMePCIe], Serial: "S1", WWN: map[bool]string{false: "", true: "eui.0025385b71b0c2a1"}[class == inventory.NVMePCIe], Size: resumed, Class: class})
	d.Fill(t, 0xa5)
	return m, d
}

// TestF15_EraseGoesOnWhereItStopped: cut at 40 %, the next attempt writes the other 60 and proves all of it.
func TestF15_EraseGoesOnWhereItStopped(t *testing.T) {
	m, d := one(t, inventory.SATA)
	at := cut(t, m, d, 32*mib, erase.Options{})
	if len(at) != 1 || at[0].Method != erase.MethodWrite || at[0].Disk != d.ID() || at[0].Until < 28*mib || at[0].Until > 32*mib {
		t.Fatalf("told %+v", at)
	}
	d.Writes.Store(0)
	least := 100.0
	records, err := fine().Erase(t.Context(), m.Held(t, d), erase.Options{Resume: at}, func(p step.Progress) {
		if p.Done > 0 {
			least = min(least, p.Percent)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	from := at[0].Until - overlap
	if r := records[0]; r.Method != erase.MethodWrite || r.Resumed != from || r.From != 0 || r.To != d.Size || r.Verify.Mode != "sample" || r.Verify.Bytes < d.Size/10 || len(r.Tried) != 0 {
		t.Errorf("record %+v", r)
	}
	if w := d.Writes.Load(); w != d.Size-from {
		t.Errorf("%d bytes written, expected %d", w, d.Size-from)
	}
	if least < 30 {
		t.Errorf("it began at %v %%", least)
	}
	if !isZero(t, d) {
		t.Error("data is left")
	}
}

// TestF15_EraseCutAnywhere: cut after any amount, as often as it takes, the end is a disk that is erased and proven so.
func TestF15_EraseCutAnywhere(t *testing.T) {
	m, d := one(t, inventory.SATA)
	var at []step.Checkpoint
	for after := int64(3 * mib); after < resumed; after += 15 * mib {
		if at = cut(t, m, d, after, erase.Options{Resume: at}); len(at) > 0 && at[0].Until+after >= resumed {
			break
		}
	}
	records, err := fine().Erase(t.Context(), m.Held(t, d), erase.Options{Resume: at}, none)
	if err != nil || !isZero(t, d) || records[0].Resumed < 25*mib {
		t.Fatalf("%+v, %v, zero %v", records, err, isZero(t, d))
	}
}

// TestI05_ACheckpointThatDoesNotFitCountsForNothing: another disk's, another size's, another method's, one that makes no
// sense: all is written.
func TestI05_ACheckpointThatDoesNotFitCountsForNothing(t *testing.T) {
	m, d := one(t, inventory.SATA)
	right := step.Checkpoint{Disk: d.ID(), Method: erase.MethodWrite, Until: 32 * mib}
	for name, spoil := range map[string]func(*step.Checkpoint){
		"another serial":                 func(c *step.Checkpoint) { c.Disk.Serial = "S2" },
		"a WWN it does not have":         func(c *step.Checkpoint) { c.Disk.WWN = "0x5000c500a1b2c3d4" },
		"another size":                   func(c *step.Checkpoint) { c.Disk.Size -= 512 },
		"another class":                  func(c *step.Checkpoint) { c.Disk.Class = inventory.SAS },
		"nobody":                         func(c *step.Checkpoint) { c.Disk = inventory.DeviceID{} },
		"a method of another class":      func(c *step.Checkpoint) { c.Method = erase.MethodPunch },
		"a method whose part is unknown": func(c *step.Checkpoint) { c.Method = erase.MethodFormat },
		"the step before":                func(c *step.Checkpoint) { c.Method = erase.MethodMetadata },
		"no method":                      func(c *step.Checkpoint) { c.Method = "" },
		"beyond the end":                 func(c *step.Checkpoint) { c.Until = d.Size + 4096 },
		"before the start":               func(c *step.Checkpoint) { c.Until = -1 },
		"the end of numbers":             func(c *step.Checkpoint) { c.Until = math.MinInt64 },
		"too little to be worth it":      func(c *step.Checkpoint) { c.Until = overlap },
	} {
		t.Run(name, func(t *testing.T) {
			d.Fill(t, 0xa5)
			d.Writes.Store(0)
			c := right
			spoil(&c)
			records, err := fine().Erase(t.Context(), m.Held(t, d), erase.Options{Resume: []step.Checkpoint{c}}, none)
			if err != nil || records[0].Resumed != 0 || d.Writes.Load() != d.Size || !isZero(t, d) {
				t.Errorf("%+v, %v, %d bytes written", records, err, d.Writes.Load())
			}
		})
	}
}

// TestI05_ACheckpointThatLies: what it says was erased was not, or not all. Reading back finds it, and all is written.
func TestI05_ACheckpointThatLies(t *testing.T) {
	const until = 32 * mib
	for name, spoil := range map[string]func(t *testing.T, d *disktest.Device){
		"nothing was erased":                  func(t *testing.T, d *disktest.Device) { d.Fill(t, 0xa5) },
		"the last MiB was not":                func(t *testing.T, d *disktest.Device) { d.Put(t, until-overlap-64<<10, make5(64<<10)) },
		"the last sector before it was not":   func(t *testing.T, d *disktest.Device) { d.Put(t, until-overlap-512, make5(1)) },
		"the first sector was written since":  func(t *testing.T, d *disktest.Device) { d.Put(t, 0, make5(1)) },
		"a mirror was put together meanwhile": func(t *testing.T, d *disktest.Device) { d.Put(t, 10*mib, make5(15*mib)) },
	} {
		t.Run(name, func(t *testing.T) {
			m, d := one(t, inventory.SATA)
			d.Put(t, 0, make([]byte, until))
			spoil(t, d)
			at := []step.Checkpoint{{Disk: d.ID(), Method: erase.MethodWrite, Until: until}}
			records, err := fine().Erase(t.Context(), m.Held(t, d), erase.Options{Resume: at}, none)
			if err != nil || records[0].Resumed != 0 || len(records[0].Tried) != 1 || !strings.Contains(records[0].Tried[0], "still holds data at byte") {
				t.Errorf("%+v, %v", records, err)
			}
			if !isZero(t, d) {
				t.Error("data is left")
			}
		})
	}
}

func make5(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 0xa5
	}
	return b
}

// TestF15_EraseOfADriveWithItsOwn: what a drive's own erase came to is not known, so it is begun again; the overwriting
// that followed one which did not hold goes on, and the drive's own is not tried on what was written since.
func TestF15_EraseOfADriveWithItsOwn(t *testing.T) {
	m, d := one(t, inventory.NVMePCIe)
	d.NVMe.OACS = 2
	at := []step.Checkpoint{{Disk: d.ID(), Method: erase.MethodFormat, Until: 32 * mib}}
	records, err := fine().Erase(t.Context(), m.Held(t, d), erase.Options{Resume: at}, none)
	if err != nil || records[0].Method != erase.MethodFormat || records[0].Resumed != 0 || len(d.NVMe.Formats) != 1 {
		t.Fatalf("%+v, %v, %v", records, err, d.NVMe.Formats)
	}

	m, d = one(t, inventory.NVMePCIe)
	d.NVMe.OACS = 2
	d.NVMe.Format = func(uint32) error { return nil } // it lies
	at = cut(t, m, d, d.Size+32*mib, erase.Options{}) // the format counts as written
	formats := len(d.NVMe.Formats)
	records, err = fine().Erase(t.Context(), m.Held(t, d), erase.Options{Resume: at}, none)
	if err != nil || records[0].Method != erase.MethodWrite || records[0].Resumed == 0 || len(d.NVMe.Formats) != formats || !isZero(t, d) {
		t.Fatalf("%+v, %v, %v", records, err, d.NVMe.Formats)
	}
}

// limited makes a device as slow as so many bytes a second, in the bubble's time.
func limited(d *disktest.Device, rate int64) {
	var mu sync.Mutex
	var free time.Time
	d.Fail = func(op string, _ int64, n int) error {
		if op != "read" && op != "write" {
			return nil
		}
		mu.Lock()
		if now := time.Now(); free.Before(now) {
			free = now
		}
		free = free.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
		wait := time.Until(free)
		mu.Unlock()
		<-time.After(wait)
		return nil
	}
}

// TestEraseStopsWithinTenSeconds: a disk that does no more than 2 MB/s stops, while it is written and while it is read
// back, within ten seconds, and what it holds then is told.
func TestEraseStopsWithinTenSeconds(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration
		left  string
	}{
		"while writing":      {20 * time.Second, "are zeros, the rest holds what it held; it has no boot sector"},
		"while reading back": {43 * time.Second, "but not all of that was proven by reading back"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, d := one(t, inventory.SATA)
				disks := m.Held(t, d)
				limited(d, 2_000_000)
				ctx, cancel := context.WithTimeout(t.Context(), c.after)
				defer cancel()
				began := time.Now()
				var last step.Progress
				_, err := fine().Erase(ctx, disks, erase.Options{}, func(p step.Progress) { last = p })
				if took := time.Since(began) - c.after; took > 10*time.Second {
					t.Errorf("it took %s to stop", took)
				}
				var s *step.Stopped
				if !errors.As(err, &s) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(s.Left, c.left) {
					t.Fatalf("got %v", err)
				}
				if last.Devices[0].Stage != "stopped" || last.Devices[0].Verify != "" {
					t.Errorf("the last report: %+v", last)
				}
				// What it says is on the disk is on the disk.
				if len(last.Checkpoints) != 1 {
					t.Fatalf("checkpoints %+v", last.Checkpoints)
				}
				until := last.Checkpoints[0].Until
				if b := d.Bytes(t, 0, int(until)); strings.Trim(string(b), "\x00") != "" {
					t.Errorf("not all of the first %d bytes are zeros", until)
				}
				if until < d.Size && d.Bytes(t, until, 1)[0] != 0xa5 {
					t.Error("more was erased than is told")
				}
			})
		})
	}
}

// TestI07_ADrivesOwnEraseIsNotCutOff: told to stop, the step waits for the format to end, and says meanwhile why.
func TestI07_ADrivesOwnEraseIsNotCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := one(t, inventory.NVMePCIe)
		d.NVMe.OACS = 2
		d.NVMe.Format = func(uint32) error {
			<-time.After(20 * time.Minute)
			d.Fill(t, 0)
			return nil
		}
		disks := m.Held(t, d)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		var mu sync.Mutex
		var last, during step.Progress
		time.AfterFunc(10*time.Minute, func() { mu.Lock(); defer mu.Unlock(); during = last })
		_, err := fine().Erase(ctx, disks, erase.Options{}, func(p step.Progress) { mu.Lock(); defer mu.Unlock(); last = p })
		if took := time.Since(began); took < 20*time.Minute || took > 20*time.Minute+10*time.Second {
			t.Errorf("it took %s", took)
		}
		if !strings.HasPrefix(during.Uncut, erase.MethodFormat+" of ") || during.Devices[0].Stage != "format" {
			t.Errorf("meanwhile %+v", during)
		}
		if err == nil || !strings.Contains(err.Error(), "all of it was erased by "+erase.MethodFormat) || last.Uncut != "" {
			t.Errorf("in the end %v, %+v", err, last)
		}
	})
}
