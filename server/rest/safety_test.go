package rest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest"
	"github.com/bessemer-metal/bessemer/server/rest/login"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// leaks tells in which form, if any, a secret stands in a text.
func leaks(text, secret string) string {
	for form, s := range map[string]string{
		"plain": secret, "base64": base64.StdEncoding.EncodeToString([]byte(secret)), "hex": hex.EncodeToString([]byte(secret)),
		"URL": url.QueryEscape(secret),
	} {
		if strings.Contains(text, s) {
			return form
		}
	}
	return ""
}

// TestI22_NoSecretLeavesThroughTheAPI gives secrets in every place that takes some, asks for everything, and looks for
// them in all answers and in the log.
func TestI22_NoSecretLeavesThroughTheAPI(t *testing.T) {
	s := newServer(t)
	secrets := []string{"canary-bmc", "canary-typo", "canary-token", "canary-drive", "canary-salt-of-the-boot", "canary-arg", "canary-result", "canary-cause", "canary-rescue"}
	path := s.want2(s.do("POST", "/v1/nodes", `{"name": "n1", "driver": "redfish", "driver_info": {"redfish_address": "https://192.0.2.1",
		"redfish_username": "admin", "redfish_password": "canary-bmc", "redfish_pasword": "canary-typo", "session_token": "canary-token"}}`), 201)
	if got := s.secrets[conductor.DriverSecret("redfish_password")] + s.secrets[conductor.DriverSecret("redfish_pasword")] + s.secrets[conductor.DriverSecret("session_token")]; got != "canary-bmccanary-typocanary-token" {
		t.Fatalf("the conductor was given the secrets %q", got)
	}
	// What the store may hold from elsewhere, and what the work on the node leaves.
	n := &s.nodes[0]
	n.InstanceInfo = map[string]any{"configdrive": "canary-drive", "image_url": "http://192.0.2.1/?sig=canary-drive", "image_source": "http://u:canary-drive@192.0.2.1/i",
		"nested": map[string]any{"api_token": "canary-token"}}
	n.State = state.CleanWait
	n.Flow = &conductor.Flow{Run: "r", Flow: state.Clean}
	n.Boot = &conductor.Boot{Generation: 1, Salt: []byte("canary-salt-of-the-boot"), Key: "canary-salt-of-the-boot"}
	s.records = []conductor.StepRecord{{ID: "i", Nonce: "canary-token", State: conductor.StepStarted, Step: step.Step{Name: "deploy.x",
		Args: []step.Arg{{Name: "key", Secret: true}, {Name: "bios_password"}, {Name: "list"}}},
		Args:    step.Args{"key": "canary-arg", "bios_password": "canary-arg", "undeclared": "canary-arg", "list": []any{map[string]any{"secret": "canary-arg"}}},
		Command: &api.Command{Args: step.Args{"key": "canary-arg"}},
		Result:  &step.Result{Data: map[string]any{"password": "canary-result"}},
		Fault:   fault.New(fault.StepFailed, "failed").Because(errors.New("canary-cause"))}}

	var all strings.Builder
	for _, request := range []string{"GET /v1/nodes", "GET /v1/nodes/detail", "GET /v1/nodes?fields=driver_info,instance_info", "GET " + path,
		"GET " + path + "/states", "GET " + path + "/steps", "GET " + path + "/validate", "GET /v1/drivers/redfish/steps", "GET " + path + "/history"} {
		method, target, _ := strings.Cut(request, " ")
		a := s.want(s.do(method, target, ""), 200)
		all.WriteString(a.Body.String())
	}
	n.State = state.Available
	s.want(s.do("PUT", path+"/states/provision", `{"target": "active", "configdrive": {"user_data": "canary-drive"}}`), 202)
	n.State = state.Active
	s.want(s.do("PUT", path+"/states/provision", `{"target": "rescue", "rescue_password": "canary-rescue"}`), 202)
	all.WriteString(s.want(s.do("PUT", path+"/states/provision", `{"target": "service", "rescue_password": "canary-rescue"}`), 400).Body.String())
	for _, bad := range []string{
		`[{"op": "add", "path": "/driver_info/redfish_password", "value": {"a": "canary-bmc"}}]`,
		`[{"op": "add", "path": "/driver_info/other_secret", "value": "******"}]`,
		`[{"op": "add", "path": "/driver_info/redfish_address", "value": "https://u:canary-bmc@192.0.2.1"}]`,
		`[{"op": "add", "path": "/instance_info/image_source", "value": "https://u:canary-bmc@192.0.2.1/i"}]`,
		`[{"op": "add", "path": "/instance_info/configdrive", "value": "canary-drive"}]`,
		`[{"op": "add", "path": "/instance_info/image_pull_secret", "value": {"a": "canary-token"}}]`,
		`[{"op": "add", "path": "/instance_info/image_pull_secret", "value": "******"}]`,
		`[{"op": "add", "path": "/instance_info/registry", "value": {"token": "canary-token"}}]`,
	} {
		n.InstanceInfo = nil
		all.WriteString(s.want(s.do("PATCH", path, bad), 400).Body.String())
	}
	all.WriteString(s.log.String())
	for _, secret := range secrets {
		if form := leaks(all.String(), secret); form != "" {
			t.Errorf("%s is shown (%s)", secret, form)
		}
	}
	if !strings.Contains(all.String(), `"redfish_username":"admin"`) {
		t.Error("what is no secret is masked too")
	}
}

