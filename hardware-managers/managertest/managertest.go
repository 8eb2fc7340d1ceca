// Package managertest is the contract that every hardware manager keeps, as a test to run against it. A vendor calls
// Run from a test of its own manager. It runs no step: what a step does to hardware is its manager's to test.
package managertest

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"reflect"
	"regexp"
	"testing"
	"testing/fstest"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/hardware"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Contract is what Run needs to know of a manager.
type Contract struct {
	// New makes the manager; each call makes a new one.
	New func() hardware.Manager
	// Mine is a machine the manager fits. Log, Root and Exec are filled in where they are nil.
	Mine hardware.Machine
	// Other is a machine it does not fit; nil for a manager that fits every machine.
	Other *hardware.Machine
}

var (
	managerName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)
	stepName    = regexp.MustCompile(`^[a-z]+\.[a-z][a-z0-9_]{0,63}$`)
	argName     = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
)

// Run checks the contract.
func Run(t *testing.T, c Contract) {
	mine := complete(c.Mine)
	t.Run("name and version", func(t *testing.T) {
		a, b := c.New(), c.New()
		if !managerName.MatchString(a.Name()) {
			t.Errorf("name %q does not fit %s", a.Name(), managerName)
		}
		if a.Version() == "" || a.Name() != b.Name() || a.Version() != b.Version() {
			t.Errorf("name and version vary or are empty: %s %s, %s %s", a.Name(), a.Version(), b.Name(), b.Version())
		}
		if err := api.CheckOffer(nil, map[string]string{a.Name(): a.Version()}); err != nil {
			t.Errorf("an agent leaves it out, as no server takes it: %v", err)
		}
	})
	t.Run("support", func(t *testing.T) {
		level, err := c.New().Support(t.Context(), mine)
		if err != nil || level <= hardware.None {
			t.Errorf("on its own machine: level %d, %v", level, err)
		}
		if c.Other != nil {
			if level, err := c.New().Support(t.Context(), complete(*c.Other)); err != nil || level != hardware.None {
				t.Errorf("on another machine: level %d, %v; want none", level, err)
			}
		}
	})
	t.Run("an empty machine is no reason to crash", func(t *testing.T) {
		m := c.New()
		empty := complete(hardware.Machine{})
		if level, err := m.Support(t.Context(), empty); err == nil && level > hardware.None {
			if _, err := m.Steps(t.Context(), empty); err != nil {
				t.Logf("says why it offers nothing there: %v", err)
			}
		}
	})
	t.Run("answers within its deadline", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		done := make(chan struct{})
		go func() {
			defer close(done)
			m := c.New()
			m.Support(ctx, mine) // whatever it says, it must say it
			m.Steps(ctx, mine)
		}()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("still thinking 10 s after it was told to stop")
		}
	})
	t.Run("steps", func(t *testing.T) { steps(t, c, mine) })
}

func steps(t *testing.T, c Contract, mine *hardware.Machine) {
	m := c.New()
	if _, err := m.Support(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	list, err := m.Steps(t.Context(), mine)
	if err != nil {
		t.Fatal(err)
	}
	again, err := m.Steps(t.Context(), mine)
	if err != nil || len(again) != len(list) {
		t.Errorf("asked twice it lists %d and %d steps, %v", len(list), len(again), err)
	}
	seen := map[string]bool{}
	for _, b := range list {
		t.Run(b.Name, func(t *testing.T) {
			check(t, b)
			if seen[b.Name] {
				t.Error("is listed twice")
			}
			seen[b.Name] = true
		})
	}
}

func check(t *testing.T, b step.Bound) {
	if !stepName.MatchString(b.Name) {
		t.Errorf("its name does not fit %s", stepName)
	}
	if b.Doc == "" || b.Doc[len(b.Doc)-1] != '.' {
		t.Errorf("its documentation %q is no sentence", b.Doc)
	}
	if b.Where != step.InBand {
		t.Errorf("it runs %q, a manager's steps run in band", b.Where)
	}
	if b.Run == nil {
		t.Error("it has no code")
	}
	if b.Timeout <= 0 {
		t.Error("it has no timeout")
	}
	if b.Repeat != step.Again && b.Repeat != step.Never {
		t.Errorf("repeat is %q", b.Repeat)
	}
	switch b.Touches {
	case step.Nothing, step.AllDisks, step.RootDisk:
	default:
		t.Errorf("it touches %q, which the server does not know", b.Touches)
	}
	if len(b.Priority) == 0 {
		t.Error("it is offered in no flow")
	}
	for f, p := range b.Priority {
		if p < 0 {
			t.Errorf("priority %d in %s", p, f)
		}
		if f == state.Flow("") {
			t.Error("it is offered in a flow without a name")
		}
	}
	for _, a := range b.Args {
		if !argName.MatchString(a.Name) || a.Doc == "" {
			t.Errorf("argument %q, documentation %q", a.Name, a.Doc)
		}
		if a.Required && a.Default != nil {
			t.Errorf("argument %s is required and has a default", a.Name)
		}
		if a.Default != nil {
			if _, err := (step.Step{Args: []step.Arg{a}}).Check(step.Args{a.Name: a.Default}); err != nil {
				t.Errorf("the default of argument %s is refused: %v", a.Name, err)
			}
		}
	}
	wire, err := json.Marshal(b.Step)
	if err != nil {
		t.Fatalf("it can't be sent: %v", err)
	}
	var back step.Step
	if err := json.Unmarshal(wire, &back); err != nil || back.Name != b.Name || !reflect.DeepEqual(back.Priority, b.Priority) {
		t.Errorf("it does not survive JSON: %v", err)
	}
}

// complete fills in what a manager may rely on.
func complete(m hardware.Machine) *hardware.Machine {
	if m.Root == nil {
		m.Root = fstest.MapFS{}
	}
	if m.Exec == nil {
		m.Exec = noPrograms{}
	}
	if m.Log == nil {
		m.Log = slog.New(slog.DiscardHandler)
	}
	if m.Inventory.Interfaces == nil {
		m.Inventory.Interfaces = []inventory.Interface{}
	}
	return &m
}

// noPrograms is a ramdisk without programs.
type noPrograms struct{}

func (noPrograms) Run(_ context.Context, program string, _ ...string) ([]byte, error) {
	return nil, errors.Join(fs.ErrNotExist, errors.New(program+" is not in this ramdisk"))
}
