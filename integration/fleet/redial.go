package fleet

import (
	"context"
	"time"

	agentchannel "github.com/bessemer-metal/bessemer/agent/channel"
	"github.com/bessemer-metal/bessemer/agent/run"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// RedialEvery is how often an agent that keeps no connection sends a heartbeat while a step runs: several fit into the
// five minutes after which the server takes it for silent.
const RedialEvery = 100 * time.Second

// redials tells whether this machine's agent keeps no connection.
func (m *machine) redials() bool {
	every := m.fleet.Redial
	return every > 0 && m.number >= m.fleet.Busy && m.number%every == every-1
}

// redial speaks as an agent must on a network that keeps no connection open: its heartbeats are not held, each is made
// over a connection of its own, and there is none in between. While a step runs they come each RedialEvery, before that
// each second.
func (m *machine) redial(ctx context.Context, client *agentchannel.Client, ex *run.Executor) error {
	next := time.NewTimer(0)
	defer next.Stop()
	offer, due := m.Steps(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ex.Changed():
			due = time.Now()
		case <-next.C:
		}
		q := api.HeartbeatRequest{Steps: offer}
		q.Running, q.Progress = ex.Running()
		a, err := client.Heartbeat(ctx, q)
		client.Close()
		every := time.Second
		if err == nil {
			offer = nil
			if m.fleet.figures.counted(due) {
				m.fleet.figures.redialled.add(time.Since(due))
			}
			if a.Abort != "" {
				ex.Abort(a.Abort)
			}
			if a.Command != nil {
				ex.Command(*a.Command)
			}
			if q.Running != "" {
				every = RedialEvery
			}
		}
		next.Reset(every)
		due = time.Now().Add(every)
	}
}

// Count begins to measure, for Counted.
func (f *Fleet) Count() { f.figures.since.Store(time.Now().UnixNano()) }

// Counted is what began since Count, over the time that has passed since.
type Counted struct {
	Late      Timing // heartbeats that were held to the end: how long after it they were answered
	Redialled Timing // heartbeats that an agent dials for: how long after they were due, the handshake included
	Gaps      Timing // from a step's end to the next one's start, of agents that hold a heartbeat
}

// Counted gives it.
func (f *Fleet) Counted(over time.Duration) Counted {
	g := &f.figures
	return Counted{Late: g.late.timing(over), Redialled: g.redialled.timing(over), Gaps: g.heldGaps.timing(over)}
}

// Erasing is in how many machines an erasing that takes EraseTime is under way now.
func (f *Fleet) Erasing() int { return int(f.figures.erasing.Load()) }

// Again is how often an agent that was admitted looked itself up once more, as the server knew its session no longer.
func (f *Fleet) Again() int { return int(f.figures.again.Load()) }
