// Package powersync keeps the power states of idle nodes true (docs/adr/0042-power-sync.md): now and then it asks each BMC,
// and tells what it found as an event. It reads and never acts: what follows is decided elsewhere.
//
// Start at Looks.Run; next chooses whom to ask, look asks.
package powersync

import (
	"container/heap"
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/decide"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

const (
	lookOwed    = time.Minute // between two looks for what is owed, where none are made otherwise
	lookTick    = 250 * time.Millisecond
	lookTime    = 15 * time.Second // one look
	lookSlow    = 2 * time.Second  // after this a look gives its place to others
	lookPlaces  = 64               // looks at a time; a BMC that is well answers in a fraction of a second
	slowPlaces  = 512              // looks at a time that wait for BMCs which are slow, or failed before
	lookFails   = 3                // looks in a row that must fail before the node is marked
	lookLongest = 8                // back-off, in intervals, while a BMC stays away
)

// Config is what looks are made with. All fields but Held are required.
type Config struct {
	Every time.Duration // between two looks at a node; 0: never, but for what is owed to a machine
	Now   func() time.Time
	Log   *slog.Logger
	Held  func() error                   // why the server's lease of the store does not hold; nil: it does
	Busy  func(id conductor.NodeID) bool // somebody acts upon the node, or work on it is open
	Node  func(ctx context.Context, ident string) (conductor.Node, error)
	BMC   func(ctx context.Context, n conductor.Node) (conductor.BMC, error) // opens the node's, to be read
	Knows func(n conductor.Node) conductor.Health                            // what the driver knows of the BMC
	Apply func(ctx context.Context, id conductor.NodeID, e conductor.Event) error
}

// Looks are the looks at a fleet. Nodes are spread over the interval, one
// BMC is asked by one look at a time, and BMCs that do not answer wait in places of their own, so that they delay only
// their own nodes (I28). Without a change nothing is written.
type Looks struct {
	cfg   Config
	quick chan struct{}
	slow  chan struct{}

	mu    sync.Mutex
	due   lookQueue
	nodes map[conductor.NodeID]*look
	busy  map[string]bool // BMCs that are being asked
}

// look is one node's place in the queue, and what its last looks came to.
type look struct {
	node   conductor.NodeID
	at     time.Time
	bmc    string // as the driver names it; "" until the first look
	marks  bool   // bmc is in busy because of this look
	soon   bool   // it did not come to ask, and is to be tried again without waiting for the interval
	failed int
	since  time.Time          // of the first failure in a row
	last   conductor.Exchange // the last failure
}

// New makes looks at no node yet.
func New(cfg Config) *Looks {
	return &Looks{
		cfg: cfg, quick: make(chan struct{}, lookPlaces), slow: make(chan struct{}, slowPlaces),
		nodes: map[conductor.NodeID]*look{}, busy: map[string]bool{},
	}
}

// Add takes a node in, at some moment of the coming interval.
func (s *Looks) Add(id conductor.NodeID) {
	every := s.every()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nodes[id] == nil {
		l := &look{node: id, at: s.cfg.Now().Add(rand.N(every))}
		s.nodes[id] = l
		heap.Push(&s.due, l)
	}
}

// every is the interval. Without one only nodes are looked at to whose machines something is owed.
func (s *Looks) every() time.Duration {
	if s.cfg.Every <= 0 {
		return lookOwed
	}
	return s.cfg.Every
}

// Run looks until ctx ends and waits for the looks under way.
func (s *Looks) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	t := time.NewTicker(lookTick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for {
			l, p := s.next()
			if l == nil {
				break
			}
			wg.Go(func() {
				defer p.leave()
				s.put(l, s.look(ctx, l))
			})
		}
	}
}

// next takes the first look that is due and has a place; nil when there is none.
func (s *Looks) next() (*look, *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var later []*look
	defer func() {
		for _, l := range later {
			heap.Push(&s.due, l)
		}
	}()
	now := s.cfg.Now()
	for len(s.due) > 0 && !s.due[0].at.After(now) {
		p := s.place(s.due[0].failed > 0)
		if p == nil && s.due[0].failed == 0 {
			return nil, nil // all places are taken: the queue waits in its order
		}
		l := heap.Pop(&s.due).(*look)
		if p != nil && (l.bmc == "" || !s.busy[l.bmc]) {
			if l.marks = l.bmc != ""; l.marks {
				s.busy[l.bmc] = true
			}
			return l, p
		}
		if p != nil {
			p.leave()
		}
		l.at = now.Add(time.Second)
		later = append(later, l)
	}
	return nil, nil
}

// put queues a look again.
func (s *Looks) put(l *look, keep bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unmark(l)
	if !keep {
		delete(s.nodes, l.node)
		return
	}
	pause := s.every()
	if over := l.failed - lookFails; over > 0 {
		pause *= time.Duration(min(1<<min(over, 6), lookLongest))
	}
	if l.soon {
		pause, l.soon = time.Second, false
	}
	l.at = s.cfg.Now().Add(pause - pause/10 + rand.N(pause/5+1))
	heap.Push(&s.due, l)
}

