package rest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/integration/simnet"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest"
	"github.com/bessemer-metal/bessemer/server/rest/login"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// patient is longer than the server takes to read a request: a stream that kept to that time would have ended.
const patient = 31 * time.Second

// listening serves the API on a network in memory. It is for tests in a bubble, where the server's own times pass at once
// and a busy machine misses none of them.
func (s *server) listening() *served {
	s.Helper()
	h := rest.New(rest.Config{Backend: s.backend, Images: s.images, Auth: login.None{}, Hostname: "lab", Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	srv := rest.Server(h, slog.New(slog.DiscardHandler))
	if srv.ReadHeaderTimeout <= 0 || srv.ReadTimeout <= 0 || srv.IdleTimeout <= 0 || srv.MaxHeaderBytes <= 0 {
		s.Errorf("the server waits for ever: %+v", srv)
	}
	if srv.ReadTimeout >= patient {
		s.Errorf("a request is read for %s: these tests wait for %s only", srv.ReadTimeout, patient)
	}
	network := simnet.New()
	ln := network.Listen()
	done := make(chan error)
	go func() { done <- srv.Serve(ln) }()
	s.Cleanup(func() {
		if err := srv.Close(); err != nil {
			s.Error(err)
		}
		<-done
	})
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return network.Dial(ctx, "127.0.0.1") }
	return &served{server: s, url: "http://127.0.0.1", network: network, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}}
}

// served is a server that listens.
type served struct {
	*server
	url     string
	client  *http.Client
	network *simnet.Network // nil: it listens on a socket
}

// open starts a stream that ends with the test, or by the function that it gives; from is the event to go on after.
func (s *served) open(path, from string) (*bufio.Reader, func()) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 5*time.Minute)
	s.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", s.url+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set(api.HeaderVersion, "latest")
	if from != "" {
		r.Header.Set("Last-Event-ID", from)
	}
	a, err := s.client.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = a.Body.Close() })
	if a.StatusCode != 200 {
		text, _ := io.ReadAll(a.Body)
		s.Fatalf("%s: %d %s", path, a.StatusCode, text)
	}
	return bufio.NewReader(a.Body), cancel
}

// line reads up to the next line that contains want.
func line(t *testing.T, r *bufio.Reader, want string) string {
	t.Helper()
	var seen strings.Builder
	for {
		text, err := r.ReadString('\n')
		seen.WriteString(text)
		if strings.Contains(text, want) {
			return text
		}
		if err != nil {
			t.Fatalf("the stream ended (%v) before %q: %s", err, want, seen.String())
		}
	}
}

// change edits the only node and tells the watchers.
func (s *server) change(edit func(*conductor.Node)) {
	s.mu.Lock()
	edit(&s.nodes[0])
	s.changes(s.nodes[0], false)
	s.mu.Unlock()
	s.changed <- struct{}{}
}

func TestEventsOfOneNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.enrolled()
		events, _ := s.listening().open("/v1/events?node=n1", "")
		line(t, events, `"provision_state":"enroll"`)
		for i, st := range []state.State{state.Verifying, state.Manageable} {
			<-time.After(patient)
			s.change(func(n *conductor.Node) { n.State = st })
			if got := line(t, events, "data: "); !strings.Contains(got, string(st)) {
				t.Errorf("event %d is %s", i, got)
			}
		}
		s.mu.Lock()
		s.changes(s.nodes[0], true)
		s.nodes = nil
		s.mu.Unlock()
		s.changed <- struct{}{}
		line(t, events, `"gone":true`)
		if _, err := io.Copy(io.Discard, events); err != nil {
			t.Errorf("the stream goes on after the node is gone: %v", err)
		}
	})
}

func TestEventsOfAllTellWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.enrolled()
		s.want(s.do("POST", "/v1/nodes", `{"name": "n2", "driver": "redfish"}`), 201)
		events, _ := s.listening().open("/v1/events", "")
		line(t, events, `"name":"n1"`)
		line(t, events, `"name":"n2"`)
		s.change(func(n *conductor.Node) { n.Power = conductor.PowerOn })
		if got := line(t, events, "data: "); !strings.Contains(got, `"name":"n1"`) || !strings.Contains(got, "power on") {
			t.Errorf("event %s", got)
		}
	})
}

func TestLogs(t *testing.T) {
	s := newServer(t)
	path := s.enrolled()
	s.want(s.do("GET", path+"/logs", ""), 404)
	s.logs[1], s.logs[2] = "first\n", "second\n"
	a := s.want(s.do("GET", path+"/logs", ""), 200)
	if a.Body.String() != "second\n" || a.Header().Get(api.HeaderLogGeneration) != "2" || a.Header().Get(api.HeaderLogGenerations) != "1,2" {
		t.Errorf("log %q, headers %v", a.Body, a.Header())
	}
	if a = s.want(s.do("GET", path+"/logs?generation=1&offset=3", ""), 200); a.Body.String() != "st\n" {
		t.Errorf("log %q", a.Body)
	}
	s.want(s.do("GET", path+"/logs?generation=9", ""), 404)
	for _, q := range []string{"generation=0", "generation=x", "offset=-1", "follow=maybe", "nosuch=1"} {
		s.want(s.do("GET", path+"/logs?"+q, ""), 400)
	}
}

// A followed log begins before the first line is there, and goes on to the next boot's.
func TestFollowedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		path := s.enrolled()
		log, _ := s.listening().open(path+"/logs?follow=true", "")
		write := func(generation uint64, text string) {
			s.mu.Lock()
			s.logs[generation] += text
			s.mu.Unlock()
			s.changed <- struct{}{}
		}
		for i, text := range []string{"one\n", "two\n"} {
			write(1, text)
			if got := line(t, log, "\n"); got != text {
				t.Errorf("line %d is %q", i, got)
			}
		}
		write(2, "three\n")
		if got := line(t, log, "\n"); got != "three\n" {
			t.Errorf("the next boot's line is %q", got)
		}
	})
}

func TestStepsTellTheWait(t *testing.T) {
	s := newServer(t)
	path := s.enrolled()
	n := &s.nodes[0]
	n.State, n.Target = state.CleanWait, state.Available
	n.Flow = &conductor.Flow{Run: "r1", Flow: state.Clean, Phase: conductor.PhaseLookup, Started: now,
		Wait: &conductor.Wait{For: "the ramdisk to look itself up", Owner: "agent", Since: now, Deadline: now.Add(30 * time.Minute), Evidence: "the BMC read the medium", Seen: now}}
	n.Boot = &conductor.Boot{Generation: 3, Level: api.A1, Contested: true}
	s.records = []conductor.StepRecord{{ID: "s1", Step: step.Step{Name: "deploy.erase_devices", Where: step.InBand}, State: conductor.StepPlanned,
		Progress: &step.Progress{Percent: 12}}}
	a := s.want(s.do("GET", path+"/steps", ""), 200)
	wait := a.body["wait"].(map[string]any)
	for field, want := range map[string]string{"for": "the ramdisk to look itself up", "owner": "agent", "deadline": "2026-11-20T15:09:08+00:00", "evidence": "the BMC read the medium"} {
		if wait[field] != want {
			t.Errorf("wait.%s is %v", field, wait[field])
		}
	}
	// A heartbeat is a newer sign than what was noted; one from before the wait is none.
	for _, c := range []struct {
		owner string
		heard time.Time
		want  string
	}{{"agent", now.Add(time.Minute), "the agent's heartbeat 2026-11-20T14:40:08+00:00"}, {"agent", now.Add(-time.Minute), "the BMC read the medium 2026-11-20T14:39:08+00:00"},
		{"bmc", now.Add(time.Minute), "the BMC read the medium 2026-11-20T14:39:08+00:00"}} {
		n.Flow.Wait.Owner, s.heard = c.owner, c.heard
		wait := s.want(s.do("GET", path+"/steps", ""), 200).body["wait"].(map[string]any)
		if got := fmt.Sprint(wait["evidence"], " ", wait["seen"]); got != c.want {
			t.Errorf("waiting for the %s, heard at %s: %s, want %s", c.owner, c.heard, got, c.want)
		}
	}
	if b := a.body["boot"].(map[string]any); b["contested"] != true || b["level"] != 1.0 {
		t.Errorf("boot %v", b)
	}
	if got := fmt.Sprint(a.body["verbs"]); got != "[abort]" {
		t.Errorf("verbs %s", got)
	}
	show := s.want(s.do("GET", path, ""), 200)
	if show.body["reservation"] != nil {
		t.Errorf("a waiting node is reserved by %v", show.body["reservation"])
	}
	s.records[0].State = conductor.StepStarted
	if got := s.do("GET", path, "").body["clean_step"].(map[string]any)["step"]; got != "erase_devices" {
		t.Errorf("clean_step is %v", got)
	}
}

