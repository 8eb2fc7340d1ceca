package integration

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/integration/bmc"
	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/integration/simnet"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine"
	"github.com/bessemer-metal/bessemer/server/logs"
	"github.com/bessemer-metal/bessemer/server/redfish"
	"github.com/bessemer-metal/bessemer/server/sqlite"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// bmcSite is a server's core with its Redfish driver, and an emulated machine, all in one bubble of fake time.
type bmcSite struct {
	t       *testing.T
	c       *engine.Engine
	machine *emulator.Machine
	dir     string // of the server's files
	boot    string // the node's boot interface; "" is that of virtual media

	mu    sync.Mutex
	boots []emulator.FakeBoot
}

func newBMCSite(t *testing.T, info map[string]any, password string) *bmcSite {
	t.Helper()
	return newBMCSiteOf(t, nil, info, password)
}

// newBMCSiteOf is newBMCSite with what the machine is made of; nil is the usual.
func newBMCSiteOf(t *testing.T, parts *bmc.Parts, info map[string]any, password string) *bmcSite {
	t.Helper()
	s := &bmcSite{t: t}
	e, err := emulator.New(emulator.Config{Dir: t.TempDir(), Transport: mediaTransport{}, Machines: []emulator.MachineConfig{{
		Name: "m1", Fake: parts, OnBoot: func(_ context.Context, b emulator.FakeBoot) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.boots = append(s.boots, b)
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	s.machine = e.Machine("m1")
	network := simnet.New()
	srv := &http.Server{Handler: e.HandlerOf(s.machine), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(network.Listen()) }()

	log, dir := slog.New(slog.DiscardHandler), t.TempDir()
	s.dir = dir
	d := redfish.New(redfish.Config{Log: log, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { return network.Dial(ctx, "server") }})
	ctx, cancel := context.WithCancel(context.Background())
	store, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, "b.db"), Sealer: unsealed{}, Log: log, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := logs.Open(filepath.Join(dir, "logs"), log)
	if err != nil {
		t.Fatal(err)
	}
	s.c, err = engine.New(engine.Config{
		Store: store, Drivers: []conductor.Driver{d}, Dispatcher: noAgents{}, Logs: kept, ConfigDrives: oneFile{}, BootKey: bytes.Repeat([]byte{1}, 32),
		AgentURL: func() string { return "https://192.0.2.1:6386" }, MediumURL: func(token string) string { return "http://192.0.2.1:6387/" + token },
		ProgramURL: func(token string) string { return "https://192.0.2.1:6388/" + token }, BootChain: [][]byte{bootCertificate()},
		Now: time.Now, Log: log, Timeouts: conductor.DefaultTimeouts(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
		d.Close(context.Background())
		_ = srv.Close()
		<-served
		<-time.After(4 * time.Minute) // what a fault holds up ends by itself
		_ = kept.Close()
		_ = store.Close()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	all := map[string]any{"redfish_address": "http://192.0.2.10", "redfish_username": "admin", "redfish_password": conductor.Masked}
	for k, v := range info {
		all[k] = v
	}
	n := conductor.Node{Name: "n1", Driver: "redfish", DriverInfo: all}
	if _, err := s.c.CreateNode(t.Context(), conductor.Caller{Name: "op"}, n, map[string]string{conductor.DriverSecret("redfish_password"): password}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *bmcSite) node() conductor.Node {
	s.t.Helper()
	n, err := s.c.Node(s.t.Context(), "n1")
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *bmcSite) ask(v state.Event, steps ...string) error {
	p := conductor.Provision{Verb: v}
	for _, name := range steps {
		p.CleanSteps = append(p.CleanSteps, step.Wanted{Name: name})
	}
	return s.c.Provision(s.t.Context(), conductor.Caller{Name: "op"}, "n1", p)
}

// do asks for a verb and waits for one of the states.
func (s *bmcSite) do(v state.Event, ends ...state.State) conductor.Node {
	s.t.Helper()
	if err := s.ask(v); err != nil {
		s.t.Fatalf("%s: %v", v, err)
	}
	return s.until(ends...)
}

func (s *bmcSite) until(ends ...state.State) conductor.Node {
	s.t.Helper()
	for range 4 * 3600 {
		synctest.Wait()
		if n := s.node(); slices.Contains(ends, n.State) {
			return n
		}
		<-time.After(time.Second)
	}
	n := s.node()
	s.t.Fatalf("after four hours the state is %q (%s), not %v", n.State, n.LastError, ends)
	return n
}

func (s *bmcSite) inject(f emulator.Fault) {
	s.t.Helper()
	if _, err := s.machine.Inject(f); err != nil {
		s.t.Fatal(err)
	}
}

// posts is how many orders the BMC was given.
func (s *bmcSite) orders() (n int) {
	_, counts := s.machine.Requests()
	for what, k := range counts {
		if !strings.HasPrefix(what, "GET ") && !strings.Contains(what, "SessionService") {
			n += k
		}
	}
	return n
}

// Row 130: each fault of a BMC shows with a reason of its own when a node is taken under management. What would fail every
// boot ends the verb; the rest is a warning in the history and on the node.
func TestVerifyNamesEachFault(t *testing.T) {
	const sys, mgr = "GET /redfish/v1/Systems/m1", "GET /redfish/v1/Managers/m1"
	edit := func(match, patch string) []emulator.Fault {
		return []emulator.Fault{{Kind: emulator.Edit, Match: match, Value: patch}}
	}
	for name, c := range map[string]struct {
		faults  []emulator.Fault
		info    map[string]any
		secret  string
		minimum map[string]any // firmware
		fails   fault.Reason
		warning fault.Reason
	}{
		"nothing":         {},
		"silent":          {faults: []emulator.Fault{{Kind: emulator.HangUp}}, fails: fault.BMCUnreachable},
		"busy":            {faults: []emulator.Fault{{Kind: emulator.Status, Status: 503, Match: sys}}, fails: fault.BMCBusy},
		"broken":          {faults: []emulator.Fault{{Kind: emulator.Status, Status: 500, Match: sys}}, fails: fault.BMCError},
		"password":        {secret: "wrong", fails: fault.BMCAuth},
		"foreign links":   {faults: []emulator.Fault{{Kind: emulator.ForeignLink, Value: "http://192.0.2.66"}}, fails: fault.BMCOrigin},
		"huge":            {faults: []emulator.Fault{{Kind: emulator.Huge, Size: 10 << 20, Match: sys}}, fails: fault.BMCTooLarge},
		"legacy boot":     {faults: edit(sys, `{"Boot":{"BootSourceOverrideMode":"Legacy","BootSourceOverrideMode@Redfish.AllowableValues":["Legacy"]}}`), fails: fault.BMCBootMode},
		"no boot from CD": {faults: edit(sys, `{"Boot":{"BootSourceOverrideTarget@Redfish.AllowableValues":["None","Pxe","Hdd"]}}`), fails: fault.BMCBootDevice},
		"no force off":    {faults: edit(sys, `{"Actions":{"#ComputerSystem.Reset":{"ResetType@Redfish.AllowableValues":["On","GracefulShutdown"]}}}`), fails: fault.BMCPowerActs},
		"no media":        {faults: edit(mgr+"/VirtualMedia/Cd", `{"MediaTypes":["Floppy"]}`), fails: fault.BMCNoMedia},
		"session quota": {faults: []emulator.Fault{{Kind: emulator.Status, Status: 503, Match: "POST /redfish/v1/SessionService/Sessions"}},
			info: map[string]any{"redfish_auth_type": "session"}, fails: fault.BMCSessions},
		"session quota, basic works": {faults: []emulator.Fault{{Kind: emulator.Status, Status: 503, Match: "POST /redfish/v1/SessionService/Sessions"}}, warning: fault.BMCSessions},
		"clock":                      {faults: []emulator.Fault{{Kind: emulator.Clock, Delay: emulator.Duration(-26 * time.Hour)}}, warning: fault.BMCClock},
		"no BIOS version":            {faults: edit(sys, `{"BiosVersion":null}`), warning: fault.BMCVersion},
		"no BMC version":             {faults: edit(mgr, `{"FirmwareVersion":null}`), warning: fault.BMCVersion},
		"old BIOS":                   {minimum: map[string]any{"bios": "999.1"}, warning: fault.BMCFirmware},
		"old BMC":                    {faults: edit(mgr, `{"FirmwareVersion":"2.9"}`), minimum: map[string]any{"bmc": "2.10"}, warning: fault.BMCFirmware},
		"new enough":                 {faults: edit(mgr, `{"FirmwareVersion":"2.10"}`), minimum: map[string]any{"bmc": "2.9"}},
		"unreadable media":           {faults: []emulator.Fault{{Kind: emulator.Status, Status: 500, Match: mgr + "/VirtualMedia"}}, warning: fault.BMCUnread},
		"unwell":                     {faults: edit(sys, `{"Status":{"HealthRollup":"Critical"}}`), warning: fault.BMCHealth},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				secret := "password"
				if c.secret != "" {
					secret = c.secret
				}
				s := newBMCSite(t, c.info, secret)
				for _, f := range c.faults {
					s.inject(f)
				}
				if c.minimum != nil {
					if _, err := s.c.UpdateNode(t.Context(), conductor.Caller{}, "n1", func(n *conductor.Node, _ map[string]string) error {
						n.Properties = map[string]any{"minimum_firmware": c.minimum}
						return nil
					}); err != nil {
						t.Fatal(err)
					}
				}
				n := s.do(state.VerbManage, state.Manageable, state.Enroll)
				if n.LastReason != c.fails || (n.State == state.Enroll) != (c.fails != "") {
					t.Errorf("state %q, reason %q (%s), expected %q", n.State, n.LastReason, n.LastError, c.fails)
				}
				h, err := s.c.History(t.Context(), "n1", conductor.HistoryFilter{Limit: 100, Descending: true})
				if err != nil {
					t.Fatal(err)
				}
				var warned []fault.Reason
				for _, e := range h {
					if e.Severity == "WARNING" {
						warned = append(warned, e.Reason)
					}
				}
				if c.warning == "" && c.fails == "" && (len(warned) > 0 || n.BMC == nil || len(n.BMC.Doubts) > 0) {
					t.Errorf("a BMC that is well is doubted: %v, %+v", warned, n.BMC)
				}
				if c.warning != "" && (!slices.Equal(warned, []fault.Reason{c.warning}) || len(n.BMC.Doubts) != 1) {
					t.Errorf("warned of %v, expected %s", warned, c.warning)
				}
				if s.orders() > 0 || len(s.machine.PowerLog()) > 0 {
					t.Error("the verb acted upon the machine")
				}
			})
		})
	}
}

// Row 78: a UEFI-only BMC, and an image that wants BIOS: refused at the request. And when the BMC has changed since, the
// flow fails within a second of the BMC's time and before any order to it.
func TestPreflightOnTheEmulator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newBMCSite(t, nil, "password")
		s.do(state.VerbManage, state.Manageable)
		set := func(capabilities string) {
			t.Helper()
			_, err := s.c.UpdateNode(t.Context(), conductor.Caller{}, "n1", func(n *conductor.Node, _ map[string]string) error {
				n.InstanceInfo = map[string]any{"capabilities": capabilities}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		set("boot_mode:bios")
		if err := s.ask(state.VerbInspect); !fault.Has(err, fault.BMCBootMode) || !strings.Contains(err.Error(), "boots machines in mode uefi only") {
			t.Errorf("got %v", err)
		}
		set("boot_mode:uefi")
		s.inject(emulator.Fault{Kind: emulator.Edit, Match: "GET /redfish/v1/Systems/m1", Value: `{"Boot":{"BootSourceOverrideMode@Redfish.AllowableValues":["Legacy"]}}`})
		before, _ := s.machine.Requests()
		began := time.Now()
		n := s.do(state.VerbInspect, state.InspectFail)
		after, _ := s.machine.Requests()
		if took := time.Since(began); took > time.Second {
			t.Errorf("the refusal took %s", took)
		}
		if asked := len(after) - len(before); n.LastReason != fault.BMCBootMode || s.orders() > 0 || len(s.machine.PowerLog()) > 0 || asked > 20 {
			t.Errorf("%s; %d requests, %d orders, power log %v", n.LastError, asked, s.orders(), s.machine.PowerLog())
		}
	})
}

// Row 74: a BMC with a jammed queue becomes usable, the worst sort by a restart; its clock is right afterwards.
func TestKnownGoodStateFreesAJammedBMC(t *testing.T) {
	for name, c := range map[string]struct {
		jam    emulator.Fault
		resets int
	}{
		"jobs that can be deleted": {emulator.Fault{Kind: emulator.Jam}, 0},
		"jobs that can't":          {emulator.Fault{Kind: emulator.Jam, Value: "stubborn"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newBMCSite(t, nil, "password")
				s.do(state.VerbManage, state.Manageable)
				s.inject(c.jam)
				s.inject(emulator.Fault{Kind: emulator.Clock, Delay: emulator.Duration(-26 * time.Hour)})
				if err := s.ask(state.VerbClean, "management.known_good_state"); err != nil {
					t.Fatal(err)
				}
				n := s.until(state.Manageable, state.CleanFail)
				recs, err := s.c.Steps(t.Context(), "n1", "")
				if err != nil || n.State != state.Manageable {
					t.Fatalf("state %q (%s), %v", n.State, n.LastError, err)
				}
				if s.machine.Jammed() || s.machine.Restarts() != c.resets || time.Until(s.machine.Clock()).Abs() > time.Minute {
					t.Errorf("jammed %v, %d restarts, the clock says %s; the step says %v", s.machine.Jammed(), s.machine.Restarts(), s.machine.Clock(), recs[0].Result.Data)
				}
				if d := recs[0].Result.Data; d["restarted"] != (c.resets > 0) || !strings.Contains(d["clock"].(string), "26h0m") {
					t.Errorf("the step says %v", d)
				}
				if len(s.machine.PowerLog()) > 0 {
					t.Error("first aid switched the machine")
				}
			})
		})
	}
}

// Row 22: the emulator records Manager.Reset and the node goes on.
func TestResetBMCIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newBMCSite(t, nil, "password")
		s.do(state.VerbManage, state.Manageable)
		if err := s.ask(state.VerbClean, "management.reset_bmc"); err != nil {
			t.Fatal(err)
		}
		n := s.until(state.Manageable, state.CleanFail)
		_, counts := s.machine.Requests()
		if n.State != state.Manageable || s.machine.State().BMCResets != 1 || counts["POST /redfish/v1/Managers/m1/Actions/Manager.Reset"] != 1 {
			t.Errorf("state %q (%s), %d restarts, %v", n.State, n.LastError, s.machine.Restarts(), counts)
		}
		if _, err := s.c.BootDevice(t.Context(), "n1"); err != nil {
			t.Errorf("after the reset: %v", err)
		}
	})
}
