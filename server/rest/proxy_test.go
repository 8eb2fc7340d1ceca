package rest_test

import (
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/rest"
	"github.com/bessemer-metal/bessemer/server/rest/login"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// Links begin with the public URL, or with scheme and host of the request. What a header says of a proxy never counts:
// anybody can send one.
func TestI24_LinksBehindAProxy(t *testing.T) {
	for _, c := range []struct {
		public, host string
		status       int
		base         string
	}{
		{"", "127.0.0.1:6385", 200, "http://127.0.0.1:6385"},
		{"", "[::1]:6385", 200, "http://[::1]:6385"},
		{"", "192.0.2.1:6385", 200, "http://192.0.2.1:6385"},
		{"", "localhost:6385", 200, "http://localhost:6385"},
		{"", "lab.example:6385", 403, ""},
		{"https://lab.example/metal/", "127.0.0.1:6385", 200, "https://lab.example/metal"},
		{"https://lab.example/metal", "LAB.example:6385", 200, "https://lab.example/metal"},
		{"https://lab.example", "evil.example", 403, ""},
		{"https://lab.example", "evil.lab.example", 403, ""},
	} {
		h := rest.New(rest.Config{Backend: newBackend(), Auth: login.None{}, Public: c.public, Hostname: "lab", Now: clock, Log: slog.New(slog.DiscardHandler)})
		r := httptest.NewRequest("GET", "http://"+c.host+"/v1", nil)
		r.Header.Set(api.HeaderVersion, "latest")
		for name, value := range map[string]string{"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher", "X-Forwarded-Prefix": "/evil", "X-Forwarded-For": "192.0.2.66",
			"Forwarded": "for=192.0.2.66;host=evil.example;proto=gopher", "X-Forwarded-Port": "666", "X-Original-Host": "evil.example"} {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s, public %q: status %d, expected %d: %s", c.host, c.public, w.Code, c.status, w.Body)
			continue
		}
		if c.status != 200 {
			if !strings.Contains(w.Body.String(), "public_url") {
				t.Errorf("refused without a way out: %s", w.Body)
			}
			continue
		}
		if body := w.Body.String(); !strings.Contains(body, `"href":"`+c.base+`/v1/nodes/"`) || strings.Contains(body, "evil") || strings.Contains(body, "gopher") || strings.Contains(body, "666") {
			t.Errorf("%s, public %q: %s", c.host, c.public, body)
		}
	}
}
