// Package managers joins the hardware managers of a ramdisk into one list of steps: which managers fit this machine,
// whose step counts where several offer one, and the way from a step's name to the code that runs it. It knows no
// hardware and no wire. Start at Load.
package managers

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/hardware"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// askLimit is how long a manager may think about one question.
const askLimit = time.Minute

// Set is the managers that fit a machine, with their steps. It does not change after Load.
type Set struct {
	log      *slog.Logger
	steps    map[string]owned
	versions map[string]string
	problems []string
	told     int // bytes of the steps, as the server is told them
}

// owned is a step and the manager it comes from.
type owned struct {
	step.Bound
	manager string
	level   hardware.Level
}

// Load asks every manager whether it fits the machine and for its steps. A manager that fails, panics or answers too
// late is left out and told in Problems; so is a step that can't be used, and what the server would refuse to be told. Where two managers offer a step of one name,
// the higher level wins; at one level the manager named first keeps it and the other's is refused, so that a plug-in
// can't replace a built-in step unseen (safety.md T17). Without any manager that fits it returns a step.not_in_ramdisk
// fault.
func Load(ctx context.Context, m *hardware.Machine, all []hardware.Manager) (*Set, error) {
	s := &Set{log: m.Log, steps: map[string]owned{}, versions: map[string]string{}}
	type fitting struct {
		hardware.Manager
		name  string
		level hardware.Level
	}
	var fit []fitting
	for i, mgr := range all {
		said, err := ask(ctx, func(context.Context) ([2]string, error) { return [2]string{mgr.Name(), mgr.Version()}, nil })
		if err != nil {
			s.problem("manager %d of this ramdisk, a %T, can't say its name and version: %v", i+1, mgr, err)
			continue
		}
		name, version := said[0], said[1]
		if err := api.CheckOffer(nil, map[string]string{name: version}); err != nil {
			s.problem("manager %q, version %q, is left out, as the server would refuse it: %s", short(name), short(version), fault.From(err).Message)
			continue
		}
		if _, ok := s.versions[name]; ok {
			s.problem("a second manager named %s is left out", name)
			continue
		}
		level, err := ask(ctx, func(ctx context.Context) (hardware.Level, error) { return mgr.Support(ctx, m) })
		switch {
		case err != nil:
			s.problem("manager %s can't say whether it fits: %v", name, err)
		case level > hardware.None:
			fit = append(fit, fitting{mgr, name, level})
			s.versions[name] = version
		}
	}
	slices.SortStableFunc(fit, func(a, b fitting) int { return cmp.Compare(b.level, a.level) })
	for _, f := range fit {
		steps, err := ask(ctx, func(ctx context.Context) ([]step.Bound, error) { return f.Steps(ctx, m) })
		if err != nil {
			s.problem("manager %s can't list its steps: %v", f.name, err)
			delete(s.versions, f.name)
			continue
		}
		for _, b := range s.within(f.name, steps) {
			s.add(owned{b, f.name, f.level})
		}
	}
	if len(s.versions) == 0 {
		return nil, fault.New(fault.StepVersion, "no hardware manager of this ramdisk fits the machine: %s", strings.Join(s.problems, "; "))
	}
	return s, nil
}

// within gives those of a manager's steps that can be used and told: the server refuses a first heartbeat with any other in it,
// and the machine would not come up.
func (s *Set) within(manager string, steps []step.Bound) (kept []step.Bound) {
	var size, left int
	var first string
	for _, b := range steps {
		if err := usable(b); err != nil {
			s.problem("step %q of manager %s is refused: %v", short(b.Name), manager, err)
			continue
		}
		raw, err := json.Marshal(b.Step)
		if err != nil || len(kept) == api.MaxSteps || size+len(raw) > api.MaxOffer || s.told+len(raw) > mostTold {
			if left++; left == 1 {
				first = b.Name
			}
			continue
		}
		size += len(raw)
		s.told += len(raw)
		kept = append(kept, b)
	}
	if left > 0 {
		s.problem("manager %s offers more than a heartbeat carries, at most %d steps of at most %d bytes in all: %s and %d more are left out", manager, api.MaxSteps, api.MaxOffer, first, left-1)
	}
	return kept
}

