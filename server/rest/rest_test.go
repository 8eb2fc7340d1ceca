package rest_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest"
	"github.com/bessemer-metal/bessemer/server/rest/login"
	"github.com/bessemer-metal/bessemer/server/rest/nodewire"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// server is the API over a fake conductor.
type server struct {
	*testing.T
	*backend
	images  *store
	handler http.Handler
	log     *strings.Builder
}

func newServer(t *testing.T) *server {
	b, i, log := newBackend(), &store{images: map[string]string{}}, &strings.Builder{}
	rows, err := nodewire.NewPreparer(b.Drivers())
	if err != nil {
		t.Fatal(err)
	}
	b.rows = rows
	return &server{T: t, backend: b, images: i, log: log, handler: rest.New(rest.Config{
		Backend: b, Form: rows.Form(), Images: i, Auth: login.None{}, Hostname: "lab", Started: now, Now: func() time.Time { return now },
		Log: slog.New(slog.NewTextHandler(log, nil)),
	})}
}

// answer is one answer with its decoded body.
type answer struct {
	*httptest.ResponseRecorder
	body map[string]any
}

// fault is the text of an error answer.
func (a answer) fault() string {
	text, _ := a.body["error_message"].(string)
	var inner map[string]any
	_ = json.Unmarshal([]byte(text), &inner)
	s, _ := inner["faultstring"].(string)
	d, _ := inner["description"].(string)
	return s + d
}

// do sends a request in the newest version, or in the one that a header "name: value" among extra names.
func (s *server) do(method, path, body string, extra ...string) answer {
	s.Helper()
	r := httptest.NewRequest(method, "http://127.0.0.1:6385"+path, strings.NewReader(body))
	r.Header.Set(api.HeaderVersion, "latest")
	for _, h := range extra {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	a := decoded(s.T, w)
	s.conforms(method, path, body, a)
	return a
}

// decoded reads the body of an answer that has one.
func decoded(t *testing.T, w *httptest.ResponseRecorder) answer {
	t.Helper()
	a := answer{ResponseRecorder: w}
	if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(w.Body.Bytes(), &a.body); err != nil {
			t.Fatalf("body %q: %v", w.Body, err)
		}
	}
	return a
}

// want fails the test when an answer has another status.
func (s *server) want(a answer, status int) answer {
	s.Helper()
	if a.Code != status {
		s.Fatalf("status %d, expected %d: %s", a.Code, status, a.Body)
	}
	return a
}

const first = "/v1/nodes/00000000-0000-4000-8000-000000000001"

// enrolled makes a node and gives its path.
func (s *server) enrolled() string {
	s.Helper()
	s.want(s.do("POST", "/v1/nodes", `{"name": "n1", "driver": "redfish", "driver_info": {"redfish_address": "https://192.0.2.1",
		"redfish_username": "admin", "redfish_password": "canary-pw"}, "properties": {"cpu_arch": "x86_64"}}`), 201)
	return first
}

func TestDiscovery(t *testing.T) {
	s := newServer(t)
	root := s.want(s.do("GET", "/", ""), 200)
	if n := len(root.body["versions"].([]any)); n != 1 {
		t.Errorf("%d versions, expected 1", n)
	}
	v1 := s.want(s.do("GET", "/v1/", ""), 200)
	if v := v1.body["version"].(map[string]any)["version"]; v != api.MaxVersion.String() {
		t.Errorf("version %v", v)
	}
	for _, path := range []string{"/v1/nodes", "/nodes", "/v1/nodes/"} {
		s.want(s.do("GET", path, ""), 200)
	}
	s.want(s.do("POST", "/v1", ""), 405)
	a := s.want(s.do("GET", "/v1/nowhere", ""), 404)
	if a.Header().Get(api.HeaderMaxVersion) != api.MaxVersion.String() || a.Header().Get(api.HeaderRequest) == "" {
		t.Errorf("an error lacks headers: %v", a.Header())
	}
}

