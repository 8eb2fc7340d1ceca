package channel

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// held is a heartbeat in flight.
type held struct {
	done   chan struct{}
	answer api.HeartbeatAnswer
	took   time.Duration
}

// hold sends a heartbeat to a dispatcher and waits until it is open or answered.
func hold(d *Dispatcher, generation uint64, wait, running bool, pace func() (time.Duration, <-chan struct{})) *held {
	h := &held{done: make(chan struct{})}
	if pace == nil {
		pace = func() (time.Duration, <-chan struct{}) { return 0, nil }
	}
	sent := time.Now()
	go func() {
		defer close(h.done)
		h.answer = d.next(context.Background(), nodeA, generation, wait, running, pace)
		h.took = time.Since(sent)
	}()
	synctest.Wait()
	return h
}

func (h *held) open() bool {
	select {
	case <-h.done:
		return false
	default:
		return true
	}
}

// get waits for the answer.
func (h *held) get() api.HeartbeatAnswer { <-h.done; return h.answer }

func order(id step.ID) api.Command { return api.Command{ID: id, Step: "deploy.work"} }

func bubble(t *testing.T, f func(t *testing.T, d *Dispatcher)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, NewDispatcher(time.Now)) })
}

func TestHeldUntilACommandComes(t *testing.T) {
	bubble(t, func(t *testing.T, d *Dispatcher) {
		h := hold(d, 7, true, false, nil)
		<-time.After(20 * time.Second)
		if !h.open() {
			t.Fatal("not held")
		}
		d.Offer(nodeA, 7, order("one"))
		if a := h.get(); a.Command == nil || a.Command.ID != "one" || h.took != 20*time.Second {
			t.Errorf("%+v after %s", a, h.took)
		}
	})
}

func TestHeldAtMost55Seconds(t *testing.T) {
	bubble(t, func(t *testing.T, d *Dispatcher) {
		h := hold(d, 7, true, false, nil)
		if a := h.get(); a != (api.HeartbeatAnswer{}) || h.took != api.HeartbeatMax {
			t.Errorf("%+v after %s", a, h.took)
		}
		if h := hold(d, 7, false, false, nil); h.open() || h.took != 0 {
			t.Error("held without being asked to")
		}
	})
}

func TestNewerEndsOlder(t *testing.T) {
	bubble(t, func(t *testing.T, d *Dispatcher) {
		older := hold(d, 7, true, false, nil)
		newer := hold(d, 7, true, false, nil)
		if older.open() || older.answer != (api.HeartbeatAnswer{}) || !newer.open() {
			t.Fatalf("older open: %v %+v, newer open: %v", older.open(), older.answer, newer.open())
		}
		d.Offer(nodeA, 7, order("one"))
		if newer.get().Command == nil {
			t.Error("the newer one got no command")
		}
	})
}

// TestF10_OfferIsSentUntilStarted: an answer may be lost, so an order comes again, but not in every answer.
func TestF10_OfferIsSentUntilStarted(t *testing.T) {
	bubble(t, func(t *testing.T, d *Dispatcher) {
		d.Offer(nodeA, 7, order("one"))
		if hold(d, 7, true, false, nil).get().Command == nil {
			t.Fatal("no command")
		}
		for range 3 {
			h := hold(d, 7, true, false, nil)
			if !h.open() {
				t.Fatal("sent again at once")
			}
			if a := h.get(); a.Command == nil || h.took != resend {
				t.Errorf("%+v after %s", a, h.took)
			}
		}
		d.hear(nodeA, 7, true)
		if h := hold(d, 7, true, false, nil); h.open() || h.answer.Command == nil {
			t.Error("a new process is not told at once")
		}
		d.started(nodeA, "one")
		h := hold(d, 7, true, false, nil)
		if a := h.get(); a.Command != nil || h.took != api.HeartbeatMax {
			t.Errorf("after the start: %+v", a)
		}
	})
}

func TestWithdraw(t *testing.T) {
	bubble(t, func(t *testing.T, d *Dispatcher) {
		d.Offer(nodeA, 7, order("one"))
		d.Withdraw(nodeA, "one")
		if h := hold(d, 7, true, false, nil); !h.open() {
			t.Errorf("an offer that was never sent leaves %+v", h.answer)
		}
		d.Offer(nodeA, 7, order("two"))
		hold(d, 7, true, false, nil).get()
		h := hold(d, 7, true, false, nil)
		d.Withdraw(nodeA, "two")
		if a := h.get(); a.Abort != "two" || a.Command != nil {
			t.Errorf("an offer that was sent: %+v", a)
		}
		h = hold(d, 7, true, false, nil)
		if a := h.get(); a.Abort != "two" || h.took != resend {
			t.Errorf("the abort is not repeated: %+v after %s", a, h.took)
		}
		d.ended(nodeA, "two")
		if h := hold(d, 7, true, false, nil); !h.open() {
			t.Errorf("after the end: %+v", h.answer)
		}
		// After a restart of the server the node is not known yet.
		d.Drop(nodeA)
		d.Withdraw(nodeA, "three")
		if a := hold(d, 7, true, false, nil).get(); a.Abort != "three" {
			t.Errorf("before anything was heard: %+v", a)
		}
	})
}

