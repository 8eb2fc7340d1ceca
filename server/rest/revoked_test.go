package rest_test

import (
	"bufio"
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
			served := httptest.NewServer(rest.New(rest.Config{Backend: s.backend, Auth: auth, Hostname: "lab", Now: time.Now, Log: slog.New(slog.DiscardHandler)}))
			defer served.Close()
			stream := bufio.NewReader(s.open(served.URL + c.path).Body)
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
