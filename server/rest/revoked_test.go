package rest_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// fickle is an authenticator whose only user is granted what the test says at the moment; nil: not known any more.
type fickle struct{ now atomic.Pointer[access.Grant] }

func (f *fickle) Authenticate(*http.Request) (string, access.Grant, error) {
	if g := f.now.Load(); g != nil {
		return "ann", *g, nil
	}
	return "", access.Grant{}, fault.New(fault.RequestAuth, "Incorrect username or password")
}
func (*fickle) Realm() string { return "test" }

// socket is the server where it listens on a socket.
func (s *server) socket(h *httptest.Server) *served {
	return &served{server: s, url: h.URL, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
}

// TestI26_ARevokedGrantEndsStreams: what a stream's user may no longer see is not sent, and the stream ends.
func TestI26_ARevokedGrantEndsStreams(t *testing.T) {
	system, blue, red := &access.Grant{Role: observer}, &access.Grant{Role: observer, Project: "blue"}, &access.Grant{Role: admin, Project: "red"}
	for name, c := range map[string]struct {
		path       string
		first, now *access.Grant
	}{
		"all, no role":            {"/v1/events", system, &access.Grant{}},
		"all, user gone":          {"/v1/events", blue, nil},
		"one node, no role":       {"/v1/events?node=n1", system, &access.Grant{}},
		"one node, user gone":     {"/v1/events?node=n1", blue, nil},
		"one node, other project": {"/v1/events?node=n1", blue, red},
		"log, no role":            {"/v1/nodes/n1/logs?follow=true", system, &access.Grant{}},
		"log, user gone":          {"/v1/nodes/n1/logs?follow=true", blue, nil},
		"log, other project":      {"/v1/nodes/n1/logs?follow=true", blue, red},
		"log, system to project":  {"/v1/nodes/n1/logs?follow=true", system, red},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.enrolled()
			s.nodes[0].Owner = "blue"
			s.logs[1] = "provision_state before\n"
			auth := &fickle{}
			auth.now.Store(c.first)
			h := httptest.NewServer(rest.New(rest.Config{Backend: s.backend, Auth: auth, Hostname: "lab", Now: time.Now, Log: slog.New(slog.DiscardHandler)}))
			defer h.Close()
			stream, _ := s.socket(h).open(c.path, "")
			line(t, stream, "provision_state")
			auth.now.Store(c.now)
			s.mu.Lock()
			s.logs[1] += "canary of later\n"
			s.mu.Unlock()
			s.change(func(n *conductor.Node) { n.LastError = "canary of later" })
			rest, err := io.ReadAll(stream)
			if err != nil || strings.Contains(string(rest), "canary") {
				t.Errorf("after the grant is gone the stream sends %q (%v)", rest, err)
			}
		})
	}
}

// What is read after the loss of the right to see it is not sent, also when the loss comes just before the reading.
func TestI26_ARevokedGrantIsNotOutrun(t *testing.T) {
	for name, c := range map[string]struct {
		path  string
		reads int // how many are made before the loss
	}{
		"all": {"/v1/events", 1}, "one node": {"/v1/events?node=n1", 1}, "log": {"/v1/nodes/n1/logs", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.enrolled()
			s.logs[1] = "canary of a log\n"
			auth := &fickle{}
			auth.now.Store(&access.Grant{Role: observer})
			b := &losing{backend: s.backend, left: c.reads, lose: func() {
				auth.now.Store(&access.Grant{})
				s.change(func(n *conductor.Node) { n.LastError = "canary of later" })
			}}
			h := httptest.NewServer(rest.New(rest.Config{Backend: b, Auth: auth, Hostname: "lab", Now: time.Now, Log: slog.New(slog.DiscardHandler)}))
			defer h.Close()
			stream, _ := s.socket(h).open(c.path, "")
			if text, err := io.ReadAll(stream); err != nil || strings.Contains(string(text), "canary") {
				t.Errorf("the stream sends %q (%v)", text, err)
			}
		})
	}
}

// losing takes the caller's role away just before a reading.
type losing struct {
	*backend
	left int
	lose func()
}

func (l *losing) before() {
	if l.left == 0 {
		l.lose()
	}
	l.left--
}

func (l *losing) Changes(ctx context.Context, f conductor.ChangeFilter) ([]conductor.Change, conductor.Position, error) {
	l.before()
	return l.backend.Changes(ctx, f)
}

func (l *losing) OpenLog(ctx context.Context, ident string, generation uint64, offset int64) (io.ReadCloser, []uint64, error) {
	l.before()
	return l.backend.OpenLog(ctx, ident, generation, offset)
}