func TestVersions(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	for _, c := range []struct {
		header  string
		status  int
		version string
		ranged  bool
	}{
		{api.HeaderVersion + ": 1.52", 200, "1.52", true},
		{api.HeaderVersion + ": LATEST", 200, api.MaxVersion.String(), true},
		{api.HeaderVersion + ": 1.999", 406, "", true},
		{api.HeaderVersion + ": 2.1", 406, "", true},
		{api.HeaderVersion + ": 1.0", 406, "", true},
		{api.HeaderVersion + ": one", 406, "", false},
	} {
		for _, path := range []string{"/", "/v1", "/v1/nodes"} {
			a := s.do("GET", path, "", c.header)
			if a.Code != c.status || a.Header().Get(api.HeaderVersion) != c.version || (a.Header().Get(api.HeaderMinVersion) != "") != c.ranged {
				t.Errorf("%s with %s: status %d, headers %v", path, c.header, a.Code, a.Header())
			}
		}
	}
	// The newer header alone, and none at all.
	r := httptest.NewRequest("GET", "http://localhost/v1/nodes", nil)
	r.Header.Set(api.HeaderNewVersion, "baremetal 1.87")
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	if w.Header().Get(api.HeaderVersion) != "1.87" {
		t.Errorf("version %q", w.Header().Get(api.HeaderVersion))
	}
	old := s.want(s.do("GET", first, "", api.HeaderVersion+": 1.1"), 200)
	for _, f := range []string{"name", "traits", "health", "boot_interface"} {
		if _, there := old.body[f]; there {
			t.Errorf("version 1.1 shows %s", f)
		}
	}
	s.nodes[0].State = state.Available
	if old = s.do("GET", first, "", api.HeaderVersion+": 1.1"); old.body["provision_state"] != nil {
		t.Errorf("version 1.1 shows the state %v", old.body["provision_state"])
	}
	s.want(s.do("GET", first+"/inventory", "", api.HeaderVersion+": 1.80"), 404)
	s.want(s.do("PATCH", first, `[{"op": "add", "path": "/description", "value": "x"}]`, api.HeaderVersion+": 1.50"), 406)
	s.want(s.do("GET", "/v1/nodes?owner=x", "", api.HeaderVersion+": 1.49"), 406)
}

func TestCreateShowDelete(t *testing.T) {
	s := newServer(t)
	a := s.want(s.do("POST", "/v1/nodes", `{"driver": "redfish", "name": "ns~host", "disable_power_off": false, "resource_class": "big"}`), 201)
	if a.Header().Get("Location") != "http://127.0.0.1:6385"+first {
		t.Errorf("Location %q", a.Header().Get("Location"))
	}
	for field, want := range map[string]any{"name": "ns~host", "provision_state": "enroll", "power_state": nil, "disable_power_off": false,
		"created_at": "2026-11-20T14:39:08+00:00", "updated_at": nil, "deploy_interface": "direct", "conductor": "lab", "maintenance": false} {
		if a.body[field] != want {
			t.Errorf("%s is %v, expected %v", field, a.body[field], want)
		}
	}
	s.want(s.do("GET", "/v1/nodes/ns~host", ""), 200)
	one := s.want(s.do("GET", first+"?fields=uuid,boot_interface", ""), 200)
	if len(one.body) != 3 {
		t.Errorf("fields=uuid,boot_interface gives %v", one.body)
	}
	for body, status := range map[string]int{
		`{}`:                                 400,
		`{"driver": "redfish", "nosuch": 1}`: 400,
		`{"driver": "redfish", "power_state": "x"}`:      400,
		`{"driver": "redfish", "extra": "text"}`:         400,
		`{"driver": "redfish", "name": "detail"}`:        400,
		`{"driver": "redfish", "name": "a b"}`:           400,
		`{"driver": "redfish", "uuid": "x"}`:             400,
		`{"driver": "redfish", "boot_interface": "pxe"}`: 400,
		`{"driver": "redfish", "name": "ns~host"}`:       409,
		`[]`: 400,
		``:   400,
		`{"driver": "redfish", "extra": ` + strings.Repeat(`{"a":`, 26) + `1` + strings.Repeat("}", 27): 400,
		`{"driver": "redfish", "description": "` + strings.Repeat("x", 2<<20) + `"}`:                    413,
	} {
		if a := s.do("POST", "/v1/nodes", body); a.Code != status || a.fault() == "" {
			t.Errorf("%.60s: status %d, expected %d: %s", body, a.Code, status, a.Body)
		}
	}
	s.want(s.do("GET", "/v1/nodes/a%20b", ""), 400)
	s.want(s.do("DELETE", first, ""), 204)
	if a := s.want(s.do("DELETE", first, ""), 404); !strings.Contains(a.fault(), "could not be found") {
		t.Errorf("fault %q", a.fault())
	}
}

