package rest_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// FuzzZ1_RESTBodies gives arbitrary bodies and queries to every route that takes one: nothing crashes, and what the
// conductor is given keeps to the rules.
func FuzzZ1_RESTBodies(f *testing.F) {
	routes := []string{"POST /v1/nodes", "PATCH " + first, "PUT " + first + "/states/provision", "PUT " + first + "/states/power",
		"PUT " + first + "/maintenance", "PUT " + first + "/management/boot_device", "PUT " + first + "/traits", "POST /v1/ports", "GET /v1/nodes", "GET /v1/ports"}
	for i := range routes {
		for _, body := range []string{`{}`, `[]`, `{"driver": "redfish"}`, `[{"op": "add", "path": "/extra/a", "value": [1, {"b": null}]}]`,
			`{"target": "clean", "clean_steps": [{"interface": "deploy", "step": "x", "args": {}}]}`, `{"target": "active", "configdrive": {"user_data": []}}`,
			`{"node_uuid": "00000000-0000-4000-8000-000000000001", "address": "52:54:00:00:00:01", "local_link_connection": {"switch_id": 1}}`,
			`{"traits": ["CUSTOM_A", null]}`, `{"target": "power on", "timeout": 1e99}`, strings.Repeat("[", 100), "\"\xff\""} {
			f.Add(uint8(i), body, "limit=1&sort_key=name", "1.110")
		}
	}
	f.Fuzz(func(t *testing.T, route uint8, body, query, version string) {
		s := newServer(t)
		s.enrolled()
		method, path, _ := strings.Cut(routes[int(route)%len(routes)], " ")
		r := httptest.NewRequest(method, "http://127.0.0.1"+path, strings.NewReader(body))
		r.URL.RawQuery = query
		r.Header.Set(api.HeaderVersion, version)
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("%s %s?%s: %d %s\n%s", method, path, query, w.Code, w.Body, s.log)
		}
		for _, n := range s.nodes {
			if n.Driver == "" || len(n.Name) > 255 || n.DriverInfo == nil {
				t.Fatalf("a node broke the rules: %+v", n)
			}
		}
		for _, p := range s.provision {
			if p.Verb == "" {
				t.Fatalf("a provision without a verb: %+v", p)
			}
		}
	})
}