// want2 is want for an answer with a Location, whose path it gives.
func (s *server) want2(a answer, status int) string {
	s.Helper()
	u, err := url.Parse(s.want(a, status).Header().Get("Location"))
	if err != nil {
		s.Fatal(err)
	}
	return u.Path
}

// A config drive that is kept from a failed deployment is in the way of no other change of instance_info.
func TestI22_AKeptConfigDriveStaysWhenTheImageIsCorrected(t *testing.T) {
	s := newServer(t)
	path := s.want2(s.do("POST", "/v1/nodes", `{"name": "n1", "driver": "redfish"}`), 201)
	s.nodes[0].InstanceInfo = map[string]any{"configdrive": conductor.Masked, "image_os_hash_value": "wrong"}
	s.want(s.do("PATCH", path, `[{"op": "replace", "path": "/instance_info/image_os_hash_value", "value": "right"}]`), 200)
	if i := s.nodes[0].InstanceInfo; i["configdrive"] != conductor.Masked || i["image_os_hash_value"] != "right" {
		t.Errorf("instance_info is %v", i)
	}
	s.want(s.do("PATCH", path, `[{"op": "replace", "path": "/instance_info/configdrive", "value": "other"}]`), 400)
	s.nodes[0].InstanceInfo = map[string]any{}
	s.want(s.do("PATCH", path, `[{"op": "add", "path": "/instance_info/configdrive", "value": "******"}]`), 400)
}

func TestI22_AMaskedSecretSentBackIsKept(t *testing.T) {
	s := newServer(t)
	path := s.enrolled()
	info := s.do("GET", path, "").body["driver_info"]
	text, _ := json.Marshal(info)
	s.want(s.do("PATCH", path, `[{"op": "replace", "path": "/driver_info", "value": `+string(text)+`}]`), 200)
	if s.secrets[conductor.DriverSecret("redfish_password")] != "canary-pw" {
		t.Errorf("the secret became %q", s.secrets[conductor.DriverSecret("redfish_password")])
	}
	s.want(s.do("PATCH", path, `[{"op": "remove", "path": "/driver_info/redfish_password"}]`), 200)
	if v, there := s.secrets[conductor.DriverSecret("redfish_password")]; v != "" || !there {
		t.Errorf("the secret outlived its removal: %q", v)
	}
}

