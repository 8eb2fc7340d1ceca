package run

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

var errDead = errors.New("the process is dead")

// world is what outlives an agent process: the server's records, the devices' ledger and the journal file.
type world struct {
	t    *testing.T
	path string

	mu    sync.Mutex
	steps map[step.ID]*record
	runs  map[step.ID]int // how often a step began to work on the devices
	all   int             // running right now, over all processes
	// lose tells, for the n-th call (from 1), whether the request and whether the answer is lost.
	lose  func(n int) (request, answer bool)
	calls int
}

// record is the server's, with the rules of safety.md §2.7.
type record struct {
	state string // "offered", "started", "ended"
	nonce string
	end   Ended
	taken int // results that changed something
}

func newWorld(t *testing.T) *world {
	return &world{t: t, path: filepath.Join(t.TempDir(), "journal"), steps: map[step.ID]*record{}, runs: map[step.ID]int{}}
}

func (w *world) offer(id step.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.steps[id] = &record{state: "offered"}
}

func (w *world) get(id step.ID) record {
	w.mu.Lock()
	defer w.mu.Unlock()
	return *w.steps[id]
}

// process is one agent process. It dies at its crash-th point (0: never), and from then on changes nothing.
type process struct {
	*world
	exec   *Executor
	cancel context.CancelFunc
	done   chan error
	work   func(ctx context.Context, c step.Call) (step.Result, error)

	pmu   sync.Mutex
	point int
	crash int
	dead  bool
}

