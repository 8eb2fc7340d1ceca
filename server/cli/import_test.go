package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/cli"
	"github.com/bessemer-metal/bessemer/server/cli/host"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/config"
)

// reason is why node n is in maintenance, if it is.
func reason(n int) any {
	switch {
	case n%7 != 0:
		return nil
	case n == 0:
		return "fan"
	}
	return "moves to Bessemer"
}

// ironic answers as another Ironic of API 1.82 does, with so many fake-hardware nodes, a port and a trait each.
func ironic(nodes int) http.Handler {
	states := []string{"active", "available", "manageable", "active", "enroll"}
	var all, ports []map[string]any
	for n := range nodes {
		id := fmt.Sprintf("%08d-0000-4000-8000-000000000000", n)
		o := map[string]any{"uuid": id, "name": fmt.Sprintf("old%03d", n), "driver": "fake-hardware", "provision_state": states[n%len(states)],
			"driver_info": map[string]any{}, "properties": map[string]any{"cpu_arch": "x86_64", "memory_mb": 1024 * n, "root_device": map[string]any{"serial": fmt.Sprint("S", n)}},
			"extra": map[string]any{"rack": n / 40}, "instance_info": map[string]any{}, "instance_uuid": nil, "description": fmt.Sprint("node ", n), "resource_class": "big",
			"conductor_group": "", "automated_clean": n%2 == 0, "traits": []string{"CUSTOM_A"}, "protected": n%10 == 0, "retired": false, "maintenance": n%7 == 0, "maintenance_reason": reason(n),
			"power_interface": "ipmitool", "created_at": "2020-01-01T00:00:00+00:00", "last_error": nil}
		if o["provision_state"] == "active" {
			o["instance_uuid"] = fmt.Sprintf("%08d-0000-4000-8000-00000000000a", n)
			o["instance_info"] = map[string]any{"image_source": "http://192.0.2.1/d.raw", "image_os_hash_algo": "sha256", "image_os_hash_value": strings.Repeat("ab", 32), "display_name": "web"}
		}
		all = append(all, o)
		ports = append(ports, map[string]any{"uuid": fmt.Sprintf("%08d-0000-4000-8000-000000000001", n), "node_uuid": id, "address": fmt.Sprintf("52:54:00:00:%02x:%02x", n/256, n%256),
			"pxe_enabled": true, "extra": map[string]any{}, "local_link_connection": map[string]any{}, "physical_network": "net"})
	}
	page := func(key string, list []map[string]any) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			at := slices.IndexFunc(list, func(o map[string]any) bool { return o["uuid"] == r.URL.Query().Get("marker") }) + 1
			end := min(at+100, len(list))
			answer := map[string]any{key: list[at:end]}
			if end < len(list) {
				answer["next"] = fmt.Sprintf("http://elsewhere.invalid/v1/%s?marker=%s", key, list[end-1]["uuid"])
			}
			_ = json.NewEncoder(w).Encode(answer)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"id": "v1", "version": {"id": "v1", "min_version": "1.1", "version": "1.82"}}`)
	})
	mux.HandleFunc("/v1/nodes", page("nodes", all))
	mux.HandleFunc("/v1/ports", page("ports", ports))
	mux.HandleFunc("/v1/chassis", page("chassis", nil))
	mux.HandleFunc("/v1/drivers", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"drivers": []}`) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v := r.Header.Get("X-OpenStack-Ironic-API-Version"); v != "1.1" && v != "1.82" {
			http.Error(w, "version "+v, http.StatusNotAcceptable)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// recorder is a driver whose machines note every act that is more than looking.
type recorder struct {
	conductor.Driver
	mu   sync.Mutex
	acts []string
}

func (r *recorder) Open(ctx context.Context, a conductor.Access) (conductor.BMC, error) {
	b, err := r.Driver.Open(ctx, a)
	return recorded{b, r, a.Node}, err
}

func (r *recorder) note(node conductor.NodeID, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acts = append(r.acts, string(node)+" "+what)
}

type recorded struct {
	conductor.BMC
	to   *recorder
	node conductor.NodeID
}

func (b recorded) SetPower(ctx context.Context, a conductor.PowerAction) error {
	b.to.note(b.node, "power "+string(a))
	return b.BMC.SetPower(ctx, a)
}

func (b recorded) SetBoot(ctx context.Context, t conductor.BootTarget) error {
	b.to.note(b.node, "boot "+t.Device)
	return b.BMC.SetBoot(ctx, t)
}

func (b recorded) SetMedia(ctx context.Context, url string) error {
	b.to.note(b.node, "media "+url)
	return b.BMC.SetMedia(ctx, url)
}

// Five hundred nodes of another Ironic are imported through the command into a real server: the source sees nothing but
// GET, no machine is switched, booted or given a medium, what runs is active here and can be switched, and what is
// exported again is what was there (requirements 42 and 43).
func TestImportOf500Nodes(t *testing.T) {
	const count = 500
	source := httptest.NewServer(ironic(count))
	defer source.Close()
	to, err := url.Parse(source.URL)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	methods := map[string]int{}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		methods[r.Method]++
		mu.Unlock()
		httputil.NewSingleHostReverseProxy(to).ServeHTTP(w, r)
	}))
	defer proxy.Close()
	dir := t.TempDir()
	machines := &recorder{}
	server, stop, err := world{wrap: func(d conductor.Driver) conductor.Driver { machines.Driver = d; return machines }}.serve(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	bessemer := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		code := cli.Run(ctx, args, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out, Now: time.Now,
			Environment: config.Environment{Home: dir, Variables: []string{"BESSEMER_SERVER=" + server}}}, host.Programs{})
		if code != want {
			text := out.String()
			t.Fatalf("bessemer %s ends with %d: %s", strings.Join(args, " "), code, text[max(0, len(text)-3000):])
		}
		return out.String()
	}
	has := func(text string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not said: %.2000s", want, text)
			}
		}
	}
	has(bessemer(cli.OK, "import", "--from", "ironic", proxy.URL), "(API 1.82); nothing is written there", "1000 create", "nothing was done; --apply does it",
		"available => manageable", "500 of them: power_interface ipmitool is not offered by the target, which takes its default")
	has(bessemer(cli.OK, "node", "list"), "no nodes")
	has(bessemer(cli.Usage, "import", "--from", "ironic", proxy.URL, "--apply"), "import of 1000 objects; give --yes")
	has(bessemer(cli.OK, "import", "--from", "ironic", proxy.URL, "--apply", "--yes"), "node old000: active", "import: 1000 done, 0 failed, 0 left out")
	has(bessemer(cli.OK, "import", "--from", "ironic", proxy.URL, "--apply", "--yes"), "1000 same")
	mu.Lock()
	if len(methods) != 1 || methods[http.MethodGet] < 10 {
		t.Errorf("the source was asked by %v", methods)
	}
	mu.Unlock()
	machines.mu.Lock()
	if len(machines.acts) > 0 {
		t.Errorf("machines were touched: %v", machines.acts[:min(5, len(machines.acts))])
	}
	machines.mu.Unlock()
	compareExport(t, ironic(count), bessemer(cli.OK, "node", "list", "-o", "json"))
	bessemer(cli.OK, "node", "power", "on", "old003", "--watch")
	bessemer(cli.Failed, "node", "delete", "old003")
}

