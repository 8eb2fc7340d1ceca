package pure

import (
	"fmt"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// turn is one choice of the scheduler: what happens next, and three numbers that say to whom and how. A number is
// taken modulo what there is to choose from; a turn for which there is nothing to do does nothing, so that any part of
// a list is a list as well.
type turn struct {
	Kind    kind
	A, B, C uint16
}

type kind uint8

const (
	flow      kind = iota // everything goes on for a second as it should
	deliver               // one message arrives, not the oldest
	drop                  // one is lost
	duplicate             // one arrives twice, the second time up to minutes later
	work                  // the server takes one step of an act upon a BMC
	tick                  // the server looks at its deadlines
	advance               // time passes
	finish                // a running step ends
	beat                  // an agent heartbeats
	verb                  // an operator asks for a verb
	abort
	power
	maintain
	crashServer
	startServer
	crashAgent
	startAgent
	reboot // a machine restarts by itself
	attack
	arm  // a fault at one of the next points
	sick // a BMC falls ill, or gets well
	jump // the server's clock is set
	kinds
)

// weights make flows go deep between the faults.
var weights = [kinds]int{60, 10, 3, 3, 8, 3, 3, 6, 4, 6, 2, 1, 1, 1, 3, 2, 4, 1, 4, 5, 1, 1}

// malady is a fault at a point: a place in the code of either side where something can go wrong.
type malady uint8

const (
	none malady = iota
	serverDies
	agentDies    // of the node concerned
	machineDies  // likewise: it restarts
	storeFails   // the transaction does not commit
	storeMoves   // another transaction commits first
	messageLost  //
	messageTwice //
	messageSlow  // it is overtaken by everything that is sent now
	actFails     // the BMC refuses
	actUnheard   // it does what it was told, the answer is lost
	actLate      // likewise, but minutes later
	maladies
)

var maladyNames = [maladies]string{"none", "server dies", "agent dies", "machine dies", "store fails", "store moves", "message lost", "message twice", "message slow",
	"act fails", "act unheard", "act late"}

// died unwinds the code of a process that was killed.
type died struct{}

// broken unwinds a run that broke a rule.
type broken struct{ number, text string }

func (b broken) Error() string { return b.number + ": " + b.text }

// world is everything.
type world struct {
	without  rules
	mono     time.Duration // real time since the start
	skew     time.Duration // of the server's wall clock
	uptime   time.Duration // in which the server ran
	db       store
	srv      *server // nil while it is down
	machines []*machine
	net      []*packet
	seen     []*packet // what an attacker recorded
	ledger   []*execution
	ids      int
	leaked   bool // the attacker reads media
	calm     bool // no faults any more
	busy     bool // something happened in this second

	points int
	fault  func(n int, at string) malady
	armed  struct {
		at    int
		what  malady
		valid bool
	}
	inside  string // whose code runs: "server", "agent 0", ""
	waits   map[conductor.NodeID]waited
	granted []token // all that were given
	trace   []string
	quiet   bool // no trace
	turns   int
}

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// wall is the server's clock.
func (w *world) wall() time.Time { return epoch.Add(w.mono + w.skew) }

func (w *world) newID() string { w.ids++; return fmt.Sprintf("id-%d", w.ids) }

func (w *world) say(format string, args ...any) {
	w.busy = true
	if !w.quiet {
		w.trace = append(w.trace, fmt.Sprintf("%4d %9s  ", w.turns, w.mono)+fmt.Sprintf(format, args...))
	}
}

// breaks ends the run: a rule is broken.
func (w *world) breaks(number, format string, args ...any) {
	w.quiet = false
	w.say("BROKEN "+number+": "+format, args...)
	panic(broken{number, fmt.Sprintf(format, args...)})
}

// point is a place where a fault may strike node i. It gives the fault that its caller has to act on.
func (w *world) point(at string, i int) malady {
	if w.calm {
		return none
	}
	w.points++
	m := none
	if w.fault != nil {
		m = w.fault(w.points, at)
	}
	if w.armed.valid && w.points >= w.armed.at && suits(w.armed.what, at) {
		m, w.armed.valid = w.armed.what, false
	}
	if m == none {
		return none
	}
	w.say("fault at %s of node %d: %s", at, i, maladyNames[m])
	switch m {
	case serverDies:
		w.killServer()
	case agentDies:
		w.killAgent(i)
	case machineDies:
		w.machines[i].restart(true)
	}
	return m
}

// suits tells whether a fault can strike at a point.
func suits(m malady, at string) bool {
	switch m {
	case storeFails, storeMoves:
		return at == "commit" || at == "order" && m == storeFails
	case messageLost, messageTwice, messageSlow:
		return at == "send"
	case actFails, actUnheard, actLate:
		return at == "bmc"
	}
	return m != none
}

// killServer ends the server's process; if its code runs, that ends here.
func (w *world) killServer() {
	if w.srv == nil {
		return
	}
	w.say("the server is killed")
	w.srv = nil
	if w.inside == "server" {
		panic(died{})
	}
}

func (w *world) killAgent(i int) {
	m := w.machines[i]
	if m.boot == nil || m.boot.proc == nil {
		return
	}
	w.say("agent %d is killed", i)
	m.boot.cut("its process was killed")
	m.boot.proc = nil
	if w.inside == agentName(i) {
		panic(died{})
	}
}

func agentName(i int) string { return fmt.Sprintf("agent %d", i) }

// guard runs the code of one process, which may be killed in it.
func (w *world) guard(who string, act func()) {
	defer func() {
		w.inside = ""
		if r := recover(); r != nil {
			if _, ok := r.(died); !ok {
				panic(r)
			}
		}
	}()
	w.inside = who
	act()
}

// play runs turns to their end, then lets everything come to rest. It gives the broken rule, if one was.
func (w *world) play(turns []turn) (err error) {
	defer func() {
		if r := recover(); r != nil {
			b, ok := r.(broken)
			if !ok {
				panic(r)
			}
			err = b
		}
	}()
	for _, t := range turns {
		w.turns++
		w.take(t)
		w.check()
	}
	w.rest()
	return nil
}

// pick is number modulo n; ok is false when there is nothing to choose.
func pick(number uint16, n int) (int, bool) {
	if n <= 0 {
		return 0, false
	}
	return int(number) % n, true
}

func (w *world) take(t turn) {
	i := int(t.A) % len(w.machines)
	m := w.machines[i]
	switch t.Kind {
	case flow:
		w.goOn()
	case deliver, drop, duplicate:
		n, ok := pick(t.A, len(w.net))
		if !ok {
			return
		}
		p := w.net[n]
		w.net = slices.Delete(w.net, n, n+1)
		if t.Kind == duplicate {
			again := *p
			again.due = w.mono + []time.Duration{0, 5 * time.Second, time.Minute, 10 * time.Minute}[t.B%4]
			w.net = append(w.net, &again)
		}
		if t.Kind == drop {
			w.say("lost: %s", p)
			return
		}
		w.arrive(p)
	case work:
		w.workOn(i)
	case tick:
		w.tickServer()
	case advance:
		w.pass([]time.Duration{time.Second, 10 * time.Second, time.Minute, 6 * time.Minute, 40 * time.Minute}[t.B%5])
	case finish:
		m.finish(int(t.B))
	case beat:
		m.act(func(p *proc) { p.beat() })
	case verb:
		w.askVerb(i, int(t.B), int(t.C))
	case abort:
		w.askAbort(i)
	case power:
		w.askPower(i, int(t.B))
	case maintain:
		w.maintain(i)
	case crashServer:
		w.killServer()
	case startServer:
		w.startServer()
	case crashAgent:
		w.killAgent(i)
	case startAgent:
		m.startAgent()
	case reboot:
		m.restart(t.B%2 == 0)
	case attack:
		w.attack(i, int(t.B), int(t.C))
	case arm:
		w.armed.at, w.armed.what, w.armed.valid = w.points+1+int(t.A)%12, malady(1+int(t.B)%int(maladies-1)), true
	case sick:
		m.sick = []sickness{well, dead, lying}[t.B%3]
		w.say("BMC %d is %s", i, m.sick)
	case jump:
		by := []time.Duration{-time.Hour, time.Hour, 10 * 365 * 24 * time.Hour, -5 * time.Minute}[t.B%4]
		w.skew += by
		w.say("the server's clock jumps by %s", by)
		w.tickServer() // it looks every second
	}
}

// pass lets time go by; the server looks at its clock now and then, as its ticker does.
func (w *world) pass(d time.Duration) {
	w.mono += d
	if w.srv != nil {
		w.uptime += d
		// Its ticker ran meanwhile: this was no standstill.
		w.srv.last = w.srv.last.Add(d)
	}
	for _, m := range w.machines {
		m.lateActs()
	}
}

// goOn lets a second pass in which everybody does what is due, oldest first.
func (w *world) goOn() {
	idle := !w.busy && !slices.ContainsFunc(w.net, func(p *packet) bool { return p.due <= w.mono })
	w.busy = false
	d := time.Second
	if idle {
		d = 15 * time.Second
	}
	w.pass(d)
	for _, p := range slices.Clone(w.net) {
		if n := slices.Index(w.net, p); n >= 0 && w.mono >= p.due {
			w.net = slices.Delete(w.net, n, n+1)
			w.arrive(p)
		}
	}
	for i, m := range w.machines {
		w.workOn(i)
		m.goOn()
	}
	w.tickServer()
}

// rest ends all faults and lets everything run until nothing is left to do; then an operator takes every node back
// into use. What does not come to its end is a broken promise.
func (w *world) rest() {
	w.calm, w.armed.valid = true, false
	w.say("all faults stop")
	for _, m := range w.machines {
		m.sick, m.unfenced = well, m.unfenced || m.sick == lying
	}
	w.settle("the faults stopped")
	for i := range w.machines {
		w.reuse(i)
	}
}

const patience = 4000 // seconds of goOn, most of them 15 s long

func (w *world) settle(since string) {
	for range patience {
		if w.srv == nil {
			w.startServer()
		}
		for _, m := range w.machines {
			if m.boot != nil && m.boot.proc == nil {
				m.startAgent()
			}
		}
		w.goOn()
		w.check()
		if w.settled() {
			w.checkSettled()
			return
		}
	}
	for i, r := range w.db.rows {
		if f := r.node.Flow; f != nil && f.Phase != conductor.PhaseEnded {
			w.breaks("liveness", "node %d is still %s, in phase %s, %s after %s: waits for %+v", i, r.node.State, f.Phase, w.mono, since, f.Wait)
		}
	}
	w.breaks("liveness", "effects are left: %+v", w.db.effects)
}

func (w *world) settled() bool {
	for _, r := range w.db.rows {
		if f := r.node.Flow; f != nil && f.Phase != conductor.PhaseEnded || r.node.PowerTarget != "" {
			return false
		}
	}
	return len(w.db.effects) == 0
}

// execution is a step's work on real devices: what the records are compared with.
type execution struct {
	node  int
	boot  int // of the machine; 0: out of band
	id    step.ID
	nonce string
	state string // "running", "succeeded", "failed", "aborted", "cut"
	began time.Duration
}

// worked is how an id's work went: "" if it never began.
func (w *world) worked(id step.ID) string {
	for _, e := range w.ledger {
		if e.id == id {
			return e.state
		}
	}
	return ""
}

// begins writes a line of the ledger. I8 is counted here, by what machines do.
func (w *world) begins(e *execution) {
	if w.worked(e.id) != "" {
		w.breaks("I8", "step %s runs a second time, on machine %d in its boot %d", e.id, e.node, e.boot)
	}
	e.state, e.began = "running", w.mono
	w.ledger = append(w.ledger, e)
}
