package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// direct answers a client's requests by a handler without a socket, so that a test may run in a synctest bubble.
type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	in, out := io.Pipe()
	w := &pipeWriter{header: http.Header{}, body: out, ready: make(chan int, 1)}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	go func() {
		d.ServeHTTP(w, r)
		w.WriteHeader(200)
		_ = out.CloseWithError(io.EOF)
	}()
	select {
	case status := <-w.ready:
		context.AfterFunc(r.Context(), func() { _ = in.CloseWithError(context.Cause(r.Context())) })
		return &http.Response{StatusCode: status, Header: w.header, Body: in, Request: r}, nil
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	}
}

type pipeWriter struct {
	header http.Header
	body   io.Writer
	ready  chan int
	sent   bool
}

func (w *pipeWriter) Header() http.Header { return w.header }
func (w *pipeWriter) WriteHeader(status int) {
	if !w.sent {
		w.sent = true
		w.ready <- status
	}
}
func (w *pipeWriter) Write(b []byte) (int, error) { w.WriteHeader(200); return w.body.Write(b) }

func to(t *testing.T, h http.HandlerFunc) *client.Client {
	t.Helper()
	c, err := client.New(client.Options{Server: "http://server", User: "ann", Password: "right", Transport: direct{h}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestErrorsComeBackAsFaults(t *testing.T) {
	c := to(t, func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "ann" || password != "right" {
			t.Errorf("credentials %q %q", user, password)
		}
		if r.Header.Get(api.HeaderVersion) != api.MaxVersion.String() || r.Header.Get(api.HeaderNewVersion) != "baremetal "+api.MaxVersion.String() {
			t.Errorf("version headers %v", r.Header)
		}
		if r.URL.Path != "/v1/nodes/n~1" {
			t.Errorf("path %s", r.URL.Path)
		}
		w.WriteHeader(404)
		_, _ = io.WriteString(w, `{"error_message": "{}", "fault": {"code": "not_found", "reason": "node.not_found", "message": "gone", "hint": "look"}}`)
	})
	_, err := c.Node(t.Context(), "n~1")
	f := fault.From(err)
	if f.Code != fault.NotFound || f.Reason != fault.NodeNotFound || f.Message != "gone" || f.Hint != "look" {
		t.Errorf("fault %+v", f)
	}
}

func TestUnreachableServersAreDescribed(t *testing.T) {
	quiet := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	quiet.Config.ErrorLog = nil
	defer quiet.Close()
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer slow.Close()
	html := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }))
	defer html.Close()
	away := httptest.NewServer(http.RedirectHandler("http://192.0.2.1/", http.StatusFound))
	defer away.Close()
	for server, want := range map[string]string{"http://127.0.0.1:1": "refused", quiet.URL: "not trusted", slow.URL: "within 50ms", html.URL: "can't be read",
		"http://nosuch.invalid": "does not answer", away.URL: "Found"} {
		limit := time.Minute
		if server == slow.URL {
			limit = 50 * time.Millisecond
		}
		c, err := client.New(client.Options{Server: server, Timeout: limit})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Node(t.Context(), "x")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", server, err)
		}
		c.Close()
	}
	for _, server := range []string{"", "server", "ftp://server", "http://u:p@server", "http://"} {
		if _, err := client.New(client.Options{Server: server}); err == nil {
			t.Errorf("%q is taken for a server", server)
		}
	}
}

func TestListsFollowEveryPageAtTheSameServer(t *testing.T) {
	c := to(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.URL.Host != "server" || q.Get("detail") != "true" || q.Get("owner") != "me" {
			t.Errorf("request %s", r.URL)
		}
		n := map[string]int{"": 1, "m1": 2, "m2": 3}[q.Get("marker")]
		next := fmt.Sprintf(`, "next": "http://elsewhere/v1/nodes?marker=m%d&limit=1"`, n)
		if n == 3 {
			next = ""
		}
		fmt.Fprintf(w, `{"nodes": [{"uuid": "n%d"}]%s}`, n, next)
	})
	nodes, err := c.Nodes(t.Context(), url.Values{"owner": {"me"}})
	if err != nil || len(nodes) != 3 || nodes[2].UUID != "n3" {
		t.Errorf("%v, %v", nodes, err)
	}
}

func TestUploadTellsProgress(t *testing.T) {
	c := to(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if r.ContentLength != 1<<20 || err != nil {
			t.Errorf("length %d, %v", r.ContentLength, err)
		}
		fmt.Fprintf(w, `{"name": "i", "size": %d}`, n)
	})
	last := int64(0)
	i, err := c.PutImage(t.Context(), "i", strings.NewReader(strings.Repeat("x", 1<<20)), 1<<20, func(n int64) {
		if n < last {
			t.Errorf("progress went back from %d to %d", last, n)
		}
		last = n
	})
	if err != nil || i.Size != 1<<20 || last != 1<<20 {
		t.Errorf("%+v, %d, %v", i, last, err)
	}
}

var errEnough = errors.New("enough")

// A watch outlives lost connections and quiet ones, and gives up on a server that stays away.
func TestWatchReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		c := to(t, func(w http.ResponseWriter, r *http.Request) {
			n := calls.Add(1)
			if n == 2 {
				w.WriteHeader(503)
				return
			}
			fmt.Fprintf(w, "event: node\ndata: {\"uuid\": \"u\", \"provision_state\": \"state %d\"}\n\n", n)
			if n == 3 {
				<-r.Context().Done() // says nothing more, not even that it lives
			}
		})
		var seen []string
		err := c.Watch(t.Context(), "u", func(e api.Event) error {
			seen = append(seen, string(e.State))
			if len(seen) == 3 {
				return errEnough
			}
			return nil
		})
		if got := strings.Join(seen, ", "); !errors.Is(err, errEnough) || got != "state 1, state 3, state 4" {
			t.Errorf("saw %s, %v", got, err)
		}
	})
}

func TestWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := to(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
		began := time.Now()
		err := away.Watch(t.Context(), "u", func(api.Event) error { return nil })
		if d := time.Since(began); !fault.Is(err, fault.Unavailable) || d < time.Minute || d > 2*time.Minute {
			t.Errorf("gave up after %s: %v", d, err)
		}
		unknown := to(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) })
		began = time.Now()
		if err := unknown.Watch(t.Context(), "u", nil); !fault.Is(err, fault.NotFound) || time.Since(began) > 0 {
			t.Errorf("an unknown node: %v", err)
		}
		gone := to(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "data: {\"uuid\": \"u\", \"gone\": true}\n\n")
		})
		if err := gone.Watch(t.Context(), "u", func(api.Event) error { return nil }); !fault.Has(err, fault.NodeNotFound) {
			t.Errorf("a deleted node: %v", err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		hanging := to(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			<-r.Context().Done()
		})
		time.AfterFunc(time.Second, func() { cancel(errEnough) })
		if err := hanging.Watch(ctx, "u", nil); !errors.Is(err, errEnough) {
			t.Errorf("a cancelled watch: %v", err)
		}
	})
}
