// Package meter turns bytes done on disks into the progress reports that a step makes. Start at New.
package meter

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/shared/step"
)

// Meter turns bytes done on one or several disks into progress reports, a few a second at most. Its methods may be
// called from several goroutines.
type Meter struct {
	report func(step.Progress)
	now    func() time.Time

	mu     sync.Mutex
	tracks []*Track
	last   time.Time
	// percent is what was shown
	percent float64
}

// Track is one disk's part of a Meter.
type Track struct {
	m           *Meter
	device      string
	method      string
	stage       string
	verify      string
	uncut       bool
	done, total int64
	percent     float64
	recent      window
	checkpoint  *step.Checkpoint
}

const (
	reportEvery = 500 * time.Millisecond
	// stalled is after how long without a byte done a report is made nevertheless: its rate goes down to zero.
	stalled = time.Second
	// recently is what a rate is taken over.
	recently = 10 * time.Second
)

// New makes a meter that reports to report, reading the time from now.
func New(report func(step.Progress), now func() time.Time) *Meter {
	return &Meter{report: report, now: now}
}

// Tick reports every second what no disk reports by itself, so that a disk that hangs is seen to. stop ends it and
// returns after its goroutine has ended.
func (m *Meter) Tick() (stop func()) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(stalled)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				m.tell(stalled)
			case <-end:
				return
			}
		}
	})
	return func() { close(end); wg.Wait() }
}

// Track adds a disk with that many bytes of work; 0 when it is not known yet.
func (m *Meter) Track(device string, total int64) *Track {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &Track{m: m, device: device, total: total}
	m.tracks = append(m.tracks, t)
	return t
}

// Add counts n bytes as done just now.
func (t *Track) Add(n int64) { t.change(false, func() { t.done += n }) }

// Skip counts n bytes as done that took no time of their own: an earlier attempt's, or a whole disk's by one command.
func (t *Track) Skip(n int64) { t.change(true, func() { t.done += n; t.recent = window{} }) }

// Total sets how many bytes there are to do, as soon as it is known.
func (t *Track) Total(n int64) { t.change(false, func() { t.total = n }) }

// Stage says what happens to the disk from now on, and reports it at once.
func (t *Track) Stage(s string) {
	t.change(true, func() {
		t.stage = s
		switch {
		case s == "verify":
			t.verify = step.Verifying
		case s == "done" && t.verify != "":
			t.verify = step.Verified
		case s == "failed" && t.verify == step.Verifying:
			t.verify = step.Refuted
		case s == "stopped" && t.verify == step.Verifying:
			t.verify = ""
		}
	})
}

// Method says how the disk is worked on from the next Stage on. It counts from zero again; the percentage shown does
// not go back.
func (t *Track) Method(name string) {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	t.method, t.verify, t.checkpoint = name, "", nil
	t.done, t.recent = 0, window{}
}

// Uncut says whether what happens to the disk now has to run to its end, and reports it at once.
func (t *Track) Uncut(yes bool) { t.change(true, func() { t.uncut = yes }) }

// Keep tells up to where a later attempt need not work again.
func (t *Track) Keep(c step.Checkpoint) { t.change(true, func() { t.checkpoint = &c }) }

// Restart counts from zero again; the percentage shown does not go back.
func (t *Track) Restart() { t.change(true, func() { t.done, t.recent = 0, window{} }) }

// At is where the work on a disk is.
type At struct {
	Method, Stage, Verify string
	Checkpoint            *step.Checkpoint // the last one kept by Keep; nil without one
}

// At tells where the work on the disk is.
func (t *Track) At() At {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	return At{t.method, t.stage, t.verify, t.checkpoint}
}

func (t *Track) change(force bool, fn func()) {
	m := t.m
	m.mu.Lock()
	fn()
	m.mu.Unlock()
	if force {
		m.tell(0)
		return
	}
	m.tell(reportEvery)
}

// tell reports unless less than every has passed since the last report.
func (m *Meter) tell(every time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if now.Sub(m.last) < every {
		return
	}
	m.last = now
	m.report(m.progress(now)) // under the lock, so that reports keep their order
}

// progress joins the disks. They are worked on at once, so the whole takes as long as the one that takes longest.
func (m *Meter) progress(now time.Time) step.Progress {
	p := step.Progress{Unit: "bytes"}
	known, timed := true, true
	var slowest *Track
	for _, t := range m.tracks {
		d := step.DeviceProgress{Device: t.device, Method: t.method, Stage: t.stage, Verify: t.verify, Done: t.done, Total: t.total}
		t.percent = max(t.percent, Percent(t.done, t.total))
		d.Percent, d.Rate = t.percent, t.recent.rate(now, t.done)
		over := t.stage == "done" || t.stage == "failed" || t.stage == "stopped"
		switch {
		case over:
			d.Rate = 0
		case d.Rate > 0 && t.total > t.done:
			d.Left = time.Duration(float64(t.total-t.done) / d.Rate * float64(time.Second))
		default:
			timed = false
		}
		if !over && (slowest == nil || t.percent < slowest.percent) {
			slowest = t
		}
		p.Devices = append(p.Devices, d)
		p.Done, p.Total, p.Rate, p.Left = p.Done+t.done, p.Total+t.total, p.Rate+d.Rate, max(p.Left, d.Left)
		known = known && t.total > 0
		if t.uncut {
			p.Uncut = cmp.Or(p.Uncut, fmt.Sprintf("%s of %s", cmp.Or(t.method, t.stage), t.device))
		}
		if t.checkpoint != nil {
			p.Checkpoints = append(p.Checkpoints, *t.checkpoint)
		}
	}
	if !known {
		p.Total = 0
	}
	if !timed {
		p.Left = 0
	}
	if slowest != nil && slowest.stage != "" {
		p.Item = slowest.stage + " " + slowest.device
	}
	m.percent = max(m.percent, Percent(p.Done, p.Total))
	p.Percent = m.percent
	return p
}

// window is what was done when, over the last seconds.
type window struct{ samples []sample }

type sample struct {
	at   time.Time
	done int64
}

// rate is in units a second, over recently or since the first sample; it takes a sample.
func (w *window) rate(now time.Time, done int64) float64 {
	if n := len(w.samples); n == 0 || now.Sub(w.samples[n-1].at) >= reportEvery {
		w.samples = append(w.samples, sample{now, done})
	}
	// One that is just too old stays: it is where the window begins.
	begin := slices.IndexFunc(w.samples, func(s sample) bool { return now.Sub(s.at) <= recently })
	if begin > 1 {
		w.samples = slices.Delete(w.samples, 0, begin-1)
	}
	return Rate(done-w.samples[0].done, now.Sub(w.samples[0].at))
}

// Percent is how much of total is done, 0 to 100.
func Percent(done, total int64) float64 {
	if total <= 0 {
		return 0
	}
	return min(100, float64(done)/float64(total)*100)
}

// Rate is n in d, a second.
func Rate(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}