// An upload may take longer than a request is read for, as long as it moves; TestT06 is one that does not move at all.
func TestSlowUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		h := s.listening()
		r, w := io.Pipe()
		go func() {
			defer w.Close()
			for range 4 {
				<-time.After(patient / 2)
				if _, err := io.WriteString(w, "piece"); err != nil {
					return
				}
			}
		}()
		request, err := http.NewRequestWithContext(t.Context(), "PUT", h.url+"/v1/images/slow.raw", r)
		if err != nil {
			t.Fatal(err)
		}
		a, err := h.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		if a.StatusCode != 201 || s.images.images["slow.raw"] != "piecepiecepiecepiece" {
			t.Errorf("%d, %q", a.StatusCode, s.images.images["slow.raw"])
		}
	})
}

// TestT06_SlowRequestsAreCutOff sends half a request and waits for the server to end it.
func TestT06_SlowRequestsAreCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		network := s.listening().network
		for name, half := range map[string]string{
			"header": "GET /v1/nodes HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ",
			"body":   "POST /v1/nodes HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{",
		} {
			conn, err := network.Dial(t.Context(), "127.0.0.1")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, half); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); err != nil {
				t.Errorf("half a %s: the connection is still open: %v", name, err)
			}
		}
		if len(s.nodes) != 0 {
			t.Error("half a request made a node")
		}
	})
}

// TestI25_WhoDoesNotReadIsCutOff: a client that asks and then reads nothing, be it a stream of events, a log that is followed or a
// long list, is let go of after a while, and holds nothing here any more. Its connection has no room: a write waits for it.
func TestI25_WhoDoesNotReadIsCutOff(t *testing.T) {
	for name, c := range map[string]struct {
		path string
		most time.Duration
	}{
		"events": {"/v1/events", time.Minute}, "log": {"/v1/nodes/n1/logs?follow=true", time.Minute}, "list": {"/v1/nodes/detail", 3 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t)
				s.enrolled()
				s.logs[1] = "a line\n"
				for i := range 50 { // more than the server keeps before it writes
					s.want(s.do("POST", "/v1/nodes", fmt.Sprintf(`{"name": "m%d", "driver": "redfish"}`, i)), 201)
				}
				h := rest.New(rest.Config{Backend: s.backend, Images: s.images, Auth: login.None{}, Hostname: "lab", Now: time.Now, Log: slog.New(slog.DiscardHandler)})
				ended := make(chan time.Duration, 1)
				srv := rest.Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					began := time.Now()
					h.ServeHTTP(w, r)
					ended <- time.Since(began)
				}), slog.New(slog.DiscardHandler))
				ln := pipes{conns: make(chan net.Conn, 1), shut: make(chan struct{})}
				client, conn := net.Pipe()
				ln.conns <- conn
				done := make(chan error)
				go func() { done <- srv.Serve(ln) }()
				if _, err := io.WriteString(client, "GET "+c.path+" HTTP/1.1\r\nHost: 127.0.0.1\r\nX-OpenStack-Ironic-API-Version: latest\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				select {
				case took := <-ended:
					if took > c.most {
						t.Errorf("the handler waited for %s, expected %s at most", took, c.most)
					}
				case <-time.After(time.Hour):
					t.Error("the handler still waits for a client that does not read")
				}
				if err := srv.Close(); err != nil {
					t.Error(err)
				}
				<-done
				client.Close()
			})
		})
	}
}

