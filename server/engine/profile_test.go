package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/profile"
	"github.com/bessemer-metal/bessemer/server/fake"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

const (
	card  = "52:54:00:00:00:01"
	other = "52:54:00:00:00:02"
	from  = "192.0.2.50"
)

// fast is a node of fake-hardware that may be looked up in any resting state, with a card.
func fast(t *testing.T) *site {
	t.Helper()
	s := withTypes(t, conductor.Node{Driver: "fake-hardware", DriverInfo: map[string]any{"fast_track": true},
		Interfaces: map[string]string{"deploy": "direct", "inspect": "agent"}}, fake.New(fake.Config{}))
	s.card(s.node().UUID, card)
	return s
}

func (s *site) card(node conductor.NodeID, address string) {
	s.t.Helper()
	if _, err := s.c.CreateRecord(s.t.Context(), conductor.Caller{}, &conductor.Port{Node: node, Address: address}); err != nil {
		s.t.Fatal(err)
	}
}

// looked looks the node up and gives the token.
func (s *site) looked() string {
	s.t.Helper()
	n, token, err := s.c.RamdiskLookup(s.t.Context(), "", []string{card}, from, true)
	if err != nil || n.Name != "n1" {
		s.t.Fatalf("looked up %s: %v", n.Name, err)
	}
	return token
}

func (s *site) profileBeat(token string) error {
	return s.c.RamdiskHeartbeat(s.t.Context(), profile.Beat{Node: "n1", URL: "http://192.0.2.50:9999", Token: token, Version: "11.6.0"})
}

// However many ask at once, the token is given to one (I17), it is kept nowhere, and only its hash is stored.
func TestI17_ATokenIsGivenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fast(t)
		var mu sync.Mutex
		given := map[string]int{}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, token, err := s.c.RamdiskLookup(t.Context(), "", []string{card}, from, true)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				given[token]++
			})
		}
		wg.Wait()
		if len(given) != 2 || given[""] != 19 {
			t.Fatalf("tokens given: %v", given)
		}
		for token := range given {
			if token == "" {
				continue
			}
			if len(token) != 43 {
				t.Errorf("a token of %d characters", len(token))
			}
			record, err := json.Marshal(s.node())
			if err != nil || bytes.Contains(record, []byte(token)) {
				t.Errorf("the record holds the token: %v", err)
			}
			if err := s.profileBeat(token); err != nil {
				t.Error(err)
			}
		}
	})
}

// A token is good for its node and its boot, and for nothing else (I18).
func TestI18_ATokenIsGoodForItsNodeAndBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fast(t)
		n2, err := s.c.CreateNode(t.Context(), conductor.Caller{}, conductor.Node{Name: "n2", Driver: "fake-hardware", DriverInfo: map[string]any{"fast_track": true}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.card(n2.UUID, other)
		token := s.looked()
		if _, theirs, err := s.c.RamdiskLookup(t.Context(), string(n2.UUID), nil, from, true); err != nil || theirs == "" || theirs == token {
			t.Fatalf("the other node's token: %v", err)
		} else if err := s.profileBeat(theirs); !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("another node's token: %v", err)
		}
		for _, wrong := range []string{"", "******", token[1:], token + "x", strings.ToUpper(token)} {
			if err := s.profileBeat(wrong); !fault.Has(err, fault.RequestInvalid) {
				t.Errorf("the token %q: %v", wrong, err)
			}
		}
		if err := s.profileBeat(token); err != nil {
			t.Fatal(err)
		}
		if at := s.c.RamdiskHeard(s.node().UUID); !at.Equal(s.now()) {
			t.Errorf("heard at %s", at)
		}
		if err := s.c.SetPower(t.Context(), conductor.Caller{}, "n1", conductor.PowerRequest{Target: "power off"}); err != nil {
			t.Fatal(err)
		}
		if err := s.profileBeat(token); !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("a token after the machine was powered off: %v", err)
		}
		time.Sleep(5 * time.Second)
		if again := s.looked(); again == "" || again == token {
			t.Error("the next boot gets no token of its own")
		}
	})
}

