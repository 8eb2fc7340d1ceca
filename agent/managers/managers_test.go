package managers_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/agent/managers"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/hardware"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// fake is a manager that does what its functions say.
type fake struct {
	name    string
	version string // "" is 7
	level   hardware.Level
	support func(context.Context) (hardware.Level, error)
	steps   func(context.Context) ([]step.Bound, error)
}

// nameless can't say its version, or, without a fake, not even its name.
type nameless struct{ hardware.Manager }

func (nameless) Version() string { panic("no version") }

func (f fake) Name() string    { return f.name }
func (f fake) Version() string { return cmp.Or(f.version, "7") }
func (f fake) Support(ctx context.Context, _ *hardware.Machine) (hardware.Level, error) {
	if f.support != nil {
		return f.support(ctx)
	}
	return f.level, nil
}
func (f fake) Steps(ctx context.Context, _ *hardware.Machine) ([]step.Bound, error) {
	return f.steps(ctx)
}

func bound(name, says string) step.Bound {
	return step.Bound{
		Step: step.Step{Name: name, Where: step.InBand, Repeat: step.Again, Timeout: time.Minute, Priority: map[state.Flow]int{state.Clean: 0}},
		Run: func(context.Context, step.Call) (step.Result, error) {
			return step.Result{Data: map[string]any{"by": says}}, nil
		},
	}
}

func offers(name string, level hardware.Level, steps ...step.Bound) hardware.Manager {
	return fake{name: name, level: level, steps: func(context.Context) ([]step.Bound, error) { return steps, nil }}
}

