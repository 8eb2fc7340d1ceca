package cli_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// recording is a server for the time of a test; it tells note of each request with its body, one at a time, and answers.
func recording(t *testing.T, note func(r *http.Request, body string), answer http.HandlerFunc) *httptest.Server {
	t.Helper()
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		note(r, strings.TrimSpace(string(body)))
		mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return server
}

// changes notes the bodies of requests that change something.
func changes(sent *[]string) func(*http.Request, string) {
	return func(r *http.Request, body string) {
		if r.Method != http.MethodGet {
			*sent = append(*sent, body)
		}
	}
}