// Outside its window a lookup changes nothing, and neither does a heartbeat without the token (I24). The answer to a lookup
// does not tell why.
func TestI24_NothingChangesWithoutAWindowOrAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fast(t)
		rack, err := s.c.CreateNode(t.Context(), conductor.Caller{}, conductor.Node{Name: "real", Driver: "rack", DriverInfo: map[string]any{"fast_track": true}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.card(rack.UUID, other)
		slow, err := s.c.CreateNode(t.Context(), conductor.Caller{}, conductor.Node{Name: "slow", Driver: "fake-hardware"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		versions := func() (out []string) {
			for _, id := range []string{"n1", "real", "slow"} {
				n, err := s.c.Node(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, fmt.Sprint(n.Version, n.Ramdisk))
			}
			return out
		}
		before := versions()
		texts := map[string]bool{}
		for what, ask := range map[string]struct {
			id        string
			addresses []string
		}{
			"a real node":        {"", []string{other}},
			"by UUID":            {string(rack.UUID), nil},
			"without fast_track": {string(slow.UUID), nil},
			"no node":            {"11111111-2222-4333-8444-555555555555", nil},
			"no such card":       {"", []string{"52:54:00:ff:ff:ff"}},
			"two nodes":          {"", []string{card, other}},
		} {
			_, token, err := s.c.RamdiskLookup(t.Context(), ask.id, ask.addresses, from, true)
			if token != "" || !fault.Has(err, fault.LookupNotFound) {
				t.Errorf("%s is looked up: %v", what, err)
				continue
			}
			texts[err.Error()] = true
		}
		if len(texts) != 1 {
			t.Errorf("the refusals differ: %v", texts)
		}
		for _, id := range []string{"n1", "real", "slow"} {
			err := s.c.RamdiskHeartbeat(t.Context(), profile.Beat{Node: id, URL: "http://192.0.2.66:9999", Token: "x", Version: "1"})
			if !fault.Has(err, fault.RequestInvalid) {
				t.Errorf("a heartbeat for %s without a token: %v", id, err)
			}
		}
		if after := versions(); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("the records changed: %v, before %v", after, before)
		}
	})
}

// A second address is told nothing, and makes both worth nothing, until the next boot (safety.md §2.11).
func TestT01_ASecondAddressContests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fast(t)
		token := s.looked()
		if _, again, err := s.c.RamdiskLookup(t.Context(), "", []string{card}, from, true); err != nil || again != "" {
			t.Errorf("the same ramdisk again: %q, %v", again, err)
		}
		if err := s.profileBeat(token); err != nil {
			t.Fatal(err)
		}
		if _, again, err := s.c.RamdiskLookup(t.Context(), "", []string{card}, "192.0.2.66", true); err != nil || again != "" {
			t.Errorf("a second address: %q, %v", again, err)
		}
		if err := s.profileBeat(token); !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("a heartbeat of a contested ramdisk: %v", err)
		}
		entries, err := s.c.History(t.Context(), "n1", conductor.HistoryFilter{Limit: 10, Descending: true})
		if err != nil || len(entries) == 0 || entries[0].Severity != "ERROR" || !strings.Contains(entries[0].Event, "192.0.2.66") {
			t.Errorf("the history does not tell: %+v, %v", entries, err)
		}
	})
}

func TestHeartbeatsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fast(t)
		token := s.looked()
		ca := "-----BEGIN CERTIFICATE-----"
		beat := func(change func(*profile.Beat)) error {
			b := profile.Beat{Node: "n1", URL: "https://192.0.2.50:9999", Token: token, Version: "11.6.0", CA: &ca}
			if change != nil {
				change(&b)
			}
			return s.c.RamdiskHeartbeat(t.Context(), b)
		}
		if err := beat(nil); err != nil {
			t.Fatal(err)
		}
		n := s.node()
		if r := n.Ramdisk; r == nil || r.URL != "https://192.0.2.50:9999" || r.Version != "11.6.0" || len(r.CA) != 32 {
			t.Fatalf("kept: %+v", r)
		}
		time.Sleep(time.Minute)
		if err := beat(nil); err != nil {
			t.Fatal(err)
		}
		if now := s.node(); now.Version != n.Version || !s.c.RamdiskHeard(n.UUID).Equal(s.now()) {
			t.Error("a heartbeat that says nothing new is written, or its time is lost")
		}
		wrong := "other"
		for what, change := range map[string]func(*profile.Beat){
			"another URL":         func(b *profile.Beat) { b.URL = "https://192.0.2.66:9999" },
			"another certificate": func(b *profile.Beat) { b.CA = &wrong },
		} {
			if err := beat(change); !fault.Has(err, fault.RequestInvalid) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := beat(func(b *profile.Beat) { b.Version, b.CA = "11.7.0", nil }); err != nil {
			t.Error(err)
		}
		if r := s.node().Ramdisk; r.Version != "11.7.0" || len(r.CA) != 32 {
			t.Errorf("kept: %+v", r)
		}
	})
}

// An inspection by a ramdisk of the Ironic profile ends in manageable with what it told.
func TestInspectionByTheIronicProfile(t *testing.T) {
	for _, keep := range []bool{true, false} {
		t.Run(fmt.Sprint("fast_track ", keep), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fast(t)
				if _, err := s.c.UpdateNode(t.Context(), conductor.Caller{}, "n1", func(n *conductor.Node, _ map[string]string) error {
					n.DriverInfo = map[string]any{"fast_track": keep}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				told := func(id string, addresses ...string) (string, error) {
					_, token, err := s.c.RamdiskInspection(t.Context(), id, addresses, json.RawMessage(`{"cpu":{"architecture":"x86_64","count":4},"memory":{"physical_mb":8192},
						"interfaces":[{"mac_address":"52:54:00:00:00:01"}]}`), map[string]any{"root_disk": "sda"}, from, true)
					return token, err
				}
				s.provision(conductor.Provision{Verb: state.VerbManage})
				s.until(state.Manageable)
				if _, err := told("", card); !fault.Has(err, fault.LookupNotFound) {
					t.Errorf("an inspection that nobody asked for: %v", err)
				}
				s.provision(conductor.Provision{Verb: state.VerbInspect})
				s.until(state.InspectWait)
				s.card(s.other(), other)
				for what, try := range map[string]func() (string, error){
					"another node's card":          func() (string, error) { return told("", other) },
					"cards of two":                 func() (string, error) { return told("", card, other) },
					"the node with another's card": func() (string, error) { return told(string(s.node().UUID), card, other) },
				} {
					if _, err := try(); !fault.Has(err, fault.LookupNotFound) {
						t.Errorf("%s: %v", what, err)
					}
				}
				token, err := told("", card)
				if err != nil || token == "" {
					t.Fatalf("token %q, %v", token, err)
				}
				n := s.until(state.Manageable)
				if n.Properties["cpus"] != float64(4) || n.Properties["memory_mb"] != float64(8192) || n.InspectionFinished.IsZero() || n.LastError != "" {
					t.Errorf("properties %v, last error %q", n.Properties, n.LastError)
				}
				inv, err := s.c.Inventory(t.Context(), "n1")
				if err != nil || inv.Plugin["root_disk"] != "sda" || !strings.Contains(string(inv.Inventory), "physical_mb") {
					t.Errorf("inventory %+v, %v", inv, err)
				}
				if err := s.profileBeat(token); (err == nil) != keep {
					t.Errorf("a heartbeat after it: %v", err)
				}
				if _, err := told("", card); !fault.Has(err, fault.LookupNotFound) {
					t.Errorf("the same once more: %v", err)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := fast(t)
		if _, _, err := s.c.RamdiskInspection(t.Context(), "", []string{card}, json.RawMessage(`{"cpu":7}`), nil, from, true); !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("an inventory that is none: %v", err)
		}
	})
}

// An inspection from a second address counts for nothing and contests the first, whichever version it speaks.
func TestT01_AnInspectionFromASecondAddressContests(t *testing.T) {
	for _, wantsToken := range []bool{true, false} {
		t.Run(fmt.Sprint("with a token ", wantsToken), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fast(t)
				s.provision(conductor.Provision{Verb: state.VerbManage})
				s.until(state.Manageable)
				s.provision(conductor.Provision{Verb: state.VerbInspect})
				s.until(state.InspectWait)
				token := s.looked()
				told := func(source string) error {
					_, _, err := s.c.RamdiskInspection(t.Context(), "", []string{card}, json.RawMessage(`{"cpu":{"architecture":"x86_64","count":66}}`), nil, source, wantsToken)
					return err
				}
				for range 2 {
					if err := told("192.0.2.66"); !fault.Has(err, fault.LookupNotFound) {
						t.Errorf("from a second address: %v", err)
					}
				}
				if n := s.node(); n.State != state.InspectWait || n.Properties["cpus"] != nil || !n.Ramdisk.Contested {
					t.Errorf("%s, properties %v, ramdisk %+v", n.State, n.Properties, n.Ramdisk)
				}
				if _, err := s.c.Inventory(t.Context(), "n1"); !fault.Has(err, fault.InventoryNotFound) {
					t.Errorf("its inventory is kept: %v", err)
				}
				if err := told(from); !fault.Has(err, fault.LookupNotFound) {
					t.Errorf("from the first address: %v", err)
				}
				if err := s.profileBeat(token); !fault.Has(err, fault.RequestInvalid) {
					t.Errorf("a heartbeat of a contested ramdisk: %v", err)
				}
				entries, err := s.c.History(t.Context(), "n1", conductor.HistoryFilter{Limit: 10, Descending: true})
				if err != nil || len(entries) == 0 || entries[0].Severity != "ERROR" || entries[0].Reason != fault.NodeContested || !strings.Contains(entries[0].Event, "192.0.2.66") {
					t.Errorf("the history does not tell: %+v, %v", entries, err)
				}
			})
		})
	}
}

