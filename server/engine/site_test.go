package engine_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine"
	"github.com/bessemer-metal/bessemer/server/engine/recordtest"
	"github.com/bessemer-metal/bessemer/server/sqlite"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// site is a running conductor with one node.
type site struct {
	recordtest.Site
	t       *testing.T
	dir     string
	store   *sqlite.Store
	c       *engine.Engine
	board   *board
	mail    *mailbox
	stop    func()
	now     func() time.Time
	skew    atomic.Int64              // nanoseconds the wall clock is off
	asked   atomic.Pointer[func()]    // called whenever the time is asked for: between any two of the engine's own acts
	frozen  atomic.Pointer[time.Time] // what the clock says while the process is as if stopped; nil: it runs
	seq     uint64
	fault   *faulty                                                                             // between the conductor and the store
	check   func(context.Context, string) error                                                 // Config.CheckOrigin
	digest  func(ctx context.Context, list, image string) (algorithm, digest string, err error) // Config.Digest
	by      atomic.Pointer[string]                                                              // boot interface that Config.CanBoot was last asked about
	canBoot atomic.Pointer[fault.Fault]                                                         // Config.CanBoot
	doubt   atomic.Pointer[fault.Fault]                                                         // Config.Held
	class   string                                                                              // Config.ResourceClass
	sync    time.Duration                                                                       // Config.PowerSync
	more    []conductor.Driver                                                                  // beside the rack
	gone    bool                                                                                // the rack's hardware type is not enabled
	// programs is Config.ProgramURL.
	programs func(token string) string
}

var disk = inventory.Disk{Name: "/dev/nvme0n1", Serial: "S0", Size: 8 << 30, Class: inventory.NVMePCIe}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), fault: &faulty{}, board: &board{power: conductor.PowerOff, booted: make(chan string, 10)}}
	s.now = func() time.Time {
		if f := s.asked.Load(); f != nil {
			(*f)()
		}
		if at := s.frozen.Load(); at != nil {
			return *at
		}
		return time.Now().Add(time.Duration(s.skew.Load()))
	}
	s.mail = &mailbox{offers: make(chan api.Command, 10), now: s.now}
	s.start()
	t.Cleanup(func() { s.stop() })
	n := conductor.Node{Name: "n1", Driver: "rack", DriverInfo: map[string]any{"password": conductor.Masked}}
	if _, err := s.c.CreateNode(t.Context(), conductor.Caller{Name: "op"}, n, map[string]string{conductor.DriverSecret("password"): "canary"}); err != nil {
		t.Fatal(err)
	}
	return s
}

// start opens the store and runs a conductor on it, as a server's start does.
func (s *site) start() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	store, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(s.dir, "b.db"), Sealer: recordtest.Plain{}, Log: slog.New(slog.DiscardHandler), Now: s.now})
	if err != nil {
		s.t.Fatal(err)
	}
	s.store, s.fault.Store = store, store
	s.c, err = engine.New(engine.Config{
		Held: func() error {
			if f := s.doubt.Load(); f != nil {
				return f
			}
			return nil
		},
		CanBoot: func(by string) error {
			s.by.Store(&by)
			if f := s.canBoot.Load(); f != nil {
				return f
			}
			return nil
		},
		Store: s.fault, CheckOrigin: s.check, Digest: s.digest, Drivers: s.drivers(), PowerSync: s.sync, ResourceClass: s.class, Dispatcher: s.mail, Logs: noLogs{}, ConfigDrives: drives{},
		BootKey: bytes.Repeat([]byte{7}, 32), AgentURL: func() string { return "https://192.0.2.9:6386" },
		MediumURL: func(token string) string { return "http://192.0.2.9:6387/boot/" + token + "/bessemer.iso" }, Pins: []string{"pin"}, Now: s.now, ProgramURL: s.programs,
		Log: slog.New(slog.NewTextHandler(testWriter{s.t}, nil)), Timeouts: conductor.DefaultTimeouts(),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.Site = recordtest.Site{T: s.t, Store: store, Driver: "rack", Backend: s.c}
	done := make(chan error, 1)
	go func() { done <- s.c.Run(ctx) }()
	var once sync.Once
	s.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil && !s.fault.fails() {
				s.t.Error(err)
			}
			if err := store.Close(); err != nil {
				s.t.Error(err)
			}
		})
	}
}

