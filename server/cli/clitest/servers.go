package clitest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Canned answers from a table; of a list of steps answers each event takes the next.
func Canned(t *testing.T, answers map[string]any, work ...api.StepsAnswer) string {
	t.Helper()
	told := make(chan int, len(work)+1) // which answer the client is to get
	told <- 0
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/steps") && len(work) > 0:
			i := <-told
			if i+1 < len(work) {
				told <- i + 1
			} else {
				told <- i
			}
			_ = json.NewEncoder(w).Encode(work[i])
		case r.URL.Path == "/v1/events":
			for range work {
				fmt.Fprintf(w, "event: node\ndata: {\"uuid\": %q}\n\n", ID)
			}
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case r.Method == "PUT":
			w.WriteHeader(202)
		default:
			v, ok := answers[r.URL.Path]
			if !ok {
				w.WriteHeader(404)
				_ = json.NewEncoder(w).Encode(api.NewErrorBody(fault.New(fault.NodeNotFound, "Node %s could not be found.", r.URL.Path), "req-1"))
				return
			}
			_ = json.NewEncoder(w).Encode(v)
		}
	}))
	t.Cleanup(func() { h.CloseClientConnections(); h.Close() })
	return h.URL
}

// Recording is a server for the time of a test; it tells note of each request with its body, one at a time, and answers.
func Recording(t *testing.T, note func(r *http.Request, body string), answer http.HandlerFunc) *httptest.Server {
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

// Changes notes the bodies of requests that change something.
func Changes(sent *[]string) func(*http.Request, string) {
	return func(r *http.Request, body string) {
		if r.Method != http.MethodGet {
			*sent = append(*sent, body)
		}
	}
}
