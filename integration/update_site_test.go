package integration

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/noauth"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/nodes"

	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

const sendsImage = "POST /redfish/v1/UpdateService/Actions/UpdateService.SimpleUpdate"

// images is the argument of firmware.update for components and versions in turn.
func images(of ...string) step.Args {
	var all []any
	for i := 0; i < len(of); i += 2 {
		all = append(all, map[string]any{"component": of[i], "url": "http://images.test/firmware/" + of[i] + "/" + of[i+1] + "?sig=canary-5b1e-key"})
	}
	return step.Args{"settings": all}
}

// update asks for the step and waits for its end.
func (s *bmcSite) update(v state.Event, args step.Args, ends ...state.State) conductor.Node {
	s.t.Helper()
	p := conductor.Provision{Verb: v, NoRamdisk: true}
	wanted := []step.Wanted{{Name: "firmware.update", Args: args}}
	if v == state.VerbService {
		p.ServiceSteps = wanted
	} else {
		p.CleanSteps = wanted
	}
	if err := s.c.Provision(s.t.Context(), conductor.Caller{Name: "op"}, "n1", p); err != nil {
		s.t.Fatal(err)
	}
	return s.until(ends...)
}

// sent is how many images the BMC was sent.
func (s *bmcSite) sent() int {
	_, counts := s.machine.Requests()
	return counts[sendsImage]
}

func (s *bmcSite) firmware() string {
	s.t.Helper()
	_, all, err := s.c.Firmware(s.t.Context(), "n1")
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, f := range all {
		out = append(out, f.Component+" "+f.Initial+" "+f.Current+" "+f.Flashed)
	}
	return strings.Join(out, ", ")
}

// Each component is installed once, the BMC's own by its restart, and the lists that are kept tell it afterwards. The machine
// is off as before, and the time is a real BMC's: minutes.
func TestFirmwareIsUpdatedThroughTheBMC(t *testing.T) {
	for name, faults := range map[string][]emulator.Fault{
		"at once":                      nil,
		"by tasks that await the boot": {{Kind: emulator.Waits}},
		"slowly":                       {{Kind: emulator.Async, Match: sendsImage, Delay: emulator.Duration(10 * time.Minute)}},
		"F13 answers are lost":         {{Kind: emulator.CutAfter, Match: sendsImage}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newManager(t)
				for _, f := range faults {
					m.inject(f)
				}
				n := m.update(state.VerbClean, images("bmc", "3.1", "bios", "2.0", "nic:1", "23.0"), state.Manageable, state.CleanFail)
				if n.State != state.Manageable || m.machine.On() || n.Power != conductor.PowerOff {
					t.Fatalf("%s, %s: %s", n.State, n.Power, n.LastError)
				}
				if got, want := m.firmware(), "bios 1.0 2.0 2.0, bmc 1.0 3.1 3.1, nic:1 22.5.7 23.0 23.0"; got != want {
					t.Errorf("kept is %q, expected %q", got, want)
				}
				if m.sent() != 3 || m.machine.Restarts() != 1 {
					t.Errorf("%d images were sent, and the BMC restarted %d times", m.sent(), m.machine.Restarts())
				}
				steps := m.call("GET", "/steps", "", 200)
				if !strings.Contains(steps, `{"component":"bios","from":"1.0","to":"2.0"}`) {
					t.Errorf("the step tells %s", steps)
				}
			})
		})
	}
}

// Metal3's operator updates firmware and settings of a host that serves: its instance stays, the versions are there, and an
// abort of what failed leads back. Its calls, by its client.
func TestMetal3sServiceOfAnActiveHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		ctx := t.Context()
		client, err := noauth.NewBareMetalNoAuth(noauth.EndpointOpts{IronicEndpoint: "http://127.0.0.1:6385/v1/"})
		if err != nil {
			t.Fatal(err)
		}
		client.Microversion, client.HTTPClient = "1.95", http.Client{Transport: inProcess{m.api}}
		if err := m.c.SetPower(ctx, conductor.Caller{Name: "op"}, "n1", conductor.PowerRequest{Target: "power on"}); err != nil {
			t.Fatal(err)
		}
		m.settled()
		m.do(state.VerbAdopt, state.Active)
		service := func(settings []any, want state.State) conductor.Node {
			t.Helper()
			err := nodes.ChangeProvisionState(ctx, client, "n1", nodes.ProvisionStateOpts{Target: nodes.TargetService, ServiceSteps: []nodes.ServiceStep{
				{Interface: nodes.InterfaceBIOS, Step: "apply_configuration", Args: map[string]any{"settings": []map[string]any{{"name": "NumLock", "value": "Off"}}}},
				{Interface: "firmware", Step: "update", Args: map[string]any{"settings": settings}},
			}}).ExtractErr()
			if err != nil {
				t.Fatal(err)
			}
			return m.until(want)
		}
		n := service([]any{map[string]any{"component": "bios", "url": "http://images.test/firmware/bios/2.0"}, map[string]any{"component": "bmc", "url": "http://images.test/firmware/bmc/3.0"}}, state.Active)
		if n.Power != conductor.PowerOn || !m.machine.On() || n.LastError != "" || m.machine.State().BIOS["NumLock"] != "Off" {
			t.Errorf("%s, %q, %v", n.Power, n.LastError, m.machine.State().BIOS)
		}
		all, err := nodes.ListFirmware(ctx, client, "n1").Extract()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if want := map[string]string{"bios": "2.0", "bmc": "3.0", "nic:1": "22.5.7"}[f.Component]; f.CurrentVersion != want || f.Component != "nic:1" && f.LastVersionFlashed != want {
				t.Errorf("%+v, expected %s", f, want)
			}
		}
		n = service([]any{map[string]any{"component": "nic:1", "url": "http://images.test/no-image"}}, state.ServiceFail)
		if !strings.Contains(n.LastError, "none for this machine") || n.Fault == "" || !n.Maintenance || n.LastReason != fault.BMCTask {
			t.Errorf("%q, %q, maintenance %v, %q", n.LastError, n.Fault, n.Maintenance, n.LastReason)
		}
		if err := nodes.UnsetMaintenance(ctx, client, "n1").ExtractErr(); err != nil {
			t.Fatal(err)
		}
		if err := nodes.ChangeProvisionState(ctx, client, "n1", nodes.ProvisionStateOpts{Target: "abort"}).ExtractErr(); err != nil {
			t.Fatal(err)
		}
		if n := m.until(state.Active); !m.machine.On() {
			t.Errorf("after the abort: %+v", n.Power)
		}
	})
}

