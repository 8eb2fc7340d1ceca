package channel_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/bessemer-metal/bessemer/agent/channel"
	"github.com/bessemer-metal/bessemer/agent/run"
	"github.com/bessemer-metal/bessemer/integration/bubbles"
	"github.com/bessemer-metal/bessemer/integration/simnet"
	serverchannel "github.com/bessemer-metal/bessemer/server/channel"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/token"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func TestMain(m *testing.M) {
	bubbles.Calm()
	goleak.VerifyTestMain(m)
}

const node = conductor.NodeID("aaaaaaaa-0000-4000-8000-000000000001")

// site is a server with its real channel, tokens and TLS, before a conductor that keeps the rules of safety.md §2.2 to
// §2.7 for one node and offers a list of steps one after the other.
type site struct {
	t    *testing.T
	id   *serverchannel.Identity
	disp *serverchannel.Dispatcher
	net  *simnet.Network
	// handle stands before the channel; nil passes on.
	handle func(next http.Handler) http.Handler

	mu        sync.Mutex
	gen       uint64
	key       string
	contested bool
	seq       uint64
	ready     bool
	plan      []step.ID
	steps     map[step.ID]*attempt
	progress  []float64
	pace      time.Duration
	watched   chan struct{} // closed when pace changes
	log       bytes.Buffer
	keys      map[string]bool // that claimed with the right secret
}

type attempt struct {
	state string // "planned", "offered", "started", "ended"
	nonce string
	end   api.ResultRequest
	taken int
}

func newSite(t *testing.T, plan ...step.ID) *site {
	t.Helper()
	id, err := serverchannel.LoadIdentity(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, id: id, disp: serverchannel.NewDispatcher(time.Now), net: simnet.New(), gen: 7, plan: plan,
		steps: map[step.ID]*attempt{}, keys: map[string]bool{}}
	for _, p := range plan {
		s.steps[p] = &attempt{state: "planned"}
	}
	return s
}

// serve runs the server until the returned function is called.
func (s *site) serve() (stop func()) {
	s.t.Helper()
	tokens, err := token.New("site", token.Key{Seed: bytes.Repeat([]byte{1}, 32)})
	if err != nil {
		s.t.Fatal(err)
	}
	var h http.Handler = serverchannel.New(serverchannel.Config{Conductor: s, Dispatcher: s.disp, Tokens: tokens, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if s.handle != nil {
		h = s.handle(h)
	}
	srv := &http.Server{Handler: h, TLSConfig: s.id.TLS(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.ServeTLS(s.net.Listen(), "", ""); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			s.t.Errorf("serve: %v", err)
		}
	}()
	return func() {
		if err := srv.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.t.Error(err)
		}
		<-done
		<-time.After(5 * time.Minute) // what is in hand ends
	}
}

// next offers the first planned step when none is open. Called with the lock held.
func (s *site) next() {
	for _, p := range s.plan {
		a := s.steps[p]
		if a.state == "offered" || a.state == "started" {
			return
		}
		if a.state == "planned" {
			a.state = "offered"
			s.disp.Offer(node, s.gen, api.Command{ID: p, Step: "deploy.work", Timeout: time.Hour})
			return
		}
	}
}

func (s *site) stands(c conductor.Session) error {
	if c.Claims.Node != node || c.Claims.Generation != s.gen || s.contested || c.Claims.Key != s.key {
		return fault.New(fault.ChannelToken, "not this boot")
	}
	return nil
}

func (s *site) Lookup(_ context.Context, p conductor.Peer, r api.LookupRequest, inv inventory.Inventory) (conductor.Admission, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.Node != node || r.Generation != s.gen || r.Secret != "boot secret" || len(inv.Disks) != 1:
		return conductor.Admission{}, fault.New(fault.ChannelClaim, "no")
	}
	s.keys[p.Key] = true
	if s.key != "" && s.key != p.Key {
		s.contested = true
	}
	if s.contested {
		return conductor.Admission{}, fault.New(fault.NodeContested, "two machines").At(string(node), "")
	}
	s.key = p.Key
	return conductor.Admission{Node: node, Name: "n1", Generation: s.gen, Level: api.A1, Interval: 10 * time.Second}, nil
}

