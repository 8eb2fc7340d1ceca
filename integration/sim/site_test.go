package sim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	agentchannel "github.com/bessemer-metal/bessemer/agent/channel"
	"github.com/bessemer-metal/bessemer/agent/run"
	"github.com/bessemer-metal/bessemer/integration/bubbles"
	"github.com/bessemer-metal/bessemer/integration/evidence"
	"github.com/bessemer-metal/bessemer/integration/simnet"
	"github.com/bessemer-metal/bessemer/server/channel"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine"
	"github.com/bessemer-metal/bessemer/server/logs"
	"github.com/bessemer-metal/bessemer/server/sqlite"
	"github.com/bessemer-metal/bessemer/server/token"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func TestMain(m *testing.M) {
	bubbles.Calm()
	goleak.VerifyTestMain(m)
}

var disk = inventory.Disk{Name: "/dev/nvme0n1", Serial: "S0", Size: 8 << 30, Class: inventory.NVMePCIe}

// site is a server and its machines, each with a BMC: most tests have one, n1.
type site struct {
	t   *testing.T
	dir string
	net *simnet.Network

	srv *server // the running one

	hosts  []*host
	byNode map[conductor.NodeID]*host

	mu sync.Mutex // also guards what hosts hold

	// work is what each step does; nil works well at once.
	work func(ctx context.Context, m *machine, name string, c step.Call) error
	// clock is the machines' own; nil is the bubble's.
	clock func() time.Time
	// offers are steps that the ramdisk offers beside the stock ones; set before it boots.
	offers []step.Step
	// bmcSteps are the hardware type's, out of band.
	bmcSteps []step.Step
	// executed is every step id that any machine, or its BMC, began to work on, in order.
	executed []string

	level slog.Level
	logMu sync.Mutex // its own: the server logs while others hold mu
	log   bytes.Buffer
}

func newSite(t *testing.T) *site { return newSites(t, 1, slog.LevelDebug) }

