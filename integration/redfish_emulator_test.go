// Package integration holds the tests of parts working together that need neither root nor a virtual machine. It has
// no code but tests.
package integration

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/integration/bmc"
	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/bmctest"
	"github.com/bessemer-metal/bessemer/server/redfish"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// bench is an emulator with one fake machine at an address of its own, and the driver.
type bench struct {
	emulator *emulator.Emulator
	machine  *emulator.Machine
	driver   *redfish.Driver
	info     map[string]any
	medium   string // URL of an image that the BMC can fetch
}

func newBench(t *testing.T, cfg emulator.Config, change ...func(*emulator.MachineConfig)) *bench {
	t.Helper()
	cfg.Dir = t.TempDir()
	cfg.Machines = []emulator.MachineConfig{{Name: "m1", Listen: "127.0.0.1:0", ManagerReset: emulator.Duration(time.Second)}}
	for _, c := range change {
		c(&cfg.Machines[0])
	}
	e, err := emulator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	images := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "cd.iso", time.Time{}, strings.NewReader(strings.Repeat("medium ", 100_000)))
	}))
	t.Cleanup(images.Close)
	d := redfish.New(redfish.Config{Dial: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { d.Close(t.Context()) })
	m := e.Machine("m1")
	return &bench{emulator: e, machine: m, driver: d, medium: images.URL + "/cd.iso", info: map[string]any{
		"redfish_address": m.URL(), "redfish_username": "admin", "redfish_password": conductor.Masked,
	}}
}

func (b *bench) open(t *testing.T, change ...any) conductor.BMC {
	t.Helper()
	for i := 0; i < len(change); i += 2 {
		b.info[change[i].(string)] = change[i+1]
	}
	opened, err := b.driver.Open(t.Context(), conductor.Access{Node: "m1", Info: b.info, Secrets: map[string]string{"redfish_password": "password"}})
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

func (b *bench) inject(t *testing.T, f emulator.Fault) {
	t.Helper()
	if _, err := b.machine.Inject(f); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) run(t *testing.T, name string, args step.Args) error {
	t.Helper()
	all, err := b.open(t).Steps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(s step.Bound) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("no step %s", name)
	}
	_, err = all[i].Run(t.Context(), step.Call{Flow: state.Clean, Args: args, Log: slog.New(slog.DiscardHandler), Report: func(step.Progress) {}})
	return err
}