// drivers are the hardware types that the server knows.
func (s *site) drivers() []conductor.Driver {
	if s.gone {
		return append([]conductor.Driver{renamed{rack{s.board}}}, s.more...)
	}
	return append([]conductor.Driver{rack{s.board}}, s.more...)
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func (s *site) provision(p conductor.Provision) {
	s.t.Helper()
	if err := s.c.Provision(s.t.Context(), conductor.Caller{Name: "op", Request: "req-1"}, "n1", p); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) node() conductor.Node { return s.N1() }

// until waits for a state; in a synctest bubble that costs no real time.
func (s *site) until(want state.State) conductor.Node {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Hour)
	defer cancel()
	ch := s.c.Watch(ctx, "n1")
	for {
		n := s.node()
		if n.State == want {
			return n
		}
		if _, ok := <-ch; !ok {
			s.t.Fatalf("state is %q (%s), waited for %q", n.State, n.LastError, want)
		}
	}
}

// agent is a ramdisk that has just booted from a medium.
type agent struct {
	s    *site
	sess conductor.Session
}

func (s *site) agent(url string) *agent { return s.agentOf(url, catalog.InBand) }

// agentOf is one that offers these steps.
func (s *site) agentOf(url string, steps []step.Step) *agent {
	s.t.Helper()
	token := strings.Split(strings.TrimPrefix(url, "http://192.0.2.9:6387/boot/"), "/")[0]
	cfg, err := s.c.Medium(s.t.Context(), token, netip.MustParseAddr("192.0.2.1"))
	if err != nil {
		s.t.Fatal(err)
	}
	peer := conductor.Peer{Key: "thumb", Addr: netip.MustParseAddr("192.0.2.50")}
	adm, err := s.c.Lookup(s.t.Context(), peer, api.LookupRequest{Node: cfg.Node, Generation: cfg.Generation, Secret: cfg.Secret, BootID: "b", Seq: 1},
		inventory.Inventory{Disks: []inventory.Disk{disk}, CPU: inventory.CPU{Count: 2, Architecture: "x86_64"}})
	if err != nil {
		s.t.Fatal(err)
	}
	a := &agent{s: s, sess: conductor.Session{Peer: peer, Claims: api.Claims{Node: adm.Node, Generation: adm.Generation, Key: "thumb"}}}
	s.seq = 1
	a.beat(api.HeartbeatRequest{Steps: steps})
	return a
}

func (a *agent) beat(r api.HeartbeatRequest) {
	a.s.t.Helper()
	a.s.seq++
	r.Seq = a.s.seq
	if err := a.s.c.Heartbeat(a.s.t.Context(), a.sess, r); err != nil {
		a.s.t.Fatal(err)
	}
}

// run takes one offer, starts it and ends it.
func (a *agent) run(name string, res *step.Result) {
	a.s.t.Helper()
	cmd := <-a.s.mail.offers
	if cmd.Step != name {
		a.s.t.Fatalf("offered %s, want %s", cmd.Step, name)
	}
	nonce := "nonce-nonce-nonce-" + string(cmd.ID)
	ans, err := a.s.c.Start(a.s.t.Context(), a.sess, api.StartRequest{ID: cmd.ID, Nonce: nonce})
	if err != nil || ans.Nonce != nonce {
		a.s.t.Fatalf("start: %v %v", ans, err)
	}
	if err := a.s.c.Result(a.s.t.Context(), a.sess, api.ResultRequest{ID: cmd.ID, Nonce: nonce, Outcome: api.Succeeded, Result: res}); err != nil {
		a.s.t.Fatal(err)
	}
}

func erased() *step.Result {
	id, _ := disk.ID()
	r := catalog.Erased{ID: id, Method: "overwrite", To: id.Size}
	r.Verify.Mode = "sample"
	return &step.Result{Data: map[string]any{"devices": []catalog.Erased{r}}}
}

func (s *site) available() {
	s.t.Helper()
	s.provision(conductor.Provision{Verb: state.VerbManage})
	s.until(state.Manageable)
	s.provision(conductor.Provision{Verb: state.VerbProvide})
	a := s.agent(<-s.board.booted)
	a.run("deploy.erase_devices_metadata", nil)
	a.run("deploy.erase_devices", erased())
	s.until(state.Available)
}
