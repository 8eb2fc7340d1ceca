package engine

import (
	"cmp"
	"container/heap"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/decide"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

const (
	lookTick    = 250 * time.Millisecond
	lookTime    = 15 * time.Second // one look
	lookSlow    = 2 * time.Second  // after this a look gives its place to others
	lookPlaces  = 64               // looks at a time; a BMC that is well answers in a fraction of a second
	slowPlaces  = 512              // looks at a time that wait for BMCs which are slow, or failed before
	lookFails   = 3                // looks in a row that must fail before the node is marked
	lookLongest = 8                // back-off, in intervals, while a BMC stays away
)

// looks keeps the power states of idle nodes true: now and then it asks each BMC. Nodes are spread over the interval, one
// BMC is asked by one look at a time, and BMCs that do not answer wait in places of their own, so that they delay only
// their own nodes (I28). It reads and never acts: what follows is for Decide. Without a change nothing is written.
type looks struct {
	eng   *Engine
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
	since  time.Time // of the first failure in a row
	last   string    // what it was
}

func newLooks(eng *Engine) *looks {
	return &looks{
		eng: eng, quick: make(chan struct{}, lookPlaces), slow: make(chan struct{}, slowPlaces),
		nodes: map[conductor.NodeID]*look{}, busy: map[string]bool{},
	}
}

// add takes a node in, at some moment of the coming interval.
func (s *looks) add(id conductor.NodeID) {
	every := s.eng.cfg.PowerSync
	if every <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nodes[id] == nil {
		l := &look{node: id, at: s.eng.cfg.Now().Add(rand.N(every))}
		s.nodes[id] = l
		heap.Push(&s.due, l)
	}
}

// run looks until ctx ends and waits for the looks under way.
func (s *looks) run(ctx context.Context) {
	if s.eng.cfg.PowerSync <= 0 {
		return
	}
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
func (s *looks) next() (*look, *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var later []*look
	defer func() {
		for _, l := range later {
			heap.Push(&s.due, l)
		}
	}()
	now := s.eng.cfg.Now()
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
func (s *looks) put(l *look, keep bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unmark(l)
	if !keep {
		delete(s.nodes, l.node)
		return
	}
	pause := s.eng.cfg.PowerSync
	if over := l.failed - lookFails; over > 0 {
		pause *= time.Duration(min(1<<min(over, 6), lookLongest))
	}
	if l.soon {
		pause, l.soon = time.Second, false
	}
	l.at = s.eng.cfg.Now().Add(pause - pause/10 + rand.N(pause/5+1))
	heap.Push(&s.due, l)
}

// look asks one node's BMC; false when the node is gone.
func (s *looks) look(ctx context.Context, l *look) bool {
	eng := s.eng
	eng.mu.Lock()
	_, waits := eng.waits[l.node]
	hand := eng.hands[l.node]
	eng.mu.Unlock()
	if waits || len(hand) > 0 || eng.cfg.Held != nil && eng.cfg.Held() != nil {
		return true // somebody acts upon it, or another server may
	}
	n, err := eng.Node(ctx, string(l.node))
	if err != nil {
		return !fault.Is(err, fault.NotFound)
	}
	if !s.name(l, eng.health(n).Origin) {
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
		if tries >= lookFails && n.Fault != conductor.FaultPower {
			s.tell(ctx, n, conductor.PowerLost{Version: n.Version, Fault: f, Tries: tries, Since: since})
		}
		return true
	}
	s.forget(l)
	if n.Fault == conductor.FaultPower || p != "" && p != n.Power || more.News(n) {
		s.tell(ctx, n, conductor.PowerRead{Version: n.Version, Power: p, Status: more})
	}
	return true
}

// ask reads the power state, and the rest of the status where the BMC tells it.
func (s *looks) ask(ctx context.Context, n conductor.Node) (p conductor.Power, more *conductor.Status, err error) {
	b, err := s.eng.open(ctx, n, false)
	if err != nil {
		return "", nil, err
	}
	limited, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	if teller, ok := b.(conductor.StatusReader); ok {
		var status conductor.Status
		status, err = teller.Status(limited)
		p, more = status.Power, &status
	} else {
		p, err = b.Power(limited)
	}
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		return "", nil, fault.New(fault.BMCUnreachable, "the BMC did not answer within %s", lookTime).Because(err)
	}
	if err != nil {
		more = nil
	}
	return p, more, err
}

func (s *looks) tell(ctx context.Context, n conductor.Node, e conductor.Event) {
	if err := s.eng.apply(ctx, n.UUID, e, nil); err != nil && ctx.Err() == nil {
		s.eng.cfg.Log.Warn("take over a power state", "node", n.Name, "err", err)
	}
}

// unmark lets others ask the look's BMC. Called with the lock held.
func (s *looks) unmark(l *look) {
	if l.marks {
		delete(s.busy, l.bmc)
		l.marks = false
	}
}

// name keeps which BMC a node is behind, and holds it for this look; false when another look does.
func (s *looks) name(l *look, bmc string) bool {
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

func (s *looks) fail(l *look, why string) (int, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.failed == 0 {
		l.since = s.eng.cfg.Now()
	}
	l.failed++
	l.last = why
	return l.failed, l.since
}

func (s *looks) forget(l *look) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.failed, l.last, l.since = 0, "", time.Time{}
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
	s     *looks
	timer *time.Timer

	mu   sync.Mutex
	held chan struct{} // quick or slow; nil once left
}

// place takes a place; nil when there is none. A BMC that failed before waits among the slow from the start.
func (s *looks) place(slow bool) *place {
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

// health is what the node's driver knows of its BMC; the zero Health of one that keeps no account.
func (eng *Engine) health(n conductor.Node) conductor.Health {
	if d, ok := eng.drivers[n.Driver].(conductor.HealthTeller); ok {
		return d.Health(n.DriverInfo)
	}
	return conductor.Health{}
}

// BMCHealth is how a node's BMC has answered lately, by the driver's breaker and by the periodic looks at the power
// state. It asks the BMC nothing.
func (eng *Engine) BMCHealth(n conductor.Node) conductor.Health {
	h := eng.health(n)
	s := eng.looks
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.nodes[n.UUID]; l != nil && l.failed > h.Failed {
		h.Failed, h.Last = l.failed, cmp.Or(h.Last, l.last)
		if l.at.After(h.Next) {
			h.Next = l.at
		}
	}
	return h
}