func (w *world) boot(crash int, work func(context.Context, step.Call) (step.Result, error)) *process {
	w.t.Helper()
	p := &process{world: w, crash: crash, done: make(chan error, 1), work: work}
	j, err := OpenJournal(w.path)
	if err != nil {
		w.t.Fatal(err)
	}
	j.file = &mortalFile{file: j.file, p: p}
	p.exec = New(Config{Server: p, Manager: p, Journal: j, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(w.t.Context())
	p.cancel = cancel
	go func() { p.done <- p.exec.Run(ctx) }()
	return p
}

// stop ends the process and waits for it.
func (p *process) stop() {
	p.cancel()
	<-p.done
	if err := p.exec.Journal.Close(); err != nil {
		p.t.Error(err)
	}
}

// at is a point where the process may die; errDead: it has.
func (p *process) at() error {
	p.pmu.Lock()
	defer p.pmu.Unlock()
	p.point++
	if p.point == p.crash {
		p.dead = true
		p.cancel()
	}
	if p.dead {
		return errDead
	}
	return nil
}

func (p *process) crashed() bool {
	p.pmu.Lock()
	defer p.pmu.Unlock()
	return p.dead
}

// mortalFile dies before, within and after each write, and before and after each sync.
type mortalFile struct {
	file
	p *process
}

func (f *mortalFile) Write(b []byte) (int, error) {
	if err := f.p.at(); err != nil {
		return 0, err
	}
	n, err := f.file.Write(b[:len(b)/2])
	if err == nil {
		if err = f.p.at(); err != nil {
			return n, err
		}
		var m int
		m, err = f.file.Write(b[len(b)/2:])
		n += m
	}
	if dead := f.p.at(); dead != nil {
		return n, dead
	}
	return n, err
}

func (f *mortalFile) Sync() error {
	if err := f.p.at(); err != nil {
		return err
	}
	if err := f.file.Sync(); err != nil {
		return err
	}
	return f.p.at()
}

func (f *mortalFile) Truncate(n int64) error {
	if f.p.crashed() {
		return errDead
	}
	return f.file.Truncate(n)
}

// call carries one request to the server: act runs unless the request is lost.
func (p *process) call(act func() error) error {
	if err := p.at(); err != nil {
		return err
	}
	p.mu.Lock()
	p.calls++
	lostRequest, lostAnswer := false, false
	if p.lose != nil {
		lostRequest, lostAnswer = p.lose(p.calls)
	}
	var err error
	if !lostRequest {
		err = act()
	}
	p.mu.Unlock()
	if dead := p.at(); dead != nil {
		return dead
	}
	if lostRequest || lostAnswer {
		return errors.New("no answer")
	}
	return err
}

func (p *process) Start(_ context.Context, id step.ID, nonce string) error {
	return p.call(func() error {
		r := p.steps[id]
		switch {
		case r != nil && r.state == "offered":
			r.state, r.nonce = "started", nonce
		case r != nil && r.state == "started" && r.nonce == nonce:
		default:
			return fault.New(fault.ChannelStartLost, "not offered")
		}
		return nil
	})
}

func (p *process) Result(_ context.Context, e Ended) error {
	return p.call(func() error {
		r := p.steps[e.ID]
		switch {
		case r == nil:
			return fault.New(fault.StepNotOffered, "unknown")
		case r.state == "offered" && e.Outcome == api.Interrupted, r.state == "started" && r.nonce == e.Nonce:
			r.state, r.end = "ended", e
			r.taken++
		case r.state == "ended" && r.nonce == e.Nonce:
		default:
			return fault.New(fault.StepNotOffered, "another claim")
		}
		return nil
	})
}

func (p *process) Secret(_ context.Context, id step.ID, name string) ([]byte, error) {
	return []byte(name + " of " + string(id)), nil
}

func (p *process) Steps() []step.Step {
	return []step.Step{{Name: "deploy.work", Where: step.InBand, Secrets: []string{"configdrive"}}}
}

func (p *process) Run(ctx context.Context, name string, c step.Call) (step.Result, error) {
	if err := p.at(); err != nil {
		return step.Result{}, err
	}
	p.mu.Lock()
	p.runs[c.ID]++
	p.all++
	if p.all > 1 {
		p.t.Errorf("two steps work on the devices at once")
	}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.all--
		p.mu.Unlock()
	}()
	if name != "deploy.work" {
		return step.Result{}, fault.New(fault.StepVersion, "no step %s", name)
	}
	r, err := p.work(ctx, c)
	if dead := p.at(); dead != nil {
		return step.Result{}, dead
	}
	return r, err
}

func command(id step.ID) api.Command {
	return api.Command{ID: id, Step: "deploy.work", Timeout: time.Hour}
}

func well(context.Context, step.Call) (step.Result, error) {
	return step.Result{Data: map[string]any{"well": true}}, nil
}

// settle lets everything run that can, retries included.
func settle() {
	for range 40 {
		synctest.Wait()
		<-time.After(time.Second)
	}
	synctest.Wait()
}

// TestF14_CrashAtEveryPoint kills the process at each point in turn: before, within and after each write of the
// journal, before and after each call reaches the server, before and after the step works. Whatever happens, a step
// works at most once (I8), counts as succeeded only if it did (I12), is not left open, and the next one runs.
func TestF14_CrashAtEveryPoint(t *testing.T) {
	points := 0
	for n := 1; ; n++ {
		crashed := false
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.offer("one")
			first := w.boot(n, well)
			first.exec.Command(command("one"))
			settle()
			if crashed = first.crashed(); !crashed {
				if r := w.get("one"); r.end.Outcome != api.Succeeded {
					t.Errorf("unharmed, it ended %+v", r)
				}
			}
			first.stop()

			second := w.boot(0, well)
			defer second.stop()
			settle()
			if w.get("one").state == "offered" {
				second.exec.Command(command("one"))
				settle()
			}
			r := w.get("one")
			if w.runs["one"] > 1 {
				t.Errorf("point %d: the step ran %d times", n, w.runs["one"])
			}
			if r.state != "ended" || r.taken != 1 {
				t.Errorf("point %d: left %+v", n, r)
			}
			if r.end.Outcome == api.Succeeded && w.runs["one"] != 1 {
				t.Errorf("point %d: succeeded without having run", n)
			}
			if r.end.Outcome != api.Succeeded && r.end.Outcome != api.Interrupted {
				t.Errorf("point %d: ended %+v", n, r.end)
			}
			w.offer("two")
			second.exec.Command(command("two"))
			settle()
			if r := w.get("two"); r.end.Outcome != api.Succeeded || w.runs["two"] != 1 {
				t.Errorf("point %d: the next step ended %+v", n, r)
			}
		})
		if !crashed {
			points = n - 1
			break
		}
	}
	if points < 20 {
		t.Errorf("only %d points were met", points)
	}
}

// TestF14_CrashAgainInTheRecovery kills the process at each point, and the one that recovers from it at each of its own.
// The third finds what both left. The ledger of the devices holds at most one execution, and one that counts as a
// success is in it (I8, I10).
func TestF14_CrashAgainInTheRecovery(t *testing.T) {
	pairs := 0
	for n, unharmed := 1, false; !unharmed; n++ {
		for m := 1; ; m++ {
			crashed := false
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.offer("one")
				for i, at := range []int{n, m, 0} {
					p := w.boot(at, well)
					settle()
					if w.get("one").state == "offered" {
						p.exec.Command(command("one"))
						settle()
					}
					switch i {
					case 0:
						unharmed = !p.crashed()
					case 1:
						crashed = p.crashed()
					}
					p.stop()
				}
				r, ran := w.get("one"), w.runs["one"]
				if ran > 1 || r.state != "ended" || r.taken != 1 || r.end.Outcome == api.Succeeded && ran != 1 || r.end.Outcome != api.Succeeded && r.end.Outcome != api.Interrupted {
					t.Errorf("points %d and %d: ran %d times, left %+v", n, m, ran, r)
				}
			})
			pairs++
			if !crashed || unharmed || t.Failed() {
				break
			}
		}
	}
	if pairs < 100 {
		t.Errorf("only %d pairs of points were met", pairs)
	}
}