// I22: an image's address may be a key. A URL with a password is refused where it would be kept, and what the BMC says of an
// address is masked: neither the API nor history nor the step tells it.
func TestI22_AnImagesAddressIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		const canary = "canary-9f07-word"
		m.call("PUT", "/states/provision", `{"target":"clean","clean_steps":[{"interface":"firmware","step":"update","args":{"settings":[{"component":"bios","url":"http://u:`+canary+`@images.test/x"}]}}]}`, 202)
		if n := m.until(state.Manageable, state.CleanFail); n.LastReason != fault.StepArgument || !strings.Contains(n.LastError, "user or password") || strings.Contains(n.LastError, canary) {
			t.Fatalf("%s, refused with %s", n.State, n.LastError)
		}
		files, err := filepath.Glob(filepath.Join(m.dir, "*"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			if kept, err := os.ReadFile(f); err == nil && bytes.Contains(kept, []byte(canary)) {
				t.Errorf("T15: %s keeps the password", f)
			}
		}
		m.do(state.VerbManage, state.Manageable)
		address := "http://images.test/firmware/none/2?sig=" + canary
		// The BMC repeats the address in its task's message.
		m.inject(emulator.Fault{Kind: emulator.Edit, Match: "GET /redfish/v1/TaskService/Tasks/", Value: `{"TaskState":"Exception","Messages":[{"Message":"can't fetch ` + address + ` (sig=` + canary + `)"}]}`})
		n := m.update(state.VerbClean, step.Args{"settings": []any{map[string]any{"component": "bios", "url": address}}}, state.CleanFail)
		if n.LastReason != fault.BMCTask || !strings.Contains(n.LastError, "can't fetch") {
			t.Fatalf("the clean failed with %s: %s", n.LastReason, n.LastError)
		}
		var history []string
		for _, path := range []string{"/history", "/history?detail=true", "?fields=last_error"} {
			history = append(history, m.call("GET", path, "", 200))
		}
		if all := strings.Join(history, "\n"); strings.Contains(all, canary) {
			t.Errorf("the address is told: %s", all)
		}
		if m.sent() != 1 {
			t.Errorf("%d images were sent", m.sent())
		}
	})
}