func TestPatch(t *testing.T) {
	s := newServer(t)
	path := s.enrolled()
	patch := func(ops string) answer { return s.do("PATCH", path, ops) }
	a := s.want(patch(`[{"op": "add", "path": "/instance_info/image_source", "value": "http://192.0.2.9/i.raw"},
		{"op": "add", "path": "/properties/root_device", "value": {"serial": "S1"}},
		{"op": "replace", "path": "/properties/root_device/serial", "value": "S2"},
		{"op": "add", "path": "/maintenance", "value": "true"}, {"op": "add", "path": "/automated_clean", "value": false}]`), 200)
	if a.body["maintenance"] != true || a.body["automated_clean"] != false ||
		a.body["properties"].(map[string]any)["root_device"].(map[string]any)["serial"] != "S2" {
		t.Errorf("after the patch: %v", a.body)
	}
	a = s.want(patch(`[{"op": "remove", "path": "/automated_clean"}, {"op": "remove", "path": "/properties/root_device"}, {"op": "remove", "path": "/name"}]`), 200)
	if a.body["automated_clean"] != nil || a.body["name"] != nil || len(a.body["properties"].(map[string]any)) != 1 {
		t.Errorf("after the removal: %v", a.body)
	}
	before := s.nodes[0]
	for _, ops := range []string{
		`{}`, `[{"op": "test", "path": "/name", "value": "x"}]`, `[{"op": "add", "path": "name", "value": "x"}]`,
		`[{"op": "add", "path": "/name", "value": "x", "from": "/y"}]`, `[{"op": "remove", "path": "/driver"}]`,
		`[{"op": "add", "path": "/provision_state", "value": "active"}]`, `[{"op": "add", "path": "/traits", "value": []}]`,
		`[{"op": "replace", "path": "/extra/nosuch", "value": 1}]`, `[{"op": "remove", "path": "/extra/nosuch"}]`,
		`[{"op": "add", "path": "/name", "value": "fine"}, {"op": "add", "path": "/extra", "value": 5}]`,
		`[{"op": "add", "path": "/protected_reason", "value": "why"}]`, `[{"op": "add", "path": "/boot_interface", "value": "pxe"}]`,
		`[{"op": "add", "path": "/extra/a/b", "value": 1}]`,
	} {
		s.want(patch(ops), 400)
	}
	if after := s.nodes[0]; after.Name != before.Name || after.State != before.State {
		t.Errorf("a refused patch changed the node: %+v", after)
	}
	a = s.want(patch(`[{"op": "add", "path": "/protected_reason", "value": "why"}, {"op": "add", "path": "/protected", "value": true}]`), 200)
	if a.body["protected_reason"] != "why" {
		t.Errorf("protected_reason is %v", a.body["protected_reason"])
	}
	if a = s.want(patch(`[{"op": "remove", "path": "/protected"}]`), 200); a.body["protected_reason"] != nil {
		t.Errorf("the reason outlived the flag: %v", a.body["protected_reason"])
	}
	s.want(patch(`[{"op": "add", "path": "/inspect_interface", "value": "no-inspect"}]`), 200)
	s.want(s.do("PATCH", path+"?reset_interfaces=true", `[{"op": "add", "path": "/name", "value": "b"}]`), 400)
	if a = s.want(patch(`[{"op": "remove", "path": "/inspect_interface"}]`), 200); a.body["inspect_interface"] != "agent" {
		t.Errorf("inspect_interface is %v, expected the default", a.body["inspect_interface"])
	}
}

