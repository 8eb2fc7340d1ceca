package output

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Display shows watched work: lines, and on a terminal bars below them, one for each disk a step works on. Several
// nodes may be shown at once.
type Display struct {
	p        *Printer
	mu       sync.Mutex
	out      io.Writer
	progress *mpb.Progress // nil without a terminal
	shown    map[string]*bar
	rank     int
}

// bar is one line at the foot of the terminal. Its texts are read by the drawing goroutine.
type bar struct {
	*mpb.Bar
	mu   sync.Mutex
	name string
	tail string
}

func (b *bar) texts() (name, tail string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.name, b.tail
}

func (b *bar) set(name, tail string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.name, b.tail = name, tail
}

// NewDisplay makes a display of what p writes to; Close ends it.
func NewDisplay(p *Printer) *Display {
	d := &Display{p: p, out: p.Notes(), shown: map[string]*bar{}}
	if p.Terminal && p.Format == "table" {
		d.progress = mpb.New(mpb.WithOutput(p.Out), mpb.WithWidth(40), mpb.WithAutoRefresh())
		d.out = d.progress
	}
	return d
}

// Line writes above the bars.
func (d *Display) Line(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintln(d.out, strings.NewReplacer("\n", " ", "\x1b", " ").Replace(text))
}

// Bars brings the bars of a node up to date: what it waits for, and its running steps.
func (d *Display) Bars(node string, wait *api.Wait, running []api.StepView) {
	if d.progress == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := map[string]bool{}
	show := func(key, name, tail string, percent float64, filler bool) {
		key = node + "\x00" + key
		now[key] = true
		b := d.shown[key]
		if b == nil {
			b = d.add(filler)
			d.shown[key] = b
		}
		b.set(name, tail)
		b.SetCurrent(int64(percent * 10))
	}
	for _, s := range running {
		for i, x := range rows(s) {
			show(fmt.Sprintf("%s/%d", s.ID, i), node+" "+x.name, x.tail, x.percent, true)
		}
	}
	if len(running) == 0 && wait != nil {
		show("wait", node+" waits for "+wait.For, " "+d.p.Ago(wait.Since)+" so far, "+left(d.p.Now(), wait.Deadline), 0, false)
	}
	d.drop(func(key string) bool { return strings.HasPrefix(key, node+"\x00") && !now[key] })
}

// part is what one bar shows.
type part struct {
	name, tail string
	percent    float64
}

// rows is one bar for each device of a step, or one for all of it.
func rows(s api.StepView) []part {
	p := s.Progress
	if p == nil {
		p = &step.Progress{}
	}
	if len(p.Devices) == 0 {
		return []part{{s.Step, " " + ProgressText(p), p.Percent}}
	}
	var out []part
	for _, d := range p.Devices {
		out = append(out, part{s.Step + " " + d.Device, " " + DeviceText(d, p.Unit), d.Percent})
	}
	return out
}

func (d *Display) add(filler bool) *bar {
	b := &bar{}
	name := decor.Any(func(decor.Statistics) string { n, _ := b.texts(); return n + " " }, decor.WC{C: decor.DindentRight | decor.DextraSpace})
	tail := decor.Any(func(decor.Statistics) string { _, t := b.texts(); return t })
	style := mpb.NopStyle()
	if filler {
		style = mpb.BarStyle()
	}
	d.rank++
	b.Bar = d.progress.New(1001, style, mpb.BarPriority(d.rank), mpb.BarRemoveOnComplete(), mpb.PrependDecorators(name), mpb.AppendDecorators(tail))
	return b
}

// drop takes bars away.
func (d *Display) drop(match func(key string) bool) {
	for _, key := range slices.Sorted(maps.Keys(d.shown)) {
		if match(key) {
			d.shown[key].Abort(true)
			delete(d.shown, key)
		}
	}
}

// Clear takes a node's bars away.
func (d *Display) Clear(node string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop(func(key string) bool { return strings.HasPrefix(key, node+"\x00") })
}

// Close ends the drawing.
func (d *Display) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop(func(string) bool { return true })
	if d.progress != nil {
		d.progress.Wait()
	}
}

// Transfer shows on a terminal how many of length bytes were sent (-1: nobody knows how many there are); sent is nil
// elsewhere. end takes the bar away.
func (p *Printer) Transfer(name string, length int64) (sent func(total int64), end func()) {
	if !p.Terminal {
		return nil, func() {}
	}
	bars := mpb.New(mpb.WithOutput(p.Out), mpb.WithWidth(40), mpb.WithAutoRefresh())
	one := bars.AddBar(max(length, 0), mpb.BarRemoveOnComplete(), mpb.PrependDecorators(decor.Name(name+" ")),
		mpb.AppendDecorators(decor.CountersKiloByte(" % .1f of % .1f"), decor.AverageSpeed(decor.SizeB1000(0), ", % .1f")))
	return one.SetCurrent, func() {
		one.Abort(true)
		bars.Wait()
	}
}