func TestRedfishOnTheEmulator(t *testing.T) {
	t.Parallel()
	t.Run("contract", func(t *testing.T) {
		// The emulator fetches what is inserted; the contract's media are answered here.
		images := mediaTransport{}
		bmctest.Run(t, func(t *testing.T) conductor.BMC { return newBench(t, emulator.Config{Transport: images}).open(t) })
	})
	for _, auth := range []string{"session", "basic"} {
		t.Run("facts by "+auth, func(t *testing.T) {
			b := newBench(t, emulator.Config{})
			f, err := b.open(t, "redfish_auth_type", auth).Facts(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s := b.machine.State()
			if f.UUID != strings.ToLower(s.UUID) || f.Serial != s.Serial || !slices.Equal(f.MACs, s.MACs) || f.BootMode != "uefi" || f.Power != conductor.PowerOff ||
				!f.VirtualMedia || len(f.BIOS) != len(s.BIOS) || f.SecureBoot == nil || f.Vendor == "" || f.BMCFirmware == "" || f.Health == "" {
				t.Errorf("facts are %+v of a machine that is %+v", f, s)
			}
		})
	}
	t.Run("a boot from virtual media", func(t *testing.T) {
		b := newBench(t, emulator.Config{})
		bmc := b.open(t)
		for name, act := range map[string]func() error{
			"medium": func() error { return bmc.SetMedia(t.Context(), b.medium) },
			"boot":   func() error { return bmc.SetBoot(t.Context(), conductor.BootTarget{Device: "cdrom", UEFI: true}) },
		} {
			if err := act(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if s := b.machine.State(); s.Override != "Once Cd" || s.Medium != b.medium {
			t.Errorf("before power on: %+v", s)
		}
		if err := bmc.SetPower(t.Context(), conductor.On); err != nil {
			t.Fatal(err)
		}
		if s := b.machine.State(); !s.On || s.Override != "Disabled" {
			t.Errorf("after power on: %+v", s)
		}
		if err := bmc.SetMedia(t.Context(), ""); err != nil || b.machine.Medium() != "" {
			t.Errorf("eject: %v, medium %q", err, b.machine.Medium())
		}
	})
	t.Run("the key seen first is pinned", func(t *testing.T) {
		b := newBench(t, emulator.Config{TLS: true})
		if _, err := b.open(t, "redfish_verify_ca", true).Power(t.Context()); !fault.Has(err, fault.BMCCertificate) {
			t.Errorf("a certificate of no known CA gives %v", err)
		}
		if _, err := b.open(t, "redfish_verify_ca", false).Power(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// mediaTransport answers every request for a medium, and at /firmware/COMPONENT/VERSION for an image.
type mediaTransport struct{}

func (mediaTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if p := strings.Split(r.URL.Path, "/"); len(p) == 4 && p[1] == "firmware" {
		_, _ = w.Write(bmc.FirmwareImage(p[2], p[3], 1<<20))
		return w.Result(), nil
	}
	http.ServeContent(w, r, "cd.iso", time.Time{}, strings.NewReader("medium"))
	return w.Result(), nil
}

func TestRedfishStepsOnTheEmulator(t *testing.T) {
	settings := func(name string, value any) step.Args {
		return step.Args{"settings": []any{map[string]any{"name": name, "value": value}}}
	}
	for name, test := range map[string]func(t *testing.T, b *bench){
		"reset_bmc": func(t *testing.T, b *bench) {
			if err := b.run(t, "management.reset_bmc", nil); err != nil {
				t.Error(err)
			}
			if _, n := b.machine.Requests(); n["POST /redfish/v1/Managers/m1/Actions/Manager.Reset"] != 1 {
				t.Errorf("requests were %v", n)
			}
		},
		"clear_job_queue": func(t *testing.T, b *bench) {
			b.inject(t, emulator.Fault{Kind: emulator.Jam, Count: 4})
			if err := b.run(t, "management.clear_job_queue", nil); err != nil {
				t.Error(err)
			}
			if err := b.run(t, "bios.apply_configuration", settings("QuietBoot", false)); err != nil {
				t.Errorf("with the queue cleared: %v", err)
			}
		},
		"apply_configuration": func(t *testing.T, b *bench) {
			if err := b.run(t, "bios.apply_configuration", settings("PowerProfile", "Performance")); err != nil {
				t.Error(err)
			}
			if s := b.machine.State(); s.BIOS["PowerProfile"] != "Performance" || s.On {
				t.Errorf("the machine is %+v", s)
			}
			err := b.run(t, "bios.apply_configuration", settings("PowerProfile", "Ludicrous"))
			if !fault.Has(err, fault.BMCError) || !strings.Contains(err.Error(), "Performance, PowerSaving") {
				t.Errorf("a value that the BMC refuses gives %v", err)
			}
			if err := b.run(t, "bios.factory_reset", nil); err != nil {
				t.Error(err)
			}
			if s := b.machine.State(); s.BIOS["PowerProfile"] != "Balanced" {
				t.Errorf("after the reset the BIOS is %v", s.BIOS)
			}
		},
		"apply_configuration whose task fails": func(t *testing.T, b *bench) {
			b.inject(t, emulator.Fault{Kind: emulator.TaskFails, Match: "PATCH /redfish/v1/Systems/m1/Bios"})
			if err := b.run(t, "bios.apply_configuration", settings("NumLock", "Off")); !fault.Has(err, fault.BMCTask) {
				t.Errorf("got %v", err)
			}
		},
		"apply_configuration on a BMC that is busy for a while": func(t *testing.T, b *bench) {
			b.inject(t, emulator.Fault{Kind: emulator.Status, Status: 503, RetryAfter: "1", Match: "GET /redfish/v1/Systems", Count: 6})
			if err := b.run(t, "bios.apply_configuration", settings("NumLock", "Off")); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newBench(t, emulator.Config{}))
		})
	}
}

func TestRedfishOnTheEmulatorsFaults(t *testing.T) {
	const sys = "/redfish/v1/Systems/m1"
	ask := func(t *testing.T, b *bench) error { _, err := b.open(t).Power(t.Context()); return err }
	on := func(t *testing.T, b *bench) error { return b.open(t).SetPower(t.Context(), conductor.On) }
	for name, c := range map[string]struct {
		fault emulator.Fault
		act   func(*testing.T, *bench) error
		want  fault.Reason // "": success
	}{
		"F21 slow":                   {emulator.Fault{Kind: emulator.Delay, Delay: emulator.Duration(300 * time.Millisecond)}, ask, ""},
		"F22 503 for a while":        {emulator.Fault{Kind: emulator.Status, Status: 503, Match: "GET " + sys, Count: 2}, ask, ""},
		"F22 500 for ever":           {emulator.Fault{Kind: emulator.Status, Status: 500, Match: "GET " + sys}, ask, fault.BMCError},
		"F22 503 for ever":           {emulator.Fault{Kind: emulator.Status, Status: 503, Match: "GET " + sys}, ask, fault.BMCBusy},
		"F22 401 in the session":     {emulator.Fault{Kind: emulator.Status, Status: 401, Match: "GET " + sys, Count: 1}, ask, ""},
		"F22 503 at the act":         {emulator.Fault{Kind: emulator.Status, Status: 503, Match: "POST " + sys, Count: 1}, on, ""},
		"F23 ignored boot device":    {emulator.Fault{Kind: emulator.Ignore, Match: "PATCH"}, setBoot, fault.BMCError},
		"F25 task":                   {emulator.Fault{Kind: emulator.Async, Match: "POST", Delay: emulator.Duration(200 * time.Millisecond)}, on, ""},
		"F25 task that fails":        {emulator.Fault{Kind: emulator.TaskFails, Match: "POST " + sys}, on, fault.BMCTask},
		"F26 absolute Location":      {emulator.Fault{Kind: emulator.AbsoluteLocation}, on, ""},
		"T08 Location elsewhere":     {emulator.Fault{Kind: emulator.AbsoluteLocation, Value: "http://192.0.2.66"}, ask, fault.BMCOrigin},
		"T08 links elsewhere":        {emulator.Fault{Kind: emulator.ForeignLink, Value: "http://192.0.2.66"}, ask, fault.BMCOrigin},
		"T08 redirect":               {emulator.Fault{Kind: emulator.Redirect, Value: "http://192.0.2.66", Match: "GET " + sys}, ask, fault.BMCOrigin},
		"T08 endless":                {emulator.Fault{Kind: emulator.Endless, Match: "GET " + sys}, ask, fault.BMCTooLarge},
		"T08 huge":                   {emulator.Fault{Kind: emulator.Huge, Size: 10 << 20, Match: "GET " + sys}, ask, fault.BMCTooLarge},
		"T08 no JSON":                {emulator.Fault{Kind: emulator.Body, Value: "<html>", Match: "GET " + sys}, ask, fault.BMCError},
		"F21 hangs up":               {emulator.Fault{Kind: emulator.HangUp, Match: "GET " + sys}, ask, fault.BMCUnreachable},
		"F21 hangs up once":          {emulator.Fault{Kind: emulator.HangUp, Match: "GET " + sys, Count: 1}, ask, ""},
		"F27 wrong password":         {emulator.Fault{Kind: emulator.Status, Status: 401, Match: "POST /redfish/v1/SessionService"}, sessionOnly, fault.BMCAuth},
		"F22 refusal without reason": {emulator.Fault{Kind: emulator.Status, Status: 409, Match: "POST " + sys}, on, fault.BMCBusy},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, emulator.Config{})
			b.inject(t, c.fault)
			err := c.act(t, b)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v", err)
			case c.want != "" && !fault.Has(err, c.want):
				t.Errorf("got %v, expected %s", err, c.want)
			}
		})
	}
}

func setBoot(t *testing.T, b *bench) error {
	return b.open(t).SetBoot(t.Context(), conductor.BootTarget{Device: "pxe"})
}

func sessionOnly(t *testing.T, b *bench) error {
	_, err := b.open(t, "redfish_auth_type", "session").Facts(t.Context())
	return err
}