// TestI18_DropAndNewGeneration: what belongs to an ended generation reaches nobody, and ends at once.
func TestI18_DropAndNewGeneration(t *testing.T) {
	bubble(t, func(t *testing.T, d *Dispatcher) {
		d.hear(nodeA, 7, false)
		h := hold(d, 7, true, false, nil)
		d.Drop(nodeA)
		if a := h.get(); a != (api.HeartbeatAnswer{}) || h.took != 0 || !d.Heard(nodeA, 7).IsZero() {
			t.Errorf("after the drop: %+v after %s", a, h.took)
		}
		h = hold(d, 7, true, false, nil)
		d.Offer(nodeA, 8, order("one"))
		if a := h.get(); a != (api.HeartbeatAnswer{}) {
			t.Errorf("generation 7 got %+v", a)
		}
		if h := hold(d, 7, true, false, nil); h.open() || h.answer != (api.HeartbeatAnswer{}) {
			t.Errorf("generation 7 is held: %+v", h.answer)
		}
		d.Offer(nodeA, 7, order("old"))
		if a := hold(d, 8, true, false, nil).get(); a.Command == nil || a.Command.ID != "one" {
			t.Errorf("generation 8 got %+v", a)
		}
	})
}

func TestWatchingEndsTheHold(t *testing.T) {
	bubble(t, func(t *testing.T, d *Dispatcher) {
		var mu sync.Mutex
		var every time.Duration
		changed := make(chan struct{})
		watch := func() (time.Duration, <-chan struct{}) { mu.Lock(); defer mu.Unlock(); return every, changed }
		set := func(v time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			every = v
			close(changed)
			changed = make(chan struct{})
		}
		h := hold(d, 7, true, true, watch)
		<-time.After(3 * time.Second)
		set(time.Second)
		if a := h.get(); a.Watch != time.Second || h.took > 3*time.Second {
			t.Errorf("%+v after %s", a, h.took)
		}
		h = hold(d, 7, true, true, watch)
		if !h.open() {
			t.Fatal("told twice")
		}
		newer := hold(d, 7, true, true, watch)
		if a := h.get(); a.Watch != time.Second {
			t.Errorf("one that is overtaken says %+v", a)
		}
		set(0)
		if a := newer.get(); a.Watch != 0 || newer.took > 0 {
			t.Errorf("the end of the watching: %+v after %s", a, newer.took)
		}
	})
}

func TestHoldEndsWithItsRequest(t *testing.T) {
	bubble(t, func(t *testing.T, d *Dispatcher) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			d.next(ctx, nodeA, 7, true, false, nil)
			close(done)
		}()
		synctest.Wait()
		cancel()
		<-done
	})
}

// TestHeartbeatOverTheHandler is the same through the handler, start and result included.
func TestHeartbeatOverTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := newRig(t, nil)
		c := rig.client(addressOf(1))
		c.lookup(nodeA)
		answers := make(chan api.HeartbeatAnswer, 1)
		beat := func() {
			var a api.HeartbeatAnswer
			if err := c.post(api.PathHeartbeat, api.HeartbeatRequest{Seq: 2, Hold: true}, &a); err != nil {
				t.Error(err)
			}
			answers <- a
		}
		go beat()
		synctest.Wait()
		rig.Dispatcher.Offer(nodeA, 7, order("one"))
		if a := <-answers; a.Command == nil || a.Command.ID != "one" {
			t.Fatalf("%+v", a)
		}
		if err := c.post(api.PathStart, api.StartRequest{Seq: 3, ID: "one", Nonce: nonce}, new(api.StartAnswer)); err != nil {
			t.Fatal(err)
		}
		go beat()
		<-time.After(30 * time.Second)
		rig.Dispatcher.Withdraw(nodeA, "one")
		if a := <-answers; a.Abort != "one" || a.Command != nil {
			t.Fatalf("%+v", a)
		}
		if err := c.post(api.PathResult, api.ResultRequest{Seq: 4, ID: "one", Nonce: nonce, Outcome: api.Aborted}, nil); err != nil {
			t.Fatal(err)
		}
		go beat()
		if a := <-answers; a.Abort != "" || a.Command != nil {
			t.Errorf("after the result: %+v", a)
		}
		// A refused start keeps the offer.
		rig.Dispatcher.Offer(nodeA, 7, order("two"))
		rig.fake.err = fault.New(fault.StorageUnavailable, "full")
		if err := c.post(api.PathStart, api.StartRequest{Seq: 5, ID: "two", Nonce: nonce}, nil); !fault.Has(err, fault.StorageUnavailable) {
			t.Error(err)
		}
		rig.fake.err = nil
		go beat()
		if a := <-answers; a.Command == nil || a.Command.ID != "two" {
			t.Errorf("after a refused start: %+v", a)
		}
	})
}
