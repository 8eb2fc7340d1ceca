package engine_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/integration/evidence"
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

// board is a machine with a BMC: it boots from a medium when told to, and remembers what was done to it.
type board struct {
	telling // what it is made of (read_test.go)

	mu     sync.Mutex
	power  conductor.Power
	media  string
	boot   conductor.BootTarget
	acts   []string
	err    error // what every call answers
	booted chan string
	halt   func() // what comes in the middle of each act
	hang   bool   // out-of-band steps never end by themselves
	refuse bool   // the medium can't be fetched, as the BMC says in its own words
	asked  string
	slow   chan struct{}                                                   // not nil: setting the boot disk takes until it is closed
	uuid   string                                                          // what Facts says
	meant  conductor.Identity                                              // of the last who opened it
	held   func() error                                                    // conductor.Access.Held of whoever opened it last
	within func(held func() error) error                                   // what a step does instead of one act
	runs   func(ctx context.Context, c step.Call, held func() error) error // likewise, for as long as ctx lets it
	look   func(context.Context)                                           // what comes before each look at the power
	health conductor.Health                                                // what its driver knows of it
	before []string                                                        // the power that steps which restart it were told it had
	keeps  bool                                                            // an override for one boot stays when that has begun
	stuck  bool                                                            // power acts are taken and change nothing
}

func (b *board) call(act string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	if act != "" {
		b.acts = append(b.acts, act)
	}
	if halt := b.halt; halt != nil && act != "" {
		b.mu.Unlock()
		halt()
		b.mu.Lock()
	}
	return nil
}

// answer makes every later call fail with err; nil ends that.
func (b *board) answer(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *board) Facts(context.Context) (conductor.Facts, error) {
	p, err := b.Power(context.Background())
	return conductor.Facts{Power: p, Vendor: "V", BootMode: "uefi", VirtualMedia: true, UUID: b.uuid}, err
}
func (b *board) Power(ctx context.Context) (conductor.Power, error) {
	b.mu.Lock()
	look := b.look
	b.mu.Unlock()
	if look != nil {
		look(ctx)
	}
	if err := b.call(""); err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.power, nil
}
func (b *board) SetPower(_ context.Context, a conductor.PowerAction) error {
	if err := b.call(string(a)); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stuck {
		return nil
	}
	b.power = conductor.PowerOff
	if a == conductor.On {
		b.power = conductor.PowerOn
		if b.boot.Device == "cdrom" && b.media != "" {
			b.booted <- b.media
		}
		if b.boot.Device == "uefihttp" {
			b.booted <- b.boot.URL
		}
		if !b.boot.Always && !b.keeps {
			b.boot = conductor.BootTarget{}
		}
	}
	return nil
}
func (b *board) SetBoot(_ context.Context, t conductor.BootTarget) error {
	if err := b.call("boot " + t.Device); err != nil {
		return err
	}
	if b.refuse && t.URL != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.asked = t.URL
		return fault.New(fault.BMCBusy, "can't boot from %s", t.URL)
	}
	if b.slow != nil && t.Device == "disk" {
		<-b.slow
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.boot = t
	return nil
}
func (b *board) Boot(context.Context) (conductor.BootTarget, error) { return b.boot, b.call("") }
func (b *board) SetMedia(_ context.Context, url string) error {
	act := "insert"
	if url == "" {
		act = "eject"
	} else if b.refuse {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.asked = url
		return fault.New(fault.BMCBusy, "can't fetch %s", url)
	}
	if err := b.call(act); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.media = url
	return nil
}
func (b *board) Steps(context.Context) ([]step.Bound, error) {
	var out []step.Bound
	for _, s := range catalog.Redfish {
		out = append(out, step.Bound{Step: s, Run: func(ctx context.Context, c step.Call) (step.Result, error) {
			if s.Reboot {
				b.restarts(c.Power)
			}
			if b.hang {
				<-ctx.Done()
				return step.Result{}, ctx.Err()
			}
			b.mu.Lock()
			within, runs, held := b.within, b.runs, b.held
			b.mu.Unlock()
			if runs != nil {
				return step.Result{}, runs(ctx, c, held)
			}
			if within != nil {
				return step.Result{}, within(held)
			}
			return step.Result{}, b.call("step " + s.Name)
		}})
	}
	return out, nil
}

