package channel_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
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