func TestLists(t *testing.T) {
	s := newServer(t)
	for range 3 {
		s.want(s.do("POST", "/v1/nodes", `{"driver": "redfish", "instance_info": {"a": 1}}`), 201)
	}
	a := s.want(s.do("GET", "/v1/nodes?limit=2&maintenance=no&provision_state=enroll&sort_key=name&sort_dir=desc", ""), 200)
	nodes := a.body["nodes"].([]any)
	var fields []string
	for f := range nodes[0].(map[string]any) {
		fields = append(fields, f)
	}
	slices.Sort(fields)
	if got := strings.Join(fields, " "); len(nodes) != 2 || got != "instance_uuid links maintenance name power_state provision_state uuid" {
		t.Errorf("%d nodes with %s", len(nodes), got)
	}
	if s.filter.State != "enroll" || *s.filter.Maintenance || s.filter.SortKey != "name" || !s.filter.Descending {
		t.Errorf("filter %+v", s.filter)
	}
	next := a.body["next"].(string)
	for _, part := range []string{"limit=2", "maintenance=no", "provision_state=enroll", "sort_key=name", "marker=00000000-0000-4000-8000-000000000002"} {
		if !strings.Contains(next, part) {
			t.Errorf("next %s lacks %s", next, part)
		}
	}
	a = s.want(s.do("GET", strings.TrimPrefix(next, "http://127.0.0.1:6385"), ""), 200)
	if len(a.body["nodes"].([]any)) != 1 || a.body["next"] != nil {
		t.Errorf("the second page is %v", a.body)
	}
	if d := s.want(s.do("GET", "/v1/nodes?detail=True", ""), 200); d.body["nodes"].([]any)[0].(map[string]any)["instance_info"] == nil {
		t.Error("detail lacks instance_info")
	}
	for _, q := range []string{"limit=0", "limit=x", "marker=x", "sort_key=extra", "sort_key=nosuch", "sort_dir=up", "nosuch=1", "fields=nosuch",
		"detail=true&fields=uuid", "maintenance=maybe", "provision_state=gone", "limit=1&limit=2", "fault=x"} {
		s.want(s.do("GET", "/v1/nodes?"+q, ""), 400)
	}
	s.want(s.do("GET", "/v1/nodes?marker=00000000-0000-4000-8000-00000000ffff", ""), 404)
}