// rack is the hardware type of these tests: one board a node.
type rack struct{ board *board }

func (rack) Name() string { return "rack" }
func (rack) Interfaces() map[string][]string {
	return map[string][]string{"boot": {"redfish-virtual-media", "redfish-https"}, "deploy": {"direct", "ramdisk"}, "power": {"redfish"}, "inspect": {"agent", "redfish"}}
}
func (rack) Properties() map[string]string { return nil }
func (rack) SecretKeys() []string          { return []string{"password"} }
func (rack) Validate(map[string]any) error { return nil }
func (rack) Steps() []step.Step            { return catalog.Redfish }
func (rack) Address(map[string]any) string { return "192.0.2.1" }
func (r rack) Health(map[string]any) conductor.Health {
	r.board.mu.Lock()
	defer r.board.mu.Unlock()
	return r.board.health
}
func (r rack) Open(_ context.Context, a conductor.Access) (conductor.BMC, error) {
	r.board.mu.Lock()
	defer r.board.mu.Unlock()
	r.board.meant, r.board.held = a.Machine, a.Held
	return r.board, nil
}

// mailbox is a dispatcher whose offers a test agent takes.
type mailbox struct {
	offers chan api.Command
	now    func() time.Time

	mu        sync.Mutex
	heard     func() time.Time // nil: the agent is heard all the time
	withdrawn []step.ID
}

func (m *mailbox) Offer(_ conductor.NodeID, _ uint64, c api.Command) { m.offers <- c }
func (m *mailbox) Drop(conductor.NodeID)                             {}
func (m *mailbox) Withdraw(_ conductor.NodeID, id step.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.withdrawn = append(m.withdrawn, id)
}
func (m *mailbox) Heard(conductor.NodeID, uint64) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.heard != nil {
		return m.heard()
	}
	return m.now()
}

// listen says from now on when the agent was last heard.
func (m *mailbox) listen(heard func() time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard = heard
}

// faulty is a store that can be made to fail, and to be slow after a commit.
type faulty struct {
	conductor.Store
	mu     sync.Mutex
	view   func(context.Context) error // nil: nothing fails
	update func(context.Context) error
	after  func(context.Context)   // when an update is committed
	lost   func(conductor.Tx) bool // whether the answer to what was just committed is lost, once
}

func (f *faulty) lose(lost func(conductor.Tx) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost = lost
}

func (f *faulty) set(view, update func(context.Context) error, after func(context.Context)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.view, f.update, f.after = view, update, after
}

func (f *faulty) fails() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.view != nil || f.update != nil
}

func (f *faulty) View(ctx context.Context, fn func(conductor.Tx) error) error {
	f.mu.Lock()
	fail := f.view
	f.mu.Unlock()
	if fail != nil {
		if err := fail(ctx); err != nil {
			return err
		}
	}
	return f.Store.View(ctx, fn)
}

func (f *faulty) Update(ctx context.Context, fn func(conductor.Tx) error) error {
	f.mu.Lock()
	fail, after := f.update, f.after
	f.mu.Unlock()
	if fail != nil {
		if err := fail(ctx); err != nil {
			return err
		}
	}
	err := f.Store.Update(ctx, fn)
	if after != nil {
		after(ctx)
	}
	if err == nil && f.answerLost(ctx) {
		return fault.New(fault.StorageUnavailable, "the answer is lost")
	}
	return err
}

func (f *faulty) answerLost(ctx context.Context) bool {
	f.mu.Lock()
	lost := f.lost
	f.mu.Unlock()
	hit := false
	if lost != nil {
		f.Store.View(ctx, func(tx conductor.Tx) error { hit = lost(tx); return nil }) //nolint:errcheck // then it is not lost
	}
	if hit {
		f.lose(nil)
	}
	return hit
}