// T8, I23, F26: what a BMC answers to an image leads nowhere else, and is never taken at its word.
func TestF23_F26_ABMCThatLiesAboutAnUpdate(t *testing.T) {
	const service = "GET /redfish/v1/UpdateService"
	for name, c := range map[string]struct {
		faults  []emulator.Fault
		reason  fault.Reason
		sent    int
		flashed bool
	}{
		"takes it and does nothing":       {[]emulator.Fault{{Kind: emulator.Ignore, Match: sendsImage}}, fault.FirmwareUnchanged, 1, false},
		"its task fails":                  {[]emulator.Fault{{Kind: emulator.TaskFails, Match: sendsImage}}, fault.BMCTask, 1, false},
		"refuses":                         {[]emulator.Fault{{Kind: emulator.Status, Status: 400, Match: sendsImage}}, fault.BMCError, 1, false},
		"its task is elsewhere":           {[]emulator.Fault{{Kind: emulator.AbsoluteLocation, Value: "http://192.0.2.66", Match: sendsImage}, {Kind: emulator.ForeignLink, Value: "http://192.0.2.66", Match: sendsImage}}, "", 1, true},
		"its target is elsewhere":         {[]emulator.Fault{{Kind: emulator.Edit, Match: service, Value: `{"Actions":{"#UpdateService.SimpleUpdate":{"target":"http://192.0.2.66/x"}}}`}}, fault.BMCOrigin, 0, false},
		"an endless update service":       {[]emulator.Fault{{Kind: emulator.Endless, Match: service}}, fault.BMCTooLarge, 0, false},
		"no update service":               {[]emulator.Fault{{Kind: emulator.Status, Status: 404, Match: service}}, fault.BMCError, 0, false},
		"a version of control characters": {[]emulator.Fault{{Kind: emulator.Edit, Match: "GET /redfish/v1/Systems/m1", Value: `{"BiosVersion":"2\u0000\n<b>"}`}}, "", 1, true},
		"500 to the order":                {[]emulator.Fault{{Kind: emulator.Status, Status: 500, Match: sendsImage}}, fault.FirmwareUnknown, 1, false},
		// Each 503 may be a proxy's, and is believed after two minutes of looking only (ADR 0290): who is busy for a while is met once.
		"busy for a while": {[]emulator.Fault{{Kind: emulator.Status, Status: 503, Match: sendsImage, Count: 1}}, "", 2, true},
		"busy without end": {[]emulator.Fault{{Kind: emulator.Status, Status: 503, Match: sendsImage}}, fault.BMCBusy, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newManager(t)
				for _, f := range c.faults {
					m.inject(f)
				}
				n := m.update(state.VerbClean, images("bios", "2.0"), state.Manageable, state.CleanFail)
				if (c.reason == "") != (n.State == state.Manageable) || n.LastReason != c.reason {
					t.Errorf("%s, %q: %s; expected %q", n.State, n.LastReason, n.LastError, c.reason)
				}
				if m.sent() != c.sent || (m.machine.Firmware()["bios"] == "2.0") != c.flashed {
					t.Errorf("%d images were sent, and the machine has %v", m.sent(), m.machine.Firmware())
				}
				if strings.ContainsFunc(m.firmware()+n.LastError, func(r rune) bool { return r < ' ' }) {
					t.Errorf("control characters in %q, %q", m.firmware(), n.LastError)
				}
			})
		})
	}
}

// Once the BMC has an image, an abort waits for the step's end; before, it ends it.
func TestF40_AnUpdateThatIsAborted(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		sent  int
	}{{time.Second, 0}, {2 * time.Minute, 1}} {
		synctest.Test(t, func(t *testing.T) {
			m := newManager(t)
			m.inject(emulator.Fault{Kind: emulator.Delay, Match: "GET /redfish/v1/UpdateService", Delay: emulator.Duration(20 * time.Second), Count: 1})
			m.inject(emulator.Fault{Kind: emulator.Async, Match: sendsImage, Delay: emulator.Duration(20 * time.Minute)})
			err := m.c.Provision(t.Context(), conductor.Caller{Name: "op"}, "n1", conductor.Provision{Verb: state.VerbClean, NoRamdisk: true, CleanSteps: []step.Wanted{{Name: "firmware.update", Args: images("bios", "2.0")}}})
			if err != nil {
				t.Fatal(err)
			}
			<-time.After(c.after)
			if err := m.c.Provision(t.Context(), conductor.Caller{Name: "op"}, "n1", conductor.Provision{Verb: state.VerbAbort}); err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			n := m.until(state.CleanFail)
			if took := time.Since(begun); (took > 10*time.Minute) != (c.sent > 0) {
				t.Errorf("aborted after %s, it ended %s later: %s", c.after, took, n.LastError)
			}
			if m.sent() != c.sent || (m.machine.Firmware()["bios"] == "2.0") != (c.sent > 0) {
				t.Errorf("%d images, %v", m.sent(), m.machine.Firmware())
			}
		})
	}
}

// A step tells the percentage of the BMC's task while it waits for it.
func TestAnUpdateTellsHowFarItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		m.inject(emulator.Fault{Kind: emulator.Async, Match: sendsImage, Delay: emulator.Duration(5 * time.Minute)})
		m.inject(emulator.Fault{Kind: emulator.Edit, Match: "GET /redfish/v1/TaskService/Tasks/", Value: `{"PercentComplete":40}`, For: emulator.Duration(4 * time.Minute)})
		if err := m.c.Provision(t.Context(), conductor.Caller{Name: "op"}, "n1", conductor.Provision{Verb: state.VerbClean, NoRamdisk: true,
			CleanSteps: []step.Wanted{{Name: "firmware.update", Args: images("bios", "2.0")}}}); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Minute)
		var shown struct {
			Steps []struct {
				Step     string
				Progress step.Progress
			}
		}
		text := m.call("GET", "/steps", "", 200)
		if err := json.Unmarshal([]byte(text), &shown); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(shown.Steps, func(s struct {
			Step     string
			Progress step.Progress
		}) bool {
			return s.Progress.Percent == 26 && strings.Contains(s.Progress.Item, "40 %") && s.Progress.Uncut != ""
		}) {
			t.Errorf("told is %s", text)
		}
		m.until(state.Manageable)
	})
}