func (s *site) Heartbeat(_ context.Context, c conductor.Session, r api.HeartbeatRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.stands(c); err != nil {
		return err
	}
	if r.Seq <= s.seq {
		return fault.New(fault.ChannelStale, "message %d after %d", r.Seq, s.seq)
	}
	s.seq = r.Seq
	if r.Progress != nil {
		s.progress = append(s.progress, r.Progress.Percent)
	}
	if r.Steps != nil {
		s.ready = true
		s.next()
	}
	return nil
}

func (s *site) Start(_ context.Context, c conductor.Session, r api.StartRequest) (api.StartAnswer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.stands(c); err != nil {
		return api.StartAnswer{}, err
	}
	a := s.steps[r.ID]
	switch {
	case a != nil && a.state == "offered":
		a.state, a.nonce = "started", r.Nonce
	case a != nil && a.state == "started" && a.nonce == r.Nonce:
	default:
		return api.StartAnswer{}, fault.New(fault.ChannelStartLost, "not offered")
	}
	return api.StartAnswer{Nonce: r.Nonce}, nil
}

func (s *site) Result(_ context.Context, c conductor.Session, r api.ResultRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.stands(c); err != nil {
		return err
	}
	a := s.steps[r.ID]
	switch {
	case a == nil:
		return fault.New(fault.StepNotOffered, "unknown")
	case a.state == "offered" && r.Outcome == api.Interrupted, a.state == "started" && a.nonce == r.Nonce:
		a.state, a.end = "ended", r
		a.taken++
		s.next()
	case a.state == "ended" && a.nonce == r.Nonce:
	default:
		return fault.New(fault.StepNotOffered, "another claim")
	}
	return nil
}

func (s *site) Secret(_ context.Context, c conductor.Session, r api.SecretRequest) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.stands(c); err != nil {
		return nil, err
	}
	if a := s.steps[r.ID]; a == nil || a.state != "started" {
		return nil, fault.New(fault.RequestForbidden, "no such step runs")
	}
	return []byte("the " + r.Name), nil
}

func (s *site) Log(_ context.Context, c conductor.Session, r api.LogRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.stands(c); err != nil {
		return err
	}
	if have := int64(s.log.Len()); r.Offset <= have && r.Offset+int64(len(r.Data)) > have {
		s.log.Write(r.Data[have-r.Offset:])
	}
	return nil
}

func (s *site) Pace(conductor.NodeID) (time.Duration, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watched == nil {
		s.watched = make(chan struct{})
	}
	return s.pace, s.watched
}

// watch begins or ends the looking on.
func (s *site) watch(every time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pace = every
	if s.watched != nil {
		close(s.watched)
		s.watched = nil
	}
}

