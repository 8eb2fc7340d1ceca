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
	takes time.Duration

	mu            sync.Mutex
	in, most, all int
}

func (s *slow) Lookup(ctx context.Context, p conductor.Peer, r api.LookupRequest, inv inventory.Inventory) (conductor.Admission, error) {
	s.mu.Lock()
	s.in++
	s.all++
	s.most = max(s.most, s.in)
	s.mu.Unlock()
	<-time.After(s.takes)
	s.mu.Lock()
	s.in--
	s.mu.Unlock()
	return conductor.Admission{Node: r.Node, Generation: 7, Level: api.A1}, nil
}

// TestF36_HerdOfLookups: of many lookups at once only so many are in hand; the rest waits a second at most, or is told with 503
// and Retry-After to come back, spread over the time that the server needs. Who does so is admitted.
func TestF36_HerdOfLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const machines, inHand = 400, 4
		var s *slow
		rig := newRig(t, func(c *Config) {
			s = &slow{Conductor: c.Conductor, takes: 100 * time.Millisecond}
			c.Conductor, c.Limits = s, Limits{AllLookups: inHand}
		})
		body, err := json.Marshal(lookupOf(nodeA))
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		later := map[int]int{}
		longest := time.Duration(0)
		var wg sync.WaitGroup
		for i := range machines {
			c := rig.client(fmt.Sprintf("198.51.%d.%d:4000", i/250, 1+i%250))
			wg.Go(func() {
				for range 100 {
					began := time.Now()
					w := c.raw(t.Context(), http.MethodPost, api.PathLookup, body)
					took := time.Since(began)
					mu.Lock()
					longest = max(longest, took)
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
					later[wait]++
					mu.Unlock()
					<-time.After(time.Duration(wait) * time.Second)
				}
				t.Error("a machine was never admitted")
			})
		}
		began := time.Now()
		wg.Wait()
		if s.most > inHand || s.all != machines {
			t.Errorf("%d lookups in hand at once, %d in all", s.most, s.all)
		}
		if longest > turnWait+s.takes {
			t.Errorf("an answer took %s", longest)
		}
		for wait, n := range later {
			// One second's worth of what the server can do, and what chance adds; the first guess of its speed is off.
			if n > 3*max(turnRate, int(inHand*time.Second/s.takes)) {
				t.Errorf("%d machines come back after the same %d seconds: %v", n, wait, later)
			}
		}
		if least := s.takes * machines / inHand; time.Since(began) > 2*least {
			t.Errorf("all were admitted after %s; without pause it takes %s", time.Since(began), least)
		}
	})
}
