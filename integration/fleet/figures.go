package fleet

import (
	"context"
	"errors"
	"maps"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Timing is how long things of one kind took, in milliseconds, and how many there were.
type Timing struct {
	Count     uint64  `json:"count"`
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	P999      float64 `json:"p99_9_ms"`
	Max       float64 `json:"max_ms"`
}

// histogram counts durations with an error of less than 2 %, without a lock. Its zero value is empty.
type histogram struct {
	slots [64 << fine]atomic.Uint64
	most  atomic.Int64
	count atomic.Uint64
}

// fine is how many bits below the highest one tell durations apart.
const fine = 6

func slot(d time.Duration) int {
	v := uint64(max(d, 0))
	e := bits.Len64(v >> fine)
	return e<<fine | int(v>>max(e-1, 0)&(1<<fine-1))
}

// least is the smallest duration of a slot.
func least(slot int) time.Duration {
	e := slot >> fine
	v := uint64(slot & (1<<fine - 1))
	if e > 0 {
		v = (v | 1<<fine) << (e - 1)
	}
	return time.Duration(v)
}

func (h *histogram) add(d time.Duration) {
	h.slots[slot(d)].Add(1)
	h.count.Add(1)
	for {
		most := h.most.Load()
		if int64(d) <= most || h.most.CompareAndSwap(most, int64(d)) {
			return
		}
	}
}

// quantile is the duration that a share of all did not exceed.
func (h *histogram) quantile(share float64) time.Duration {
	rest := int64(math.Ceil(share * float64(h.count.Load())))
	for i := range h.slots {
		if rest -= int64(h.slots[i].Load()); rest <= 0 {
			return least(i)
		}
	}
	return time.Duration(h.most.Load())
}

func (h *histogram) timing(over time.Duration) Timing {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	t := Timing{Count: h.count.Load(), Max: ms(time.Duration(h.most.Load()))}
	if t.Count > 0 {
		t.P50, t.P99, t.P999 = ms(h.quantile(0.5)), ms(h.quantile(0.99)), ms(h.quantile(0.999))
		t.PerSecond = float64(t.Count) / over.Seconds()
	}
	return t
}

// figures is all that a fleet measures.
type figures struct {
	lookups histogram // from the intended start of an agent to its admission
	gaps    histogram // from a step's end to the next one's start, in a machine
	paths   map[string]*histogram

	since     atomic.Int64 // Unix nanoseconds when Count was called; 0: it was not
	late      histogram    // heartbeats held to the end: how long after it they were answered
	redialled histogram    // heartbeats of agents that dial for each
	heldGaps  histogram    // gaps of the others
	again     atomic.Int64 // lookups beyond the first of an agent
	erasing   atomic.Int64 // machines whose erasing takes EraseTime, and is under way

	mu      sync.Mutex
	refused map[string]int // by reason
	errors  map[string]int // by what failed
	runs    map[step.ID]int
}

func (g *figures) init() {
	g.paths, g.refused, g.errors, g.runs = map[string]*histogram{}, map[string]int{}, map[string]int{}, map[step.ID]int{}
	for _, p := range []string{api.PathLookup, api.PathHeartbeat, api.PathStart, api.PathResult} {
		g.paths[p] = &histogram{}
	}
}

// Cleaned is before the reasons that requests of Busy machines were not granted for: an agent whose last step has ended
// is told that its session is over, if its machine is not off before.
const Cleaned = "cleaned: "

// watch gives what is told of every request of one agent. What the end of its machine cut short is nobody's failure.
func (g *figures) watch(ctx context.Context, whose string) func(path string, took time.Duration, err error) {
	var lookups atomic.Int64
	return func(path string, took time.Duration, err error) {
		switch {
		case err != nil && ctx.Err() != nil:
			return
		case err != nil:
		case path == api.PathLookup && lookups.Add(1) > 1:
			g.again.Add(1)
		case path == api.PathHeartbeat && took >= api.HeartbeatMax && g.counted(time.Now().Add(-took)):
			g.late.add(took - api.HeartbeatMax)
		}
		g.tried(whose, path, took, err)
	}
}

// counted tells whether what began then is to be counted for Counted.
func (g *figures) counted(began time.Time) bool {
	since := g.since.Load()
	return since > 0 && began.UnixNano() >= since
}

// tried counts a request by what came of it. whose is before the reasons of those that were not granted.
func (g *figures) tried(whose, path string, took time.Duration, err error) {
	if err == nil {
		if h := g.paths[path]; h != nil {
			h.add(took)
		}
		return
	}
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.refused[whose+string(f.Reason)]++
		return
	}
	g.failed(whose+path, err)
}

func (g *figures) failed(what string, _ error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.errors[what]++
}

func (g *figures) executed(id step.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.runs[id]++
}

// Summary is what a fleet has seen so far.
type Summary struct {
	Nodes      int            `json:"nodes"`
	Seconds    float64        `json:"seconds"`
	Booted     int            `json:"booted"`       // machines powered on with a boot medium, boots counted
	Lookups    Timing         `json:"lookups"`      // from an agent's intended start to its admission, refusals and pauses included
	Admitted   Timing         `json:"lookup_tries"` // the requests that were accepted
	Heartbeats Timing         `json:"heartbeats"`   // time to the answer, held ones included
	Starts     Timing         `json:"starts"`
	Results    Timing         `json:"results"`
	StepGap    Timing         `json:"step_gap"` // end of a step's work to the start of the next one's
	Executed   int            `json:"steps_executed"`
	Repeated   int            `json:"steps_executed_twice"` // always 0, or something is badly wrong
	Refused    map[string]int `json:"refused,omitempty"`    // requests by the reason of the refusal
	Errors     map[string]int `json:"errors,omitempty"`     // requests without a usable answer, by path
	States     map[string]int `json:"states,omitempty"`     // nodes by provision state, at the end
	Beats      *Timing        `json:"beats,omitempty"`      // of the fixed rate, from the intended time
}

// Summary is what was seen since New.
func (f *Fleet) Summary() Summary {
	over := time.Since(f.began)
	g := &f.figures
	s := Summary{
		Nodes: f.Nodes, Seconds: over.Seconds(), Booted: f.Booted(), Lookups: g.lookups.timing(over), StepGap: g.gaps.timing(over),
		Admitted: g.paths[api.PathLookup].timing(over), Heartbeats: g.paths[api.PathHeartbeat].timing(over),
		Starts: g.paths[api.PathStart].timing(over), Results: g.paths[api.PathResult].timing(over),
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s.Refused, s.Errors, s.Executed = maps.Clone(g.refused), maps.Clone(g.errors), len(g.runs)
	for _, n := range g.runs {
		if n > 1 {
			s.Repeated++
		}
	}
	return s
}
