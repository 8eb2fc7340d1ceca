package rest_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/rest"
	"github.com/bessemer-metal/bessemer/server/rest/login"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// TestT06_AFloodOfRamdiskCallsIsBounded: one address asks for so much a second without credentials, whatever it asks for;
// others, those with credentials and the server's own host are not held back.
func TestT06_AFloodOfRamdiskCallsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withFake(t, state.InspectWait)
		s.handler = rest.New(rest.Config{Backend: s.backend, Auth: login.None{}, Hostname: "lab", Started: now, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		ask := func(method, path, from string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(method, "http://127.0.0.1:6385"+path, nil)
			r.RemoteAddr = from
			r.Header.Set(api.HeaderVersion, "latest")
			w := httptest.NewRecorder()
			s.handler.ServeHTTP(w, r)
			return w
		}
		calls := []struct{ method, path string }{{"GET", "/v1/lookup?addresses=52:54:00:bb:00:01"}, {"POST", "/v1/heartbeat/" + faked}, {"POST", "/v1/continue_inspection"}}
		flood := func(n int, from string) (refused int) {
			for i := range n {
				c := calls[i%len(calls)]
				if w := ask(c.method, c.path, from); w.Code == http.StatusServiceUnavailable {
					if refused++; w.Header().Get("Retry-After") == "" {
						t.Fatalf("a refusal does not say when to come back: %v", w.Header())
					}
				}
			}
			return refused
		}
		if n := flood(300, "[2001:db8::1]:1"); n != 100 {
			t.Errorf("%d of 300 at once are refused, expected 100", n)
		}
		if n := flood(10, "[2001:db8::2]:1"); n != 10 {
			t.Errorf("%d of 10 from another address of the same machine are refused", n)
		}
		if n := flood(200, "192.0.2.9:1"); n != 0 {
			t.Errorf("another machine is refused %d times", n)
		}
		if n := flood(500, "127.0.0.1:1") + flood(500, "[::ffff:127.0.0.1]:1"); n != 0 {
			t.Errorf("the server's own host is refused %d times", n)
		}
		if w := ask("GET", "/v1/nodes", "[2001:db8::1]:1"); w.Code != 200 {
			t.Errorf("what needs credentials is answered %d", w.Code)
		}
		<-time.After(time.Second)
		if n := flood(110, "[2001:db8::1]:1"); n != 10 {
			t.Errorf("a second later %d of 110 are refused, expected 10", n)
		}
	})
}
