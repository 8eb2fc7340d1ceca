package channel_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	serverchannel "github.com/bessemer-metal/bessemer/server/channel"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// TestF13_CutInsideEveryWrite cuts the connection inside the n-th write of either side, for every n until the run
// ends uncut: handshakes, requests and answers are lost half-way, each step still runs once.
func TestF13_CutInsideEveryWrite(t *testing.T) {
	for n := 1; ; n++ {
		writes := 0
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "one", "two")
			s.net.CutAt(n)
			defer s.serve()()
			m := s.machine()
			defer m.start()()
			s.await("all ended", s.allEnded)
			m.once(t, fmt.Sprintf("write %d cut", n))
			writes = s.net.Writes()
		})
		if writes < n || t.Failed() {
			if n < 20 {
				t.Errorf("only %d writes were cut", n)
			}
			return
		}
	}
}

// TestF10_Partition takes the network away for ten minutes at the moments that matter.
func TestF10_Partition(t *testing.T) {
	for _, moment := range []string{"offered", "started", "ended"} {
		for _, restart := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, "one")
				m := s.machine()
				cut := func() {
					s.net.Down(true)
					time.AfterFunc(10*time.Minute, func() { s.net.Down(false) })
				}
				m.work = func(context.Context, step.Call) (step.Result, error) {
					if moment == "started" {
						cut()
					}
					<-time.After(time.Minute)
					if moment == "ended" {
						cut()
					}
					return step.Result{}, nil
				}
				if moment == "offered" {
					var first atomic.Bool
					first.Store(true)
					s.handle = func(next http.Handler) http.Handler {
						return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
							if r.URL.Path == api.PathStart && first.CompareAndSwap(true, false) {
								next.ServeHTTP(httptest.NewRecorder(), r) // committed, and the answer is lost
								cut()
							} else {
								next.ServeHTTP(w, r)
							}
						})
					}
				}
				defer s.serve()()
				stop := m.start()
				if restart {
					<-time.After(5 * time.Minute)
					stop()
					stop = m.start()
				}
				defer func() { stop() }()
				s.await("ended", s.allEnded)
				<-time.After(time.Minute)
				a := s.steps["one"]
				want := api.Succeeded
				if restart && moment == "offered" {
					want = api.Interrupted // I12: what the next process can say; the end of the others is in the journal
				}
				m.mu.Lock()
				defer m.mu.Unlock()
				if m.runs["one"] > 1 || a.taken != 1 || a.end.Outcome != want {
					t.Errorf("%s, restart %v: %+v, ran %d times", moment, restart, a, m.runs["one"])
				}
				if a.end.Outcome == api.Succeeded && m.runs["one"] != 1 {
					t.Errorf("%s, restart %v: succeeded without having run", moment, restart)
				}
				if len(m.trouble) == 0 || m.trouble[len(m.trouble)-1] != "" {
					t.Errorf("%s: the console says %q", moment, m.trouble)
				}
			})
		}
	}
}

// TestF12_DuplicatedAndLate sends every request to the server again: at once, and minutes later.
func TestF12_DuplicatedAndLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "one", "two")
		var wg sync.WaitGroup
		s.handle = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				r.Body = io.NopCloser(bytes.NewReader(body))
				for _, after := range []time.Duration{0, 3 * time.Minute} {
					again := r.Clone(context.Background())
					again.Body = io.NopCloser(bytes.NewReader(body))
					wg.Go(func() {
						<-time.After(after)
						next.ServeHTTP(httptest.NewRecorder(), again)
					})
				}
				next.ServeHTTP(w, r)
			})
		}
		stopServer := s.serve()
		m := s.machine()
		m.work = func(context.Context, step.Call) (step.Result, error) {
			<-time.After(2 * time.Minute)
			return step.Result{}, nil
		}
		stop := m.start()
		s.await("all ended", s.allEnded)
		<-time.After(10 * time.Minute)
		m.once(t, "duplicates")
		stop()
		wg.Wait()
		stopServer()
	})
}

// TestF11_SlowNetwork: two seconds for every write, in both directions.
func TestF11_SlowNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "one", "two")
		s.net.Slow(2 * time.Second)
		defer s.serve()()
		m := s.machine()
		defer m.start()()
		s.await("all ended", s.allEnded)
		m.once(t, "slow")
	})
}