// TestT16_WhatIsNotListedIsDenied asks for every method at many paths, known and unknown, and compares what is served
// with the list of what should be.
func TestT16_WhatIsNotListedIsDenied(t *testing.T) {
	// To other methods than GET, "detail" is a name, which no node or port can have.
	served := map[string][]string{
		"/": {"GET", "HEAD", "OPTIONS"}, "/v1": {"GET", "HEAD"}, "/v1/nodes": {"GET", "POST"}, "/v1/nodes/detail": {"DELETE", "GET", "PATCH"}, "/v1/nodes/n1": {"DELETE", "GET", "PATCH"},
		"/v1/nodes/n1/validate": {"GET"}, "/v1/nodes/n1/states": {"GET"}, "/v1/nodes/n1/states/power": {"PUT"},
		"/v1/nodes/n1/states/provision": {"PUT"}, "/v1/nodes/n1/maintenance": {"DELETE", "PUT"},
		"/v1/nodes/n1/management/boot_device": {"GET", "PUT"}, "/v1/nodes/n1/management/boot_device/supported": {"GET"},
		"/v1/nodes/n1/traits": {"DELETE", "GET", "PUT"}, "/v1/nodes/n1/traits/CUSTOM_A": {"DELETE", "PUT"}, "/v1/nodes/n1/inventory": {"GET"},
		"/v1/nodes/n1/history": {"GET"}, "/v1/nodes/n1/history/x": {"GET"}, "/v1/nodes/n1/ports": {"GET"}, "/v1/nodes/n1/ports/detail": {"GET"},
		"/v1/nodes/n1/doctor": {"GET", "POST"}, "/v1/doctor": {"GET"},
		"/v1/nodes/n1/states/boot_mode": {"PUT"}, "/v1/nodes/n1/states/secure_boot": {"PUT"}, "/v1/nodes/n1/states/raid": {"PUT"},
		"/v1/nodes/n1/states/console": {"GET", "PUT"}, "/v1/nodes/n1/management/inject_nmi": {"PUT"}, "/v1/nodes/n1/management/indicators": {"GET"},
		"/v1/nodes/n1/management/indicators/a@system": {"GET", "PUT"}, "/v1/nodes/n1/bios": {"GET"}, "/v1/nodes/n1/bios/x": {"GET"},
		"/v1/nodes/n1/firmware": {"GET"}, "/v1/nodes/n1/vmedia": {"DELETE", "GET", "POST"}, "/v1/nodes/n1/vifs": {"GET", "POST"},
		"/v1/nodes/n1/vifs/x": {"DELETE"}, "/v1/nodes/n1/vendor_passthru/methods": {"DELETE", "GET", "PATCH", "POST", "PUT"},
		"/v1/nodes/n1/vendor_passthru": {"DELETE", "GET", "PATCH", "POST", "PUT"}, "/v1/nodes/n1/vendor_passthru/x": {"DELETE", "GET", "PATCH", "POST", "PUT"},
		"/v1/drivers/x/vendor_passthru/x": {"DELETE", "GET", "PATCH", "POST", "PUT"},
		"/v1/nodes/n1/steps":              {"GET"}, "/v1/nodes/n1/logs": {"GET"}, "/v1/ports": {"GET", "POST"}, "/v1/ports/detail": {"DELETE", "GET", "PATCH"},
		"/v1/ports/x": {"DELETE", "GET", "PATCH"}, "/v1/drivers": {"GET"}, "/v1/drivers/x": {"GET"}, "/v1/drivers/x/properties": {"GET"},
		"/v1/drivers/x/steps": {"GET"}, "/v1/drivers/x/raid/logical_disk_properties": {"GET"}, "/v1/drivers/x/vendor_passthru/methods": {"DELETE", "GET", "PATCH", "POST", "PUT"},
		"/v1/lookup": {"GET"}, "/v1/heartbeat/n1": {"POST"}, "/v1/continue_inspection": {"POST"},
		"/v1/drivers/x/vendor_passthru": {"DELETE", "GET", "PATCH", "POST", "PUT"}, "/v1/conductors": {"GET"}, "/v1/conductors/x": {"GET"}, "/v1/images": {"GET"},
		"/v1/images/x": {"DELETE", "GET", "PUT"},
	}
	for _, k := range []string{"portgroups", "allocations", "deploy_templates", "runbooks", "chassis", "volume/connectors", "volume/targets"} {
		served["/v1/"+k], served["/v1/"+k+"/x"] = []string{"GET", "POST"}, []string{"DELETE", "GET", "PATCH"}
		if k != "allocations" {
			served["/v1/"+k+"/detail"] = []string{"DELETE", "GET", "PATCH"}
		}
	}
	for _, p := range []string{"portgroups", "portgroups/detail", "children", "volume", "volume/connectors", "volume/targets", "volume/targets/detail"} {
		served["/v1/nodes/n1/"+p] = []string{"GET"}
	}
	served["/v1/nodes/n1/allocation"], served["/v1/volume"], served["/v1/shards"] = []string{"DELETE", "GET"}, []string{"GET"}, []string{"GET"}
	served["/v1/inspection_rules"], served["/v1/inspection_rules/x"] = []string{"GET", "POST"}, []string{"DELETE", "GET", "PATCH"}
	served["/v1/portgroups/x/ports"], served["/v1/chassis/x/nodes"] = []string{"GET"}, []string{"GET"}
	unknown := []string{"/v1/nodes/n1/nosuch", "/v1/nodes/n1/states/nosuch",
		"/v1/nodes/n1/management/nosuch", "/debug/pprof", "/metrics", "/v1/agent/lookup", "/v1/nodes/n1/secrets"}
	for _, p := range unknown {
		served[p] = nil
	}
	for path, methods := range served {
		s := newServer(t)
		s.enrolled()
		// DELETE comes last: what is asked for would be gone.
		for _, m := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW", "DELETE"} {
			r := httptest.NewRequest("GET", "http://127.0.0.1"+path, strings.NewReader("[]"))
			r.Method = m
			r.Header.Set(api.HeaderVersion, "latest")
			w := httptest.NewRecorder()
			s.handler.ServeHTTP(w, r)
			routed := !strings.Contains(w.Body.String(), "request.path_unknown") && w.Code != http.StatusMethodNotAllowed
			if want := slices.Contains(methods, m); routed != want {
				t.Errorf("%s %s: served %v, expected %v: %d %s", m, path, routed, want, w.Code, w.Body)
			}
		}
	}
}

