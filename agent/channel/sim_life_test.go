package channel_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "one", "two", "three")
		defer s.serve()()
		m := s.machine()
		var secret []byte
		m.work = func(ctx context.Context, c step.Call) (r step.Result, err error) {
			c.Report(step.Progress{Percent: 50})
			secret, err = c.Secret(ctx, "configdrive")
			<-time.After(16 * time.Minute) // longer than a token lives
			return step.Result{Data: map[string]any{"id": string(c.ID)}}, err
		}
		defer m.start()()
		began := time.Now()
		s.await("all ended", s.allEnded)
		m.once(t, "life")
		if string(secret) != "the configdrive" {
			t.Errorf("secret %q", secret)
		}
		if gap := time.Since(began) - 48*time.Minute; gap > time.Second {
			t.Errorf("three steps of 16 minutes took %s more than they last", gap)
		}
		s.await("the log shipped", func() bool { return strings.Contains(s.log.String(), "step ended") })
		s.mu.Lock()
		defer s.mu.Unlock()
		if !strings.Contains(s.log.String(), "the server admits this machine") {
			t.Error("the log lacks its beginning")
		}
		if m.trouble != nil {
			t.Errorf("trouble: %q", m.trouble)
		}
	})
}

// TestStepGap: from the end of a step to the start of the next nothing is waited for.
func TestStepGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "one", "two")
		defer s.serve()()
		m := s.machine()
		var times []time.Time
		m.work = func(context.Context, step.Call) (step.Result, error) {
			times = append(times, time.Now())
			<-time.After(time.Minute)
			times = append(times, time.Now())
			return step.Result{}, nil
		}
		defer m.start()()
		s.await("all ended", s.allEnded)
		if len(times) != 4 || times[2].Sub(times[1]) >= 100*time.Millisecond {
			t.Errorf("%v", times)
		}
	})
}

func TestAbortArrivesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "one")
		defer s.serve()()
		m := s.machine()
		m.work = func(ctx context.Context, _ step.Call) (step.Result, error) {
			<-ctx.Done()
			return step.Result{}, ctx.Err()
		}
		defer m.start()()
		s.await("started", func() bool { return s.steps["one"].state == "started" })
		<-time.After(30 * time.Second)
		began := time.Now()
		s.disp.Withdraw(node, "one")
		s.await("ended", s.allEnded)
		if end := s.steps["one"].end; end.Outcome != api.Aborted || time.Since(began) > 200*time.Millisecond {
			t.Errorf("%+v after %s", end, time.Since(began))
		}
	})
}

func TestProgressWhileWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "one")
		defer s.serve()()
		m := s.machine()
		m.work = func(_ context.Context, c step.Call) (step.Result, error) {
			for i := range 100 {
				c.Report(step.Progress{Percent: float64(i)})
				<-time.After(time.Second)
			}
			return step.Result{}, nil
		}
		defer m.start()()
		count := func() int { s.mu.Lock(); defer s.mu.Unlock(); return len(s.progress) }
		s.await("started", func() bool { return s.steps["one"].state == "started" })
		<-time.After(20 * time.Second)
		if n := count(); n > 3 {
			t.Errorf("unwatched: %d reports in 20 s", n)
		}
		s.watch(time.Second)
		before := count()
		<-time.After(20 * time.Second)
		if n := count() - before; n < 15 || n > 30 {
			t.Errorf("watched: %d reports in 20 s", n)
		}
		s.watch(0)
		<-time.After(4 * time.Second)
		before = count()
		<-time.After(20 * time.Second)
		if n := count() - before; n > 3 {
			t.Errorf("no longer watched: %d reports in 20 s", n)
		}
		s.await("ended", s.allEnded)
		m.once(t, "watched")
	})
}

// TestIdleIsQuiet: an agent without work asks about once a minute.
func TestIdleIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		requests := 0
		s.handle = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s.mu.Lock()
				requests++
				s.mu.Unlock()
				next.ServeHTTP(w, r)
			})
		}
		defer s.serve()()
		defer s.machine().start()()
		<-time.After(time.Hour)
		s.mu.Lock()
		defer s.mu.Unlock()
		if requests > 90 {
			t.Errorf("%d requests in an hour without work", requests)
		}
	})
}

// TestI25_AnAgentWithoutStepsIsHeardAndQuiet: that it offers nothing is told, once, like any other offer.
func TestI25_AnAgentWithoutStepsIsHeardAndQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		requests, slow := 0, time.NewTicker(time.Millisecond) // a bubble's time stands still while work is done
		defer slow.Stop()
		s.handle = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s.mu.Lock()
				requests++
				s.mu.Unlock()
				<-slow.C
				next.ServeHTTP(w, r)
			})
		}
		defer s.serve()()
		m := s.machine()
		m.bare = true
		defer m.start()()
		<-time.After(10 * time.Second)
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.ready || requests > 10 {
			t.Errorf("told %v; %d requests in ten seconds without work", s.ready, requests)
		}
	})
}
