package emulator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/integration/emulator"
)

// client asks without sockets, as the emulator's own BMC address or the shared one.
type client struct {
	t     *testing.T
	h     http.Handler
	token string
}

type answer struct {
	status int
	header http.Header
	body   map[string]any
	raw    []byte
	broken bool // the connection ended without a whole answer
}

// recorder is a ResponseWriter that notices an aborted answer.
type recorder struct {
	bytes.Buffer
	status int
	header http.Header
	limit  int // a client that reads no more than this
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(s int)   { r.status = s }
func (r *recorder) Flush()              {}
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	if r.limit > 0 && r.Len() > r.limit {
		return 0, io.ErrClosedPipe
	}
	return r.Buffer.Write(b)
}

func (c *client) do(method, path string, body any, headers ...string) (a answer) {
	c.t.Helper()
	return c.within(c.t.Context(), method, path, body, headers...)
}

func (c *client) within(ctx context.Context, method, path string, body any, headers ...string) (a answer) {
	c.t.Helper()
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			c.t.Fatal(err)
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://bmc"+path, &b)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Host = "bmc"
	r.RequestURI = path
	if c.token != "" {
		r.Header.Set("X-Auth-Token", c.token)
	} else {
		r.SetBasicAuth("admin", "password")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Del("Authorization")
		r.Header.Set(headers[i], headers[i+1])
	}
	if len(headers) > 0 && r.Header.Get("X-Auth-Token") == "" && r.Header.Get("Authorization") == "" {
		r.SetBasicAuth("admin", "password")
	}
	w := &recorder{header: http.Header{}, limit: 8 << 20}
	func() {
		defer func() {
			if p := recover(); p == http.ErrAbortHandler {
				a.broken = true
			} else if p != nil {
				panic(p)
			}
		}()
		c.h.ServeHTTP(w, r)
	}()
	a.status, a.header, a.raw = w.status, w.header, w.Bytes()
	json.Unmarshal(a.raw, &a.body) // a body that is not JSON leaves the map empty
	return a
}

func (c *client) want(status int, method, path string, body any, headers ...string) answer {
	c.t.Helper()
	a := c.do(method, path, body, headers...)
	if a.status != status {
		c.t.Fatalf("%s %s: got %d, want %d: %s", method, path, a.status, status, a.raw)
	}
	return a
}

type object = map[string]any

const (
	sys   = "/redfish/v1/Systems/n"
	reset = sys + "/Actions/ComputerSystem.Reset"
	tasks = "/redfish/v1/TaskService/Tasks"
)

// fake is an emulator with one fake machine, n, and no sockets.
func fake(t *testing.T, cfg emulator.Config, m emulator.MachineConfig) (*emulator.Emulator, *emulator.Machine, *client) {
	t.Helper()
	e, err := emulator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	m.Name = "n"
	n, err := e.Add(m)
	if err != nil {
		t.Fatal(err)
	}
	return e, n, &client{t: t, h: e.Handler()}
}

func members(a answer) (l []string) {
	for _, m := range a.body["Members"].([]any) {
		l = append(l, m.(object)["@odata.id"].(string))
	}
	return l
}

// Every resource that is linked to exists, says where it is, and has an ETag.
func TestEveryLinkLeadsToAResource(t *testing.T) {
	_, _, c := fake(t, emulator.Config{}, emulator.MachineConfig{})
	c.want(204, "POST", reset, object{"ResetType": "On"})
	c.want(204, "PATCH", sys+"/Bios/Settings", object{"Attributes": object{"NumLock": "Off"}})
	seen := map[string]bool{}
	var walk func(path string)
	var links func(v any)
	links = func(v any) {
		switch v := v.(type) {
		case object:
			if p, is := v["@odata.id"].(string); is && !strings.Contains(p, "#") {
				walk(p)
			}
			for _, x := range v {
				links(x)
			}
		case []any:
			for _, x := range v {
				links(x)
			}
		}
	}
	walk = func(path string) {
		path = strings.TrimRight(path, "/")
		if seen[path] {
			return
		}
		seen[path] = true
		a := c.want(200, "GET", path, nil)
		if id, _ := a.body["@odata.id"].(string); strings.TrimRight(id, "/") != path || a.header.Get("ETag") == "" || a.body["@odata.type"] == nil {
			t.Errorf("%s: @odata.id %q, type %v, ETag %q", path, id, a.body["@odata.type"], a.header.Get("ETag"))
		}
		links(a.body)
	}
	walk("/redfish/v1/")
	if len(seen) < 25 {
		t.Errorf("only %d resources were found", len(seen))
	}
	if a := c.want(200, "GET", "/redfish/v1/Registries/BiosAttributeRegistryBessemer.v1_0_0/Registry.json", nil); !strings.Contains(string(a.raw), "ProcVirtualization") {
		t.Errorf("BIOS registry: %s", a.raw)
	}
}

func TestSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, n, c := fake(t, emulator.Config{SessionTimeout: emulator.Duration(time.Minute)}, emulator.MachineConfig{})
		const list = "/redfish/v1/SessionService/Sessions"
		anonymous := &client{t: t, h: c.h, token: "none"}
		anonymous.want(200, "GET", "/redfish/v1/", nil)
		a := anonymous.want(401, "GET", sys, nil)
		if a.header.Get("WWW-Authenticate") == "" || a.body["error"].(object)["@Message.ExtendedInfo"] == nil {
			t.Errorf("401: %v %s", a.header, a.raw)
		}
		anonymous.want(401, "GET", list, nil)
		anonymous.want(401, "POST", list, object{"UserName": "admin", "Password": "Password"})
		login := func() (*client, string) {
			a := anonymous.want(201, "POST", list, object{"UserName": "admin", "Password": "password"})
			return &client{t: t, h: c.h, token: a.header.Get("X-Auth-Token")}, a.header.Get("Location")
		}
		in, where := login()
		in.want(200, "GET", sys, nil)
		in.want(200, "GET", where, nil)
		in.want(204, "DELETE", where, nil)
		in.want(401, "GET", sys, nil)

		in, _ = login()
		time.Sleep(50 * time.Second)
		in.want(200, "GET", sys, nil) // keeps it alive
		time.Sleep(50 * time.Second)
		in.want(200, "GET", sys, nil)
		time.Sleep(61 * time.Second)
		in.want(401, "GET", sys, nil)

		in, _ = login()
		in.want(204, "POST", "/redfish/v1/Managers/n/Actions/Manager.Reset", object{"ResetType": "ForceRestart"})
		if a := c.do("GET", sys, nil); !a.broken {
			t.Errorf("the manager restarts, and answered %d", a.status)
		}
		time.Sleep(3 * time.Second)
		in.want(401, "GET", sys, nil)
		c.want(200, "GET", sys, nil)
		if len(n.PowerLog()) != 0 {
			t.Errorf("the machine's power changed: %v", n.PowerLog())
		}
	})
}

// Machines with credentials of their own are seen by nobody else, except by the emulator's administrator.
func TestAccountsSeeTheirMachinesOnly(t *testing.T) {
	e, n, c := fake(t, emulator.Config{}, emulator.MachineConfig{Username: "u", Password: "p"})
	if _, err := e.Add(emulator.MachineConfig{Name: "other", Username: "v", Password: "q"}); err != nil {
		t.Fatal(err)
	}
	const v = "Basic djpx" // v:q
	if got := members(c.want(200, "GET", "/redfish/v1/Systems", nil, "Authorization", v)); !slices.Equal(got, []string{"/redfish/v1/Systems/other"}) {
		t.Errorf("v sees %v", got)
	}
	c.want(404, "GET", sys, nil, "Authorization", v)
	c.want(404, "POST", reset, object{"ResetType": "On"}, "Authorization", v)
	if got := members(c.want(200, "GET", "/redfish/v1/Systems", nil)); len(got) != 2 {
		t.Errorf("the administrator sees %v", got)
	}
	own := &client{t: t, h: e.HandlerOf(n)}
	own.want(401, "GET", sys, nil)
	if got := members(own.want(200, "GET", "/redfish/v1/Systems", nil, "Authorization", "Basic dTpw")); !slices.Equal(got, []string{sys}) {
		t.Errorf("at its own address: %v", got)
	}
	own.want(404, "GET", "/redfish/v1/Systems/other", nil, "Authorization", "Basic dTpw")
}