// TestT16_FieldsAreShownAndTakenByTheTable makes sure that the table and the wire struct name the same fields, and that
// every patchable field is taken and no other.
func TestT16_FieldsAreShownAndTakenByTheTable(t *testing.T) {
	s := newServer(t)
	path := s.enrolled()
	shown := s.do("GET", path, "").body
	values := map[api.Kind]string{api.Text: `"redfish"`, api.UUID: `"00000000-0000-4000-8000-0000000000aa"`, api.Flag: "true", api.Tristate: "true",
		api.Map: `{"a": 1}`, api.List: "[]", api.Stamp: `"2026-11-20T14:39:08+00:00"`}
	interfaces := map[string]string{"power_interface": "redfish", "management_interface": "redfish", "boot_interface": "redfish-virtual-media",
		"deploy_interface": "direct", "inspect_interface": "agent"}
	for _, f := range api.NodeFields() {
		if _, ok := shown[f.Name]; !ok && f.Since <= api.MaxVersion {
			t.Errorf("%s is in the table and not shown", f.Name)
		}
		delete(shown, f.Name)
		value := values[f.Kind]
		if i := interfaces[f.Name]; i != "" {
			value = strconvQuote(i)
		}
		a := s.do("PATCH", path, fmt.Sprintf(`[{"op": "add", "path": "/%s", "value": %s}]`, f.Name, value))
		taken := a.Code == 200
		if strings.HasSuffix(f.Name, "_interface") && interfaces[f.Name] == "" {
			taken = strings.Contains(a.fault(), "has no") // this driver has none
		}
		if f.Name == "protected_reason" || f.Name == "retired_reason" {
			taken = taken || strings.Contains(a.fault(), "is not") // goes with its flag
		}
		if taken != f.Patch {
			t.Errorf("%s: patched %v, the table says %v: %s", f.Name, taken, f.Patch, a.Body)
		}
	}
	if len(shown) > 0 {
		t.Errorf("shown and not in the table: %v", shown)
	}
}

