package rest_test

import (
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/rest"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// shut lets nobody in.
type shut struct{}

func (shut) Authenticate(*http.Request) (string, access.Grant, error) {
	return "", access.Grant{}, fault.New(fault.RequestAuth, "no")
}
func (shut) Realm() string { return "r" }

// Load balancers look whether a server is there with HEAD, or as HAProxy with OPTIONS, and have no credentials.
func TestHealthChecksAreAnswered(t *testing.T) {
	s := newServer(t)
	s.handler = rest.New(rest.Config{Backend: s.backend, Auth: shut{}, Hostname: "lab", Started: now, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)})
	for _, c := range []struct{ method, path string }{{"HEAD", "/"}, {"OPTIONS", "/"}, {"HEAD", "/v1"}, {"HEAD", "/v1/"}} {
		if a := s.want(s.do(c.method, c.path, ""), 200); a.Header().Get("X-Openstack-Ironic-Api-Maximum-Version") == "" {
			t.Errorf("%s %s is answered without versions: %v", c.method, c.path, a.Header())
		}
	}
}

// RFC 9110, 15.5.6: who is told that a method is not served is told of those that are.
func TestMethodsThatAreServedAreNamed(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	for _, c := range []struct{ method, path, version, want string }{
		{"DELETE", "/v1/nodes", "1.82", "GET, POST"},
		{"POST", first, "1.82", "DELETE, GET, PATCH"},
		{"GET", first + "/maintenance", "1.82", "DELETE, PUT"},
		{"POST", "/", "1.82", "GET, HEAD, OPTIONS"},
		{"POST", "/v1/allocations", "1.51", "GET"},
	} {
		if a := s.want(s.do(c.method, c.path, "{}", "X-OpenStack-Ironic-API-Version: "+c.version), 405); a.Header().Get("Allow") != c.want {
			t.Errorf("%s %s: Allow is %q, expected %q", c.method, c.path, a.Header().Get("Allow"), c.want)
		}
	}
	if a := s.want(s.do("GET", first, ""), 200); a.Header().Get("Allow") != "" {
		t.Errorf("Allow %q with an answer", a.Header().Get("Allow"))
	}
}
