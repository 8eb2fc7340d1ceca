package channel

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// slow is a conductor whose lookups take a while.
type slow struct {
	Conductor
	takes func() time.Duration

	mu            sync.Mutex
	in, most, all int
}

func (s *slow) Lookup(ctx context.Context, p conductor.Peer, r api.LookupRequest, inv inventory.Inventory) (conductor.Admission, error) {
	s.mu.Lock()
	s.in++
	s.all++
	s.most = max(s.most, s.in)
	s.mu.Unlock()
	<-time.After(s.takes())
	s.mu.Lock()
	s.in--
	s.mu.Unlock()
	return conductor.Admission{Node: r.Node, Generation: 7, Level: api.A1}, nil
}

// herd is what came of machines that looked themselves up at once and came back when they were told to.
type herd struct {
	most, all int           // lookups in hand at once, and all together
	longest   time.Duration // until an answer
	later     map[int]int   // second to how many were told to come back in it
	took      time.Duration // until all were admitted
}

// runHerd lets machines arrive over a while, with so many lookups in hand, each of which takes what takes says.
func runHerd(t *testing.T, machines int, over time.Duration, inHand int, takes func(since time.Duration) time.Duration) herd {
	t.Helper()
	var s *slow
	start := time.Now()
	rig := newRig(t, func(c *Config) {
		s = &slow{Conductor: c.Conductor, takes: func() time.Duration { return takes(time.Since(start)) }}
		c.Conductor, c.Limits = s, Limits{AllLookups: inHand}
	})
	body, err := json.Marshal(lookupOf(nodeA))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	h := herd{later: map[int]int{}}
	var wg sync.WaitGroup
	for i := range machines {
		c := rig.client(fmt.Sprintf("198.51.%d.%d:4000", i/250, 1+i%250))
		wg.Go(func() {
			<-time.After(over * time.Duration(i) / time.Duration(machines))
			for range 100 {
				began := time.Now()
				w := c.raw(t.Context(), http.MethodPost, api.PathLookup, body)
				took := time.Since(began)
				mu.Lock()
				h.longest = max(h.longest, took)
				mu.Unlock()
				if w.Code == http.StatusOK {
					return
				}
				wait, err := strconv.Atoi(w.Header().Get("Retry-After"))
				if w.Code != http.StatusServiceUnavailable || err != nil || wait < 1 || wait > comeBackLate {
					t.Errorf("status %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
					return
				}
				mu.Lock()
				h.later[int(time.Since(start).Seconds())+wait]++
				mu.Unlock()
				<-time.After(time.Duration(wait) * time.Second)
			}
			t.Error("a machine was never admitted")
		})
	}
	wg.Wait()
	h.most, h.all, h.took = s.most, s.all, time.Since(start)
	return h
}

// TestF36_HerdOfLookups: of many lookups at once only so many are in hand; the rest waits a second at most, or is told with 503
// and Retry-After to come back, spread over the time that the server needs. Who does so is admitted.
func TestF36_HerdOfLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const machines, inHand, takes = 400, 4, 100 * time.Millisecond
		h := runHerd(t, machines, 0, inHand, func(time.Duration) time.Duration { return takes })
		if h.most > inHand || h.all != machines {
			t.Errorf("%d lookups in hand at once, %d in all", h.most, h.all)
		}
		if h.longest > turnWait+takes {
			t.Errorf("an answer took %s", h.longest)
		}
		for second, n := range h.later {
			// One second's worth of what the server can do, and what chance adds; the first guess of its speed is off.
			if n > 3*max(turnRate, int(inHand*time.Second/takes)) {
				t.Errorf("%d machines come back in second %d: %v", n, second, h.later)
			}
		}
		if least := takes * machines / inHand; h.took > 2*least {
			t.Errorf("all were admitted after %s; without pause it takes %s", h.took, least)
		}
	})
}

// TestF36_HerdLeavesNoServerIdle: while a herd arrives the server is slow, as its handshakes cost more than lookups do. Those
// who were told to come back then are not called for by that speed.
func TestF36_HerdLeavesNoServerIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const machines, inHand, slow, fast = 800, 4, 400 * time.Millisecond, 50 * time.Millisecond
		const arriving = 5 * time.Second
		h := runHerd(t, machines, arriving, inHand, func(since time.Duration) time.Duration {
			if since < arriving {
				return slow
			}
			return fast
		})
		if h.most > inHand || h.all != machines {
			t.Errorf("%d lookups in hand at once, %d in all", h.most, h.all)
		}
		if least := arriving + fast*(machines-time.Duration(inHand*arriving/slow))/inHand; h.took > 2*least {
			t.Errorf("all were admitted after %s; without pause it takes %s", h.took, least)
		}
	})
}