func strconvQuote(s string) string { return `"` + s + `"` }

func basic(t *testing.T) *login.Basic {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	b, err := login.NewBasic(strings.NewReader("# users\n\nann:"+string(hash)+"\nbob:$2y"+string(hash[3:])+"\n"), strings.NewReader("ann:admin\nbob:admin\n"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestI24_NothingWithoutCredentials goes through the API with none, wrong and right ones.
func TestI24_NothingWithoutCredentials(t *testing.T) {
	b := newBackend()
	h := rest.New(rest.Config{Backend: b, Auth: basic(t), Hostname: "lab", Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)})
	try := func(method, path, auth string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "http://lab.example"+path, strings.NewReader(`{"driver": "redfish"}`))
		r.Header.Set(api.HeaderVersion, "latest")
		if auth != "" {
			r.Header.Set("Authorization", auth)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	pair := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	for auth, status := range map[string]int{
		"": 401, pair("ann:wrong"): 401, pair("eve:right"): 401, pair("ann:"): 401, pair(":"): 401,
		"Bearer x": 400, "Basic !!": 400, "Basic " + base64.StdEncoding.EncodeToString([]byte("nocolon")): 400,
	} {
		for range 2 { // the second time meets whatever the first one left in a cache
			w := try("POST", "/v1/nodes", auth)
			if w.Code != status {
				t.Errorf("%q: status %d, expected %d", auth, w.Code, status)
			}
			if status == 401 && (w.Header().Get("WWW-Authenticate") == "" || !strings.Contains(w.Body.String(), `{"error":{"code":401`)) {
				t.Errorf("%q: 401 in another form: %v %s", auth, w.Header(), w.Body)
			}
			if f := api.ReadErrorBody(w.Code, w.Body.Bytes()); !strings.Contains(w.Body.String(), `"reason":"`+string(f.Reason)+`"`) || f.Hint == "" ||
				f.Reason != map[int]fault.Reason{401: fault.RequestAuth, 400: fault.RequestInvalid}[status] {
				t.Errorf("%q: reason and hint are missing or others: %s", auth, w.Body)
			}
			if w.Header().Get(api.HeaderMaxVersion) == "" || w.Header().Get(api.HeaderRequest) == "" {
				t.Errorf("%q: the answer lacks headers", auth)
			}
		}
	}
	if len(b.nodes) != 0 {
		t.Fatalf("%d nodes were made without credentials", len(b.nodes))
	}
	for _, path := range []string{"/v1/nodes", "/v1/nosuch", "/nodes", "/v1/../v1/nodes", "//v1/nodes", "/v1/events"} {
		if w := try("GET", path, ""); w.Code != 401 {
			t.Errorf("%s without credentials: %d", path, w.Code)
		}
	}
	for _, path := range []string{"/", "/v1", "/v1/"} {
		if w := try("GET", path, ""); w.Code != 200 {
			t.Errorf("%s is not open: %d", path, w.Code)
		}
	}
	for _, who := range []string{"ann:right", "bob:right"} {
		for range 2 {
			if w := try("GET", "/v1/nodes", pair(who)); w.Code != 200 {
				t.Errorf("%s: %d %s", who, w.Code, w.Body)
			}
		}
	}
	// A pair that was right once does not open the door to another.
	if w := try("GET", "/v1/nodes", pair("ann:righ:t")); w.Code != 401 {
		t.Errorf("a longer password: %d", w.Code)
	}
}

// A page in the operator's browser must not reach an API without credentials, neither by a name that points here nor
// by a request from another origin.
func TestWebPagesAreKeptOut(t *testing.T) {
	s := newServer(t)
	for host, status := range map[string]int{"127.0.0.1:6385": 200, "localhost:6385": 200, "[::1]:6385": 200, "evil.example": 403, "localhost.evil.example": 403} {
		r := httptest.NewRequest("GET", "http://x/v1/nodes", nil)
		r.Host = host
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("Host %s: %d, expected %d", host, w.Code, status)
		}
	}
	body := `{"driver": "redfish"}`
	s.want(s.do("POST", "/v1/nodes", body, "Sec-Fetch-Site: cross-site"), 403)
	s.want(s.do("POST", "/v1/nodes", body, "Origin: http://evil.example"), 403)
	s.want(s.do("POST", "/v1/nodes", body, "Sec-Fetch-Site: same-origin"), 201)
}

func TestConfigDriveImages(t *testing.T) {
	s := newServer(t)
	path := s.enrolled() + "/states/provision"
	s.ready("active")
	pack := func(image []byte) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(image)
		_ = z.Close()
		return base64.StdEncoding.EncodeToString(b.Bytes())
	}
	iso := make([]byte, 64<<10)
	copy(iso[0x8001:], "CD001")
	s.want(s.do("PUT", path, `{"target": "active", "configdrive": "`+pack(iso)+`"}`), 202)
	if got := s.provision[0].ConfigDrive.Image; !bytes.Equal(got, iso) {
		t.Errorf("the image has %d bytes", len(got))
	}
	s.want(s.do("PUT", path, `{"target": "active", "configdrive": "`+pack(make([]byte, 64<<10))+`"}`), 400)
	// A bomb costs its sender an error.
	var bomb bytes.Buffer // gzip members one after another are one stream
	member, err := base64.StdEncoding.DecodeString(pack(make([]byte, 1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	for range 65 {
		bomb.Write(member)
	}
	if a := s.want(s.do("PUT", path, `{"target": "active", "configdrive": "`+base64.StdEncoding.EncodeToString(bomb.Bytes())+`"}`), 400); !strings.Contains(a.fault(), "larger") {
		t.Errorf("fault %q", a.fault())
	}
}

// A handler that crashes answers with an id and takes nothing down.
func TestCrashIsAnswered(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	crash := rest.New(rest.Config{Backend: crashing{s.backend}, Auth: login.None{}, Now: time.Now, Log: slog.New(slog.NewTextHandler(s.log, nil))})
	s.handler = crash
	a := s.want(s.do("GET", first, ""), 500)
	if id := a.Header().Get(api.HeaderRequest); !strings.Contains(a.fault(), id) || !strings.Contains(s.log.String(), id) || strings.Contains(a.Body.String(), "canary") {
		t.Errorf("fault %q, log %s", a.fault(), s.log)
	}
}

type crashing struct{ *backend }

func (crashing) Node(context.Context, string) (conductor.Node, error) { panic("canary") }

// Metal3's operator gives the credentials of an image registry in instance_info: they are sealed as those of a BMC are, and go
// with the instance's other data.
func TestI22_SecretsOfTheInstanceAreSealed(t *testing.T) {
	s := newServer(t)
	path := s.want2(s.do("POST", "/v1/nodes", `{"name": "n1", "driver": "redfish", "instance_info": {"image_pull_secret": "canary-1"}}`), 201)
	field := conductor.InstanceSecret("image_pull_secret")
	for _, c := range []struct{ patch, shown, kept string }{
		{`[{"op": "add", "path": "/instance_info/image_source", "value": "oci://registry/image"}]`, "******", "canary-1"},
		{`[{"op": "replace", "path": "/instance_info/image_pull_secret", "value": "canary-2"}]`, "******", "canary-2"},
		{`[{"op": "add", "path": "/instance_info/image_pull_secret", "value": "******"}]`, "******", "canary-2"},
		{`[{"op": "remove", "path": "/instance_info/image_pull_secret"}]`, "", ""},
		{`[{"op": "add", "path": "/instance_info/image_pull_secret", "value": "canary-3"}]`, "******", "canary-3"},
	} {
		a := s.want(s.do("PATCH", path, c.patch), 200)
		shown, _ := a.body["instance_info"].(map[string]any)["image_pull_secret"].(string)
		if shown != c.shown || s.secrets[field] != c.kept || strings.Contains(a.Body.String()+s.do("GET", path, "").Body.String(), "canary") {
			t.Errorf("%s: shown %q, kept %q in %v", c.patch, shown, s.secrets[field], s.nodes[0].InstanceInfo)
		}
	}
}
