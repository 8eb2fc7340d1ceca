package channel

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/step"
)

const (
	// overtaken is how long the server has to end a heartbeat after a newer one was sent.
	overtaken = 10 * time.Second
	// quick is an answer that was not held; with no news in it the next heartbeat waits for the interval.
	quick = time.Second
	// usual is the interval when the server names none.
	usual = 10 * time.Second
)

// Executor is who carries out what the server orders; agent/run's is one.
type Executor interface {
	Command(c api.Command)
	Abort(id step.ID)
	Running() (step.ID, *step.Progress)
	Changed() <-chan struct{}
}

// Offer is what this agent process can do: told once, in its first heartbeat.
type Offer struct {
	Steps    []step.Step
	Versions map[string]string // manager name to version
}

// Run looks this machine up and keeps heartbeats open until ctx ends: it hands commands and aborts to ex and tells
// its progress. It returns after its goroutines have.
func (c *Client) Run(ctx context.Context, ex Executor, offer Offer) error {
	ctx, cancel := context.WithCancel(ctx)
	b := &beats{Client: c, ex: ex, offer: &offer, pause: newBackOff(), answers: make(chan answered, maxOpen), next: time.NewTimer(0)}
	defer b.wg.Wait()
	defer cancel()
	defer b.next.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ex.Changed():
			if !b.failing {
				b.next.Reset(0)
			}
		case <-b.next.C:
			b.send(ctx)
		case a := <-b.answers:
			b.take(a)
		}
	}
}

// maxOpen heartbeats are open at once: the newest, and one that the server is about to end.
const maxOpen = 2

// beats is the state of Run's loop; only its goroutine touches it.
type beats struct {
	*Client
	ex      Executor
	offer   *Offer // until it is told
	pause   *backoff.ExponentialBackOff
	wg      sync.WaitGroup
	answers chan answered // room for all that are open
	next    *time.Timer
	open    []*beat // oldest first
	late    bool    // a heartbeat was due while maxOpen were open
	failing bool
	watch   time.Duration
}

// beat is one open heartbeat.
type beat struct {
	asked api.HeartbeatRequest
	sent  time.Time
	older bool // a newer one was sent after it
	end   context.CancelFunc
}

// answered is what came of one.
type answered struct {
	to     *beat
	answer api.HeartbeatAnswer
	err    error
}

// send sends a heartbeat. The server then ends the one that is open already; should it not, that one is given up.
func (b *beats) send(ctx context.Context) {
	if b.late = len(b.open) == maxOpen; b.late {
		return
	}
	var q api.HeartbeatRequest
	q.Running, q.Progress = b.ex.Running()
	if b.offer != nil {
		// Not nil even without steps: that there are none is told as well.
		q.Steps, q.Versions = append([]step.Step{}, b.offer.Steps...), b.offer.Versions
	} else {
		q.Hold = true
	}
	for _, o := range b.open {
		o.older = true
		give, end := time.AfterFunc(overtaken, o.end), o.end
		o.end = func() { give.Stop(); end() }
	}
	ctx, cancel := context.WithCancel(ctx)
	one := &beat{asked: q, sent: b.Now(), end: cancel}
	b.open = append(b.open, one)
	b.wg.Go(func() {
		a := answered{to: one}
		a.answer, a.err = b.Heartbeat(ctx, q)
		b.answers <- a
	})
	if b.watch > 0 && q.Running != "" {
		b.next.Reset(b.watch)
	}
}

// take acts on an answer, and sets when the next heartbeat is due.
func (b *beats) take(a answered) {
	one := a.to
	one.end()
	b.open = slices.DeleteFunc(b.open, func(o *beat) bool { return o == one })
	if a.err != nil {
		if !one.older {
			b.failing = true
			b.report(a.err)
			b.next.Reset(b.patience(a.err))
		}
	} else {
		b.failing = false
		b.pause.Reset()
		b.report(nil)
		b.obey(one, a.answer)
	}
	if b.late {
		b.next.Reset(0)
	}
}

// obey carries out what a good answer says.
func (b *beats) obey(one *beat, a api.HeartbeatAnswer) {
	if one.asked.Steps != nil {
		b.offer = nil
	}
	if a.Abort != "" {
		b.ex.Abort(a.Abort)
	}
	if a.Command != nil {
		b.ex.Command(*a.Command)
	}
	news := !one.asked.Hold || a.Token != "" || a.Abort != "" || a.Command != nil || a.Watch != b.watch
	b.watch = max(0, min(a.Watch, api.HeartbeatMax))
	switch {
	case one.older:
	case news || b.Now().Sub(one.sent) >= quick:
		b.next.Reset(0)
	default: // the server holds nothing open: it is not to be asked without pause
		every := b.Admitted().Interval
		if every <= 0 {
			every = usual
		}
		b.next.Reset(every/2 + rand.N(every/2))
	}
}

// patience is the pause after a failed heartbeat: the server's own wish, or the back-off's.
func (b *beats) patience(err error) time.Duration {
	if wish, ok := errors.AsType[*backoff.RetryAfterError](err); ok {
		return wish.Duration
	}
	return b.pause.NextBackOff()
}

// Heartbeat sends one, numbered here, and waits for its answer as long as the server may hold it. It is for those who
// send heartbeats at times of their own: Run does so by itself.
func (c *Client) Heartbeat(ctx context.Context, q api.HeartbeatRequest) (a api.HeartbeatAnswer, err error) {
	wait := patience
	if q.Hold {
		wait += api.HeartbeatMax
	}
	err = c.ask(ctx, wait, api.PathHeartbeat, maxAnswer, &a, func(seq uint64) any {
		q.Seq = seq
		return q
	})
	if err == nil && a.Token != "" {
		c.renew(a.Token)
	}
	return a, err
}
