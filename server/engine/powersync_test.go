package engine_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// synced is a site whose power states are looked at once a minute.
func synced(t *testing.T) *site {
	s := newSite(t)
	s.stop()
	s.sync = time.Minute
	s.start()
	s.provision(conductor.Provision{Verb: state.VerbManage})
	s.until(state.Manageable)
	return s
}

func (s *site) maintenance(on bool, reason string) {
	s.t.Helper()
	if err := s.c.SetMaintenance(s.t.Context(), conductor.Caller{Name: "op"}, "n1", on, reason); err != nil {
		s.t.Fatal(err)
	}
}

// Row 21: the BMC is down for some minutes, the server sets the fault, the BMC comes back, the server clears it.
func TestI28_F21_PowerFailureIsSetAndClearedByTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := synced(t)
		s.board.answer(fault.New(fault.BMCUnreachable, "the BMC at 192.0.2.1 does not answer"))
		time.Sleep(3*time.Minute + 30*time.Second)
		n := s.node()
		if !n.Maintenance || n.Fault != conductor.FaultPower || n.Power != conductor.PowerError || n.LastReason != fault.BMCUnreachable ||
			!strings.Contains(n.MaintenanceReason, "3 times in a row since 20") || !strings.Contains(n.MaintenanceReason, "does not answer") {
			t.Fatalf("after three minutes: %+v", n)
		}
		if h := s.c.BMCHealth(n); h.Failed < 3 || h.Last.Came != "the BMC at 192.0.2.1 does not answer" || h.Next.Before(time.Now()) {
			t.Errorf("health is %+v", h)
		}
		for _, p := range s.diagnose().Problems {
			if age := time.Since(p.Seen.Time); p.Evidence != "how the machine's power is: the BMC at 192.0.2.1 does not answer" || age < 0 || age > time.Minute+10*time.Second {
				t.Errorf("the doctor has no evidence of the last look: %+v", p)
			}
		}
		err := s.c.Provision(t.Context(), conductor.Caller{}, "n1", conductor.Provision{Verb: state.VerbClean})
		if !fault.Has(err, fault.NodeMaintenance) {
			t.Errorf("work is begun with a BMC that is gone: %v", err)
		}
		version := n.Version
		time.Sleep(20 * time.Minute)
		if n = s.node(); n.Version != version {
			t.Errorf("%d writes while nothing changed", n.Version-version)
		}
		s.board.answer(nil)
		time.Sleep(10 * time.Minute) // the longest pause between two looks
		if n = s.node(); n.Maintenance || n.Fault != "" || n.MaintenanceReason != "" || n.Power != conductor.PowerOff || n.LastError != "" {
			t.Fatalf("after the BMC came back: %+v", n)
		}
		h, err := s.c.History(t.Context(), "n1", conductor.HistoryFilter{Limit: 100, Descending: true})
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, e := range h {
			if e.Type == "power" {
				words = append(words, e.Severity+" "+e.Actor+" "+e.Event)
			}
		}
		if all := strings.Join(words, "\n"); !strings.Contains(all, "ERROR server maintenance is set") || !strings.Contains(all, "INFO server the BMC answers again") {
			t.Errorf("history says\n%s", all)
		}
	})
}

// The operator's flag stays as it is, whatever the BMC does, also one that replaces the server's.
func TestI16_F21_OperatorsMaintenanceIsNeverTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := synced(t)
		s.maintenance(true, "I hold it")
		before := s.node().Version
		s.board.answer(fault.New(fault.BMCUnreachable, "gone"))
		time.Sleep(30 * time.Minute)
		s.board.answer(nil)
		time.Sleep(30 * time.Minute)
		if n := s.node(); n.Version != before || !n.Maintenance || n.MaintenanceReason != "I hold it" || n.Fault != "" {
			t.Fatalf("%+v", n)
		}
		s.maintenance(false, "")
		s.board.answer(fault.New(fault.BMCUnreachable, "gone"))
		time.Sleep(10 * time.Minute)
		if n := s.node(); n.Fault != conductor.FaultPower {
			t.Fatalf("%+v", n)
		}
		s.maintenance(true, "mine now")
		s.board.answer(nil)
		time.Sleep(30 * time.Minute)
		if n := s.node(); !n.Maintenance || n.MaintenanceReason != "mine now" || n.Fault != "" {
			t.Fatalf("the operator's maintenance was ended: %+v", n)
		}
	})
}

func TestI16_PowerStateIsTakenOverFromIdleNodesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := synced(t)
		set := func(p conductor.Power) {
			s.board.mu.Lock()
			defer s.board.mu.Unlock()
			s.board.power = p
		}
		set(conductor.PowerOn) // somebody pushes the button
		time.Sleep(2 * time.Minute)
		if n := s.node(); n.Power != conductor.PowerOn || n.Maintenance {
			t.Fatalf("power %q", n.Power)
		}
		if len(s.board.acts) > 0 {
			t.Fatalf("a look acted upon the machine: %v", s.board.acts)
		}
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		<-s.board.booted
		s.until(state.InspectWait)
		before := s.node()
		s.board.answer(fault.New(fault.BMCUnreachable, "gone"))
		time.Sleep(10 * time.Minute)
		if n := s.node(); n.Maintenance || n.State != state.InspectWait || n.Power != before.Power || n.Flow.Run != before.Flow.Run {
			t.Fatalf("a look wrote into a node that is at work: %+v", n)
		}
	})
}

// A BMC that refuses the credentials is a failure, too; the driver sees to it that it is not asked for ever.
func TestF27_RefusedCredentialsMarkTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := synced(t)
		s.board.answer(fault.New(fault.BMCAuth, "the BMC refuses user admin"))
		time.Sleep(5 * time.Minute)
		if n := s.node(); n.Fault != conductor.FaultPower || n.LastReason != fault.BMCAuth {
			t.Fatalf("%+v", n)
		}
	})
}

