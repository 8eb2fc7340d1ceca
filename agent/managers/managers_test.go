package managers_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/agent/managers"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/hardware"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// fake is a manager that does what its functions say.
type fake struct {
	name    string
	level   hardware.Level
	support func(context.Context) (hardware.Level, error)
	steps   func(context.Context) ([]step.Bound, error)
}

func (f fake) Name() string    { return f.name }
func (f fake) Version() string { return "7" }
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
		"panics in support": fake{name: "bad", support: func(context.Context) (hardware.Level, error) { panic("no") }},
		"error in support":  fake{name: "bad", support: func(context.Context) (hardware.Level, error) { return 9, errors.New("no") }},
		"panics in steps":   fake{name: "bad", level: 3, steps: func(context.Context) ([]step.Bound, error) { panic("no") }},
		"error in steps":    fake{name: "bad", level: 3, steps: func(context.Context) ([]step.Bound, error) { return nil, errors.New("no") }},
		"name of another":   offers("good", hardware.ServiceProvider, bound("deploy.x", "bad")),
		"step without code": unusable(func(b *step.Bound) { b.Run = nil }),
		"no interface":      unusable(func(b *step.Bound) { b.Name = "z" }),
		"out of band":       unusable(func(b *step.Bound) { b.Where = step.OutOfBand }),
		"no timeout":        unusable(func(b *step.Bound) { b.Timeout = 0 }),
		"no repeat":         unusable(func(b *step.Bound) { b.Repeat = "" }),
	} {
		s := load(t, good, bad)
		if by(t, s, "deploy.x") != "good" || len(s.Steps()) != 1 || len(s.Problems()) != 1 {
			t.Errorf("%s: steps %v, problems %q", name, s.Steps(), s.Problems())
		}
	}
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
