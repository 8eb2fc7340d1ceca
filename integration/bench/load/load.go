// Package load runs a server under a simulated fleet and measures what that costs it. Start at Run and RunHour.
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/integration/figures"
	"github.com/bessemer-metal/bessemer/integration/fleet"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

const (
	gapNodes   = 50
	gapStep    = 500 * time.Millisecond
	beatAgents = 1000
	beatRate   = 1000
	beatTime   = 30 * time.Second
	beatRuns   = 3
	lookupRate = 200
	smallSize  = 2 << 10 // bytes of what a lookup of a small machine stores
	herdSpread = 5 * time.Second
	herdSize   = 64 << 10 // bytes of an inventory
	coldNodes  = 10_000
	coldRuns   = 5
	forever    = 24 * time.Hour // a step that does not end while something is measured
)

// Scale is how large the load is.
type Scale struct {
	Herd     int // machines that look themselves up at once, and are in flight when the server is killed
	InFlight int // steps in flight of machines that are records only
	Idle     int // nodes at rest, likewise
}

// part is one measurement, on a server of its own.
type part struct {
	name    string
	measure func(context.Context, *rack, *figures.Set, Scale) error
}

var parts = []part{{"gap", measureGap}, {"beats", measureBeats}, {"herd", measureHerd}, {"recovery", measureRecovery}, {"cold", measureCold}, {"idle", measureIdle}}

// Parts are the names of all measurements but the hour's.
func Parts() (out []string) {
	for _, p := range parts {
		out = append(out, p.name)
	}
	return out
}

// Run runs the named parts, each on a server of its own that is built from the tree at root.
func Run(ctx context.Context, root string, n Scale, names ...string) (figures.Set, error) {
	set := figures.Set{
		Title: "The server under load",
		Method: fmt.Sprintf("One server process with its SQLite on disk and durable commits, and simulated machines (`bessemer simulate`'s code) on the same host, "+
			"which share its processors: latencies hold the generator's own work and whatever else the host did. Real agents speak over TLS 1.3 with client keys, each from a loopback address of its own. "+
			"Latencies are from the intended time (open loop). CPU is that of the server's process, user and system (/proc/PID/stat), for the time measured divided by what it answered; of %d runs of the heartbeats the one with the least CPU is shown, as a shared host only adds to it. "+
			"Heartbeats: %d agents with a running step, not held, %d s. The bare handler is a process that does nothing but read the same heartbeat over the same TLS with net/http, decode it and answer {}; it gets the same load. "+
			"Lookups on an open connection: those agents, each with a small inventory, look themselves up again. "+
			"What a lookup is to cost, 0.2 ms, is below its floor on this host: a bare handler and a bare durable insert together, which the ratio is taken to. "+
			"Herd: %d machines that are on look themselves up within %d s, each with an inventory of %d kB; what is counted until all are admitted holds two handshakes each, first heartbeats, offers and starts too. "+
			"A bare insert is one row of that size into an SQLite table through the server's store, by sixteen callers at once. "+
			"Restart: the same machines, each with a step in flight; the server is killed (SIGKILL) and started at once. "+
			"Restart with the records of %d steps in flight: the records of one machine at work, copied that many times while the server was down, as so many agents do not fit on this host. The first start makes the rows that lists show, as after an upgrade; then it is killed and started again. "+
			"Nodes at rest: %d copies of one that is available, its machine in the server's memory; the server reads the power state of each once a minute. "+
			"Memory is the resident set.", beatRuns, beatAgents, int(beatTime.Seconds()), n.Herd, int(herdSpread.Seconds()), herdSize>>10, n.InFlight, n.Idle),
	}
	for _, name := range names {
		i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
		if i < 0 {
			return set, fmt.Errorf("load: there is no part %q, but %s", name, strings.Join(Parts(), ", "))
		}
		if err := onRack(ctx, root, func(r *rack) error { return parts[i].measure(ctx, r, &set, n) }); err != nil {
			return set, fmt.Errorf("load: %s: %w", name, err)
		}
	}
	return set, nil
}

