package fleet

import (
	"context"
	"fmt"
	"sync"
	"time"

	agentchannel "github.com/bessemer-metal/bessemer/agent/channel"
	"github.com/bessemer-metal/bessemer/agent/run"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// beating is an agent that speaks when it is told to.
type beating struct {
	client *agentchannel.Client
	ex     *run.Executor
	mu     sync.Mutex // held by the heartbeat under way: an agent's own never overtake each other
}

// joined notes that a machine's agent waits for Beats.
func (f *Fleet) joined(m *machine) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.quiet = append(f.quiet, m)
	close(f.more)
	f.more = make(chan struct{})
}

// Joined waits until n quiet agents run a step, or ctx ends; it tells how many do.
func (f *Fleet) Joined(ctx context.Context, n int) int {
	for {
		f.mu.Lock()
		have, more := len(f.quiet), f.more
		f.mu.Unlock()
		if have >= n {
			return have
		}
		select {
		case <-more:
		case <-ctx.Done():
			return have
		}
	}
}

// Beats sends heartbeats that are not held, at a fixed rate, for a time, from the quiet agents in turn. It is open
// loop: a heartbeat is sent when its time has come, and its latency counts from then, whatever became of those before;
// only an agent's own wait for each other. It returns what was measured, after all are answered.
func (f *Fleet) Beats(ctx context.Context, rate float64, lasting time.Duration) (Timing, error) {
	return f.fire(ctx, rate, lasting, func(b *beating) error {
		var q api.HeartbeatRequest
		q.Running, q.Progress = b.ex.Running()
		_, err := b.client.Heartbeat(ctx, q)
		return err
	})
}

// Lookups is the same with lookups: the quiet agents look themselves up again, as restarted processes do, on the
// connections that they have.
func (f *Fleet) Lookups(ctx context.Context, rate float64, lasting time.Duration) (Timing, error) {
	return f.fire(ctx, rate, lasting, func(b *beating) error {
		b.client.Forget()
		_, err := b.client.Lookup(ctx)
		return err
	})
}

// fire lets the quiet agents act in turn, at a fixed rate.
func (f *Fleet) fire(ctx context.Context, rate float64, lasting time.Duration, act func(*beating) error) (Timing, error) {
	f.mu.Lock()
	agents := append([]*machine(nil), f.quiet...)
	f.mu.Unlock()
	if len(agents) == 0 {
		return Timing{}, fmt.Errorf("no agent runs a step")
	}
	var took histogram
	var wg sync.WaitGroup
	defer wg.Wait()
	began := time.Now()
	for n := 0; ; n++ {
		after := time.Duration(float64(n) / rate * float64(time.Second))
		if after >= lasting {
			break
		}
		at := began.Add(after)
		// A timer a heartbeat would cost more than the heartbeat: what is due within a millisecond goes together.
		if wait := time.Until(at); wait > 0 {
			if err := pause(ctx, max(wait, time.Millisecond)); err != nil {
				return took.timing(time.Since(began)), err
			}
		}
		m := agents[n%len(agents)]
		m.mu.Lock()
		b := m.client
		m.mu.Unlock()
		if b == nil {
			continue // powered off meanwhile
		}
		wg.Go(func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			if act(b) == nil {
				took.add(time.Since(at))
			}
		})
	}
	wg.Wait()
	return took.timing(time.Since(began)), nil
}