// await waits in the bubble's time until ok holds under the lock.
func (s *site) await(what string, ok func() bool) {
	s.t.Helper()
	for range 36000 {
		synctest.Wait()
		s.mu.Lock()
		yes := ok()
		s.mu.Unlock()
		if yes {
			return
		}
		<-time.After(100 * time.Millisecond)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t.Fatalf("within an hour: not %s; key %q contested %v ready %v", what, s.key, s.contested, s.ready)
}

func (s *site) allEnded() bool {
	for _, a := range s.steps {
		if a.state != "ended" {
			return false
		}
	}
	return true
}

// machine is a machine in one boot: its tmpfs and its devices.
type machine struct {
	site *site
	dir  string
	addr string
	work func(ctx context.Context, c step.Call) (step.Result, error)
	bare bool // offers no step

	mu      sync.Mutex
	runs    map[step.ID]int
	trouble []string
	boot    api.BootConfig
}

func (s *site) machine() *machine {
	return &machine{site: s, dir: s.t.TempDir(), addr: "192.0.2.1", runs: map[step.ID]int{}, boot: api.BootConfig{
		Version: 1, Server: "https://10.0.0.1:6386", Pins: s.id.Pins(), Node: node, Generation: s.gen, Secret: "boot secret", NotBefore: time.Now(),
	}}
}

func (m *machine) Steps() []step.Step {
	if m.bare {
		return nil
	}
	return []step.Step{{Name: "deploy.work", Where: step.InBand, Secrets: []string{"configdrive"}, Repeat: step.Again, Timeout: time.Hour}}
}

func (m *machine) Run(ctx context.Context, _ string, c step.Call) (step.Result, error) {
	m.mu.Lock()
	m.runs[c.ID]++
	m.mu.Unlock()
	if m.work != nil {
		return m.work(ctx, c)
	}
	return step.Result{}, nil
}

// start runs an agent process on the machine until the returned function is called.
func (m *machine) start() (stop func()) {
	t := m.site.t
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	journal, err := run.OpenJournal(filepath.Join(m.dir, "journal"))
	must(err)
	key, err := channel.LoadKey(m.dir)
	must(err)
	kept, err := channel.OpenLog(filepath.Join(m.dir, "log"), 1<<20)
	must(err)
	log := slog.New(slog.NewJSONHandler(kept, nil))
	client, err := channel.New(channel.Config{
		Boot: m.boot, Key: key, BootID: "boot", Version: "sim", Seq: journal.Seq, Now: time.Now, Log: log,
		Inventory: inventory.Inventory{Interfaces: []inventory.Interface{{MACAddress: "52:54:00:00:00:01"}}, Disks: []inventory.Disk{{}}},
		Trouble:   func(words string) { m.mu.Lock(); m.trouble = append(m.trouble, words); m.mu.Unlock() },
		Dial:      func(ctx context.Context, _, _ string) (net.Conn, error) { return m.site.net.Dial(ctx, m.addr) },
	})
	must(err)
	executor := run.New(run.Config{Server: client, Manager: m, Journal: journal, Now: time.Now, Log: log})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { client.Run(ctx, executor, channel.Offer{Steps: m.Steps()}) })
	wg.Go(func() { executor.Run(ctx) })
	wg.Go(func() { kept.Ship(ctx, client.Ship) })
	return func() {
		cancel()
		wg.Wait()
		client.Close()
		must(errors.Join(journal.Close(), kept.Close()))
		synctest.Wait()
	}
}

// once checks that every planned step succeeded, ran once and was taken once.
func (m *machine) once(t *testing.T, what string) {
	t.Helper()
	s := m.site
	s.mu.Lock()
	defer s.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range s.plan {
		if a := s.steps[id]; a.end.Outcome != api.Succeeded || m.runs[id] != 1 || a.taken != 1 {
			t.Errorf("%s: step %s ended %+v, taken %d times, ran %d times", what, id, a.end, a.taken, m.runs[id])
		}
	}
}

func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "one", "two", "three")
		defer s.serve()()
		m := s.machine()
		var secret []byte
		m.work = func(ctx context.Context, c step.Call) (r step.Result, err error) {
			c.Report(step.Progress{Percent: 50})
			secret, err = c.Secret(ctx, "configdrive")
			<-time.After(16 * time.Minute) // longer than a token lives
			return step.Result{Data: map[string]any{"id": string(c.ID)}}, err
		}
		defer m.start()()
		began := time.Now()
		s.await("all ended", s.allEnded)
		m.once(t, "life")
		if string(secret) != "the configdrive" {
			t.Errorf("secret %q", secret)
		}
		if gap := time.Since(began) - 48*time.Minute; gap > time.Second {
			t.Errorf("three steps of 16 minutes took %s more than they last", gap)
		}
		s.await("the log shipped", func() bool { return strings.Contains(s.log.String(), "step ended") })
		s.mu.Lock()
		defer s.mu.Unlock()
		if !strings.Contains(s.log.String(), "the server admits this machine") {
			t.Error("the log lacks its beginning")
		}
		if m.trouble != nil {
			t.Errorf("trouble: %q", m.trouble)
		}
	})
}

