package channel

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/shared/api"
)

func TestI25_BodiesAreBounded(t *testing.T) {
	b := &bodies{large: 2}
	n := 0
	for n < 1000 && b.enter(usualBody) {
		n++
	}
	if n != allBodies/usualBody {
		t.Errorf("%d usual bodies fit, want %d", n, allBodies/usualBody)
	}
	if !b.enter(0) || b.enter(1) {
		t.Error("what is full takes one byte more, or does not take none")
	}
	// Long ones do not stand in the way of the others, nor the others in theirs.
	if !b.enter(-1) || !b.enter(usualBody+1) || b.enter(-1) {
		t.Error("not two long bodies fit")
	}
	b.leave(-1)
	b.leave(usualBody)
	if !b.enter(api.MaxLookup) || !b.enter(usualBody) || b.enter(1) || b.enter(-1) {
		t.Error("what was given back is not there")
	}
	b.leave(0)
	for range n {
		b.leave(usualBody)
	}
	b.leave(usualBody + 1)
	b.leave(api.MaxLookup)
	if b.held != 0 || b.larger != 0 {
		t.Errorf("%d bytes and %d long ones are left", b.held, b.larger)
	}
}

// stalled is a body that comes when it is let.
type stalled struct {
	until chan struct{}
	io.Reader
}

func (s *stalled) Read(p []byte) (int, error) {
	<-s.until
	return s.Reader.Read(p)
}

// TestT06_SlowLookupsHoldNoTurn: however many send their lookup slowly, others have their turns.
func TestT06_SlowLookupsHoldNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := newRig(t, func(c *Config) { c.Limits = Limits{AllLookups: 1} })
		body, err := json.Marshal(lookupOf(nodeA))
		if err != nil {
			t.Fatal(err)
		}
		one := rig.client(addressOf(1))
		until, done := make(chan struct{}), make(chan int)
		for range 3 {
			go func() {
				done <- one.from(&stalled{until, bytes.NewReader(body)}, int64(len(body))).Code
			}()
		}
		synctest.Wait()
		rig.client(addressOf(2)).lookup(nodeB)
		close(until)
		for range 3 {
			if code := <-done; code != http.StatusOK {
				t.Errorf("status %d for one that came in the end", code)
			}
		}
	})
}
