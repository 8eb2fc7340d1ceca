package load

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/integration/figures"
	"github.com/bessemer-metal/bessemer/integration/fleet"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

const (
	HourPart  = "hour"
	HourPage  = "fleet"
	HourNodes = 20_000
	HourTime  = time.Hour

	hourRedial  = 7   // one of so many agents keeps no connection: what a process may have open, 20,000 files, is less than the agents
	hourBusy    = 200 // of so many machines one is cleaned again and again, besides
	hourStep    = 5 * time.Second
	hourArrive  = 35.0 // agents a second at first: each takes 15 ms of a processor on both sides
	hourRoom    = 32   // on their way at once: a host that is slow gets no more handshakes than it can make in time
	hourAsk     = time.Second
	hourArrival = 20 * time.Minute // the longest wait for the last one to be at work, beyond the time over which they come
)

// Hour is how large that part is.
type Hour struct {
	Nodes   int
	Lasting time.Duration
	Log     io.Writer // gets a line a minute
}

// RunHour measures, on a server that is built from the tree at root. An interrupt ends the counting before its time: the
// figures tell how long it was. What was found until an error is in the set.
func RunHour(ctx context.Context, root string, h Hour) (figures.Set, error) {
	debug.SetGCPercent(400) // two gigabytes of agents: the server is what is to be measured
	s := figures.Set{Title: "20,000 machines at work on one server", Method: hourMethod(h)}
	if err := onRack(ctx, root, func(r *rack) error { return measureHour(ctx, r, &s, h) }); err != nil {
		return s, fmt.Errorf("load: %s: %w", HourPart, err)
	}
	return s, nil
}

func (h Hour) busy() int { return max(1, h.Nodes/hourBusy) }

func hourMethod(h Hour) string {
	return fmt.Sprintf("`go run ./integration/bench -load-part hour`, which no other run includes. One server process with its SQLite on disk and durable commits, "+
		"and a process of simulated machines (`bessemer simulate`'s code) on the same host, which share its processors. %d machines are in cleaning, each with a real agent that speaks over TLS 1.3 with a client key from a loopback address of its own, "+
		"and with a running step, an erasing that does not end. One agent of %d does as on a network that keeps no connection: its heartbeats are not held, it dials for each, every %.0f s, and is not connected in between; the others each hold one open. "+
		"(A process can have 20,000 files open on this host, which is fewer than the agents.) %d more machines are cleaned again and again, with steps of %.0f s, so that steps end all the time. "+
		"The machines come at %.0f a second at most, %d at once, not as a herd. Counted is from when all are at work; meanwhile a client asks for another node each second. "+
		"A held heartbeat is measured from the end of the %.0f s that it is held, one with its own connection from when it was due, handshake included, a client's request from the time it was to be sent. "+
		"CPU is that of the server's process, user and system. Memory is the resident set.",
		h.Nodes, hourRedial, fleet.RedialEvery.Seconds(), h.busy(), hourStep.Seconds(), hourArrive, hourRoom, api.HeartbeatMax.Seconds())
}

// measureHour has a fleet at work, and looks for an hour what it costs the server and whether anything is lost.
func measureHour(ctx context.Context, r *rack, s *figures.Set, h Hour) error {
	n := h.Nodes + h.busy()
	spread := time.Duration(float64(n) / hourArrive * float64(time.Second))
	f, err := r.fleet(fleet.Options{
		Nodes: n, Prefix: "hour-", StepTime: hourStep, EraseTime: forever, Busy: h.busy(), Redial: hourRedial, Gather: true, Spread: spread, Arriving: hourRoom,
	})
	if err != nil {
		return err
	}
	defer f.Close()
	if err := up(ctx, f); err != nil {
		return err
	}
	if err := until(ctx, hourArrival, func() bool { return f.Booted() >= n }); err != nil {
		return fmt.Errorf("%d of %d machines are on: %w", f.Booted(), n, err)
	}
	was, err := r.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	fmt.Fprintf(h.Log, "hour: %d machines are on; their agents come within %s\n", f.Release(), spread.Round(time.Second))
	if err := until(ctx, spread+hourArrival, func() bool { return f.Erasing() >= h.Nodes }); err != nil {
		return fmt.Errorf("%d of %d machines are at work: %w", f.Erasing(), h.Nodes, err)
	}
	is, err := r.cpu()
	if err != nil {
		return err
	}
	arrived := time.Since(began)
	add(s, fmt.Sprintf("%d machines at work, from the first one's start", h.Nodes), arrived.Seconds(), "s", "")
	add(s, "until then: server's CPU for each machine, two steps begun", (is-was).Seconds()*1000/float64(n), "ms", "")
	failures(s, "until then: agents' requests", fleet.Summary{}, f.Summary())
	return lookOn(ctx, r, s, f, h)
}