// TestStepGap: from the end of a step to the start of the next nothing is waited for.
func TestStepGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "one", "two")
		defer s.serve()()
		m := s.machine()
		var times []time.Time
		m.work = func(context.Context, step.Call) (step.Result, error) {
			times = append(times, time.Now())
			<-time.After(time.Minute)
			times = append(times, time.Now())
			return step.Result{}, nil
		}
		defer m.start()()
		s.await("all ended", s.allEnded)
		if len(times) != 4 || times[2].Sub(times[1]) >= 100*time.Millisecond {
			t.Errorf("%v", times)
		}
	})
}

func TestAbortArrivesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "one")
		defer s.serve()()
		m := s.machine()
		m.work = func(ctx context.Context, _ step.Call) (step.Result, error) {
			<-ctx.Done()
			return step.Result{}, ctx.Err()
		}
		defer m.start()()
		s.await("started", func() bool { return s.steps["one"].state == "started" })
		<-time.After(30 * time.Second)
		began := time.Now()
		s.disp.Withdraw(node, "one")
		s.await("ended", s.allEnded)
		if end := s.steps["one"].end; end.Outcome != api.Aborted || time.Since(began) > 200*time.Millisecond {
			t.Errorf("%+v after %s", end, time.Since(began))
		}
	})
}

func TestProgressWhileWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "one")
		defer s.serve()()
		m := s.machine()
		m.work = func(_ context.Context, c step.Call) (step.Result, error) {
			for i := range 100 {
				c.Report(step.Progress{Percent: float64(i)})
				<-time.After(time.Second)
			}
			return step.Result{}, nil
		}
		defer m.start()()
		count := func() int { s.mu.Lock(); defer s.mu.Unlock(); return len(s.progress) }
		s.await("started", func() bool { return s.steps["one"].state == "started" })
		<-time.After(20 * time.Second)
		if n := count(); n > 3 {
			t.Errorf("unwatched: %d reports in 20 s", n)
		}
		s.watch(time.Second)
		before := count()
		<-time.After(20 * time.Second)
		if n := count() - before; n < 15 || n > 30 {
			t.Errorf("watched: %d reports in 20 s", n)
		}
		s.watch(0)
		<-time.After(4 * time.Second)
		before = count()
		<-time.After(20 * time.Second)
		if n := count() - before; n > 3 {
			t.Errorf("no longer watched: %d reports in 20 s", n)
		}
		s.await("ended", s.allEnded)
		m.once(t, "watched")
	})
}

// TestIdleIsQuiet: an agent without work asks about once a minute.
func TestIdleIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		requests := 0
		s.handle = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s.mu.Lock()
				requests++
				s.mu.Unlock()
				next.ServeHTTP(w, r)
			})
		}
		defer s.serve()()
		defer s.machine().start()()
		<-time.After(time.Hour)
		s.mu.Lock()
		defer s.mu.Unlock()
		if requests > 90 {
			t.Errorf("%d requests in an hour without work", requests)
		}
	})
}

// TestI25_AnAgentWithoutStepsIsHeardAndQuiet: that it offers nothing is told, once, like any other offer.
func TestI25_AnAgentWithoutStepsIsHeardAndQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		requests, slow := 0, time.NewTicker(time.Millisecond) // a bubble's time stands still while work is done
		defer slow.Stop()
		s.handle = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s.mu.Lock()
				requests++
				s.mu.Unlock()
				<-slow.C
				next.ServeHTTP(w, r)
			})
		}
		defer s.serve()()
		m := s.machine()
		m.bare = true
		defer m.start()()
		<-time.After(10 * time.Second)
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.ready || requests > 10 {
			t.Errorf("told %v; %d requests in ten seconds without work", s.ready, requests)
		}
	})
}