func TestProvision(t *testing.T) {
	s := newServer(t)
	path := s.enrolled() + "/states/provision"
	s.ready("clean")
	a := s.want(s.do("PUT", path, `{"target": "clean", "clean_steps": [{"interface": "deploy", "step": "erase_devices", "args": {"method": "overwrite"}}]}`), 202)
	if a.Body.Len() != 0 || !strings.HasSuffix(a.Header().Get("Location"), "/states") {
		t.Errorf("202 with %q and Location %q", a.Body, a.Header().Get("Location"))
	}
	p := s.provision[0]
	if p.Verb != state.VerbClean || p.CleanSteps[0].Name != "deploy.erase_devices" || p.CleanSteps[0].Args["method"] != "overwrite" {
		t.Errorf("provision %+v", p)
	}
	for verb, event := range map[string]state.Event{"manage": state.VerbManage, "provide": state.VerbProvide, "inspect": state.VerbInspect,
		"active": state.VerbDeploy, "deploy": state.VerbDeploy, "rebuild": state.VerbRebuild, "deleted": state.VerbDelete,
		"undeploy": state.VerbDelete, "abort": state.VerbAbort, "adopt": state.VerbAdopt, "unrescue": state.VerbUnrescue} {
		s.ready(verb)
		s.want(s.do("PUT", path, `{"target": "`+verb+`"}`), 202)
		if got := s.provision[len(s.provision)-1].Verb; got != event {
			t.Errorf("%s became %s", verb, got)
		}
	}
	s.ready("active")
	s.want(s.do("PUT", path, `{"target": "active", "configdrive": {"meta_data": {"hostname": "h"}, "user_data": "#cloud-config", "network_data": {"links": []}, "vendor_data": {"a": 1}}}`), 202)
	files := s.provision[len(s.provision)-1].ConfigDrive.Files
	if got := string(files["openstack/latest/meta_data.json"]); got != `{"hostname":"h"}` {
		t.Errorf("meta_data.json is %s", got)
	}
	for name, want := range map[string]string{"user_data": "#cloud-config", "network_data.json": `{"links":[]}`, "vendor_data2.json": `{"a":1}`} {
		if got := string(files["openstack/latest/"+name]); got != want {
			t.Errorf("%s is %s", name, got)
		}
	}
	sent := len(s.provision)
	for body, status := range map[string]int{
		`{}`: 400, `{"target": "rescue"}`: 400, `{"target": "manage", "nosuch": 1}`: 400,
		`{"target": "clean"}`: 400, `{"target": "clean", "clean_steps": []}`: 400,
		`{"target": "clean", "clean_steps": [{"step": "x"}]}`:                                                      400,
		`{"target": "clean", "clean_steps": [{"interface": "boot", "step": "x"}]}`:                                 400,
		`{"target": "clean", "clean_steps": [{"interface": "deploy", "step": "x", "priority": 1}]}`:                400,
		`{"target": "clean", "clean_steps": [{"interface": "deploy", "step": "x", "args": []}]}`:                   400,
		`{"target": "active", "deploy_steps": [{"interface": "deploy", "step": "x", "priority": 80}]}`:             400,
		`{"target": "active", "deploy_steps": [{"interface": "deploy", "step": "x", "args": {}, "priority": -1}]}`: 400,
		`{"target": "active", "configdrive": "http://192.0.2.9/drive"}`:                                            400,
		`{"target": "active", "configdrive": "bm90IGd6aXA="}`:                                                      400,
		`{"target": "active", "configdrive": {"nosuch": {}}}`:                                                      400,
		`{"target": "active", "configdrive": {"user_data": 7}}`:                                                    400,
		`{"target": "active", "disable_ramdisk": true}`:                                                            400,
		`{"target": "provide", "configdrive": {"user_data": "x"}}`:                                                 400,
	} {
		s.ready(targetOf(body))
		if a := s.do("PUT", path, body); a.Code != status || a.fault() == "" {
			t.Errorf("%s: status %d: %s", body, a.Code, a.Body)
		}
	}
	s.want(s.do("PUT", path, `{"target": "undeploy"}`, api.HeaderVersion+": 1.72"), 406)
	s.nodes[0].State = state.DeployWait
	s.want(s.do("PUT", path, `{"target": "abort"}`, api.HeaderVersion+": 1.109"), 406)
	s.want(s.do("PUT", path, `{"target": "abort"}`), 202)
	if len(s.provision) != sent+1 {
		t.Errorf("%d refused requests reached the conductor", len(s.provision)-sent-1)
	}
}

func TestPowerMaintenanceBootTraits(t *testing.T) {
	s := newServer(t)
	path := s.enrolled()
	s.want(s.do("PUT", path+"/states/power", `{"target": "soft power off", "timeout": 180}`), 202)
	if s.power[0] != (conductor.PowerRequest{Target: "soft power off", Timeout: 180}) {
		t.Errorf("power %+v", s.power)
	}
	s.want(s.do("PUT", path+"/states/power", `{"target": "toggle"}`), 400)
	s.want(s.do("PUT", path+"/states/power", `{"target": "power on", "timeout": 0}`), 400)
	s.want(s.do("PUT", path+"/states/power", `{"target": "soft power off"}`, api.HeaderVersion+": 1.26"), 406)
	s.want(s.do("PUT", path+"/maintenance", `{"reason": "disk"}`), 202)
	if n := s.nodes[0]; !n.Maintenance || n.MaintenanceReason != "disk" {
		t.Errorf("maintenance %v %q", n.Maintenance, n.MaintenanceReason)
	}
	s.want(s.do("PUT", path+"/maintenance", ``), 202)
	s.want(s.do("DELETE", path+"/maintenance", ``), 202)
	s.want(s.do("PUT", path+"/management/boot_device", `{"boot_device": "disk", "persistent": "yes"}`), 204)
	if b := s.want(s.do("GET", path+"/management/boot_device", ""), 200); b.body["boot_device"] != "disk" || b.body["persistent"] != true {
		t.Errorf("boot device %v", b.body)
	}
	s.want(s.do("PUT", path+"/management/boot_device", `{"boot_device": "wanboot"}`), 400)
	s.want(s.do("PUT", path+"/traits", `{"traits": ["CUSTOM_A", "HW_CPU_X86_VMX"]}`), 204)
	s.want(s.do("PUT", path+"/traits/CUSTOM_B", ""), 204)
	s.want(s.do("PUT", path+"/traits/custom", ""), 400)
	s.want(s.do("DELETE", path+"/traits/CUSTOM_A", ""), 204)
	s.want(s.do("DELETE", path+"/traits/CUSTOM_A", ""), 404)
	if got := strings.Join(s.nodes[0].Traits, " "); got != "CUSTOM_B HW_CPU_X86_VMX" {
		t.Errorf("traits %s", got)
	}
	v := s.want(s.do("GET", path+"/validate", ""), 200)
	if d := v.body["deploy"].(map[string]any); d["result"] != false || d["reason"] != "image_source is missing" {
		t.Errorf("validate says %v", d)
	}
	s.want(s.do("GET", path+"/inventory", ""), 404)
	s.inventory = &conductor.StoredInventory{Inventory: json.RawMessage(`{"cpu": {"count": 4}}`)}
	if i := s.want(s.do("GET", path+"/inventory", ""), 200); i.body["plugin_data"] == nil || i.body["inventory"] == nil {
		t.Errorf("inventory %v", i.body)
	}
}

