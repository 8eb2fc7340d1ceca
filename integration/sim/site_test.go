package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var disk = inventory.Disk{Name: "/dev/nvme0n1", Serial: "S0", Size: 8 << 30, Class: inventory.NVMePCIe}

// site is a server and one machine with its BMC.
type site struct {
	t   *testing.T
	dir string
	net *simnet.Network

	srv *server // the running one

	mu     sync.Mutex
	power  conductor.Power
	media  string
	boot   conductor.BootTarget
	boots  int
	agents []*machine // what the machine booted, the last is running

	// work is what each step does; nil works well at once.
	work func(ctx context.Context, m *machine, name string, c step.Call) error
	// clock is the machines' own; nil is the bubble's.
	clock func() time.Time
	// executed is every step id that any machine began to work on, in order.
	executed []string
	log      bytes.Buffer
}

func newSite(t *testing.T) *site {
	s := &site{t: t, dir: t.TempDir(), net: simnet.New(), power: conductor.PowerOff}
	s.start()
	t.Cleanup(func() {
		s.powerOff()
		s.stop()
	})
	n := conductor.Node{Name: "n1", Driver: "rack", DriverInfo: map[string]any{}}
	if _, err := s.srv.c.CreateNode(t.Context(), conductor.Caller{Name: "op"}, n, nil); err != nil {
		t.Fatal(err)
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
	log := slog.New(slog.NewTextHandler(&locked{s: s}, &slog.HandlerOptions{Level: slog.LevelDebug}))
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
		MediumURL: func(token string) string { return "http://192.0.2.9:6387/boot/" + token }, Pins: id.Pins(),
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
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
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
	s.mu.Lock()
	defer s.mu.Unlock()
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

// rack is the hardware type: its one board is the site's.
type rack struct{ s *site }

func (rack) Name() string { return "rack" }
func (rack) Interfaces() map[string][]string {
	return map[string][]string{"boot": {"redfish-virtual-media"}, "deploy": {"direct"}, "power": {"redfish"}}
}
func (rack) Properties() map[string]string                                   { return nil }
func (rack) SecretKeys() []string                                            { return nil }
func (rack) Validate(map[string]any) error                                   { return nil }
func (rack) Steps() []step.Step                                              { return nil }
func (r rack) Open(context.Context, conductor.Access) (conductor.BMC, error) { return board(r), nil }
func (rack) Address(map[string]any) string                                   { return "192.0.2.1" }

type board struct{ s *site }

func (b board) Facts(context.Context) (conductor.Facts, error) {
	p, err := b.Power(context.Background())
	return conductor.Facts{Power: p, Vendor: "V", BootMode: "uefi", VirtualMedia: true}, err
}

func (b board) Power(context.Context) (conductor.Power, error) {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	return b.s.power, nil
}

// SetPower boots the ramdisk when the medium is in and to be booted from.
func (b board) SetPower(_ context.Context, a conductor.PowerAction) error {
	s := b.s
	if a != conductor.On {
		s.powerOff()
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.power == conductor.PowerOn {
		return nil
	}
	s.power = conductor.PowerOn
	if s.boot.Device == "cdrom" && s.media != "" {
		s.boots++
		token := strings.TrimPrefix(s.media, "http://192.0.2.9:6387/boot/")
		cfg, err := s.srv.c.Medium(context.Background(), token, netip.MustParseAddr("192.0.2.1"))
		if err != nil {
			return fmt.Errorf("the BMC reads the medium: %w", err)
		}
		m := &machine{s: s, dir: filepath.Join(s.dir, fmt.Sprintf("tmpfs%d", s.boots)), addr: "192.0.2.50", boot: cfg, id: fmt.Sprintf("boot-%d", s.boots)}
		s.agents = append(s.agents, m)
		m.start()
	}
	if !s.boot.Always {
		s.boot = conductor.BootTarget{}
	}
	return nil
}

// powerOff ends whatever runs, at once.
func (s *site) powerOff() {
	s.mu.Lock()
	s.power = conductor.PowerOff
	var m *machine
	if len(s.agents) > 0 {
		m = s.agents[len(s.agents)-1]
	}
	s.mu.Unlock()
	if m != nil {
		m.stop()
	}
}

func (b board) SetBoot(_ context.Context, t conductor.BootTarget) error {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.s.boot = t
	return nil
}

func (b board) Boot(context.Context) (conductor.BootTarget, error) {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	return b.s.boot, nil
}

func (b board) SetMedia(_ context.Context, url string) error {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.s.media = url
	return nil
}

func (b board) Steps(context.Context) ([]step.Bound, error) { return nil, nil }

// machine is a ramdisk in one boot; its agent process may be stopped and started.
type machine struct {
	s    *site
	dir  string // tmpfs
	addr string
	id   string
	boot api.BootConfig

	mu      sync.Mutex
	end     func()
	trouble []string
}

func (m *machine) Steps() []step.Step { return catalog.InBand }

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
	if name != "deploy.erase_devices" {
		return step.Result{}, nil
	}
	id, _ := disk.ID()
	r := catalog.Erased{ID: id, Method: "overwrite", To: id.Size}
	r.Verify.Mode = "sample"
	return step.Result{Data: map[string]any{"devices": []catalog.Erased{r}}}, nil
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
		Inventory: inventory.Inventory{Disks: []inventory.Disk{disk}, CPU: inventory.CPU{Count: 2, Architecture: "x86_64"},
			Interfaces: []inventory.Interface{{MACAddress: "52:54:00:00:00:01"}}},
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

// agent is the machine that runs now.
func (s *site) agent() *machine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.agents[len(s.agents)-1]
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
