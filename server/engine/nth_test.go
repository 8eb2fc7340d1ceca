package engine_test

import (
	"context"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// The shape of a fault test (safety.md §5): the n-th write of a life is refused by the store, n = 1, 2, … until a run
// has so few. Whoever asked hears of it and asks again; nothing is done twice, and the node gets where it was to go.
func TestF05_I30_EachWriteOfALifeRefusedInTurn(t *testing.T) {
	for n := int64(1); ; n++ {
		hit := false
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			var writes atomic.Int64
			s.fault.set(nil, func(context.Context) error {
				if writes.Add(1) == n {
					return fault.New(fault.StorageUnavailable, "the disk is full")
				}
				return nil
			}, nil)
			s.liveThrough(t)
			hit = writes.Load() >= n
		})
		if t.Failed() {
			t.Fatalf("write %d was refused", n)
		}
		if !hit {
			if n < 12 {
				t.Fatalf("a life of %d writes: the test looks at another one", n)
			}
			return
		}
	}
}

// From the n-th write on the store takes nothing for ten minutes, longer than any wait of an agent; then it goes on.
func TestF05_I14_I30_TheStoreIsAwayForTenMinutes(t *testing.T) {
	for n := int64(1); ; n += 3 {
		hit := false
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			var writes, until atomic.Int64
			s.fault.set(nil, func(context.Context) error {
				now := time.Now().UnixNano()
				if writes.Add(1) == n {
					until.Store(now + int64(10*time.Minute))
				}
				if now < until.Load() {
					return fault.New(fault.StorageUnavailable, "the disk is full")
				}
				return nil
			}, nil)
			s.liveThrough(t)
			hit = until.Load() != 0
		})
		if t.Failed() {
			t.Fatalf("the store was away from write %d on", n)
		}
		if !hit {
			return
		}
	}
}

// insist asks again while the store is away, as clients and agents do.
func insist(t *testing.T, ask func() error) {
	t.Helper()
	for {
		err := ask()
		if err == nil {
			return
		}
		if !fault.Has(err, fault.StorageUnavailable) {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
	}
}

// liveThrough brings the node from enroll to available, and checks what was done to the machine.
func (s *site) liveThrough(t *testing.T) {
	t.Helper()
	verb := func(v state.Event, to state.State) {
		insist(t, func() error {
			return s.c.Provision(t.Context(), conductor.Caller{Name: "op"}, "n1", conductor.Provision{Verb: v})
		})
		if to != "" {
			s.until(to)
		}
	}
	verb(state.VerbManage, state.Manageable)
	verb(state.VerbProvide, "")
	a := s.boots(t, <-s.board.booted)
	for _, name := range []string{"deploy.erase_devices_metadata", "deploy.erase_devices"} {
		var cmd api.Command
		for cmd = <-s.mail.offers; cmd.Step != name; cmd = <-s.mail.offers { // an offer may be repeated
		}
		insist(t, func() error {
			_, err := s.c.Start(t.Context(), a.sess, api.StartRequest{ID: cmd.ID, Nonce: nonce})
			return err
		})
		var res *step.Result
		if name == "deploy.erase_devices" {
			res = erased()
		}
		insist(t, func() error {
			return s.c.Result(t.Context(), a.sess, api.ResultRequest{ID: cmd.ID, Nonce: nonce, Outcome: api.Succeeded, Result: res})
		})
	}
	n := s.until(state.Available)
	if n.LastError != "" || n.Lease != nil {
		t.Errorf("available with %q and lease %+v", n.LastError, n.Lease)
	}
	boots := 0
	for _, act := range s.board.did() {
		if act == string(conductor.On) {
			boots++
		}
	}
	if boots != 1 || s.board.state() != conductor.PowerOff {
		t.Errorf("%d boots, the machine is %q: %v", boots, s.board.state(), s.board.did())
	}
	steps, err := s.c.Steps(t.Context(), "n1", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range steps {
		if r.State != conductor.StepSucceeded || r.Attempt != 1 {
			t.Errorf("step %s is %s in attempt %d", r.Step.Name, r.State, r.Attempt)
		}
	}
}

// boots is agentOf for a store that may be away.
func (s *site) boots(t *testing.T, url string) *agent {
	t.Helper()
	token := strings.Split(strings.TrimPrefix(url, "http://192.0.2.9:6387/boot/"), "/")[0]
	cfg, err := s.c.Medium(t.Context(), token, netip.MustParseAddr("192.0.2.1"))
	if err != nil {
		t.Fatal(err)
	}
	peer := conductor.Peer{Key: "thumb", Addr: netip.MustParseAddr("192.0.2.50")}
	var adm conductor.Admission
	insist(t, func() (err error) {
		adm, err = s.c.Lookup(t.Context(), peer, api.LookupRequest{Node: cfg.Node, Generation: cfg.Generation, Secret: cfg.Secret, BootID: "b", Seq: 1},
			inventory.Inventory{Disks: []inventory.Disk{disk}, CPU: inventory.CPU{Count: 2, Architecture: "x86_64"}})
		return err
	})
	a := &agent{s: s, sess: conductor.Session{Peer: peer, Claims: api.Claims{Node: adm.Node, Generation: adm.Generation, Key: "thumb"}}}
	s.seq = 1
	insist(t, func() error {
		s.seq++
		return s.c.Heartbeat(t.Context(), a.sess, api.HeartbeatRequest{Seq: s.seq, Steps: catalog.InBand})
	})
	return a
}
