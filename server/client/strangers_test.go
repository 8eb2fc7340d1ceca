package client_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Who answers and is no server that can be talked to so is told with what was found and what to do: a mistaken scheme
// among them, for each of the two.
func TestWhoAnswersOtherwiseIsTold(t *testing.T) {
	answers := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); fmt.Fprint(w, text) }
	}
	quiet := log.New(io.Discard, "", 0)
	plain := httptest.NewUnstartedServer(answers(200, `{"nodes": []}`))
	plain.Config.ErrorLog = quiet
	plain.Start()
	defer plain.Close()
	secure := httptest.NewUnstartedServer(answers(200, `{"nodes": []}`))
	secure.Config.ErrorLog = quiet
	secure.StartTLS()
	defer secure.Close()
	proxy := httptest.NewServer(answers(502, "<html>Bad Gateway</html>"))
	defer proxy.Close()
	nginx := httptest.NewServer(answers(400, "<html><h1>400 Bad Request</h1>The plain HTTP request was sent to HTTPS port</html>"))
	defer nginx.Close()
	moved := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "https://192.0.2.1/v1/nodes")
		w.WriteHeader(http.StatusPermanentRedirect)
	}))
	defer moved.Close()
	silent := httptest.NewServer(answers(502, ""))
	defer silent.Close()
	page := httptest.NewServer(answers(200, "<html>Welcome</html>"))
	defer page.Close()
	for name, x := range map[string]struct{ url, message, hint string }{
		"https where http is spoken": {strings.Replace(plain.URL, "http:", "https:", 1), "speaks HTTP without TLS", "give its address as " + plain.URL},
		"http where TLS is spoken":   {strings.Replace(secure.URL, "https:", "http:", 1), "wants TLS", "give its address as " + secure.URL},
		"http, as nginx says it":     {nginx.URL, "wants TLS", "give its address as " + strings.Replace(nginx.URL, "http:", "https:", 1)},
		"a proxy that sends on":      {moved.URL, "sends on to \"https://192.0.2.1/v1/nodes\"", "give that address"},
		"a proxy that says nothing":  {silent.URL, "answers GET /v1/nodes with 502 Bad Gateway", "is this a Bessemer server"},
		"a page":                     {page.URL, "can't be read", "is this a Bessemer server"},
		"a proxy":                    {proxy.URL, "answers GET /v1/nodes with 502 Bad Gateway", "is this a Bessemer server"},
	} {
		c, err := client.New(client.Options{Server: x.url})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Nodes(t.Context(), nil)
		c.Close()
		if f := fault.From(err); err == nil || !strings.Contains(f.Message, x.message) || !strings.Contains(f.Hint, x.hint) {
			t.Errorf("%s: %v; hint %q", name, err, f.Hint)
		}
	}
}