func TestPorts(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	const node = "00000000-0000-4000-8000-000000000001"
	a := s.want(s.do("POST", "/v1/ports", `{"node_uuid": "`+node+`", "address": "52:54:00:AA:BB:CC"}`), 201)
	if a.body["address"] != "52:54:00:aa:bb:cc" || a.body["pxe_enabled"] != true {
		t.Errorf("port %v", a.body)
	}
	port := "/v1/ports/" + a.body["uuid"].(string)
	for _, body := range []string{`{"address": "52:54:00:00:00:01"}`, `{"node_uuid": "` + node + `", "address": "x"}`,
		`{"node_uuid": "00000000-0000-4000-8000-00000000ffff", "address": "52:54:00:00:00:01"}`,
		`{"node_uuid": "` + node + `", "address": "52:54:00:00:00:01", "local_link_connection": {"port_id": "1"}}`} {
		s.want(s.do("POST", "/v1/ports", body), 400)
	}
	for query, n := range map[string]int{"address=52:54:00:aa:bb:cc": 1, "address=52:54:00:aa:bb:cd": 0, "node_uuid=" + node: 1, "node=n1": 1} {
		list := s.want(s.do("GET", "/v1/ports?fields=node_uuid,uuid,address&"+query, ""), 200)
		if got := len(list.body["ports"].([]any)); got != n {
			t.Errorf("%s gives %d ports", query, got)
		}
	}
	if list := s.want(s.do("GET", "/v1/nodes/n1/ports", ""), 200); len(list.body["ports"].([]any)) != 1 {
		t.Errorf("the node's ports: %v", list.body)
	}
	if p := s.want(s.do("PATCH", port, `[{"op": "replace", "path": "/address", "value": "52:54:00:00:00:99"}, {"op": "add", "path": "/extra/a", "value": 1}]`), 200); p.body["address"] != "52:54:00:00:00:99" {
		t.Errorf("after the patch %v", p.body)
	}
	s.want(s.do("PATCH", port, `[{"op": "remove", "path": "/address"}]`), 400)
	s.want(s.do("PATCH", port, `[{"op": "add", "path": "/internal_info", "value": {}}]`), 400)
	s.want(s.do("DELETE", port, ""), 204)
	s.want(s.do("GET", port, ""), 404)
}