type noLogs struct{}

func (noLogs) Append(conductor.NodeID, uint64, int64, []byte) error { return nil }
func (noLogs) Open(conductor.NodeID, uint64, int64) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("")), nil
}
func (noLogs) Generations(conductor.NodeID) ([]uint64, error) { return nil, nil }
func (noLogs) Delete(conductor.NodeID) error                  { return nil }

type drives struct{}

func (drives) ConfigDrive(files map[string][]byte) ([]byte, error) {
	return bytes.Join([][]byte{[]byte("ISO:"), files["openstack/latest/meta_data.json"]}, nil), nil
}

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
		CanBoot: func(bool) error {
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

func TestLifeOnTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.available()
		_, err := s.c.UpdateNode(t.Context(), conductor.Caller{}, "n1", func(n *conductor.Node, _ map[string]string) error {
			n.InstanceInfo = map[string]any{"image_source": "http://x/os.raw.zst", "image_os_hash_algo": "sha256", "image_os_hash_value": strings.Repeat("a", 64)}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		s.provision(conductor.Provision{Verb: state.VerbDeploy, ConfigDrive: &conductor.ConfigDrive{Files: map[string][]byte{}}})
		a := s.agent(<-s.board.booted)
		cmd := <-s.mail.offers
		if cmd.Args["format"] != "raw.zst" || cmd.Args["configdrive"] != true {
			t.Fatalf("arguments %v", cmd.Args)
		}
		if _, err := s.c.Secret(t.Context(), a.sess, api.SecretRequest{ID: cmd.ID, Name: "configdrive"}); !fault.Is(err, fault.Forbidden) {
			t.Fatalf("I20: a secret before the start: %v", err)
		}
		if _, err := s.c.Start(t.Context(), a.sess, api.StartRequest{ID: cmd.ID, Nonce: "0123456789abcdef"}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.c.Secret(t.Context(), a.sess, api.SecretRequest{ID: cmd.ID, Name: "password"}); !fault.Is(err, fault.Forbidden) {
			t.Fatalf("T10: a secret the step does not list: %v", err)
		}
		drive, err := s.c.Secret(t.Context(), a.sess, api.SecretRequest{ID: cmd.ID, Name: "configdrive"})
		if err != nil || !bytes.Contains(drive, []byte(`"hostname":"n1"`)) {
			t.Fatalf("%s %v", drive, err)
		}
		a.beat(api.HeartbeatRequest{Running: cmd.ID, Progress: &step.Progress{Percent: 40}})
		a.beat(api.HeartbeatRequest{Running: cmd.ID, Progress: &step.Progress{Percent: 30}})
		recs, err := s.c.Steps(t.Context(), "n1", "")
		if err != nil || recs[0].Progress == nil || recs[0].Progress.Percent != 40 {
			t.Fatalf("progress went back: %+v %v", recs[0].Progress, err)
		}
		left := evidence.Left(cmd.Step, cmd.Args, cmd.Devices)
		if err := s.c.Result(t.Context(), a.sess, api.ResultRequest{ID: cmd.ID, Nonce: "0123456789abcdef", Outcome: api.Succeeded, Result: &left}); err != nil {
			t.Fatal(err)
		}
		n := s.until(state.Active)
		if n.Power != conductor.PowerOn || s.board.boot.Device != "disk" || s.board.media != "" {
			t.Fatalf("power %q boot %+v media %q", n.Power, s.board.boot, s.board.media)
		}
		if err := s.c.Heartbeat(t.Context(), a.sess, api.HeartbeatRequest{Seq: 99}); !fault.Has(err, fault.ChannelToken) {
			t.Fatalf("I18: the token outlived the work: %v", err)
		}
		h, err := s.c.History(t.Context(), "n1", conductor.HistoryFilter{Limit: 100, Descending: true})
		if err != nil || len(h) < 10 || h[0].Actor != "op" || h[0].Request != "req-1" {
			t.Fatalf("history %+v %v", h[0], err)
		}
	})
}

func TestI18_SessionIsBoundToKeySourceAndGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		a := s.agent(<-s.board.booted)
		for name, change := range map[string]func(*conductor.Session){
			"node": func(x *conductor.Session) { x.Claims.Node = "22222222-2222-4222-8222-222222222222" },
			// A later one than the record knows only this server can have signed: see TestI15_ATokenOfALaterBoot….
			"generation": func(x *conductor.Session) { x.Claims.Generation-- },
			"token key":  func(x *conductor.Session) { x.Claims.Key = "other" },
			"peer key":   func(x *conductor.Session) { x.Peer.Key = "other" },
			"source":     func(x *conductor.Session) { x.Peer.Addr = netip.MustParseAddr("192.0.2.51") },
		} {
			sess := a.sess
			change(&sess)
			before := s.node().Version
			if err := s.c.Heartbeat(t.Context(), sess, api.HeartbeatRequest{Seq: 50, Steps: catalog.InBand}); err == nil {
				t.Errorf("T2: another %s was accepted", name)
			}
			if s.node().Version != before {
				t.Errorf("T2: another %s changed the node", name)
			}
		}
		if err := s.c.Heartbeat(t.Context(), a.sess, api.HeartbeatRequest{Seq: 1}); !fault.Has(err, fault.ChannelStale) {
			t.Fatalf("F12: a stale heartbeat: %v", err)
		}
	})
}