// compareExport compares what the command writes of all nodes with what the source holds, field by field.
func compareExport(t *testing.T, source http.Handler, export string) {
	t.Helper()
	var got []map[string]any
	if err := json.Unmarshal([]byte(export), &got); err != nil {
		t.Fatal(err)
	}
	by := map[string]map[string]any{}
	for _, n := range got {
		by[n["uuid"].(string)] = n
	}
	compared := 0
	for marker := ""; ; {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/v1/nodes?marker="+marker, nil)
		r.Header.Set("X-OpenStack-Ironic-API-Version", "1.82")
		source.ServeHTTP(w, r)
		var page struct {
			Nodes []map[string]any `json:"nodes"`
			Next  string           `json:"next"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
			t.Fatal(err)
		}
		for _, n := range page.Nodes {
			marker = n["uuid"].(string)
			for field, want := range n {
				have := by[marker][field]
				switch {
				case field == "created_at" || field == "power_interface" || field == "maintenance_reason":
					continue
				case field == "provision_state" && want == "available":
					want = "manageable"
				case field == "protected" && n["provision_state"] != "active":
					want = false
				}
				compared++
				if a, b := asText(want), asText(have); a != b {
					t.Errorf("%s of %s: %s became %s", field, n["name"], a, b)
				}
			}
		}
		if page.Next == "" {
			break
		}
	}
	if len(got) != 500 || compared < 500*15 {
		t.Errorf("%d nodes were exported, %d fields compared", len(got), compared)
	}
}

func asText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
