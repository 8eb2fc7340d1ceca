package rest_test

import (
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// FuzzI25_T16_EveryRoute gives arbitrary bodies, queries and versions to every route there is, as a tenant: nothing
// crashes, nothing foreign changes, and what the tenant is not shown is in no answer (I22).
func FuzzI25_T16_EveryRoute(f *testing.F) {
	c := newTenancy(&testing.T{})
	served := c.api.Served()
	for i := range served {
		f.Add(uint8(i), uint8(i), `{}`, "", "latest")
	}
	for _, body := range []string{`[{"op": "add", "path": "/owner", "value": "blue"}]`, `{"ids": ["foreign", "own"]}`, `{"node_uuid": "00000000-0000-4000-8000-000000000005", "address": "52:54:00:00:00:aa"}`,
		`{"url": "https://hooks.example/", "secret": "0123456789abcdef"}`, strings.Repeat("[", 64), "\"\xff\"", `{"target": "power on", "timeout": 1e99}`} {
		f.Add(uint8(len(body)), uint8(2), body, "changed_since=&limit=1&owner=red&project=red&node=foreign", "1.50")
	}
	f.Fuzz(func(t *testing.T, route, object uint8, body, query, version string) {
		g := access.Grant{Role: access.Roles()[int(object)%3], Project: "blue"}
		s := c.tenants(t, g)
		r := served[int(route)%len(served)]
		o := owners[int(object)%len(owners)]
		path := variable.ReplaceAllStringFunc(r.Path, func(v string) string {
			switch name := strings.Trim(v, "{}"); {
			case name == "node":
				return o.node
			case name == "record":
				return o.port
			case fill[name] != "":
				return fill[name]
			}
			return "x"
		})
		q := httptest.NewRequest(r.Method, "http://127.0.0.1"+path, strings.NewReader(body))
		q.URL.RawQuery = query
		if values, err := url.ParseQuery(query); err == nil && slices.Contains(values["follow"], "true") {
			return // a stream without an end
		}
		q.Header.Set(api.HeaderVersion, version)
		close(s.changed)
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, q)
		if w.Code >= 500 && w.Code != 503 {
			t.Fatalf("%s %s?%s: %d %s\n%s", r.Method, path, query, w.Code, w.Body, s.log)
		}
		s.noSecrets(answer{ResponseRecorder: w}, g, o.standing, true)
		now := map[string]string{}
		for _, n := range s.nodes {
			now[string(n.UUID)] = n.Name + " of " + n.Owner
			if n.Maintenance || len(n.Traits) > 0 {
				now[string(n.UUID)] += ", changed"
			}
		}
		if now["00000000-0000-4000-8000-000000000005"] != "foreign of red" || now["00000000-0000-4000-8000-000000000006"] != "free of " {
			t.Fatalf("%s %s %s changed a node of others: %v", r.Method, path, body, now)
		}
	})
}
