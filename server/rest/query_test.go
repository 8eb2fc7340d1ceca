package rest_test

import (
	"context"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/rest"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// queried asks a route with a query alone; the stream is at its end at once.
func (s *server) queried(r rest.Served, version, query string) answer {
	s.Helper()
	path := variable.ReplaceAllStringFunc(r.Path, func(v string) string {
		switch v {
		case "{node}", "{record}":
			return strings.TrimPrefix(first, "/v1/nodes/")
		case "{driver}":
			return "redfish"
		case "{host}":
			return "lab"
		}
		return "x"
	})
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	if path == "/v1/events" {
		cancel()
	}
	q := httptest.NewRequest(r.Method, "http://127.0.0.1:6385"+path+"?"+query, strings.NewReader("")).WithContext(ctx)
	q.Header.Set(api.HeaderVersion, version)
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, q)
	return decoded(s.T, w)
}

// What a route does not list is refused, whatever else the request says: a mistyped filter must not select everything.
func TestUnknownQueryArgumentsAreRefusedByEveryRoute(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	for _, r := range s.handler.(*rest.API).Served() {
		if a := s.queried(r, "latest", "nosuch=1"); a.Code != 400 || !strings.Contains(a.fault(), "Unexpected arguments: nosuch") {
			t.Errorf("%s %s?nosuch=1: status %d: %.200s", r.Method, r.Path, a.Code, a.Body)
		}
	}
	if len(s.nodes) != 1 {
		t.Errorf("%d nodes are left of one", len(s.nodes))
	}
	for _, path := range []string{"/v1/nowhere?nosuch=1", "/v1/nodes/n1/nowhere?nosuch=1"} {
		s.want(s.do("GET", path, ""), 404)
	}
	s.want(s.do("PUT", "/v1/nodes?nosuch=1", "{}"), 405)
}

// What a route lists it takes once, of its kind, and from its version on; the description says so. Lists may come in pieces.
func TestListedQueryArgumentsAreTakenAndDescribed(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	samples := map[api.Kind]string{api.UUID: "00000000-0000-4000-8000-00000000000A", api.Flag: "false", api.Integer: "1"}
	paths, n := described()["paths"].(map[string]any), 0
	for _, r := range s.handler.(*rest.API).Served() {
		op := paths[r.Path].(map[string]any)[strings.ToLower(r.Method)].(map[string]any)
		told := map[string]map[string]any{}
		parameters, _ := op["parameters"].([]any)
		for _, p := range parameters {
			p := p.(map[string]any)
			told[p["name"].(string)] = p
		}
		if len(told) != len(r.Query) {
			t.Errorf("%s %s: %d arguments are described, %d are taken", r.Method, r.Path, len(told), len(r.Query))
		}
		for _, arg := range r.Query {
			n++
			where := r.Method + " " + r.Path + "?" + arg.Name
			if p := told[arg.Name]; p == nil || p["in"] != "query" || p["description"] != arg.Doc || arg.Doc == "" {
				t.Errorf("%s is described as %v", where, p)
			}
			good := samples[arg.Kind]
			if good == "" {
				good = "x"
			}
			given := url.QueryEscape(arg.Name) + "=" + good
			if a := s.queried(r, "latest", given); a.Code >= 500 || strings.Contains(a.fault(), "Unexpected arguments") {
				t.Errorf("%s=%s: status %d: %.200s", where, good, a.Code, a.Body)
			}
			a := s.queried(r, "latest", given+"&"+given)
			if in := a.Code == 400 && strings.Contains(a.fault(), "given 2 times"); in == (arg.Kind == api.List) {
				t.Errorf("%s given twice: status %d: %.200s", where, a.Code, a.Body)
			}
			if samples[arg.Kind] != "" {
				if a := s.queried(r, "latest", url.QueryEscape(arg.Name)+"=perhaps"); a.Code != 400 || !strings.Contains(a.fault(), arg.Name) {
					t.Errorf("%s=perhaps: status %d: %.200s", where, a.Code, a.Body)
				}
			}
			if arg.Since > max(r.Since, 1) {
				if a := s.queried(r, (arg.Since - 1).String(), given); a.Code != 406 {
					t.Errorf("%s in %s: status %d: %.200s", where, arg.Since-1, a.Code, a.Body)
				}
			}
		}
	}
	if n < 100 {
		t.Errorf("%d arguments in all", n)
	}
}

func TestAListOfTheQueryMayComeInPieces(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	for _, path := range []string{first, "/v1/nodes"} {
		whole := s.want(s.do("GET", path+"?fields=uuid,name,driver", ""), 200)
		if pieces := s.want(s.do("GET", path+"?fields=uuid&fields=name,driver", ""), 200); pieces.Body.String() != whole.Body.String() {
			t.Errorf("%s in pieces gives\n%s, expected\n%s", path, pieces.Body, whole.Body)
		}
	}
	s.want(s.do("GET", "/v1/nodes?limit=1&shard=a&shard=b", ""), 200)
	if want := []string{"a", "b"}; !slices.Equal(s.filter.Shards, want) {
		t.Errorf("shards %q, expected %q", s.filter.Shards, want)
	}
}

// Lists have taken detail since 1.43; those of volume things as long as they are there, and openstacksdk asks for it in 1.32.
func TestDetailHasItsVersion(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	s.want(s.do("POST", "/v1/volume/connectors", `{"node_uuid": "`+node1+`", "type": "ip", "connector_id": "192.0.2.7"}`), 201)
	for path, since := range map[string]int{"nodes": 43, "ports": 43, "portgroups": 43, "chassis": 43, "volume/connectors": 32, "volume/targets": 32} {
		s.want(s.do("GET", "/v1/"+path+"?detail=True", "", in(since)), 200)
		if since == 43 {
			s.want(s.do("GET", "/v1/"+path+"?detail=True", "", in(42)), 400)
		}
	}
	shown := s.want(s.do("GET", "/v1/volume/connectors?detail=True", "", in(32)), 200).body["connectors"].([]any)
	if n := shown[0].(map[string]any); n["created_at"] == nil {
		t.Errorf("detail shows %v", n)
	}
}