// chassis is a hardware type with many machines behind few BMCs. Nodes whose name begins with "dead" are behind one that
// never answers.
type chassis struct {
	rack
	mu    sync.Mutex
	at    map[string]int // looks at a BMC now
	most  map[string]int
	asked atomic.Int64
	times []time.Time
}

func (c *chassis) Name() string       { return "chassis" }
func (*chassis) SecretKeys() []string { return nil }
func (c *chassis) Open(_ context.Context, a conductor.Access) (conductor.BMC, error) {
	name, _ := a.Info["bmc"].(string)
	return &blade{chassis: c, bmc: name}, nil
}

func (c *chassis) Health(info map[string]any) conductor.Health {
	name, _ := info["bmc"].(string)
	return conductor.Health{Origin: name}
}

type blade struct {
	board
	chassis *chassis
	bmc     string
}

func (b *blade) Facts(ctx context.Context) (conductor.Facts, error) {
	return conductor.Facts{Power: conductor.PowerOff, VirtualMedia: true}, nil
}

func (b *blade) Power(ctx context.Context) (conductor.Power, error) {
	c := b.chassis
	c.mu.Lock()
	c.at[b.bmc]++
	c.most[b.bmc] = max(c.most[b.bmc], c.at[b.bmc])
	c.times = append(c.times, time.Now())
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.at[b.bmc]--
		c.mu.Unlock()
	}()
	c.asked.Add(1)
	if strings.HasPrefix(b.bmc, "dead") {
		<-ctx.Done()
		return "", ctx.Err()
	}
	select {
	case <-time.After(100 * time.Millisecond):
		return conductor.PowerOn, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Many nodes, some BMCs of which never answer: the others' power states are as fresh as without them, no BMC is asked by
// two at once, and nothing comes in a herd.
func TestI28_F21_DeadBMCsDelayOnlyTheirOwnNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.stop()
		c := &chassis{rack: rack{s.board}, at: map[string]int{}, most: map[string]int{}}
		s.sync, s.more = time.Minute, []conductor.Driver{c}
		s.start()
		const each, alive, dead = 10, 40, 12 // machines behind a BMC, and BMCs
		create := func(bmc string) {
			for i := range each {
				n := conductor.Node{Name: fmt.Sprintf("%s-%d", bmc, i), Driver: "chassis", DriverInfo: map[string]any{"bmc": bmc}}
				if _, err := s.c.CreateNode(t.Context(), conductor.Caller{}, n, nil); err != nil {
					t.Fatal(err)
				}
				if err := s.c.Provision(t.Context(), conductor.Caller{}, n.Name, conductor.Provision{Verb: state.VerbManage}); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i := range alive {
			create(fmt.Sprintf("live%d", i))
		}
		for i := range dead {
			create(fmt.Sprintf("dead%d", i))
		}
		time.Sleep(2*time.Minute + 10*time.Second)
		nodes, err := s.c.Nodes(t.Context(), conductor.NodeFilter{Driver: "chassis"})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			if want := strings.HasPrefix(n.Name, "live"); want && n.Power != conductor.PowerOn {
				t.Errorf("%s behind a good BMC has power %q after two intervals", n.Name, n.Power)
			}
		}
		time.Sleep(20 * time.Minute)
		c.mu.Lock()
		c.times = nil
		c.mu.Unlock()
		time.Sleep(10 * time.Minute)
		if nodes, err = s.c.Nodes(t.Context(), conductor.NodeFilter{Driver: "chassis"}); err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			if failed := strings.HasPrefix(n.Name, "dead"); failed != (n.Fault == conductor.FaultPower) {
				t.Errorf("%s has fault %q", n.Name, n.Fault)
			}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for bmc, n := range c.most {
			if n > 1 && strings.HasPrefix(bmc, "live") {
				t.Errorf("%s was asked by %d at once", bmc, n)
			}
		}
		if per := float64(len(c.times)) / 600; per < 6 || per > 10 {
			t.Errorf("%.1f looks a second at 400 live nodes once a minute", per)
		}
		for i := range c.times { // no second has more than a few times its share
			j := i
			for j < len(c.times) && c.times[j].Sub(c.times[i]) < time.Second {
				j++
			}
			if j-i > 40 {
				t.Fatalf("%d looks within one second", j-i)
			}
		}
	})
}

// An act upon a node is not held up by a dead BMC of others: each node's worker is its own.
func TestI28_ActsOnOtherNodesGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := synced(t)
		s.stop()
		c := &chassis{rack: rack{s.board}, at: map[string]int{}, most: map[string]int{}}
		s.more = []conductor.Driver{c}
		s.start()
		for i := range 100 {
			n := conductor.Node{Name: fmt.Sprintf("d%d", i), Driver: "chassis", DriverInfo: map[string]any{"bmc": "dead"}}
			if _, err := s.c.CreateNode(t.Context(), conductor.Caller{}, n, nil); err != nil {
				t.Fatal(err)
			}
			if err := s.c.SetPower(t.Context(), conductor.Caller{}, n.Name, conductor.PowerRequest{Target: "power on"}); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if err := s.c.SetPower(t.Context(), conductor.Caller{}, "n1", conductor.PowerRequest{Target: "power on"}); err != nil {
			t.Fatal(err)
		}
		for s.node().PowerTarget != "" {
			time.Sleep(50 * time.Millisecond)
		}
		if took := time.Since(began); took > 2*time.Second || s.node().Power != conductor.PowerOn {
			t.Errorf("a power act took %s beside 100 on a dead BMC", took)
		}
	})
}

var _ conductor.HealthTeller = (*chassis)(nil)