func TestI17_MediumIsGoneAfterTheLookupAndForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		url := <-s.board.booted
		token := strings.Split(url, "/")[4]
		bmc := netip.MustParseAddr("192.0.2.1")
		if _, err := s.c.Medium(t.Context(), token, netip.MustParseAddr("192.0.2.77")); !fault.Is(err, fault.NotFound) {
			t.Fatalf("another address got the medium: %v", err)
		}
		if !s.node().Boot.MediumRead.IsZero() {
			t.Fatal("a refused read counts as the BMC's")
		}
		if _, err := s.c.Medium(t.Context(), token[:len(token)-2]+"AA", bmc); !fault.Is(err, fault.NotFound) {
			t.Fatalf("a guessed token: %v", err)
		}
		s.agent(url)
		if _, err := s.c.Medium(t.Context(), token, bmc); !fault.Is(err, fault.NotFound) {
			t.Fatalf("the medium outlived the lookup: %v", err)
		}
		s.until(state.Manageable)
		if inv, err := s.c.Inventory(t.Context(), "n1"); err != nil || !inv.Accepted {
			t.Fatalf("inventory %+v %v", inv, err)
		}
		if n := s.node(); n.Properties["cpu_arch"] != "x86_64" {
			t.Fatalf("properties %v", n.Properties)
		}
	})
}

func TestF22_BusyBMCIsTriedAgainAndShownMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.board.answer(fault.New(fault.BMCBusy, "the BMC answered 503"))
		s.provision(conductor.Provision{Verb: state.VerbManage})
		time.Sleep(90 * time.Second)
		n := s.node()
		if n.State != state.Verifying || !strings.Contains(n.Flow.Wait.Evidence, "503") || !strings.HasPrefix(n.Flow.Wait.Evidence, "try ") {
			t.Fatalf("state %q wait %+v", n.State, n.Flow.Wait)
		}
		s.board.answer(nil)
		s.until(state.Manageable)
	})
}

func TestF27_WrongCredentialsAreNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.board.answer(fault.New(fault.BMCAuth, "the BMC refuses user admin"))
		s.provision(conductor.Provision{Verb: state.VerbManage})
		began := time.Now()
		n := s.until(state.Enroll)
		if n.LastReason != fault.BMCAuth || time.Since(began) > time.Second {
			t.Fatalf("%s after %s", n.LastError, time.Since(began))
		}
	})
}

