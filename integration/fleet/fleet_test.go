package fleet

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/bmctest"
	"github.com/bessemer-metal/bessemer/server/fake"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// play makes a fleet of powered-off machines and the driver that reaches it.
func play(t *testing.T, nodes int) (*Fleet, *fake.Driver) {
	t.Helper()
	dir, err := os.MkdirTemp("", "fleet") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s", "machines")
	f, err := New(Options{Socket: socket, Nodes: nodes, Prefix: "t-", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	if i, err := os.Stat(socket); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("the socket that media's secrets come by: %v, %v", i, err)
	}
	d := fake.New(fake.Config{Socket: socket})
	t.Cleanup(d.Close)
	return f, d
}

// TestPlayedMachinesKeepTheContract: the conductor sees no difference between a played machine and one in memory.
func TestPlayedMachinesKeepTheContract(t *testing.T) {
	_, d := play(t, 20)
	next := 0
	bmctest.Run(t, func(t *testing.T) conductor.BMC {
		b, err := d.Open(t.Context(), conductor.Access{Node: NodeID("t-", next)})
		if err != nil {
			t.Fatal(err)
		}
		next++
		return b
	})
	bmctest.RunDriver(t, d, map[string]any{}, nil)
}

func TestNobodyPlays(t *testing.T) {
	f, d := play(t, 1)
	b, err := d.Open(t.Context(), conductor.Access{Node: "another"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Power(t.Context()); !fault.Has(err, fault.BMCUnreachable) {
		t.Errorf("a machine that is not of the fleet: %v", err)
	}
	f.Close()
	if err := b.SetPower(t.Context(), conductor.On); !fault.Has(err, fault.BMCUnreachable) || !fault.From(err).Code.Retriable() {
		t.Errorf("without a player: %v", err)
	}
}

func TestMachinesAreTheSameInEachRun(t *testing.T) {
	if a, b := NodeID("a-", 7), NodeID("a-", 7); a != b || a == NodeID("a-", 8) || a == NodeID("b-", 7) {
		t.Errorf("%s %s", a, b)
	}
	if got := address(0).String() + " " + address(MaxNodes-1).String(); got != "127.64.0.1 127.67.13.64" {
		t.Error(got)
	}
	if got := MAC(258); got != "02:be:00:00:01:02" {
		t.Error(got)
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	got := h.timing(2 * time.Second)
	for _, c := range []struct{ got, want float64 }{{got.P50, 500}, {got.P99, 990}, {got.P999, 999}, {got.Max, 1000}, {got.PerSecond, 500}} {
		if c.got < c.want*0.98 || c.got > c.want*1.02 {
			t.Errorf("%v, expected %v within 2 %%", c.got, c.want)
		}
	}
	for _, d := range []time.Duration{0, 1, 63, 64, 65, 127, 128, 1e6, 1e12, 1<<63 - 1} {
		if l := least(slot(d)); l > d || d-l > d/50 {
			t.Errorf("%d is counted as %d", d, l)
		}
	}
}