// What an inspection does not know it leaves as the operator or an earlier one said.
func TestASparseInventoryErasesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fast(t)
		if err := s.Change("n1", func(n *conductor.Node) {
			n.Properties = map[string]any{"cpu_arch": "aarch64", "cpus": 8, "memory_mb": 4096, "local_gb": 7}
		}); err != nil {
			t.Fatal(err)
		}
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		s.until(state.InspectWait)
		if _, _, err := s.c.RamdiskInspection(t.Context(), "", []string{card}, json.RawMessage(`{"cpu":{"count":16}}`), nil, from, true); err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(s.node().Properties), "map[cpu_arch:aarch64 cpus:16 local_gb:7 memory_mb:4096]"; got != want {
			t.Errorf("properties %s, expected %s", got, want)
		}
	})
}

// other is a second node.
func (s *site) other() conductor.NodeID {
	s.t.Helper()
	n, err := s.c.CreateNode(s.t.Context(), conductor.Caller{}, conductor.Node{Name: "n2", Driver: "fake-hardware"}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return n.UUID
}

// Between a lookup's view and its write the node may go, and another come with its UUID, or its card be another's: a lookup
// writes to the node that its claim finds then, and to no other (I17).
func TestI17_ALookupIsOfTheNodeAsItIsByThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fast(t)
		was := s.node()
		var once sync.Once
		s.fault.set(nil, func(ctx context.Context) error {
			once.Do(func() {
				err := s.store.Update(ctx, func(tx conductor.Tx) error {
					n := was
					n.Name = "later"
					return errors.Join(tx.DeleteNode(was.UUID), tx.CreateNode(&n))
				})
				if err != nil {
					t.Error(err)
				}
			})
			return nil
		}, nil)
		if _, token, err := s.c.RamdiskLookup(t.Context(), "", []string{card}, from, true); err == nil || token != "" {
			t.Errorf("a card that is gone is given a token: %v", err)
		}
		if n, err := s.c.Node(t.Context(), string(was.UUID)); err != nil || n.Name != "later" || n.Ramdisk != nil {
			t.Errorf("the later node is %q, with ramdisk %v: %v", n.Name, n.Ramdisk, err)
		}
	})
}