func load(t *testing.T, all ...hardware.Manager) *managers.Set {
	t.Helper()
	s, err := managers.Load(t.Context(), &hardware.Machine{Log: slog.New(slog.DiscardHandler)}, all)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func by(t *testing.T, s *managers.Set, name string) any {
	t.Helper()
	r, err := s.Run(t.Context(), name, step.Call{})
	if err != nil {
		t.Fatal(err)
	}
	return r.Data["by"]
}

func TestHigherLevelTakesTheStep(t *testing.T) {
	low, high := offers("low", hardware.Generic, bound("deploy.x", "low"), bound("deploy.y", "low")), offers("high", hardware.Mainline, bound("deploy.x", "high"))
	for _, order := range [][]hardware.Manager{{low, high}, {high, low}} {
		s := load(t, order...)
		if by(t, s, "deploy.x") != "high" || by(t, s, "deploy.y") != "low" || s.Owner("deploy.x") != "high" || len(s.Problems()) != 0 {
			t.Errorf("owners %s, %s; problems %q", s.Owner("deploy.x"), s.Owner("deploy.y"), s.Problems())
		}
		if names := s.Steps(); len(names) != 2 || names[0].Name != "deploy.x" || s.Versions()["low"] != "7" {
			t.Errorf("steps %v", names)
		}
	}
}

func TestT17_SameLevelCannotReplace(t *testing.T) {
	mine := bound("deploy.x", "plug-in")
	mine.Priority = map[state.Flow]int{state.Clean: 999}
	s := load(t, offers("generic", hardware.Generic, bound("deploy.x", "generic")), offers("aaa", hardware.Generic, mine))
	if by(t, s, "deploy.x") != "generic" || len(s.Problems()) != 1 || !strings.Contains(s.Problems()[0], "aaa") {
		t.Errorf("owner %s, problems %q", s.Owner("deploy.x"), s.Problems())
	}
}

func TestT17_MisbehavingManagersLoseOnlyThemselves(t *testing.T) {
	good := offers("good", hardware.Generic, bound("deploy.x", "good"))
	unusable := func(change func(*step.Bound)) hardware.Manager {
		b := bound("deploy.z", "bad")
		change(&b)
		return offers("bad", hardware.ServiceProvider, b)
	}
	for name, bad := range map[string]hardware.Manager{
		"panics in its name":    nameless{},
		"panics in its version": nameless{fake{name: "bad"}},
		"panics in support":     fake{name: "bad", support: func(context.Context) (hardware.Level, error) { panic("no") }},
		"error in support":      fake{name: "bad", support: func(context.Context) (hardware.Level, error) { return 9, errors.New("no") }},
		"panics in steps":       fake{name: "bad", level: 3, steps: func(context.Context) ([]step.Bound, error) { panic("no") }},
		"error in steps":        fake{name: "bad", level: 3, steps: func(context.Context) ([]step.Bound, error) { return nil, errors.New("no") }},
		"name of another":       offers("good", hardware.ServiceProvider, bound("deploy.x", "bad")),
		"step without code":     unusable(func(b *step.Bound) { b.Run = nil }),
		"no interface":          unusable(func(b *step.Bound) { b.Name = "z" }),
		"out of band":           unusable(func(b *step.Bound) { b.Where = step.OutOfBand }),
		"no timeout":            unusable(func(b *step.Bound) { b.Timeout = 0 }),
		"no repeat":             unusable(func(b *step.Bound) { b.Repeat = "" }),
	} {
		s := load(t, good, bad)
		if by(t, s, "deploy.x") != "good" || len(s.Steps()) != 1 || len(s.Problems()) != 1 {
			t.Errorf("%s: steps %v, problems %q", name, s.Steps(), s.Problems())
		}
	}
}

// Whatever a vendor's code is named, the server takes the first heartbeat: what it would refuse is left out and named with the
// limit, and the rest of the machine's managers work on.
func TestT17_I25_NoManagerKeepsTheMachineFromComingUp(t *testing.T) {
	long := strings.Repeat("x", 123)
	named := func(change func(*step.Bound)) hardware.Manager {
		b := bound("deploy.z", "bad")
		change(&b)
		return offers("bad", hardware.ServiceProvider, bound("bios.good", "bad"), b)
	}
	many := make([]step.Bound, 5000)
	for i := range many {
		many[i] = bound(fmt.Sprintf("deploy.s%d", i), "bad")
	}
	for name, c := range map[string]struct {
		bad   hardware.Manager
		named string // in the problem
		limit string
		keeps int // of its steps
	}{
		"a step of 128 bytes":       {named(func(b *step.Bound) { b.Name = "bios." + long }), "", "", 2},
		"a step of 129 bytes":       {named(func(b *step.Bound) { b.Name = "bios." + long + "y" }), "bios.xxx", "at most 128", 1},
		"a step of no letters":      {named(func(b *step.Bound) { b.Name = "bios." + strings.Repeat("\xff", 60) }), "bios.", "at most 128", 1},
		"a step that breaks lines":  {named(func(b *step.Bound) { b.Name = "bios.a\nb" }), "bios.a", "control characters", 1},
		"documentation of a book":   {named(func(b *step.Bound) { b.Doc = strings.Repeat("d", api.MaxBody) }), "deploy.z", "at most 131072", 1},
		"too deep a default":        {named(func(b *step.Bound) { b.Args = []step.Arg{{Name: "a", Default: nested(40)}} }), "deploy.z", "32 levels", 1},
		"a default that is no JSON": {named(func(b *step.Bound) { b.Args = []step.Arg{{Name: "a", Default: make(chan int)}} }), "deploy.z", "JSON", 1},
		"more steps than fit":       {offers("bad", hardware.ServiceProvider, many...), "deploy.s", "at most 512", 512},
		"a manager of 129 bytes":    {offers("bios."+long+"y", hardware.ServiceProvider, bound("bios.good", "bad")), "bios.xxx", "at most 128", 0},
		"a version of 129 bytes":    {fake{name: "bad", version: "1234." + long + "y", level: 3, steps: func(context.Context) ([]step.Bound, error) { return []step.Bound{bound("bios.good", "bad")}, nil }}, "bad", "at most 128", 0},
	} {
		s := load(t, offers("good", hardware.Generic, bound("deploy.x", "good")), c.bad)
		if by(t, s, "deploy.x") != "good" || len(s.Steps()) != 1+c.keeps {
			t.Errorf("%s: %d steps", name, len(s.Steps()))
		}
		if p := strings.Join(s.Problems(), "\n"); (p == "") != (c.named == "") || !strings.Contains(p, c.named) || !strings.Contains(p, c.limit) || len(p) > 1000 {
			t.Errorf("%s: problems %q", name, s.Problems())
		}
		if err := api.CheckOffer(s.Steps(), s.Versions()); err != nil {
			t.Errorf("%s: the server refuses what is left: %v", name, err)
		}
	}
}

func nested(deep int) any {
	if deep == 0 {
		return 1
	}
	return []any{nested(deep - 1)}
}

func TestT17_SilentManagerIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		released := make(chan struct{})
		silent := fake{name: "silent", support: func(context.Context) (hardware.Level, error) { <-released; return 3, nil }}
		began := time.Now()
		s := load(t, silent, offers("good", hardware.Generic, bound("deploy.x", "good")))
		if d := time.Since(began); d != time.Minute || len(s.Problems()) != 1 || by(t, s, "deploy.x") != "good" {
			t.Errorf("after %s: problems %q", d, s.Problems())
		}
		close(released)
	})
}

func TestNothingFits(t *testing.T) {
	m := &hardware.Machine{Log: slog.New(slog.DiscardHandler)}
	if _, err := managers.Load(t.Context(), m, []hardware.Manager{offers("none", hardware.None)}); !fault.Has(err, fault.StepVersion) {
		t.Errorf("got %v", err)
	}
}

func TestF17_PanicOfAStepIsItsFailure(t *testing.T) {
	b := bound("deploy.x", "")
	b.Run = func(context.Context, step.Call) (step.Result, error) { panic("boom") }
	s := load(t, offers("m", hardware.Generic, b))
	if _, err := s.Run(t.Context(), "deploy.x", step.Call{}); !fault.Has(err, fault.StepPanic) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Run(t.Context(), "deploy.none", step.Call{}); !fault.Has(err, fault.StepVersion) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Run(t.Context(), "deploy.x", step.Call{Args: step.Args{"odd": 1}}); !fault.Has(err, fault.StepArgument) {
		t.Errorf("got %v", err)
	}
}