// TestF13_CutInsideEveryWrite cuts the connection inside the n-th write of either side, for every n until the run
// ends uncut: handshakes, requests and answers are lost half-way, each step still runs once.
func TestF13_CutInsideEveryWrite(t *testing.T) {
	for n := 1; ; n++ {
		writes := 0
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "one", "two")
			s.net.CutAt(n)
			defer s.serve()()
			m := s.machine()
			defer m.start()()
			s.await("all ended", s.allEnded)
			m.once(t, fmt.Sprintf("write %d cut", n))
			writes = s.net.Writes()
		})
		if writes < n || t.Failed() {
			if n < 20 {
				t.Errorf("only %d writes were cut", n)
			}
			return
		}
	}
}

// TestF10_Partition takes the network away for ten minutes at the moments that matter.
func TestF10_Partition(t *testing.T) {
	for _, moment := range []string{"offered", "started", "ended"} {
		for _, restart := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, "one")
				m := s.machine()
				cut := func() {
					s.net.Down(true)
					time.AfterFunc(10*time.Minute, func() { s.net.Down(false) })
				}
				m.work = func(context.Context, step.Call) (step.Result, error) {
					if moment == "started" {
						cut()
					}
					<-time.After(time.Minute)
					if moment == "ended" {
						cut()
					}
					return step.Result{}, nil
				}
				if moment == "offered" {
					var first atomic.Bool
					first.Store(true)
					s.handle = func(next http.Handler) http.Handler {
						return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
							if r.URL.Path == api.PathStart && first.CompareAndSwap(true, false) {
								next.ServeHTTP(httptest.NewRecorder(), r) // committed, and the answer is lost
								cut()
							} else {
								next.ServeHTTP(w, r)
							}
						})
					}
				}
				defer s.serve()()
				stop := m.start()
				if restart {
					<-time.After(5 * time.Minute)
					stop()
					stop = m.start()
				}
				defer func() { stop() }()
				s.await("ended", s.allEnded)
				<-time.After(time.Minute)
				a := s.steps["one"]
				want := api.Succeeded
				if restart && moment == "offered" {
					want = api.Interrupted // I12: what the next process can say; the end of the others is in the journal
				}
				m.mu.Lock()
				defer m.mu.Unlock()
				if m.runs["one"] > 1 || a.taken != 1 || a.end.Outcome != want {
					t.Errorf("%s, restart %v: %+v, ran %d times", moment, restart, a, m.runs["one"])
				}
				if a.end.Outcome == api.Succeeded && m.runs["one"] != 1 {
					t.Errorf("%s, restart %v: succeeded without having run", moment, restart)
				}
				if len(m.trouble) == 0 || m.trouble[len(m.trouble)-1] != "" {
					t.Errorf("%s: the console says %q", moment, m.trouble)
				}
			})
		}
	}
}

// TestF12_DuplicatedAndLate sends every request to the server again: at once, and minutes later.
func TestF12_DuplicatedAndLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "one", "two")
		var wg sync.WaitGroup
		s.handle = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				r.Body = io.NopCloser(bytes.NewReader(body))
				for _, after := range []time.Duration{0, 3 * time.Minute} {
					again := r.Clone(context.Background())
					again.Body = io.NopCloser(bytes.NewReader(body))
					wg.Go(func() {
						<-time.After(after)
						next.ServeHTTP(httptest.NewRecorder(), again)
					})
				}
				next.ServeHTTP(w, r)
			})
		}
		stopServer := s.serve()
		m := s.machine()
		m.work = func(context.Context, step.Call) (step.Result, error) {
			<-time.After(2 * time.Minute)
			return step.Result{}, nil
		}
		stop := m.start()
		s.await("all ended", s.allEnded)
		<-time.After(10 * time.Minute)
		m.once(t, "duplicates")
		stop()
		wg.Wait()
		stopServer()
	})
}

// TestF11_SlowNetwork: two seconds for every write, in both directions.
func TestF11_SlowNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "one", "two")
		s.net.Slow(2 * time.Second)
		defer s.serve()()
		m := s.machine()
		defer m.start()()
		s.await("all ended", s.allEnded)
		m.once(t, "slow")
	})
}