// TestF14_RestartedProcessIsTheSameClient: the key is kept, the claim is the same, the steps are told again.
func TestF14_RestartedProcessIsTheSameClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "one", "two")
		defer s.serve()()
		m := s.machine()
		m.work = func(ctx context.Context, c step.Call) (step.Result, error) {
			if c.ID == "one" {
				<-ctx.Done()
			}
			return step.Result{}, ctx.Err()
		}
		stop := m.start()
		s.await("started", func() bool { return s.steps["one"].state == "started" })
		stop()
		defer m.start()()
		s.await("all ended", s.allEnded)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.contested || len(s.keys) != 1 {
			t.Errorf("contested %v, %d keys", s.contested, len(s.keys))
		}
		if one, two := s.steps["one"], s.steps["two"]; one.end.Outcome != api.Interrupted || two.end.Outcome != api.Succeeded || m.runs["one"] != 1 {
			t.Errorf("%+v, %+v, ran %v", one, two, m.runs)
		}
	})
}

// TestT01_TwoMachinesClaimOneNode, before, while and after each other (I17): one is admitted at most, the node is
// contested, no step runs from then on.
func TestT01_TwoMachinesClaimOneNode(t *testing.T) {
	for _, head := range []time.Duration{0, time.Nanosecond, time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "one", "two")
			defer s.serve()()
			a, b := s.machine(), s.machine()
			b.addr = "192.0.2.2"
			slow := func(context.Context, step.Call) (step.Result, error) {
				<-time.After(2 * time.Minute)
				return step.Result{}, nil
			}
			a.work, b.work = slow, slow
			defer a.start()()
			<-time.After(head)
			defer b.start()()
			<-time.After(10 * time.Minute)
			s.mu.Lock()
			defer s.mu.Unlock()
			if !s.contested || len(s.keys) != 2 {
				t.Fatalf("contested %v, %d keys", s.contested, len(s.keys))
			}
			if len(a.runs) > 0 && len(b.runs) > 0 || a.runs["two"]+b.runs["two"] > 0 {
				t.Errorf("ran %v and %v", a.runs, b.runs)
			}
			for _, m := range []*machine{a, b} {
				if n := len(m.trouble); n == 0 || !strings.Contains(m.trouble[n-1], "two machines") {
					t.Errorf("the console says %q", m.trouble)
				}
			}
		})
	}
}

// TestI19_WrongSecretOrGeneration is refused for good, told in words, and asked with growing pauses.
func TestI19_WrongSecretOrGeneration(t *testing.T) {
	for name, spoil := range map[string]func(*api.BootConfig){
		"secret": func(b *api.BootConfig) { b.Secret = "guess" }, "generation": func(b *api.BootConfig) { b.Generation-- },
		"node": func(b *api.BootConfig) { b.Node = "other" },
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "one")
			tries := 0
			s.handle = func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					s.mu.Lock()
					tries++
					s.mu.Unlock()
					next.ServeHTTP(w, r)
				})
			}
			defer s.serve()()
			m := s.machine()
			spoil(&m.boot)
			defer m.start()()
			<-time.After(time.Hour)
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.key != "" || len(m.runs) > 0 || len(m.trouble) != 1 || tries < 60 || tries > 300 {
				t.Errorf("%s: admitted %q, %d tries in an hour, console %q", name, s.key, tries, m.trouble)
			}
		})
	}
}

// TestServerRestart: tokens, offers and liveness of the new process come from nothing but lookups and heartbeats.
func TestServerRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "one", "two")
		stop := s.serve()
		m := s.machine()
		m.work = func(context.Context, step.Call) (step.Result, error) {
			<-time.After(3 * time.Minute)
			return step.Result{}, nil
		}
		defer m.start()()
		s.await("started", func() bool { return s.steps["one"].state == "started" })
		stop()
		s.net.Down(true)
		<-time.After(time.Minute)
		s.mu.Lock()
		s.disp = serverchannel.NewDispatcher(time.Now)
		s.mu.Unlock()
		s.net.Down(false)
		defer s.serve()()
		s.await("all ended", s.allEnded)
		m.once(t, "server restart")
	})
}