func TestF21_DeadBMCFailsTheFlowWithinItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.available()
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.board.answer(fault.New(fault.BMCUnreachable, "the BMC at 192.0.2.1 does not answer"))
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		n := s.until(state.InspectFail)
		if n.LastReason != fault.BMCUnreachable {
			t.Fatal(n.LastError)
		}
	})
}

func TestI13_RestartGoesOnWhereItStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		url := <-s.board.booted
		s.until(state.CleanWait)
		before := s.node().Flow.Wait.Deadline
		s.stop()
		time.Sleep(6 * time.Hour) // the server is away; that time counts for nothing (I14)
		s.start()
		synctest.Wait()
		if moved := s.node().Flow.Wait.Deadline.Sub(before); moved < 5*time.Hour {
			t.Fatalf("the deadline moved by %s", moved)
		}
		a := s.agent(url) // the same medium, rendered anew by the restarted server
		a.run("deploy.erase_devices_metadata", nil)
		synctest.Wait() // erase_devices is offered
		<-s.mail.offers
		s.stop()
		s.start()
		a.run("deploy.erase_devices", erased()) // offered again
		s.until(state.Available)
	})
}

func TestI13_InterruptedOutOfBandStepIsANewAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.board.hang = true
		s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "management.reset_bmc"}}})
		synctest.Wait()
		s.stop()
		s.board.hang = false
		s.start()
		s.until(state.Manageable)
		recs, err := s.c.Steps(t.Context(), "n1", "")
		if err != nil || len(recs) != 2 || recs[0].State != conductor.StepInterrupted || recs[1].State != conductor.StepSucceeded || recs[0].ID == recs[1].ID {
			t.Fatalf("%+v %v", recs, err)
		}
		if slices.Contains(s.board.acts, "On") {
			t.Fatalf("an out-of-band list powered the machine: %v", s.board.acts)
		}
	})
}

func TestF28_ClockJumpCausesNoTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		url := <-s.board.booted
		s.until(state.InspectWait)
		time.Sleep(5 * time.Second)
		s.skew.Store(int64(10 * 365 * 24 * time.Hour))
		time.Sleep(5 * time.Second)
		if n := s.node(); n.State != state.InspectWait {
			t.Fatalf("the jump ended the wait: %s", n.LastError)
		}
		s.agent(url)
		s.until(state.Manageable)
	})
}

func TestI22_CredentialsStayInTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		if n := s.node(); n.DriverInfo["password"] != conductor.Masked {
			t.Fatalf("driver_info %v", n.DriverInfo)
		}
	})
}

func TestF40_DeletionNeedsAnOwnerlessNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		a := s.agent(<-s.board.booted)
		cmd := <-s.mail.offers
		if _, err := s.c.Start(t.Context(), a.sess, api.StartRequest{ID: cmd.ID, Nonce: "0123456789abcdef"}); err != nil {
			t.Fatal(err)
		}
		if err := s.c.SetMaintenance(t.Context(), conductor.Caller{}, "n1", true, "look"); err != nil {
			t.Fatal(err)
		}
		if err := s.c.DeleteNode(t.Context(), conductor.Caller{}, "n1"); !fault.Is(err, fault.Busy) {
			t.Fatalf("a node with a running eraser was deleted: %v", err)
		}
	})
}

func TestBootWithoutAListenerSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.canBoot.Store(fault.New(fault.FlowListener, "the boot listener is missing: 127.0.0.1:6387 is taken"))
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		time.Sleep(time.Minute)
		if n := s.node(); n.State != state.Inspecting || !strings.Contains(n.Flow.Wait.Evidence, "6387 is taken") {
			t.Fatalf("state %q, wait %+v", n.State, n.Flow.Wait)
		}
		n := s.until(state.InspectFail)
		if n.LastReason != fault.FlowListener || len(s.board.acts) != 0 {
			t.Fatalf("%s; the machine was touched: %v", n.LastError, s.board.acts)
		}
	})
}