func TestETags(t *testing.T) {
	_, _, c := fake(t, emulator.Config{}, emulator.MachineConfig{})
	tag := c.want(200, "GET", sys, nil).header.Get("ETag")
	c.want(304, "GET", sys, nil, "If-None-Match", tag)
	c.want(204, "POST", reset, object{"ResetType": "On"})
	if now := c.want(200, "GET", sys, nil).header.Get("ETag"); now != tag {
		t.Error("a reading changed the ETag")
	}
	boot := object{"Boot": object{"BootSourceOverrideTarget": "Cd", "BootSourceOverrideEnabled": "Once"}}
	c.want(204, "PATCH", sys, boot, "If-Match", tag)
	a := c.want(412, "PATCH", sys, boot, "If-Match", tag)
	if code := a.body["error"].(object)["code"]; code != "Base.1.13.0.PreconditionFailed" {
		t.Errorf("412 with %v", code)
	}
	c.want(204, "PATCH", sys, boot, "If-Match", "*")
	c.want(204, "PATCH", sys, boot)
}

func TestWrongRequestsAreExplained(t *testing.T) {
	_, n, c := fake(t, emulator.Config{}, emulator.MachineConfig{})
	const cd = "/redfish/v1/Managers/n/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia"
	for _, x := range []struct {
		status       int
		method, path string
		body         any
		says         string
	}{
		{400, "POST", reset, object{"ResetType": "Explode"}, "ForceOff"},
		{400, "POST", reset, object{}, "ResetType"},
		{400, "POST", reset, object{"Reset": "On"}, `"Reset"`},
		{400, "POST", reset, "On", "not what is expected"},
		{409, "POST", reset, object{"ResetType": "ForceRestart"}, "off"},
		{400, "PATCH", sys, object{"Boot": object{"BootSourceOverrideTarget": "Floppy"}}, "UefiHttp"},
		{400, "PATCH", sys, object{"Boot": object{"BootSourceOverrideMode": "Manual"}}, "UEFI, Legacy"},
		{400, "PATCH", sys + "/Bios/Settings", object{"Attributes": object{"NumLock": "Maybe"}}, "On, Off"},
		{400, "PATCH", sys + "/Bios/Settings", object{"Attributes": object{"BootTimeout": 61}}, "0 to 60"},
		{400, "PATCH", sys + "/Bios/Settings", object{"Attributes": object{"QuietBoot": "yes"}}, "true or false"},
		{400, "PATCH", sys + "/Bios/Settings", object{"Attributes": object{"ServerLabel": 1}}, "string"},
		{400, "PATCH", sys + "/Bios/Settings", object{"Attributes": object{"BootMode": "Legacy"}}, "read-only"},
		{400, "PATCH", sys + "/Bios/Settings", object{"@Redfish.SettingsApplyTime": object{"ApplyTime": "Immediate"}}, "OnReset"},
		{400, "POST", cd, object{}, "Image"},
		{400, "POST", cd, object{"Image": "nfs://host/cd.iso"}, "http"},
		{400, "POST", cd, object{"Image": "http://h/x", "TransferMethod": "Upload"}, "Stream"},
		{400, "POST", cd, object{"Image": "http://h/x", "WriteProtected": false}, "write-protected"},
		{405, "POST", sys, object{}, "not served"},
		{404, "GET", "/redfish/v1/Systems/absent", nil, "not found"},
		{404, "GET", "/redfish/v1/Nonsense", nil, "not found"},
	} {
		a := c.want(x.status, x.method, x.path, x.body)
		e, _ := a.body["error"].(object)
		if message, _ := e["message"].(string); !strings.Contains(message, x.says) || len(e["@Message.ExtendedInfo"].([]any)) != 1 {
			t.Errorf("%s %s %v: %s, want %q in it", x.method, x.path, x.body, a.raw, x.says)
		}
	}
	if len(n.PowerLog()) != 0 || n.State().Override != "Disabled" {
		t.Errorf("a refused request had an effect: %+v", n.State())
	}
}