// TestF14_RestartedProcessIsTheSameClient: the key is kept, the claim is the same, the steps are told again.
func TestF14_RestartedProcessIsTheSameClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "one", "two")
		defer s.serve()()
		m := s.machine()
		m.work = func(ctx context.Context, c step.Call) (step.Result, error) {
			if c.ID == "one" {
				<-ctx.Done()
			}
			return step.Result{}, ctx.Err()
		}
		stop := m.start()
		s.await("started", func() bool { return s.steps["one"].state == "started" })
		stop()
		defer m.start()()
		s.await("all ended", s.allEnded)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.contested || len(s.keys) != 1 {
			t.Errorf("contested %v, %d keys", s.contested, len(s.keys))
		}
		if one, two := s.steps["one"], s.steps["two"]; one.end.Outcome != api.Interrupted || two.end.Outcome != api.Succeeded || m.runs["one"] != 1 {
			t.Errorf("%+v, %+v, ran %v", one, two, m.runs)
		}
	})
}

// TestT01_TwoMachinesClaimOneNode, before, while and after each other (I17): one is admitted at most, the node is
// contested, no step runs from then on.
func TestT01_TwoMachinesClaimOneNode(t *testing.T) {
	for _, head := range []time.Duration{0, time.Nanosecond, time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "one", "two")
			defer s.serve()()
			a, b := s.machine(), s.machine()
			b.addr = "192.0.2.2"
			slow := func(context.Context, step.Call) (step.Result, error) {
				<-time.After(2 * time.Minute)
				return step.Result{}, nil
			}
			a.work, b.work = slow, slow
			defer a.start()()
			<-time.After(head)
			defer b.start()()
			<-time.After(10 * time.Minute)
			s.mu.Lock()
			defer s.mu.Unlock()
			if !s.contested || len(s.keys) != 2 {
				t.Fatalf("contested %v, %d keys", s.contested, len(s.keys))
			}
			if len(a.runs) > 0 && len(b.runs) > 0 || a.runs["two"]+b.runs["two"] > 0 {
				t.Errorf("ran %v and %v", a.runs, b.runs)
			}
			for _, m := range []*machine{a, b} {
				if n := len(m.trouble); n == 0 || !strings.Contains(m.trouble[n-1], "two machines") {
					t.Errorf("the console says %q", m.trouble)
				}
			}
		})
	}
}

// TestI19_WrongSecretOrGeneration is refused for good, told in words, and asked with growing pauses.
func TestI19_WrongSecretOrGeneration(t *testing.T) {
	for name, spoil := range map[string]func(*api.BootConfig){
		"secret": func(b *api.BootConfig) { b.Secret = "guess" }, "generation": func(b *api.BootConfig) { b.Generation-- },
		"node": func(b *api.BootConfig) { b.Node = "other" },
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "one")
			tries := 0
			s.handle = func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					s.mu.Lock()
					tries++
					s.mu.Unlock()
					next.ServeHTTP(w, r)
				})
			}
			defer s.serve()()
			m := s.machine()
			spoil(&m.boot)
			defer m.start()()
			<-time.After(time.Hour)
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.key != "" || len(m.runs) > 0 || len(m.trouble) != 1 || tries < 60 || tries > 300 {
				t.Errorf("%s: admitted %q, %d tries in an hour, console %q", name, s.key, tries, m.trouble)
			}
		})
	}
}

// TestServerRestart: tokens, offers and liveness of the new process come from nothing but lookups and heartbeats.
func TestServerRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "one", "two")
		stop := s.serve()
		m := s.machine()
		m.work = func(context.Context, step.Call) (step.Result, error) {
			<-time.After(3 * time.Minute)
			return step.Result{}, nil
		}
		defer m.start()()
		s.await("started", func() bool { return s.steps["one"].state == "started" })
		stop()
		s.net.Down(true)
		<-time.After(time.Minute)
		s.mu.Lock()
		s.disp = serverchannel.NewDispatcher(time.Now)
		s.mu.Unlock()
		s.net.Down(false)
		defer s.serve()()
		s.await("all ended", s.allEnded)
		m.once(t, "server restart")
	})
}