// TestI25_WhoReadsSlowlyHasTheWholeAnswer: on a bad link an answer takes as long as it takes, while it moves.
func TestI25_WhoReadsSlowlyHasTheWholeAnswer(t *testing.T) {
	for _, path := range []string{"/v1/nodes/n1", "/v1/nodes/detail"} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t)
				s.enrolled()
				n := s.nodes[0]
				n.Extra = map[string]any{"much": strings.Repeat("much", 200<<10)}
				s.nodes[0] = n
				h := rest.New(rest.Config{Backend: s.backend, Images: s.images, Auth: login.None{}, Hostname: "lab", Now: time.Now, Log: slog.New(slog.DiscardHandler)})
				srv := rest.Server(h, slog.New(slog.DiscardHandler))
				ln := pipes{conns: make(chan net.Conn, 1), shut: make(chan struct{})}
				client, conn := net.Pipe()
				ln.conns <- conn
				done := make(chan error)
				go func() { done <- srv.Serve(ln) }()
				if _, err := io.WriteString(client, "GET "+path+" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX-OpenStack-Ironic-API-Version: latest\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				answer, err := http.ReadResponse(bufio.NewReader(client), nil)
				if err != nil {
					t.Fatal(err)
				}
				var got []byte
				for part := make([]byte, 64<<10); err == nil; {
					<-time.After(time.Minute)
					var n int
					n, err = io.ReadFull(answer.Body, part)
					got = append(got, part[:n]...)
				}
				if len(got) < 800<<10 || !json.Valid(got) {
					t.Errorf("%d bytes came, and then %v; expected the whole answer", len(got), err)
				}
				answer.Body.Close()
				if err := srv.Close(); err != nil {
					t.Error(err)
				}
				<-done
				client.Close()
			})
		})
	}
}

// pipes is a listener of connections that the test has made.
type pipes struct {
	conns chan net.Conn
	shut  chan struct{}
}

func (l pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.shut:
		return nil, net.ErrClosed
	}
}

func (l pipes) Close() error   { close(l.shut); return nil }
func (l pipes) Addr() net.Addr { return &net.TCPAddr{} }

// TestT06_AnUploadThatStandsStillIsCutOff: it has time as long as it moves, and no longer.
func TestT06_AnUploadThatStandsStillIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		conn, err := s.listening().network.Dial(t.Context(), "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "PUT /v1/images/half.raw HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nhalf"); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Minute)); err != nil {
			t.Fatal(err)
		}
		if answer, err := io.ReadAll(conn); err != nil || !strings.Contains(string(answer), " 400 ") || !strings.Contains(string(answer), "broke off") {
			t.Errorf("the connection is still open, or was answered otherwise: %v, %q", err, answer)
		}
		if len(s.images.images) != 0 {
			t.Errorf("half an upload is an image: %v", s.images.images)
		}
	})
}

// TestT06_HalfABodyBeforeAStream: what a client owes of a request's body is waited for as long as any request is read,
// and the stream begins then; it is not waited for without end.
func TestT06_HalfABodyBeforeAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.enrolled()
		conn, err := s.listening().network.Dial(t.Context(), "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /v1/events?node=n1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		line(t, bufio.NewReader(conn), `"provision_state":"enroll"`)
	})
}