// onRack measures on a server of its own.
func onRack(ctx context.Context, root string, measure func(*rack) error) (err error) {
	r, err := newRack(ctx, root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if _, err := r.start(ctx); err != nil {
		return err
	}
	return measure(r)
}

func add(s *figures.Set, what string, value float64, unit, target string) {
	s.Rows = append(s.Rows, figures.Figure{What: what, Value: value, Unit: unit, Target: target})
}

// up registers a fleet and has the server power its machines on.
func up(ctx context.Context, f *fleet.Fleet) error {
	for _, act := range []func(context.Context) error{f.Register, f.Manage, f.Provide} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

// measureGap cleans a few machines with short steps.
func measureGap(ctx context.Context, r *rack, s *figures.Set, _ Scale) error {
	f, err := r.fleet(fleet.Options{Nodes: gapNodes, Prefix: "gap-", StepTime: gapStep})
	if err != nil {
		return err
	}
	defer f.Close()
	if err := up(ctx, f); err != nil {
		return err
	}
	if err := f.Idle(ctx); err != nil {
		return err
	}
	got := f.Summary()
	if got.StepGap.Count != gapNodes || got.Repeated > 0 {
		return fmt.Errorf("%d gaps of %d machines, %d steps ran twice", got.StepGap.Count, gapNodes, got.Repeated)
	}
	add(s, fmt.Sprintf("step gap, %d machines cleaned at once: median", gapNodes), got.StepGap.P50, "ms", "< 100")
	add(s, "step gap: slowest", got.StepGap.Max, "ms", "")
	return nil
}

// measureBeats sends a fixed load of heartbeats to the server and to a bare handler.
func measureBeats(ctx context.Context, r *rack, s *figures.Set, _ Scale) error {
	f, err := r.fleet(fleet.Options{Nodes: beatAgents, Prefix: "beat-", StepTime: forever, Quiet: true})
	if err != nil {
		return err
	}
	defer f.Close()
	if err := up(ctx, f); err != nil {
		return err
	}
	if n := f.Joined(ctx, beatAgents); n < beatAgents {
		return fmt.Errorf("%d of %d agents run a step", n, beatAgents)
	}
	var best fleet.Timing
	cost := 0.0
	for range beatRuns {
		before, err := r.cpu()
		if err != nil {
			return err
		}
		t, err := f.Beats(ctx, beatRate, beatTime)
		if err != nil {
			return err
		}
		after, err := r.cpu()
		if err != nil {
			return err
		}
		if t.Count == 0 {
			return fmt.Errorf("no heartbeat was answered")
		}
		if c := (after - before).Seconds() * 1000 / float64(t.Count); cost == 0 || c < cost {
			best, cost = t, c
		}
	}
	lookups, err := measureLookups(ctx, r, f)
	if err != nil {
		return err
	}
	bare, err := bareBeats(ctx)
	if err != nil {
		return err
	}
	insert, err := bareInserts(ctx, smallSize)
	if err != nil {
		return err
	}
	add(s, "heartbeats answered", best.PerSecond, "a second", "1000")
	add(s, "heartbeats without an answer, or refused", beatRate*beatTime.Seconds()-float64(best.Count), "", "0")
	add(s, "heartbeat: median", best.P50, "ms", "")
	add(s, "heartbeat: p99", best.P99, "ms", "< 50")
	add(s, "heartbeat: p99.9", best.P999, "ms", "")
	add(s, "heartbeat: server's CPU", cost, "ms", "≤ 0.36 (a hundredth of Ironic's 36 to 48)")
	add(s, "heartbeat: a bare handler's CPU", bare, "ms", "")
	add(s, "heartbeat: server's CPU ÷ bare handler's", cost/bare, "×", "")
	add(s, "lookup, durable, on an open connection: server's CPU", lookups, "ms", "≤ 0.2 (a hundredth of Ironic's 15 to 20)")
	add(s, "lookup: CPU of a bare durable insert of an inventory's size", insert, "ms", "")
	add(s, "lookup: server's CPU ÷ (bare handler's + bare insert's)", lookups/(bare+insert), "×", "")
	return nil
}

// measureLookups lets the quiet agents look themselves up again, and gives the server's least CPU for one, in ms.
func measureLookups(ctx context.Context, r *rack, f *fleet.Fleet) (least float64, err error) {
	for range beatRuns {
		before, err := r.cpu()
		if err != nil {
			return 0, err
		}
		t, err := f.Lookups(ctx, lookupRate, beatTime/3)
		if err != nil {
			return 0, err
		}
		after, err := r.cpu()
		if err != nil {
			return 0, err
		}
		if t.Count == 0 {
			return 0, fmt.Errorf("no lookup was answered")
		}
		if c := (after - before).Seconds() * 1000 / float64(t.Count); least == 0 || c < least {
			least = c
		}
	}
	return least, nil
}

// measureHerd lets all machines look themselves up at once, and then kills the server under them.
func measureHerd(ctx context.Context, r *rack, s *figures.Set, n Scale) error {
	nodes := n.Herd
	bare, err := bareInserts(ctx, herdSize) // before there is a fleet in this process
	if err != nil {
		return err
	}
	f, err := r.fleet(fleet.Options{Nodes: nodes, Prefix: "herd-", StepTime: forever, Gather: true, Spread: herdSpread, Inventory: herdSize})
	if err != nil {
		return err
	}
	defer f.Close()
	if err := up(ctx, f); err != nil {
		return err
	}
	if err := until(ctx, 10*time.Minute, func() bool { return f.Booted() >= nodes }); err != nil {
		return fmt.Errorf("%d of %d machines are on: %w", f.Booted(), nodes, err)
	}
	before, err := r.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	f.Release()
	if err := until(ctx, 5*time.Minute, func() bool { return f.Summary().Lookups.Count >= uint64(nodes) }); err != nil {
		return fmt.Errorf("%d of %d machines looked themselves up: %w", f.Summary().Lookups.Count, nodes, err)
	}
	in := time.Since(began)
	after, err := r.cpu()
	if err != nil {
		return err
	}
	got := f.Summary()
	cost := (after - before).Seconds() * 1000 / float64(nodes)
	add(s, fmt.Sprintf("herd of %d lookups: all admitted after", nodes), in.Seconds(), "s", "≤ 65 (60 after the spread)")
	add(s, "herd: requests accepted, p99", got.Admitted.P99/1000, "s", "< 2")
	add(s, "herd: requests told to come back (503 + Retry-After)", float64(got.Refused["request.overload"]), "", "")
	add(s, "herd: requests refused otherwise", float64(all(got.Refused)-got.Refused["request.overload"]), "", "")
	add(s, "herd: requests without an answer", float64(all(got.Errors)), "", "")
	add(s, "herd: server's CPU for each machine", cost, "ms", "≤ 0.2 for a lookup (a hundredth of Ironic's 15 to 20)")
	add(s, "herd: CPU of a bare durable insert of that size", bare, "ms", "")
	add(s, "herd: server's CPU ÷ bare insert's", cost/bare, "×", "")

	if err := until(ctx, 5*time.Minute, func() bool { return f.Summary().Starts.Count >= uint64(nodes) }); err != nil {
		return fmt.Errorf("%d of %d steps started: %w", f.Summary().Starts.Count, nodes, err)
	}
	rss, most, err := r.memory()
	if err != nil {
		return err
	}
	add(s, fmt.Sprintf("memory with %d agents connected, a step running in each", nodes), rss, "MB", "")
	add(s, "memory at most so far, the herd included", most, "MB", "")
	return measureRestart(ctx, r, s, f, nodes)
}

// measureRestart kills the server under a fleet with steps in flight.
func measureRestart(ctx context.Context, r *rack, s *figures.Set, f *fleet.Fleet, nodes int) error {
	const spare = "spare"
	if _, err := r.api.CreateNode(ctx, map[string]any{"name": spare, "driver": "fake-hardware"}); err != nil {
		return err
	}
	if err := r.kill(); err != nil {
		return err
	}
	before := f.Summary().Heartbeats.Count
	began := time.Now()
	answers, err := r.start(ctx)
	if err != nil {
		return err
	}
	// A verb is granted once the server has gone on with all its stored work.
	if err := r.api.Provision(ctx, spare, api.Provision{Target: "manage"}); err != nil {
		return fmt.Errorf("a verb after the restart: %w", err)
	}
	serving := time.Since(began)
	if err := until(ctx, 2*time.Minute, func() bool { n, err := r.files(); return err == nil && n >= nodes }); err != nil {
		return fmt.Errorf("not all agents connect after the restart: %w", err)
	}
	connected := time.Since(began)
	steady := func() bool {
		states, err := f.States(ctx)
		return err == nil && states[string(state.CleanWait)] == nodes
	}
	if err := until(ctx, 2*time.Minute, func() bool { return f.Summary().Heartbeats.Count >= before+uint64(nodes) }); err != nil {
		return fmt.Errorf("%d heartbeats of %d agents after the restart: %w", f.Summary().Heartbeats.Count-before, nodes, err)
	}
	back := time.Since(began)
	if !steady() {
		states, err := f.States(ctx)
		return fmt.Errorf("after the restart not every step is in flight: %v, %w", states, err)
	}
	if twice := f.Summary().Repeated; twice > 0 {
		return fmt.Errorf("%d steps ran twice", twice)
	}
	add(s, fmt.Sprintf("restart with %d steps in flight: first answer of the API", nodes), answers.Seconds(), "s", "< 10")
	add(s, "restart: all stored work taken up, a verb granted", serving.Seconds(), "s", "< 10")
	add(s, "restart: as many connections as agents", connected.Seconds(), "s", "")
	add(s, "restart: as many heartbeats answered as there are agents", back.Seconds(), "s", "two intervals of 55 s")
	add(s, "restart: nodes that failed", 0, "", "0")
	return nil
}

// measureCold registers nodes and starts the server on them.
func measureCold(ctx context.Context, r *rack, s *figures.Set, _ Scale) error {
	f, err := r.fleet(fleet.Options{Nodes: coldNodes, Prefix: "cold-"})
	if err != nil {
		return err
	}
	defer f.Close()
	before, err := r.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := f.Register(ctx); err != nil {
		return err
	}
	took := time.Since(began)
	after, err := r.cpu()
	if err != nil {
		return err
	}
	var starts []time.Duration
	for range coldRuns {
		if err := r.kill(); err != nil {
			return err
		}
		t, err := r.start(ctx)
		if err != nil {
			return err
		}
		starts = append(starts, t)
	}
	list := time.Now()
	if _, err := f.States(ctx); err != nil {
		return err
	}
	listed := time.Since(list)
	rss, _, err := r.memory()
	if err != nil {
		return err
	}
	add(s, fmt.Sprintf("node and port created, %d of each: server's CPU for a pair", coldNodes), (after-before).Seconds()*1000/coldNodes, "ms", "≤ 0.38 for a node (a fiftieth of Ironic's 19)")
	add(s, "nodes created, with a port each, 32 callers", coldNodes/took.Seconds(), "a second", "")
	add(s, fmt.Sprintf("cold start with %d nodes until the first answer: median of %d", coldNodes, coldRuns), figures.Median(starts).Seconds(), "s", "≤ 0.1")
	add(s, "cold start: the fastest", slices.Min(starts).Seconds(), "s", "")
	add(s, fmt.Sprintf("list of %d nodes in full detail, decoded", coldNodes), listed.Seconds(), "s", "≤ 0.084 (a fiftieth of Ironic's 4.2)")
	add(s, "memory after that list", rss, "MB", "≤ 100")
	return nil
}

// until waits until ok, looking often.
func until(ctx context.Context, limit time.Duration, ok func() bool) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !ok() {
		select {
		case <-limited.Done():
			return limited.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

func all(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}
