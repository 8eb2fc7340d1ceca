package emulator_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/integration/control"
	"github.com/bessemer-metal/bessemer/integration/emulator"
)

func inject(t *testing.T, m *emulator.Machine, f emulator.Fault) emulator.Fault {
	t.Helper()
	f, err := m.Inject(f)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFaultsThatAnswerInstead(t *testing.T) {
	_, n, c := fake(t, emulator.Config{}, emulator.MachineConfig{})
	for _, x := range []struct {
		fault emulator.Fault
		check func(answer) bool
	}{
		{emulator.Fault{Kind: emulator.Status, Status: 503, RetryAfter: "7"}, func(a answer) bool {
			return a.status == 503 && a.header.Get("Retry-After") == "7" && a.body["error"] != nil
		}},
		{emulator.Fault{Kind: emulator.Status, Status: 401}, func(a answer) bool { return a.status == 401 }},
		{emulator.Fault{Kind: emulator.HangUp}, func(a answer) bool { return a.broken }},
		{emulator.Fault{Kind: emulator.Body, Value: `{"PowerState": 7`}, func(a answer) bool { return string(a.raw) == `{"PowerState": 7` }},
		{emulator.Fault{Kind: emulator.Huge, Size: 5 << 20}, func(a answer) bool { return len(a.raw) == 5<<20 && a.body["Name"] != nil }},
		{emulator.Fault{Kind: emulator.Endless}, func(a answer) bool { return len(a.raw) > 8<<20 }},
		{emulator.Fault{Kind: emulator.Redirect, Value: "http://198.51.100.1/"}, func(a answer) bool {
			return a.status == 307 && a.header.Get("Location") == "http://198.51.100.1"+sys
		}},
		{emulator.Fault{Kind: emulator.ForeignLink, Value: "http://198.51.100.1"}, func(a answer) bool {
			return a.body["Bios"].(object)["@odata.id"] == "http://198.51.100.1"+sys+"/Bios" && !strings.Contains(string(a.raw), `:"/redfish`)
		}},
		{emulator.Fault{Kind: emulator.LiePower, Value: "On"}, func(a answer) bool { return a.body["PowerState"] == "On" }},
	} {
		x.fault.Count = 1
		inject(t, n, x.fault)
		if a := c.do("GET", sys, nil); !x.check(a) {
			t.Errorf("%s: %d %v %.200s", x.fault.Kind, a.status, a.header, a.raw)
		}
		if a := c.want(200, "GET", sys, nil); a.body["PowerState"] != "Off" {
			t.Errorf("%s did not end after one request: %s", x.fault.Kind, a.raw)
		}
	}
}

func TestFaultsChooseTheirRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, n, c := fake(t, emulator.Config{}, emulator.MachineConfig{})
		post := inject(t, n, emulator.Fault{Kind: emulator.Status, Status: 500, Match: "POST " + sys})
		inject(t, n, emulator.Fault{Kind: emulator.Status, Status: 503, Match: sys + "/Bios", For: emulator.Duration(10 * time.Second)})
		c.want(200, "GET", sys, nil)
		c.want(500, "POST", reset, object{"ResetType": "On"})
		c.want(503, "GET", sys+"/Bios", nil)
		time.Sleep(10 * time.Second)
		c.want(200, "GET", sys+"/Bios", nil)
		if l := n.Faults(); len(l) != 1 || l[0].ID != post.ID {
			t.Errorf("at work: %v", l)
		}
		n.Heal(post.ID)
		c.want(204, "POST", reset, object{"ResetType": "On"})
		for _, bad := range []emulator.Fault{{}, {Kind: "nonsense"}, {Kind: emulator.Status, Status: 200}, {Kind: emulator.Huge}, {Kind: emulator.Redirect}, {Kind: emulator.Delay, Count: -1}} {
			if _, err := n.Inject(bad); err == nil {
				t.Errorf("accepted: %+v", bad)
			}
		}
	})
}

func TestSlowAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, n, c := fake(t, emulator.Config{}, emulator.MachineConfig{})
		begin := time.Now()
		took := func() time.Duration { d := time.Since(begin); begin = time.Now(); return d }
		inject(t, n, emulator.Fault{Kind: emulator.Delay, Delay: emulator.Duration(time.Minute), Count: 2})
		c.want(200, "GET", sys, nil)
		if d := took(); d != time.Minute {
			t.Errorf("delay of %v, a minute was asked for", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if a := c.within(ctx, "GET", sys, nil); !a.broken || took() != time.Second {
			t.Errorf("a client that gave up was answered with %d", a.status)
		}
		inject(t, n, emulator.Fault{Kind: emulator.Drip, Delay: emulator.Duration(time.Second), Count: 1})
		a := c.want(200, "GET", sys, nil)
		if d := took(); d != time.Duration(len(a.raw))*time.Second || a.body["Id"] != "n" {
			t.Errorf("%d bytes in %v", len(a.raw), d)
		}
	})
}