// crampedFile has no room for its n-th write, nor for any more until there is room again.
type crampedFile struct {
	file
	mu     sync.Mutex
	writes int
	full   int // the write from which on there is no room; 0 never
}

func (f *crampedFile) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	if f.full > 0 && f.writes >= f.full {
		n, _ := f.file.Write(b[:len(b)/3])
		return n, syscall.ENOSPC
	}
	return f.file.Write(b)
}

// TestF17_NoRoomForTheJournal: tmpfs is full from the n-th write of the journal on, for a minute or until the process has
// restarted. What can't be journaled is not run; what ran is told; nothing runs twice (I8).
func TestF17_NoRoomForTheJournal(t *testing.T) {
	for n := 1; ; n++ {
		full := false
		for _, restart := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.offer("one")
				p := w.boot(0, well)
				f := &crampedFile{file: p.exec.Journal.file, full: n}
				p.exec.Journal.file = f
				p.exec.Command(command("one"))
				settle()
				f.mu.Lock()
				full, f.full = f.writes >= n, 0
				f.mu.Unlock()
				if n == 1 && w.runs["one"] != 0 {
					t.Error("it ran without being journaled")
				}
				if restart {
					p.stop()
					p = w.boot(0, well)
				}
				defer p.stop()
				settle()
				if w.get("one").state == "offered" { // the server offers it again
					p.exec.Command(command("one"))
					settle()
				}
				if r := w.get("one"); r.end.Outcome != api.Succeeded || r.taken != 1 || w.runs["one"] != 1 {
					t.Errorf("write %d, restart %v: ran %d times, left %+v", n, restart, w.runs["one"], r)
				}
			})
		}
		if !full || t.Failed() {
			return
		}
	}
}

// TestF17_AGoroutineThatAStepLeft: it goes on reporting, which changes nothing any more; the next step runs.
func TestF17_AGoroutineThatAStepLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.offer("one")
		w.offer("two")
		left := make(chan struct{})
		p := w.boot(0, func(_ context.Context, c step.Call) (step.Result, error) {
			if c.ID == "one" {
				go func() {
					for i := range 600 {
						c.Report(step.Progress{Percent: float64(i) / 6, Item: "from the grave"})
						c.Log.Info("from the grave")
						<-time.After(100 * time.Millisecond)
					}
					close(left)
				}()
				return step.Result{}, nil
			}
			c.Report(step.Progress{Percent: 1})
			<-time.After(20 * time.Second)
			return step.Result{}, nil
		})
		defer p.stop()
		p.exec.Command(command("one"))
		synctest.Wait()
		p.exec.Command(command("two"))
		<-time.After(10 * time.Second)
		synctest.Wait()
		if id, now := p.exec.Running(); id != "two" || now == nil || now.Percent != 1 || now.Item != "" {
			t.Errorf("running %s at %+v", id, now)
		}
		<-left
		settle()
		for _, id := range []step.ID{"one", "two"} {
			if r := w.get(id); r.end.Outcome != api.Succeeded || r.taken != 1 {
				t.Errorf("%s: %+v", id, r)
			}
		}
	})
}

// TestF10_LostMessages loses the request or the answer of every combination of the first calls, with the agent
// restarted in between or not.
func TestF10_LostMessages(t *testing.T) {
	const calls = 5
	for pattern := range 1 << (2 * calls) {
		if pattern&(pattern>>1)&0x155 != 0 {
			continue // both lost is the request lost
		}
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.lose = func(n int) (bool, bool) {
				bits := pattern >> (2 * (n - 1))
				return n <= calls && bits&1 != 0, n <= calls && bits&2 != 0
			}
			w.offer("one")
			p := w.boot(0, well)
			defer p.stop()
			for range 3 { // the server sends its offer again
				p.exec.Command(command("one"))
				settle()
			}
			if r := w.get("one"); r.end.Outcome != api.Succeeded || w.runs["one"] != 1 || r.taken != 1 {
				t.Errorf("pattern %010b: %+v, ran %d times", pattern, r, w.runs["one"])
			}
		})
	}
}
