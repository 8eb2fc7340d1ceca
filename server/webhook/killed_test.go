package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/webhook"
)

// mortal is a server that is killed at its nth mark: from then on nothing of it reaches the store or anybody else, and it learns
// of nothing that does.
type mortal struct {
	conductor.Store
	to http.RoundTripper

	mu    sync.Mutex
	marks int
	last  int // it dies there
	dead  chan struct{}
	moved chan struct{} // after commits
}

var errKilled = errors.New("the server is killed")

// mark tells whether the server still lives.
func (m *mortal) mark() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.marks++; m.marks == m.last {
		close(m.dead)
	}
	return m.marks < m.last
}

func (m *mortal) View(ctx context.Context, fn func(conductor.Tx) error) error {
	m.mu.Lock()
	gone := m.marks >= m.last
	m.mu.Unlock()
	if gone {
		return errKilled
	}
	return m.Store.View(ctx, fn)
}

func (m *mortal) Update(ctx context.Context, fn func(conductor.Tx) error) error {
	if !m.mark() {
		return errKilled
	}
	err := m.Store.Update(ctx, fn)
	if !m.mark() {
		return errKilled
	}
	select {
	case m.moved <- struct{}{}:
	default:
	}
	return err
}

func (m *mortal) RoundTrip(r *http.Request) (*http.Response, error) {
	if !m.mark() {
		return nil, errKilled
	}
	answer, err := m.to.RoundTrip(r)
	if !m.mark() {
		return nil, errKilled
	}
	return answer, err
}

// TestI13_AKilledServerLosesNoDelivery kills the server before and after each of its commits and deliveries in turn: what had been
// committed is told by the next one, in order, and what comes twice is the same, by its id as by its events.
func TestI13_AKilledServerLosesNoDelivery(t *testing.T) {
	const host = "a.example"
	for last := 1; ; last++ {
		g := newRig(t, host)
		g.move(3)
		m := &mortal{Store: g.store, to: g.r, last: last, dead: make(chan struct{}), moved: make(chan struct{}, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		s := webhook.New(webhook.Config{Store: m, Changed: g.changed, Transport: m, Origins: []string{"https://" + host + ":443"}, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx) }()
		killed, whole := false, false
		for late := time.After(2 * time.Minute); !killed && !whole; {
			select {
			case <-m.dead:
				killed = true
			case <-m.moved:
				if err := g.store.View(t.Context(), func(tx conductor.Tx) error {
					w, err := tx.Webhook(host)
					whole = !w.Delivered.IsZero()
					return err
				}); err != nil {
					t.Fatal(err)
				}
			case <-late:
				t.Fatalf("killed at %d: neither the end of the server nor of its work in two minutes", last)
			}
		}
		cancel()
		<-done
		g.move(2)
		stop := g.run()
		g.until("all that was committed", func() bool { return events(g.r.got[host]) >= 5 })
		stop()
		seen, order := map[string]string{}, ""
		for _, d := range g.r.got[host] {
			text := fmt.Sprint(d)
			if was := seen[d.ID]; was != "" && was != text {
				t.Errorf("killed at %d: %s is told as\n%s\nand then as\n%s", last, d.ID, was, text)
			} else if was == "" {
				for _, e := range d.Events {
					order += string(e.State) + " "
				}
			}
			seen[d.ID] = text
		}
		if want := "enroll manageable available manageable available "; events(g.r.got[host]) != 5 || order != want {
			t.Errorf("killed at %d: told is %q, expected %q", last, order, want)
		}
		if !killed {
			if last < 6 {
				t.Errorf("the server had %d marks only", last-1)
			}
			return
		}
	}
}