func TestOrdersThatAreNotCarriedOut(t *testing.T) {
	_, n, c := fake(t, emulator.Config{}, emulator.MachineConfig{})
	inject(t, n, emulator.Fault{Kind: emulator.Ignore, Match: "POST " + reset})
	c.want(204, "POST", reset, object{"ResetType": "On"})
	if n.On() || len(n.PowerLog()) > 0 {
		t.Error("an ignored order had an effect")
	}
	n.Heal("")
	c.want(204, "POST", reset, object{"ResetType": "On"})
	inject(t, n, emulator.Fault{Kind: emulator.LiePower, Value: "Off"})
	if a := c.want(200, "GET", sys, nil); a.body["PowerState"] != "Off" || !n.On() {
		t.Error("the BMC told the truth")
	}
}

func TestOrdersAsTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, n, c := fake(t, emulator.Config{}, emulator.MachineConfig{})
		inject(t, n, emulator.Fault{Kind: emulator.Async, Delay: emulator.Duration(time.Minute), Count: 1})
		inject(t, n, emulator.Fault{Kind: emulator.AbsoluteLocation, Count: 1})
		a := c.want(202, "POST", reset, object{"ResetType": "On"})
		monitor, own := strings.CutPrefix(a.header.Get("Location"), "http://bmc")
		if !own || a.header.Get("Retry-After") == "" {
			t.Errorf("headers: %v", a.header)
		}
		if a := c.want(202, "GET", monitor, nil); a.body["TaskState"] != "Running" || n.On() {
			t.Errorf("at once: %s", a.raw)
		}
		time.Sleep(time.Minute + time.Second)
		if a := c.want(200, "GET", monitor, nil); a.body["TaskState"] != "Completed" || !n.On() {
			t.Errorf("after a minute: %s", a.raw)
		}

		inject(t, n, emulator.Fault{Kind: emulator.TaskFails, Delay: emulator.Duration(time.Second), Count: 1})
		a = c.want(202, "POST", reset, object{"ResetType": "ForceOff"})
		monitor = a.header.Get("Location")
		time.Sleep(2 * time.Second)
		if a := c.want(500, "GET", monitor, nil); !strings.Contains(string(a.raw), "failed") || !n.On() {
			t.Errorf("failed task: %s", a.raw)
		}
		if a := c.want(200, "GET", a.body["@odata.id"].(string), nil); a.body["TaskState"] != "Exception" || a.body["TaskStatus"] != "Critical" {
			t.Errorf("failed task: %s", a.raw)
		}

		inject(t, n, emulator.Fault{Kind: emulator.Async, Delay: emulator.Duration(time.Minute), Count: 1})
		a = c.want(202, "POST", reset, object{"ResetType": "ForceOff"})
		c.want(204, "DELETE", a.body["@odata.id"].(string), nil)
		time.Sleep(2 * time.Minute)
		if !n.On() {
			t.Error("a deleted task was carried out")
		}
	})
}

func TestJammedJobQueue(t *testing.T) {
	_, n, c := fake(t, emulator.Config{}, emulator.MachineConfig{})
	settings := object{"Attributes": object{"NumLock": "Off"}}
	c.want(204, "PATCH", sys+"/Bios/Settings", settings)
	inject(t, n, emulator.Fault{Kind: emulator.Jam, Count: 2})
	a := c.want(409, "PATCH", sys+"/Bios/Settings", settings)
	if !strings.Contains(string(a.raw), "ResourceInUse") {
		t.Errorf("refused with %s", a.raw)
	}
	c.want(204, "POST", reset, object{"ResetType": "On"})
	if v := n.State().BIOS["NumLock"]; v != "On" {
		t.Errorf("the jam let settings through: %v", v)
	}
	l := members(c.want(200, "GET", tasks, nil))
	if len(l) != 3 {
		t.Fatalf("tasks: %v", l)
	}
	for _, p := range l[1:] { // the stuck ones
		if a := c.want(200, "GET", p, nil); a.body["TaskState"] != "Pending" || a.body["TaskStatus"] != "Warning" {
			t.Errorf("stuck task: %s", a.raw)
		}
		c.want(204, "DELETE", p, nil)
	}
	c.want(204, "POST", reset, object{"ResetType": "ForceRestart"})
	if v := n.State().BIOS["NumLock"]; v != "Off" {
		t.Errorf("after the jam: %v", v)
	}
	if a := c.want(200, "GET", l[0], nil); a.body["TaskState"] != "Completed" {
		t.Errorf("the settings' task: %s", a.raw)
	}

	c.want(204, "PATCH", sys+"/Bios/Settings", object{"Attributes": object{"NumLock": "On"}})
	for _, p := range members(c.want(200, "GET", tasks, nil)) {
		c.want(204, "DELETE", p, nil)
	}
	c.want(204, "POST", reset, object{"ResetType": "ForceRestart"})
	if v := n.State().BIOS["NumLock"]; v != "Off" {
		t.Errorf("settings whose task was deleted were applied: %v", v)
	}
}