// mostTold is how many bytes the steps of all managers have as JSON.
const mostTold = api.MaxBody * 3 / 4

// short is a name for a line of the console.
func short(name string) string { return api.Shorten(name, 60) }

func (s *Set) add(o owned) {
	have, ok := s.steps[o.Name]
	switch {
	case !ok:
		s.steps[o.Name] = o
		s.log.Info("step offered", "step", o.Name, "manager", o.manager)
	case have.level > o.level:
		s.log.Info("step replaced by a manager that fits better", "step", o.Name, "manager", have.manager, "instead_of", o.manager)
	default:
		s.problem("step %s of manager %s is refused: manager %s offers it at the same level", o.Name, o.manager, have.manager)
	}
}

func usable(b step.Bound) error {
	iface, rest := step.Split(b.Name)
	switch {
	case iface == "" || rest == "":
		return errors.New("its name is not of the form interface.step")
	case b.Run == nil:
		return errors.New("it has no code")
	case b.Where != step.InBand:
		return fmt.Errorf("it says it runs %q, not in band", b.Where)
	case b.Timeout <= 0:
		return errors.New("it has no timeout")
	case b.Repeat != step.Again && b.Repeat != step.Never:
		return errors.New("it does not say whether it may be repeated")
	}
	if len(b.Doc) > api.MaxOffer { // else it would be refused as a body that is too large, which says less
		return fmt.Errorf("its documentation has %d bytes, at most %d are accepted", len(b.Doc), api.MaxOffer)
	}
	if err := api.CheckOffer([]step.Step{b.Step}, nil); err != nil {
		return errors.New(fault.From(err).Message)
	}
	return nil
}

func (s *Set) problem(format string, args ...any) {
	p := fmt.Sprintf(format, args...)
	s.problems = append(s.problems, p)
	s.log.Error("hardware manager", "problem", p)
}

// Steps lists the steps by name.
func (s *Set) Steps() []step.Step {
	out := make([]step.Step, 0, len(s.steps))
	for _, o := range s.steps {
		out = append(out, o.Step)
	}
	slices.SortFunc(out, func(a, b step.Step) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Owner is the manager that runs a step, "" for none.
func (s *Set) Owner(name string) string { return s.steps[name].manager }

// Versions maps the names of the managers in use to their versions. The caller must not change it.
func (s *Set) Versions() map[string]string { return s.versions }

// Problems tells which managers and steps were left out, and why.
func (s *Set) Problems() []string { return slices.Clone(s.problems) }

// Run checks the call's arguments and runs a step. Besides the step's own errors it returns step.not_in_ramdisk,
// step.argument and, when the code panics, step.panic. It returns when the step does.
func (s *Set) Run(ctx context.Context, name string, c step.Call) (res step.Result, err error) {
	o, ok := s.steps[name]
	if !ok {
		return step.Result{}, fault.New(fault.StepVersion, "this ramdisk does not offer step %s", name)
	}
	if c.Args, err = o.Check(c.Args); err != nil {
		return step.Result{}, err
	}
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("step panicked", "step", name, "manager", o.manager, "panic", p, "stack", string(debug.Stack()))
			res, err = step.Result{}, fault.New(fault.StepPanic, "the code of manager %s crashed: %v", o.manager, p).At("", name)
		}
	}()
	return o.Run(ctx, c)
}

// ask puts a question to a manager and waits for askLimit at most. A manager that answers later finds its answer
// thrown away: its goroutine ends when it does, which is the one thing that can't be forced.
func ask[T any](ctx context.Context, question func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	type answer struct {
		v   T
		err error
	}
	got := make(chan answer, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				got <- answer{err: fmt.Errorf("it crashed: %v", p)}
			}
		}()
		v, err := question(ctx)
		got <- answer{v, err}
	}()
	select {
	case a := <-got:
		return a.v, a.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("it did not answer within %s: %w", askLimit, context.Cause(ctx))
	}
}
