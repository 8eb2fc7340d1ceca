package limit

import (
	"net/netip"
	"testing"
	"time"
)

func TestT06_BucketsAreBounded(t *testing.T) {
	clock := time.Now()
	b := NewBuckets[int](1, 2, func() time.Time { return clock })
	for i := range maxBuckets + 1000 {
		b.Take(i)
	}
	if len(b.m) > maxBuckets {
		t.Errorf("%d buckets", len(b.m))
	}
	if b.Take(maxBuckets + 5000) {
		t.Error("newcomers beyond the bound share no bucket")
	}
	clock = clock.Add(time.Minute)
	if !b.Take(-1) || len(b.m) != 1 {
		t.Errorf("full buckets are not forgotten: %d", len(b.m))
	}
	clock = clock.Add(-time.Hour) // F28: a clock set back gives and takes nothing
	if !b.Take(-1) || b.Take(-1) {
		t.Error("a clock set back changed the budget")
	}
}

func TestT06_WhetherABudgetIsSpentCostsNothing(t *testing.T) {
	clock := time.Now()
	b := NewBuckets[int](1, 2, func() time.Time { return clock })
	for range 5 {
		if b.Spent(1) {
			t.Fatal("a look uses the budget up")
		}
	}
	if b.Take(1); b.Spent(1) || !b.Take(1) || !b.Spent(1) || b.Spent(2) {
		t.Error("two of two are taken: the one that took them has nothing left, another all")
	}
	clock = clock.Add(time.Second)
	if b.Spent(1) {
		t.Error("a second later there is one again")
	}
	for i := range maxBuckets {
		b.Take(-i - 1)
	}
	for b.Take(-maxBuckets - 5) { // a newcomer, who shares what is left
	}
	if !b.Spent(-maxBuckets - 6) {
		t.Error("newcomers beyond the bound share no budget")
	}
}

func TestT06_OneMachineIsOneNetwork(t *testing.T) {
	for _, c := range []struct {
		one, other string
		same       bool
	}{
		{"192.0.2.1", "192.0.2.1", true}, {"192.0.2.1", "192.0.2.2", false},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true}, {"2001:db8:1:2::1", "2001:db8:1:3::1", false},
	} {
		if got := Network(netip.MustParseAddr(c.one)) == Network(netip.MustParseAddr(c.other)); got != c.same {
			t.Errorf("%s and %s share a budget: %v", c.one, c.other, got)
		}
	}
}

func TestI25_AGateBoundsOneAndAll(t *testing.T) {
	at := netip.MustParseAddr
	g := NewGate(2, 3)
	for i, c := range []struct {
		from string
		in   bool
	}{{"192.0.2.1", true}, {"192.0.2.1", true}, {"192.0.2.1", false}, {"192.0.2.2", true}, {"192.0.2.3", false}} {
		if got := g.Enter(at(c.from)); got != c.in {
			t.Errorf("%d: %s is let in: %v", i, c.from, got)
		}
	}
	g.Leave(at("192.0.2.1"))
	if !g.Enter(at("192.0.2.3")) || g.Enter(at("192.0.2.1")) {
		t.Error("what was given back is not there for the next, or for more than one")
	}
	for _, from := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		g.Leave(at(from))
	}
	if len(g.in) != 0 || g.total != 0 {
		t.Errorf("left behind: %v, %d", g.in, g.total)
	}
	if free := NewGate(1, 0); !free.Enter(at("192.0.2.1")) || !free.Enter(at("192.0.2.2")) || free.Enter(at("192.0.2.1")) {
		t.Error("a gate without a bound on all counts wrong")
	}
}