func TestPowerStates(t *testing.T) {
	_, n, c := fake(t, emulator.Config{}, emulator.MachineConfig{})
	boot := func(enabled, target string) {
		c.want(204, "PATCH", sys, object{"Boot": object{"BootSourceOverrideEnabled": enabled, "BootSourceOverrideTarget": target}})
	}
	boot("Continuous", "Pxe")
	for _, kind := range []string{"On", "ForceRestart", "GracefulRestart", "PowerCycle", "Nmi", "PushPowerButton", "PushPowerButton", "GracefulShutdown", "ForceOff", "ForceOn", "ForceOn", "ForceOff"} {
		c.want(204, "POST", reset, object{"ResetType": kind})
	}
	var got []string
	for _, p := range n.PowerLog() {
		got = append(got, map[bool]string{true: "on", false: "off"}[p.On]+" "+p.Cause)
	}
	want := []string{"on redfish On", "on redfish ForceRestart", "off guest-shutdown", "on reset: guest-shutdown", "off redfish PowerCycle", "on redfish PowerCycle",
		"off guest-shutdown", "on redfish PushPowerButton", "off guest-shutdown", "on redfish ForceOn", "off redfish ForceOff"}
	if !slices.Equal(got, want) {
		t.Errorf("power log:\n got %q\nwant %q", got, want)
	}
	if s := n.State().Override; s != "Continuous Pxe" {
		t.Errorf("override: %s", s)
	}
	boot("Once", "None")
	if s := n.State().Override; s != "Disabled" {
		t.Errorf("override: %s", s)
	}
}

// The control API does over HTTP what the Go API does, and its client understands it.
func TestControl(t *testing.T) {
	e, n, c := fake(t, emulator.Config{}, emulator.MachineConfig{Serial: "S7"})
	s := httptest.NewServer(e.ControlHandler())
	defer s.Close()
	ctl := control.Client{URL: s.URL, HTTP: s.Client()}
	ctx := t.Context()
	f, err := ctl.Inject(ctx, "n", emulator.Fault{Kind: emulator.Status, Status: 503, Count: 3, Delay: emulator.Duration(time.Second)})
	if err != nil || f.ID == "" || time.Duration(n.Faults()[0].Delay) != time.Second {
		t.Errorf("inject: %+v, %v", f, err)
	}
	c.want(503, "GET", sys, nil)
	if err := ctl.Heal(ctx, "n"); err != nil {
		t.Error(err)
	}
	c.want(204, "POST", reset, object{"ResetType": "On"})
	l, err := ctl.PowerLog(ctx, "n")
	if err != nil || len(l) != 1 || !l[0].On || l[0].Cause != "redfish On" {
		t.Errorf("power log: %v, %v", l, err)
	}
	all, err := ctl.Machines(ctx)
	if err != nil || len(all) != 1 || all[0].Serial != "S7" || !all[0].On {
		t.Errorf("machines: %v, %v", all, err)
	}
	if _, err := ctl.Machine(ctx, "absent"); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("a machine that is not there: %v", err)
	}
	if _, err := ctl.Inject(ctx, "n", emulator.Fault{Kind: "nonsense"}); err == nil || !strings.Contains(err.Error(), "foreign_link") {
		t.Errorf("an unknown fault: %v", err)
	}
	if last, counts := n.Requests(); counts["GET "+sys] != 1 || last[0].Status != 503 {
		t.Errorf("requests: %v %v", last, counts)
	}
	res, err := s.Client().Post(s.URL+"/control/v1/machines", "application/json", strings.NewReader(`{"name": "added"}`))
	if err != nil || res.StatusCode != http.StatusCreated || e.Machine("added") == nil {
		t.Errorf("adding a machine: %v, %v", res, err)
	}
	res.Body.Close()
}

func TestRefusedConfigurations(t *testing.T) {
	for want, cfg := range map[string]emulator.Config{
		"loopback":  {Control: "0.0.0.0:0"},
		"name":      {Machines: []emulator.MachineConfig{{Name: "a/b"}}},
		"exists":    {Machines: []emulator.MachineConfig{{Name: "a"}, {Name: "a"}}},
		"listener":  {Listen: "nonsense"},
		"invalid M": {Machines: []emulator.MachineConfig{{Name: "a", MACs: []string{"x"}}}},
	} {
		e, err := emulator.New(cfg)
		if want == "invalid M" {
			want = "x"
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
		if e != nil {
			e.Close()
		}
	}
}
