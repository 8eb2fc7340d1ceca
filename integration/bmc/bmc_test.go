package bmc

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/integration/faults"
	"github.com/bessemer-metal/bessemer/integration/qemu"
)

// round answers requests with a handler, without sockets.
type round struct{ http.Handler }

func (f round) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	res := w.Result()
	res.Request = r
	return res, nil
}

func machine(t *testing.T, cfg Config) *Machine {
	t.Helper()
	images := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/cd.iso" {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "cd.iso", time.Time{}, bytes.NewReader(make([]byte, 5000)))
	})
	cfg.Name = "n"
	m, err := New(Env{Context: t.Context(), Now: time.Now, Log: slog.New(slog.DiscardHandler), Media: &http.Client{Transport: round{images}}, Tasks: &atomic.Int64{}}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func closed(t *testing.T, m *Machine) {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhatIsLeftOutIsMadeFromTheName(t *testing.T) {
	a, b := machine(t, Config{}), machine(t, Config{})
	defer closed(t, a)
	defer closed(t, b)
	x, y := a.Config(), b.Config()
	if x.UUID != y.UUID || x.Serial != y.Serial || !slices.Equal(x.MACs, y.MACs) || len(x.UUID) != 36 || x.UUID[14] != '4' || !strings.HasPrefix(x.MACs[0], "52:54:00:") {
		t.Errorf("%+v\n%+v", x, y)
	}
	if c := machine(t, Config{MACs: []string{}}); len(c.MACs()) != 0 {
		t.Errorf("no card was asked for, made was %v", c.MACs())
	}
}

// A boot's code is told of the end of its boot, and can do nothing to the next one.
func TestBootsOfAFakeMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var boots []FakeBoot
		var ended int
		m := machine(t, Config{OnBoot: func(ctx context.Context, b FakeBoot) {
			boots = append(boots, b)
			<-ctx.Done()
			ended++
		}})
		defer closed(t, m)
		order := func(kind string) {
			t.Helper()
			if err := m.Reset(t.Context(), kind); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if err := m.Reset(t.Context(), "ForceRestart"); !errors.Is(err, ErrOff) {
			t.Errorf("restart of a machine that is off: %v", err)
		}
		if err := m.SetBoot(t.Context(), Override{Enabled: "Continuous", Target: qemu.PXE}); err != nil {
			t.Fatal(err)
		}
		order("On")
		order("On") // is on already
		order("ForceRestart")
		if len(boots) != 2 || ended != 1 || boots[1].Source.Target != qemu.PXE || !boots[1].Source.Due {
			t.Fatalf("%d boots, %d ended: %+v", len(boots), ended, boots)
		}
		boots[0].Off() // too late
		boots[0].Report(qemu.System, "late")
		if v := m.View(); !v.On || v.Progress != qemu.PoweredOn {
			t.Errorf("a boot that ended changed the next one: %+v", v)
		}
		boots[1].Report(qemu.System, "login:")
		if v := m.View(); v.Progress != qemu.System || v.Detail != "login:" {
			t.Errorf("%+v", v)
		}
		boots[1].Off()
		synctest.Wait()
		if v := m.View(); v.On || v.Progress != "" || ended != 2 {
			t.Errorf("after power-off: %+v, %d ended", v, ended)
		}
	})
}

func TestMedia(t *testing.T) {
	m := machine(t, Config{})
	defer closed(t, m)
	ctx := t.Context()
	if err := m.Insert(ctx, "http://images/cd.iso"); err != nil {
		t.Fatal(err)
	}
	if _, bad := errors.AsType[BadImage](m.Insert(ctx, "http://images/absent")); !bad {
		t.Error("a medium that is not there was accepted")
	}
	if got := m.Medium(); got != "http://images/cd.iso" {
		t.Errorf("after a refused one: %q in the drive", got)
	}
	if err := errors.Join(m.Eject(ctx), m.Eject(ctx)); err != nil || m.Medium() != "" {
		t.Errorf("ejected twice: %v, %q", err, m.Medium())
	}
}

func TestTasksAreKeptInBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := machine(t, Config{})
		defer closed(t, m)
		for range keptTasks + 20 {
			m.Enqueue("work", 0, func(context.Context) error { return nil })
			time.Sleep(time.Second)
		}
		l := m.Tasks()
		if len(l) != keptTasks || l[len(l)-1].ID != "120" || l[0].State != "Completed" {
			t.Errorf("%d tasks, first %+v, last %+v", len(l), l[0], l[len(l)-1])
		}
		if _, err := m.Inject(faults.Fault{Kind: faults.Jam}); err != nil || !m.Jammed() {
			t.Errorf("jam: %v", err)
		}
		m.Heal("")
		if m.Jammed() {
			t.Error("healed, and jammed still")
		}
		long := m.Enqueue("long", time.Hour, func(context.Context) error { return nil })
		m.Restart(t.Context())
		synctest.Wait()
		if !m.Away() || len(m.Tasks()) != 0 {
			t.Errorf("a BMC that restarts remembers %v; %s", m.Tasks(), long.ID)
		}
	})
}

func TestAttributesTakeTheirValuesOnly(t *testing.T) {
	for _, a := range Attributes() {
		v := a.Default
		if n, is := v.(int); is {
			v = float64(n) // as JSON brings it
		}
		if got, err := a.Check(v); err != nil || got != a.Default {
			t.Errorf("%s refuses its default: %v, %v", a.Name, got, err)
		}
		if _, err := a.Check([]any{}); err == nil {
			t.Errorf("%s takes a list", a.Name)
		}
	}
}