// lookOn counts for the time asked for.
func lookOn(ctx context.Context, r *rack, s *figures.Set, f *fleet.Fleet, h Hour) error {
	db, wal, err := r.disk()
	if err != nil {
		return err
	}
	add(s, "database at the start", db, "MB", "")
	add(s, "write-ahead log at the start", wal, "MB", "")
	cpu, err := r.cpu()
	if err != nil {
		return err
	}
	before := f.Summary()
	f.Count()
	began := time.Now()
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		if wait(limited, h.Lasting) == nil {
			// However short the time is, a step begins in it; should none, that is told below.
			_ = until(limited, hourArrival, func() bool { return f.Summary().Executed > before.Executed })
		}
	}()
	cleaned := make(chan int, 1)
	go func() { cleaned <- cleanAgain(limited, h, f) }()
	asked := r.ask(limited, h, f)
	uncleaned := <-cleaned
	over := time.Since(began)
	ctx = context.WithoutCancel(ctx) // what was counted until an interrupt is told
	after := f.Summary()
	used, err := r.cpu()
	if err != nil {
		return err
	}
	counted := f.Counted(over)
	rss, most, err := r.memory()
	if err != nil {
		return err
	}
	erasing, again := f.Erasing(), f.Again()
	states, err := f.States(ctx)
	if err != nil {
		return err
	}
	failed := failedNodes(states)
	add(s, "time counted", over.Minutes(), "minutes", "60")
	add(s, "at the end: machines whose step is in flight", float64(erasing), "", fmt.Sprint(h.Nodes))
	add(s, "at the end: nodes that the server has in clean wait", float64(states[string(state.CleanWait)]), "", fmt.Sprintf("≥ %d", h.Nodes))
	add(s, "at the end: nodes that failed", float64(failed), "", "0")
	add(s, "steps that ran twice", float64(after.Repeated), "", "0")
	add(s, "sessions that were replaced: lookups of agents that were admitted", float64(again), "", "0")
	add(s, "heartbeats answered", float64(after.Heartbeats.Count-before.Heartbeats.Count), "", "")
	failures(s, "agents' requests", before, after)
	add(s, "held heartbeat, answered after its time: p99", counted.Late.P99, "ms", "< 50")
	add(s, "held heartbeat: slowest", counted.Late.Max, "ms", "")
	add(s, "heartbeat with a connection of its own: median", counted.Redialled.P50, "ms", "")
	add(s, "heartbeat with a connection of its own: p99", counted.Redialled.P99, "ms", "")
	add(s, "steps begun by the machines that are cleaned again", float64(after.Executed-before.Executed), "", "")
	add(s, "step gap of those: median", counted.Gaps.P50, "ms", "< 100")
	add(s, "step gap of those: p99", counted.Gaps.P99, "ms", "")
	add(s, "API, a node shown each second: asked", float64(len(asked.took)+asked.failed), "", "")
	add(s, "API: without an answer, or refused", float64(asked.failed), "", "0")
	add(s, "API, machines asked to be cleaned again: without an answer, or refused", float64(uncleaned), "", "0")
	add(s, "API: median", figures.Milliseconds(figures.Share(asked.took, 0.5)), "ms", "")
	add(s, "API: p99", figures.Milliseconds(figures.Share(asked.took, 0.99)), "ms", "")
	add(s, "API: slowest", figures.Milliseconds(figures.Share(asked.took, 1)), "ms", "")
	add(s, "server's CPU", (used-cpu).Seconds()*100/over.Seconds(), "% of one processor", "")
	add(s, "server's memory at the end", rss, "MB", "")
	add(s, "server's memory at most", most, "MB", "")
	add(s, "server's open files at most", float64(asked.files), "", "")
	if db, wal, err = r.disk(); err != nil {
		return err
	}
	add(s, "database at the end", db, "MB", "")
	add(s, "write-ahead log at the end", wal, "MB", "")
	add(s, "write-ahead log at most", asked.wal, "MB", "")
	if erasing != h.Nodes || failed > 0 || after.Repeated > 0 || states[string(state.CleanWait)] < h.Nodes || after.Executed == before.Executed {
		return fmt.Errorf("%d of %d steps are in flight, %d nodes failed, %d steps ran twice, %d ended: %v",
			erasing, h.Nodes, failed, after.Repeated, after.Executed-before.Executed, states)
	}
	return nil
}