// newSites makes a site of machines n1, n2, …, whose BMCs have these steps; the server logs from a level on.
func newSites(t *testing.T, machines int, level slog.Level, bmcSteps ...step.Step) *site {
	s := &site{t: t, dir: t.TempDir(), net: simnet.New(), byNode: map[conductor.NodeID]*host{}, level: level, bmcSteps: bmcSteps}
	s.start()
	t.Cleanup(func() {
		for _, h := range s.hosts {
			h.off()
		}
		s.stop()
	})
	for i := range machines {
		h := newHost(s, i+1)
		n, err := s.srv.c.CreateNode(t.Context(), conductor.Caller{Name: "op"}, conductor.Node{Name: h.name, Driver: "rack", DriverInfo: map[string]any{}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.hosts = append(s.hosts, h)
		s.byNode[n.UUID] = h
	}
	return s
}

// server is one server process.
type server struct {
	c      *engine.Engine
	cancel context.CancelFunc
	wg     sync.WaitGroup
	store  *sqlite.Store
	logs   *logs.Store
}

type plain struct{}

func (plain) Seal(_, _ string, v []byte) (string, []byte, error) { return "k", slices.Clone(v), nil }
func (plain) Open(_, _, _ string, v []byte) ([]byte, error)      { return v, nil }

type drives struct{}

func (drives) ConfigDrive(files map[string][]byte) ([]byte, error) {
	return files["openstack/latest/meta_data.json"], nil
}

// start starts a server on what the last one left.
func (s *site) start() {
	t := s.t
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	v := &server{cancel: cancel}
	log := slog.New(slog.NewTextHandler(&locked{s: s}, &slog.HandlerOptions{Level: s.level}))
	var err error
	v.store, err = sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(s.dir, "b.db"), Sealer: plain{}, Log: log, Now: time.Now})
	must(err)
	v.logs, err = logs.Open(filepath.Join(s.dir, "logs"), log)
	must(err)
	id, err := channel.LoadIdentity(s.dir, time.Now())
	must(err)
	tokens, err := token.New("sim", token.Key{Seed: bytes.Repeat([]byte{3}, 32)})
	must(err)
	d := channel.NewDispatcher(time.Now)
	v.c, err = engine.New(engine.Config{
		Store: v.store, Drivers: []conductor.Driver{rack{s}}, Dispatcher: d, Logs: v.logs, ConfigDrives: drives{},
		BootKey: bytes.Repeat([]byte{7}, 32), AgentURL: func() string { return "https://192.0.2.9:6386" },
		MediumURL: func(token string) string { return "http://192.0.2.9:6387/boot/" + token }, Pins: id.Pins(), Certificate: id.Certificate(),
		Now: time.Now, Log: log, Timeouts: conductor.DefaultTimeouts(),
	})
	must(err)
	ch := channel.New(channel.Config{Conductor: v.c, Dispatcher: d, Tokens: tokens, Now: time.Now, Log: log,
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	ln := s.net.Listen()
	v.wg.Go(func() {
		if err := v.c.Run(ctx); err != nil {
			t.Errorf("conductor: %v", err)
		}
	})
	v.wg.Go(func() {
		if err := ch.Serve(ctx, ln, id); err != nil {
			t.Errorf("channel: %v", err)
		}
	})
	s.srv = v
}

// stop ends the server as SIGTERM does.
func (s *site) stop() {
	v := s.srv
	v.cancel()
	v.wg.Wait()
	if err := errors.Join(v.logs.Close(), v.store.Close()); err != nil {
		s.t.Error(err)
	}
}

// locked keeps the server's log for a test that failed.
type locked struct{ s *site }

func (l *locked) Write(p []byte) (int, error) {
	l.s.logMu.Lock()
	defer l.s.logMu.Unlock()
	return l.s.log.Write(p)
}

func (s *site) provision(p conductor.Provision) {
	s.t.Helper()
	if err := s.srv.c.Provision(s.t.Context(), conductor.Caller{Name: "op"}, "n1", p); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) node() conductor.Node {
	s.t.Helper()
	n, err := s.srv.c.Node(s.t.Context(), "n1")
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// until waits in the bubble's time for one of the states.
func (s *site) until(want ...state.State) conductor.Node {
	s.t.Helper()
	for range 6 * 3600 {
		synctest.Wait()
		if n := s.node(); slices.Contains(want, n.State) {
			return n
		}
		<-time.After(time.Second)
	}
	n := s.node()
	s.logMu.Lock()
	defer s.logMu.Unlock()
	s.t.Fatalf("after 6 hours the state is %q (%s, %+v), not %v; the server says\n%s", n.State, n.LastError, n.Flow, want, tail(s.log.String()))
	return n
}

func tail(s string) string { return s[max(0, len(s)-6000):] }

// await waits in the bubble's time.
func (s *site) await(what string, ok func() bool) {
	s.t.Helper()
	for range 36000 {
		synctest.Wait()
		if ok() {
			return
		}
		<-time.After(100 * time.Millisecond)
	}
	s.t.Fatalf("within an hour: not %s", what)
}

func (s *site) executions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.executed)
}

// machine is a ramdisk in one boot; its agent process may be stopped and started.
type machine struct {
	s    *site
	host *host  // nil: a rogue, which is no node's
	dir  string // tmpfs
	addr string
	id   string
	boot api.BootConfig

	mu      sync.Mutex
	end     func()
	trouble []string
}

func (m *machine) Steps() []step.Step { return slices.Concat(catalog.InBand, m.s.offers) }

// Run is the hardware managers: it keeps the ledger of what was begun.
func (m *machine) Run(ctx context.Context, name string, c step.Call) (step.Result, error) {
	m.s.mu.Lock()
	m.s.executed = append(m.s.executed, string(c.ID))
	work := m.s.work
	m.s.mu.Unlock()
	if work != nil {
		if err := work(ctx, m, name, c); err != nil {
			return step.Result{}, err
		}
	}
	return evidence.Left(name, c.Args, c.Devices), nil
}

// start starts an agent process.
func (m *machine) start() {
	t := m.s.t
	must := func(err error) {
		if err != nil {
			t.Errorf("agent: %v", err)
		}
	}
	must(os.MkdirAll(m.dir, 0o700))
	journal, err := run.OpenJournal(filepath.Join(m.dir, "journal"))
	must(err)
	key, err := agentchannel.LoadKey(m.dir)
	must(err)
	kept, err := agentchannel.OpenLog(filepath.Join(m.dir, "log"), 1<<20)
	must(err)
	log := slog.New(slog.NewJSONHandler(kept, nil))
	now := time.Now
	if m.s.clock != nil {
		now = m.s.clock
	}
	client, err := agentchannel.New(agentchannel.Config{
		Boot: m.boot, Key: key, BootID: m.id, Version: "sim", Seq: journal.Seq, Now: now, Log: log,
		Inventory: inventory.Inventory{Disks: []inventory.Disk{m.disk()}, CPU: inventory.CPU{Count: 2, Architecture: "x86_64"},
			Interfaces: []inventory.Interface{{MACAddress: "52:54:00:00:00:01"}}}, // nothing is decided by it
		Trouble: func(words string) { m.mu.Lock(); defer m.mu.Unlock(); m.trouble = append(m.trouble, words) },
		Dial:    func(ctx context.Context, _, _ string) (net.Conn, error) { return m.s.net.Dial(ctx, m.addr) },
	})
	must(err)
	executor := run.New(run.Config{Server: client, Manager: m, Journal: journal, Now: now, Log: log})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		client.Run(ctx, executor, agentchannel.Offer{Steps: m.Steps(), Versions: map[string]string{"generic": "1"}})
	})
	wg.Go(func() { executor.Run(ctx) })
	wg.Go(func() { kept.Ship(ctx, client.Ship) })
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		client.Close()
		must(errors.Join(journal.Close(), kept.Close()))
	})
}

// stop ends the agent process; its tmpfs stays.
func (m *machine) stop() {
	m.mu.Lock()
	end := m.end
	m.mu.Unlock()
	end()
}

// agent is what n1 runs now.
func (s *site) agent() *machine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hosts[0].agents[len(s.hosts[0].agents)-1]
}

// words is all that the console was told.
func (m *machine) words() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.trouble, "\n")
}

// said is the agent's log as an operator reads it.
func (s *site) said(generation uint64) string {
	s.t.Helper()
	r, _, err := s.srv.c.OpenLog(s.t.Context(), "n1", generation, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}
