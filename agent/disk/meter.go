package disk

import (
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/shared/step"
)

// Meter turns bytes done on one or several disks into progress reports, a few a second at most. Its methods may be
// called from several goroutines.
type Meter struct {
	report func(step.Progress)
	now    func() time.Time

	mu      sync.Mutex
	tracks  []*Track
	started time.Time
	last    time.Time
	percent float64
}

// Track is one disk's part of a Meter.
type Track struct {
	m           *Meter
	device      string
	stage       string
	done, total int64
	started     time.Time
}

const reportEvery = 500 * time.Millisecond

// NewMeter makes a meter that reports to report, reading the time from now.
func NewMeter(report func(step.Progress), now func() time.Time) *Meter {
	return &Meter{report: report, now: now, started: now()}
}

// Track adds a disk with that many bytes of work; 0 when it is not known yet.
func (m *Meter) Track(device string, total int64) *Track {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &Track{m: m, device: device, total: total, started: m.now()}
	m.tracks = append(m.tracks, t)
	return t
}

// Add counts n bytes as done.
func (t *Track) Add(n int64) { t.change(false, func() { t.done += n }) }

// Total sets how many bytes there are to do, as soon as it is known.
func (t *Track) Total(n int64) { t.change(false, func() { t.total = n }) }

// Stage says what happens to the disk from now on, and reports it at once.
func (t *Track) Stage(s string) { t.change(true, func() { t.stage = s }) }

// Restart counts from zero again; the percentage shown does not go back.
func (t *Track) Restart() { t.change(true, func() { t.done, t.started = 0, t.m.now() }) }

func (t *Track) change(force bool, fn func()) {
	m := t.m
	m.mu.Lock()
	defer m.mu.Unlock()
	fn()
	now := m.now()
	if !force && now.Sub(m.last) < reportEvery {
		return
	}
	m.last = now
	m.report(m.progress(now)) // under the lock, so that reports keep their order
}

func (m *Meter) progress(now time.Time) step.Progress {
	p := step.Progress{Unit: "bytes"}
	known := true
	for _, t := range m.tracks {
		d := step.DeviceProgress{Device: t.device, Stage: t.stage, Percent: percent(t.done, t.total), Rate: rate(t.done, now.Sub(t.started))}
		p.Devices = append(p.Devices, d)
		p.Done, p.Total = p.Done+t.done, p.Total+t.total
		known = known && t.total > 0
		p.Item = t.stage
	}
	p.Rate = rate(p.Done, now.Sub(m.started))
	if !known {
		p.Total = 0
	}
	m.percent = max(m.percent, percent(p.Done, p.Total))
	p.Percent = m.percent
	if p.Rate > 0 && p.Total > p.Done {
		p.Left = time.Duration(float64(p.Total-p.Done) / p.Rate * float64(time.Second))
	}
	return p
}

func percent(done, total int64) float64 {
	if total <= 0 {
		return 0
	}
	return min(100, float64(done)/float64(total)*100)
}

func rate(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}