// overtaken is the refusal of a message that a later one of the same agent came before (agent-protocol.md); the agent
// sends it once more.
const overtaken = "channel.stale_message"

// failures tells what became of requests between before and after that were not granted. Those of machines that are
// cleaned again are beside: the end of a cleaning is the end of the session.
func failures(s *figures.Set, whose string, before, after fleet.Summary) {
	stale, refused, lost := 0, 0, 0
	var beside []figures.Figure
	count := func(before, after map[string]int, what string, into *int) {
		for _, why := range slices.Sorted(maps.Keys(after)) {
			n := after[why] - before[why]
			plain, cleaned := strings.CutPrefix(why, fleet.Cleaned)
			switch {
			case n == 0:
			case plain == overtaken:
				stale += n
			case cleaned:
				beside = append(beside, figures.Figure{What: fmt.Sprintf("%s of machines whose cleaning ended, %s: %s", whose, what, plain), Value: float64(n)})
			default:
				*into += n
				beside = append(beside, figures.Figure{What: fmt.Sprintf("%s %s: %s", whose, what, plain), Value: float64(n)})
			}
		}
	}
	count(before.Refused, after.Refused, "refused", &refused)
	count(before.Errors, after.Errors, "without an answer", &lost)
	add(s, whose+" overtaken by a later one of the same agent, and sent again", float64(stale), "", "")
	add(s, whose+" refused otherwise", float64(refused), "", "0")
	add(s, whose+" without an answer", float64(lost), "", "0")
	s.Rows = append(s.Rows, beside...)
}

// cleanAgain has the machines cleaned that are clean, until ctx ends, and tells how often that could not be asked for: what
// is counted for an hour must not be lost by one request.
func cleanAgain(ctx context.Context, h Hour, f *fleet.Fleet) (failed int) {
	for {
		err := f.CleanAgain(ctx)
		if ctx.Err() != nil || wait(ctx, time.Second) != nil {
			return failed
		}
		if err != nil {
			failed++
			fmt.Fprintf(h.Log, "hour: clean machines again: %v\n", err)
		}
	}
}

// asked is what a client saw, and what was seen of the server meanwhile.
type asked struct {
	took   []time.Duration // in ascending order
	failed int
	wal    float64 // MB at most
	files  int     // at most
}

// ask asks for one node after another, each second, until ctx ends.
func (r *rack) ask(ctx context.Context, h Hour, f *fleet.Fleet) (a asked) {
	began := time.Now()
	for n := 0; ; n++ {
		at := began.Add(time.Duration(n) * hourAsk)
		if wait(ctx, time.Until(at)) != nil {
			slices.Sort(a.took)
			return a
		}
		_, err := r.api.Node(ctx, string(fleet.NodeID("hour-", n*7919%h.Nodes)))
		switch {
		case err == nil:
			a.took = append(a.took, time.Since(at))
		case ctx.Err() == nil:
			a.failed++
		}
		if n%60 != 0 {
			continue
		}
		// What can't be read now is not more than what was read before.
		if _, wal, err := r.disk(); err == nil {
			a.wal = max(a.wal, wal)
		}
		if files, err := r.files(); err == nil {
			a.files = max(a.files, files)
		}
		fmt.Fprintf(h.Log, "hour: %s: %d machines at work, most: %d open files, %.0f MB of log\n", time.Since(began).Round(time.Second), f.Erasing(), a.files, a.wal)
	}
}

// failedNodes is how many nodes are in a state that only a failure leads to.
func failedNodes(states map[string]int) int {
	n := 0
	for s, count := range states {
		switch state.State(s) {
		case state.Available, state.Manageable, state.Verifying, state.Cleaning, state.CleanWait:
		default:
			n += count
		}
	}
	return n
}

// disk is the size of the database and of its write-ahead log, MB.
func (r *rack) disk() (db, wal float64, err error) {
	for name, size := range map[string]*float64{"bessemer.db": &db, "bessemer.db-wal": &wal} {
		i, err := os.Stat(filepath.Join(r.dir, "data", name))
		if err != nil {
			return 0, 0, err
		}
		*size = float64(i.Size()) / 1e6
	}
	return db, wal, nil
}
