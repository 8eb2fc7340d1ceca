package channel

import (
	"context"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// resend is after how long an order that was put into an answer, and had no visible effect, is put into another: the
// answer may have been lost. The agent knows an order by its id.
const resend = 2 * time.Second

// Dispatcher hands commands to agents that hold a heartbeat open. It implements conductor.Dispatcher. All it knows
// is in memory: what must survive is in the conductor's store, which offers again after a restart.
type Dispatcher struct {
	now func() time.Time

	mu    sync.Mutex
	lines map[conductor.NodeID]*line
}

// line is one node's. A zero order time means: not sent yet.
type line struct {
	generation uint64
	heard      time.Time
	offer      *api.Command // until it is started or withdrawn
	offered    time.Time
	abort      step.ID // until it has ended
	aborted    time.Time
	turn       uint64        // the newest heartbeat's number; an older one ends empty
	watch      time.Duration // what the agent was told last
	wake       chan struct{} // closed at each change
}

// NewDispatcher makes an empty one.
func NewDispatcher(now func() time.Time) *Dispatcher {
	return &Dispatcher{now: now, lines: map[conductor.NodeID]*line{}}
}

var _ conductor.Dispatcher = (*Dispatcher)(nil)

// Offer hands c to the agent of that generation, in the answer of its open or next heartbeat, and again until it is
// started, withdrawn or replaced.
func (d *Dispatcher) Offer(node conductor.NodeID, generation uint64, c api.Command) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.line(node, generation)
	if l == nil {
		return
	}
	if l.offer == nil || l.offer.ID != c.ID {
		l.offered = time.Time{}
	}
	l.offer = &c
	if l.abort != c.ID {
		l.abort = ""
	}
	l.changed()
}

// Withdraw takes an offer back, or aborts the step if the agent may have got it.
func (d *Dispatcher) Withdraw(node conductor.NodeID, id step.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.line(node, 0)
	if l.offer != nil && l.offer.ID == id {
		l.offer = nil
		if l.offered.IsZero() {
			return
		}
	}
	l.abort, l.aborted = id, time.Time{}
	l.changed()
}

// Drop forgets the node and ends its held heartbeats.
func (d *Dispatcher) Drop(node conductor.NodeID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.lines[node]; l != nil {
		delete(d.lines, node)
		l.changed()
	}
}

// Heard is when an agent of this generation last proved itself; zero: never, or not since the server started.
func (d *Dispatcher) Heard(node conductor.NodeID, generation uint64) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.lines[node]; l != nil && l.generation == generation {
		return l.heard
	}
	return time.Time{}
}

// hear stamps a sign of life. A new process may have lost what was sent before: it gets its orders at once.
func (d *Dispatcher) hear(node conductor.NodeID, generation uint64, fresh bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.line(node, generation)
	if l == nil {
		return
	}
	l.heard = d.now()
	if fresh {
		l.offered, l.aborted, l.watch = time.Time{}, time.Time{}, 0
	}
}

// started ends the offer of a step that the conductor let start.
func (d *Dispatcher) started(node conductor.NodeID, id step.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.lines[node]; l != nil && l.offer != nil && l.offer.ID == id {
		l.offer = nil
	}
}

// ended ends all orders about a step whose result the conductor took.
func (d *Dispatcher) ended(node conductor.NodeID, id step.ID) {
	d.started(node, id)
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.lines[node]; l != nil && l.abort == id {
		l.abort = ""
	}
}

// next is the answer to a heartbeat: at once when there is an order or it is not to be held, else when there is one,
// when a newer heartbeat comes, when someone begins or ends to watch a running step, or after api.HeartbeatMax.
func (d *Dispatcher) next(ctx context.Context, node conductor.NodeID, generation uint64, hold, running bool, pace func() (time.Duration, <-chan struct{})) api.HeartbeatAnswer {
	ctx, cancel := context.WithTimeout(ctx, api.HeartbeatMax)
	defer cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.line(node, generation)
	if l == nil {
		return api.HeartbeatAnswer{}
	}
	l.turn++
	turn := l.turn
	l.changed()
	for {
		a := api.HeartbeatAnswer{Watch: l.watch}
		var watchers <-chan struct{} // never, as nil, when nothing runs that could be watched
		if running {
			a.Watch, watchers = d.outside(pace)
		}
		if d.lines[node] != l || l.turn != turn {
			return api.HeartbeatAnswer{Watch: l.watch}
		}
		wait := l.orders(&a, d.now())
		if a.Command != nil || a.Abort != "" || a.Watch != l.watch || !hold || ctx.Err() != nil {
			l.watch = a.Watch
			return a
		}
		d.sleep(ctx, l.wake, watchers, wait)
	}
}

// outside calls pace without the lock: it is another package's code.
func (d *Dispatcher) outside(pace func() (time.Duration, <-chan struct{})) (time.Duration, <-chan struct{}) {
	d.mu.Unlock()
	defer d.mu.Lock()
	return pace()
}

// sleep waits without the lock for a change of the line or of who watches, the context's end or wait.
func (d *Dispatcher) sleep(ctx context.Context, wake, watchers <-chan struct{}, wait time.Duration) {
	d.mu.Unlock()
	defer d.mu.Lock()
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-wake:
	case <-watchers:
	case <-ctx.Done():
	case <-t.C:
	}
}

// orders puts what is due into a, or says how long until something may be.
func (l *line) orders(a *api.HeartbeatAnswer, now time.Time) time.Duration {
	wait := api.HeartbeatMax
	due := func(sent *time.Time) bool {
		passed := now.Sub(*sent)
		if !sent.IsZero() && passed >= 0 && passed < resend {
			wait = min(wait, resend-passed)
			return false
		}
		*sent = now
		return true
	}
	if l.abort != "" && due(&l.aborted) {
		a.Abort = l.abort
	}
	if l.offer != nil && due(&l.offered) {
		c := *l.offer
		a.Command = &c
	}
	return wait
}

// line is the node's, made new for a newer generation; nil for one that is over. Generation 0 takes whatever is
// there, and the first that is known. Called with the lock held.
func (d *Dispatcher) line(node conductor.NodeID, generation uint64) *line {
	l := d.lines[node]
	switch {
	case l == nil:
		l = &line{generation: generation, wake: make(chan struct{})}
		d.lines[node] = l
	case generation == 0 || generation == l.generation:
	case generation < l.generation:
		return nil
	case l.generation == 0:
		l.generation = generation
	default:
		l.changed()
		l = &line{generation: generation, wake: make(chan struct{})}
		d.lines[node] = l
	}
	return l
}

// changed wakes whoever waits for this line.
func (l *line) changed() {
	close(l.wake)
	l.wake = make(chan struct{})
}