// look asks one node's BMC; false when the node is gone.
func (s *Looks) look(ctx context.Context, l *look) bool {
	if s.cfg.Busy(l.node) || s.cfg.Held != nil && s.cfg.Held() != nil {
		return true // somebody acts upon it, or another server may
	}
	n, err := s.cfg.Node(ctx, string(l.node))
	if err != nil {
		return !fault.Is(err, fault.NotFound)
	}
	if s.cfg.Every <= 0 && n.Owed == nil {
		return false
	}
	if !s.name(l, s.cfg.Knows(n).Origin) {
		return true // another look asks that BMC now
	}
	if !decide.Synced(n) {
		s.forget(l)
		return true
	}
	p, more, err := s.ask(ctx, n)
	switch {
	case ctx.Err() != nil, fault.Has(err, fault.StorageUnavailable):
		return true
	case err != nil:
		f := fault.From(err)
		tries, since := s.fail(l, f.Message)
		if tries >= lookFails && !n.Maintenance {
			s.tell(ctx, n, conductor.PowerLost{Version: n.Version, Fault: f, Tries: tries, Since: since})
		}
		return true
	}
	s.forget(l)
	if n.Fault == conductor.FaultPower || p != "" && p != n.Power || more.News(n) || n.Owed.Due(s.cfg.Now()) {
		s.tell(ctx, n, conductor.PowerRead{Version: n.Version, Power: p, Status: more})
	}
	return true
}

// ask reads the power state, and the rest of the status where the BMC tells it.
func (s *Looks) ask(ctx context.Context, n conductor.Node) (p conductor.Power, more *conductor.Status, err error) {
	b, err := s.cfg.BMC(ctx, n)
	if err != nil {
		return "", nil, err
	}
	limited, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	p, more, err = conductor.LookAt(limited, b)
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		return "", nil, fault.New(fault.BMCUnreachable, "the BMC did not answer within %s", lookTime).Because(err)
	}
	return p, more, err
}

func (s *Looks) tell(ctx context.Context, n conductor.Node, e conductor.Event) {
	if err := s.cfg.Apply(ctx, n.UUID, e); err != nil && ctx.Err() == nil {
		s.cfg.Log.Warn("take over a power state", "node", n.Name, "err", err)
	}
}

// unmark lets others ask the look's BMC. Called with the lock held.
func (s *Looks) unmark(l *look) {
	if l.marks {
		delete(s.busy, l.bmc)
		l.marks = false
	}
}

// name keeps which BMC a node is behind, and holds it for this look; false when another look does.
func (s *Looks) name(l *look, bmc string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.bmc == bmc {
		return true // held since it was taken from the queue
	}
	s.unmark(l)
	l.bmc = bmc
	if bmc == "" {
		return true
	}
	if s.busy[bmc] {
		l.soon = true
		return false
	}
	s.busy[bmc], l.marks = true, true
	return true
}

func (s *Looks) fail(l *look, why string) (int, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.failed == 0 {
		l.since = s.cfg.Now()
	}
	l.failed++
	l.last = conductor.Exchange{Asked: "how the machine's power is", Came: why, At: s.cfg.Now()}
	return l.failed, l.since
}

func (s *Looks) forget(l *look) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.failed, l.last, l.since = 0, conductor.Exchange{}, time.Time{}
}

// lookQueue is a heap by time.
type lookQueue []*look

func (q lookQueue) Len() int           { return len(q) }
func (q lookQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q lookQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *lookQueue) Push(x any)        { *q = append(*q, x.(*look)) }

// Pop is heap's.
func (q *lookQueue) Pop() any {
	old := *q
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return l
}

// place is what a look holds while it asks: a quick one, which it changes for a slow one when the answer is long in
// coming.
type place struct {
	s     *Looks
	timer *time.Timer

	mu   sync.Mutex
	held chan struct{} // quick or slow; nil once left
}

// place takes a place; nil when there is none. A BMC that failed before waits among the slow from the start.
func (s *Looks) place(slow bool) *place {
	p := &place{s: s, held: s.quick}
	if slow {
		p.held = s.slow
	}
	select {
	case p.held <- struct{}{}:
	default:
		return nil
	}
	if !slow {
		p.timer = time.AfterFunc(lookSlow, p.change)
	}
	return p
}

func (p *place) change() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held != p.s.quick {
		return
	}
	select {
	case p.s.slow <- struct{}{}:
		<-p.s.quick
		p.held = p.s.slow
	default: // all slow places are taken: it stays
	}
}

func (p *place) leave() {
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	<-p.held
	p.held = nil
}

// Health is how a node's BMC has answered lately, by the driver's breaker and by these looks. It asks the BMC nothing.
func (s *Looks) Health(n conductor.Node) conductor.Health {
	h := s.cfg.Knows(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.nodes[n.UUID]; l != nil && l.failed > h.Failed {
		if h.Failed == 0 { // the BMC answers, but not with what was asked for
			h.Last = l.last
		}
		h.Failed = l.failed
		if l.at.After(h.Next) {
			h.Next = l.at
		}
	}
	return h
}
