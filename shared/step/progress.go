package step

import (
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// Progress is where a running step stands. Done and Total are in Unit ("bytes"; "%" out of band, where nothing else is told);
// Total 0 means unknown. Rate is in units per second, over the last seconds; out of band from the beginning on. Percent is 0 to 100 over the whole step; neither it nor a device's ever goes
// back within one attempt.
type Progress struct {
	Percent float64          `json:"percent"`
	Done    int64            `json:"done,omitempty"`
	Total   int64            `json:"total,omitempty"`
	Unit    string           `json:"unit,omitempty"`
	Rate    float64          `json:"rate,omitempty"`
	Left    time.Duration    `json:"left,omitempty"` // estimated, nanoseconds; 0 means unknown
	Item    string           `json:"item,omitempty"` // what is being worked on, for people
	Devices []DeviceProgress `json:"devices,omitempty"`
	// Told is when whoever runs the step told this, by the server's clock; an agent leaves it out.
	Told time.Time `json:"told,omitzero"`
	// Uncut names what can't be cut off just now, such as a drive's own format; "" when the step can stop in seconds.
	Uncut string `json:"uncut,omitempty"`
	// Checkpoints are where a later attempt may go on; none when it has to begin from zero.
	Checkpoints []Checkpoint `json:"checkpoints,omitempty"`
}

// DeviceProgress is the same for one disk.
type DeviceProgress struct {
	Device  string        `json:"device"` // stable identity as inventory.DeviceID.String
	Method  string        `json:"method,omitempty"`
	Stage   string        `json:"stage,omitempty"`  // "format", "overwrite", "verify", "done", "failed", "stopped"
	Verify  string        `json:"verify,omitempty"` // Verifying, Verified or Refuted; "" when nothing was read back yet
	Percent float64       `json:"percent"`
	Done    int64         `json:"done,omitempty"`
	Total   int64         `json:"total,omitempty"`
	Rate    float64       `json:"rate,omitempty"`
	Left    time.Duration `json:"left,omitempty"`
}

// What reading back has shown of a disk.
const (
	Verifying = "running"
	Verified  = "passed"
	Refuted   = "failed"
)

// Checkpoint says how much of a disk an attempt has dealt with for good: every byte before Until was written by Method
// and flushed. It saves work, never a check: whoever goes on from it proves the whole disk afterwards (safety.md I5).
type Checkpoint struct {
	Disk   inventory.DeviceID `json:"disk"`
	Method string             `json:"method"`
	Until  int64              `json:"until"` // bytes from the disk's start
}

// MaxCheckpoints is how many disks' checkpoints a report may carry; with more a later attempt begins from zero.
const MaxCheckpoints = 256

// After makes a report fit to follow last, nil for the first: what JSON can't carry and what makes no sense is taken
// out, and no percentage goes back.
func (p Progress) After(last *Progress) Progress {
	p.Percent, p.Rate = percentage(p.Percent), sane(p.Rate)
	p.Done, p.Total, p.Left = max(p.Done, 0), max(p.Total, 0), max(p.Left, 0)
	p.Devices = slices.Clone(p.Devices)
	for i := range p.Devices {
		d := &p.Devices[i]
		d.Percent, d.Rate = percentage(d.Percent), sane(d.Rate)
		d.Done, d.Total, d.Left = max(d.Done, 0), max(d.Total, 0), max(d.Left, 0)
		if last == nil {
			continue
		}
		if j := slices.IndexFunc(last.Devices, func(o DeviceProgress) bool { return o.Device == d.Device }); j >= 0 {
			d.Percent = max(d.Percent, last.Devices[j].Percent)
		}
	}
	if last != nil {
		p.Percent = max(p.Percent, last.Percent)
	}
	if len(p.Checkpoints) > MaxCheckpoints {
		p.Checkpoints = nil
	}
	return p
}

// Complete is the report of a step that succeeded: all of it is done, nothing is left.
func (p Progress) Complete() Progress {
	p.Percent, p.Left, p.Uncut, p.Checkpoints = 100, 0, "", nil
	p.Devices = slices.Clone(p.Devices)
	for i := range p.Devices {
		p.Devices[i].Percent, p.Devices[i].Left = 100, 0
	}
	return p
}

// Paced is the report of a step that tells how far it is and not how fast: rate and time left are worked out from the time
// that it ran, and from took, how long it took when it last succeeded; 0 when it never did. Of the two ways to tell what is left
// the one that has happened counts for more than a percentage that may stand for steps of any length.
func (p Progress) Paced(ran, took time.Duration) Progress {
	if p.Total > 0 || p.Rate > 0 {
		return p
	}
	p.Percent, ran = percentage(p.Percent), max(ran, 0)
	p.Done, p.Total, p.Unit = int64(p.Percent), 100, "%"
	if ran > 0 {
		p.Rate = p.Percent / ran.Seconds()
	}
	switch {
	case p.Percent == 100:
	case took > ran:
		p.Left = took - ran
	case p.Rate > 0:
		p.Left = time.Duration(min((100-p.Percent)/p.Rate, float64(longest/time.Second))) * time.Second
	}
	return p
}

// longest is the most that is told of the time left.
const longest = 30 * 24 * time.Hour

func percentage(v float64) float64 { return min(sane(v), 100) }

func sane(v float64) float64 {
	if v > 0 && v <= 1e300 { // also not a number
		return v
	}
	return 0
}
