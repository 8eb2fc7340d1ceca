package pure

import (
	"fmt"
	"time"

	"github.com/bessemer-metal/bessemer/agent/run"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// packet is a message on its way: a request to the server, or an answer to an agent. Answers find the machine and its
// boot, not the process that asked: that an answer meant for another process does no harm is the core's business.
type packet struct {
	n      int
	node   int
	boot   int
	peer   conductor.Peer
	token  *token
	body   any
	sent   time.Duration
	due    time.Duration // it is held up until then
	call   *packet       // the request itself, for its answer to name
	answer bool
	evil   bool // the attacker's
}

func (p *packet) String() string {
	way, who := "to the server", ""
	if p.answer {
		way = "to the agent"
	}
	if p.evil {
		who = ", attacker's"
	}
	body := fmt.Sprintf("%T", p.body)
	switch b := p.body.(type) {
	case start:
		body += fmt.Sprintf(" %s %s", b.id, b.nonce)
	case result:
		body += fmt.Sprintf(" %s %s", b.end.ID, b.end.Outcome)
	case granted:
		body += fmt.Sprintf(" %s %s", b.id, b.nonce)
	case refusal:
		body += fmt.Sprintf(": %v", b.err)
	case orders:
		if b.command != nil {
			body += " run " + string(b.command.ID)
		}
		if b.abort != "" {
			body += " abort " + string(b.abort)
		}
	}
	return fmt.Sprintf("#%d %s of node %d %s%s", p.n, body, p.node, way, who)
}

// token is the server's; only the server makes one.
type token struct {
	node            int
	generation      uint64
	key             string
	issued, expires time.Time
}

// The requests and answers.
type (
	lookup struct {
		generation uint64
		secret     string
		boot       string
		seq        uint64
	}
	heartbeat struct {
		seq   uint64
		steps bool
	}
	start struct {
		id    step.ID
		nonce string
	}
	result struct{ end run.Ended }

	admission struct {
		call  *packet
		token *token
	}
	orders struct {
		call    *packet
		command *api.Command
		abort   step.ID
	}
	granted struct {
		call  *packet
		id    step.ID
		nonce string
	}
	taken struct {
		call  *packet
		id    step.ID
		nonce string
	}
	refusal struct {
		call *packet
		err  error
	}
)

// send puts a message on its way.
func (w *world) send(p *packet) *packet {
	w.ids++
	p.n, p.sent = w.ids, w.mono
	if !p.answer {
		p.call = p
	}
	switch w.point("send", p.node) {
	case messageLost:
		return p
	case messageTwice:
		again := *p
		again.due = w.mono + 20*time.Second
		w.net = append(w.net, &again)
	case messageSlow:
		p.due = w.mono + 25*time.Second // just before the caller gives up
	}
	if len(w.seen) < 1000 {
		w.seen = append(w.seen, p)
	}
	w.net = append(w.net, p)
	return p
}

// arrive delivers one.
func (w *world) arrive(p *packet) {
	if p.answer {
		w.machines[p.node].act(func(pr *proc) {
			if p.boot == pr.b.n {
				if o, dull := p.body.(orders); !dull || o.command != nil || o.abort != "" {
					w.say("arrives: %s", p)
				}
				pr.take(p)
			}
		})
		return
	}
	if w.srv == nil {
		return // nobody there: the call runs into its end
	}
	s := w.srv
	if _, hb := p.body.(heartbeat); !hb {
		w.say("arrives: %s", p)
	}
	w.guard("server", func() {
		if a := s.serve(p); a != nil {
			w.reply(p, a)
		}
	})
}

func (w *world) reply(p *packet, a any) {
	if p.evil {
		w.attackerGets(p, a)
		return
	}
	w.send(&packet{node: p.node, boot: p.boot, body: a, answer: true})
}

func (p *proc) request(body any) *packet {
	m := p.b.m
	return m.w.send(&packet{node: m.i, boot: p.b.n, peer: m.peer(p.b.key), token: p.token, body: body})
}

// pump sends the call that waits, behind a token; without one it looks the machine up.
func (p *proc) pump() {
	w := p.b.m.w
	if p.token == nil {
		if p.look == nil && w.mono >= p.retry {
			p.b.seq++
			p.look = p.request(lookup{generation: p.b.medium.generation, secret: p.b.medium.secret, boot: p.b.key, seq: p.b.seq})
		}
		return
	}
	if p.unsent != nil {
		body := p.unsent
		p.unsent = nil
		p.call = p.request(body)
	}
}

// beat sends a heartbeat, unless one is open.
func (p *proc) beat() {
	w := p.b.m.w
	if p.token == nil || p.hear != nil {
		return
	}
	p.nextHbt = w.mono + 10*time.Second
	p.b.seq++
	p.hear = p.request(heartbeat{seq: p.b.seq, steps: !p.told})
}

// noAnswer is what a call makes of the end of its patience.
func (p *proc) noAnswer(q *packet) {
	switch b := q.body.(type) {
	case start:
		p.step(run.Answered{ID: b.id, Nonce: b.nonce})
	case result:
		p.step(run.Told{ID: b.end.ID, Nonce: b.end.Nonce})
	}
}

// take acts on an answer.
func (p *proc) take(a *packet) {
	w := p.b.m.w
	switch b := a.body.(type) {
	case admission:
		if p.look != nil && b.call.boot == p.b.n {
			p.look, p.token, p.nextHbt = nil, b.token, w.mono
			p.pump()
		}
	case orders:
		if p.hear == b.call {
			p.hear = nil
			p.told = p.told || b.call.body.(heartbeat).steps
		}
		if b.abort != "" {
			p.step(run.AbortAsked{ID: b.abort})
		}
		if b.command != nil {
			p.nonces++
			p.step(run.Commanded{Command: *b.command, Nonce: fmt.Sprintf("nonce %d.%d.%d.%d", p.b.m.i, p.b.n, p.n, p.nonces)})
		}
	case granted:
		e := run.Answered{ID: b.id, Nonce: b.nonce, Verdict: run.Yes}
		if p.call == nil {
			return
		}
		q, ok := p.call.body.(start)
		if !ok || q.id != b.id {
			return
		}
		if w.without.binding {
			e.Nonce = q.nonce
		}
		if e.Nonce == q.nonce {
			w.acknowledged(p.b.m.i, b.id)
		}
		p.step(e)
	case taken:
		w.acknowledgedEnd(p.b.m.i, b.id)
		p.step(run.Told{ID: b.id, Nonce: b.nonce, Verdict: run.Yes})
	case refusal:
		p.refused(b)
	}
}

func (p *proc) refused(b refusal) {
	w := p.b.m.w
	if fault.Has(b.err, fault.ChannelToken) && p.token == b.call.token {
		p.token = nil
		p.retry = w.mono + time.Second
	}
	switch q := b.call.body.(type) {
	case lookup:
		if p.look == b.call {
			p.look, p.retry = nil, w.mono+15*time.Second
		}
	case heartbeat:
		if p.hear == b.call {
			p.hear, p.nextHbt = nil, w.mono+5*time.Second
		}
	case start:
		p.step(run.Answered{ID: q.id, Nonce: q.nonce, Verdict: run.VerdictOf(b.err)})
	case result:
		p.step(run.Told{ID: q.end.ID, Nonce: q.end.Nonce, Verdict: run.VerdictOf(b.err)})
	}
}

// The attacker sits on the network: it repeats what it saw, from its own machine and key or by holding messages back,
// and claims and tells what it likes. With leaked media it knows the secrets too.

const evilKey = "key of the attacker"

func (w *world) attack(i, how, which int) {
	evil := func(body any, t *token) {
		w.arrive(&packet{node: i, peer: conductor.Peer{Key: evilKey, Addr: w.machines[i].peer("").Addr}, token: t, body: body, sent: w.mono, evil: true, call: &packet{evil: true}})
	}
	var old *packet
	if len(w.seen) > 0 {
		old = w.seen[len(w.seen)-1-which%min(len(w.seen), 40)]
	}
	n := w.db.rows[i].node
	switch max(0, how%9-3) {
	case 0: // what it saw, once more, as it was: a duplicate that comes very late
		for k := len(w.seen) - 1; k >= 0 && which%3 > 0; k-- { // most of the time something that matters to the agent
			o, ok := w.seen[k].body.(orders)
			_, g := w.seen[k].body.(granted)
			if w.seen[k].node == i && (which%3 == 1 && ok && o.command != nil || which%3 == 2 && g) {
				old = w.seen[k]
				break
			}
		}
		if old != nil {
			w.arrive(old)
		}
	case 1: // the same with the attacker's own key; what a claim holds is hidden by TLS
		if old != nil && !old.answer {
			if _, claim := old.body.(lookup); claim && !w.leaked {
				return
			}
			i = old.node
			evil(old.body, old.token)
		}
	case 2: // a claim with a wrong secret
		evil(lookup{generation: n.Generation, secret: "guess", boot: "evil", seq: 1}, nil)
	case 3: // a claim with what its medium says
		if m := w.machines[i]; w.leaked && m.media != nil {
			evil(lookup{generation: m.media.generation, secret: m.media.secret, boot: "evil", seq: 1}, nil)
		}
	case 4: // a forged result for a step it heard of, with a stolen token
		if n.Flow != nil && old != nil {
			for _, r := range w.db.rows[i].of(n.Flow.Run) {
				if r.State == conductor.StepStarted || r.State == conductor.StepOffered {
					evil(result{run.Ended{ID: r.ID, Nonce: "guess", Outcome: api.Succeeded}}, old.token)
				}
			}
		}
	case 5: // a forged claim of a step
		if n.Flow != nil && old != nil {
			for _, r := range w.db.rows[i].of(n.Flow.Run) {
				if r.State == conductor.StepOffered {
					evil(start{r.ID, "guess"}, old.token)
				}
			}
		}
	}
}