func TestDriversConductorsHistory(t *testing.T) {
	s := newServer(t)
	path := s.enrolled()
	d := s.want(s.do("GET", "/v1/drivers?detail=false", ""), 200)
	if list := d.body["drivers"].([]any); len(list) != 1 || list[0].(map[string]any)["name"] != "redfish" {
		t.Errorf("drivers %v", d.body)
	}
	if one := s.want(s.do("GET", "/v1/drivers/redfish", ""), 200); one.body["default_inspect_interface"] != "agent" || one.body["default_bios_interface"] != nil {
		t.Errorf("driver %v", one.body)
	}
	s.want(s.do("GET", "/v1/drivers/nosuch", ""), 404)
	if p := s.want(s.do("GET", "/v1/drivers/redfish/properties", ""), 200); p.body["redfish_address"] == nil {
		t.Errorf("properties %v", p.body)
	}
	s.want(s.do("GET", "/v1/conductors/lab", ""), 200)
	s.want(s.do("GET", "/v1/conductors/other", ""), 404)
	s.entries = []conductor.Entry{{UUID: "00000000-0000-4000-a000-000000000001", Time: now, Severity: "ERROR", Type: "deploy", Event: strings.Repeat("e", 300), Actor: "ann",
		State: "deploy failed", Target: "active", Reason: "disk.io", Step: "deploy.write_image", Run: "run-1", Request: "req-1", Duration: 1500 * time.Millisecond, Log: "/v1/nodes/x/logs?generation=3"}}
	h := s.want(s.do("GET", path+"/history", ""), 200).body["history"].([]any)[0].(map[string]any)
	if h["event"] != strings.Repeat("e", 251)+"..." || h["user"] != nil {
		t.Errorf("history %v", h)
	}
	one := s.want(s.do("GET", path+"/history/00000000-0000-4000-a000-000000000001", ""), 200)
	if len(one.body["event"].(string)) != 300 || one.body["user"] != "ann" {
		t.Errorf("entry %v", one.body)
	}
	for _, own := range []string{"state", "target_provision_state", "duration_seconds", "reason", "step", "run", "request_id", "log"} {
		if h[own] != nil || one.body[own] != nil {
			t.Errorf("an entry shows %s although only Ironic's fields were asked for", own)
		}
	}
	want := map[string]any{"state": "deploy failed", "target_provision_state": "active", "duration_seconds": 1.5, "reason": "disk.io",
		"step": "deploy.write_image", "run": "run-1", "request_id": "req-1", "log": "/v1/nodes/x/logs?generation=3"}
	for _, more := range []map[string]any{
		s.want(s.do("GET", path+"/history?more=true", ""), 200).body["history"].([]any)[0].(map[string]any),
		s.want(s.do("GET", path+"/history/00000000-0000-4000-a000-000000000001?more=true", ""), 200).body,
	} {
		for k, v := range want {
			if more[k] != v {
				t.Errorf("with more, %s is %v, want %v", k, more[k], v)
			}
		}
	}
	for query, status := range map[string]int{"more=maybe": 400, "sort_key=event": 200, "sort_key=conductor": 200, "sort_key=id": 200, "sort_key=run": 400, "sort_key=extra": 400, "sort_dir=up": 400, "marker=x": 400} {
		s.want(s.do("GET", path+"/history?"+query, ""), status)
	}
	s.want(s.do("GET", path+"/history?limit=7&marker=00000000-0000-4000-A000-000000000001&sort_key=created_at&sort_dir=desc", ""), 200)
	if want := (conductor.HistoryFilter{Limit: 7, After: "00000000-0000-4000-a000-000000000001", SortKey: "created_at", Descending: true}); s.paged != want {
		t.Errorf("asked for %+v, expected %+v", s.paged, want)
	}
	s.want(s.do("GET", path+"/history", ""), 200)
	if want := (conductor.HistoryFilter{Limit: 1000}); s.paged != want {
		t.Errorf("without arguments asked for %+v: not as Ironic, oldest first", s.paged)
	}
	s.want(s.do("GET", path+"/history/00000000-0000-4000-a000-000000000002", ""), 404)
	s.want(s.do("GET", path+"/history/nosuch", ""), 404)
}

func TestImages(t *testing.T) {
	s := newServer(t)
	s.want(s.do("PUT", "/v1/images/debian.raw.zst", strings.Repeat("x", 3<<20)), 201)
	if i := s.want(s.do("GET", "/v1/images/debian.raw.zst", ""), 200); i.body["size"] != float64(3<<20) {
		t.Errorf("image %v", i.body)
	}
	s.want(s.do("PUT", "/v1/images/.hidden", "x"), 400)
	if l := s.want(s.do("GET", "/v1/images", ""), 200); len(l.body["images"].([]any)) != 1 {
		t.Errorf("images %v", l.body)
	}
	s.want(s.do("DELETE", "/v1/images/debian.raw.zst", ""), 204)
	s.want(s.do("GET", "/v1/images/debian.raw.zst", ""), 404)
}
