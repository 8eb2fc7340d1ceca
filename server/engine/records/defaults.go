package records

import (
	"context"
	"maps"
	"reflect"
	"slices"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/defaults"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Defaults lists default_config, weakest scopes first; scope "" lists all.
func (s *Shelf) Defaults(ctx context.Context, scope string) (out []conductor.Default, err error) {
	err = s.cfg.Store.View(ctx, func(tx conductor.Tx) error {
		if scope == "" {
			out, err = tx.Defaults()
			return err
		}
		in, _, err := scopeOf(tx, scope)
		if err != nil {
			return err
		}
		out, err = tx.Defaults(in)
		return err
	})
	slices.SortStableFunc(out, func(a, b conductor.Default) int {
		return slices.Index(conductor.ScopeKinds, a.Scope.Kind) - slices.Index(conductor.ScopeKinds, b.Scope.Kind)
	})
	return out, err
}

// scopeOf reads a scope; a node may be named by UUID or name, and is given back.
func scopeOf(tx conductor.Tx, text string) (conductor.Scope, conductor.Node, error) {
	s, err := conductor.ParseScope(text)
	if err != nil || s.Kind != conductor.One {
		return s, conductor.Node{}, err
	}
	n, err := nodes.Find(tx, s.Name)
	s.Name = string(n.UUID)
	return s, n, err
}

// SetDefaults sets values of one step in one flow for a scope. All of them are checked before any is set; each change
// is audited.
func (s *Shelf) SetDefaults(ctx context.Context, who conductor.Caller, scope string, f state.Flow, name string, values map[string]any) error {
	return s.changeDefaults(ctx, scope, f, name, func(tx conductor.Tx, in conductor.Scope, n conductor.Node, before map[string]conductor.Default) error {
		for _, key := range slices.Sorted(maps.Keys(values)) {
			d := conductor.Default{Scope: in, Flow: f, Step: name, Key: key, Value: values[key]}
			if err := s.checkDefault(d, n.Driver); err != nil {
				return err
			}
			was, had := before[key]
			if had && reflect.DeepEqual(was.Value, d.Value) {
				continue
			}
			if err := tx.PutDefault(d); err != nil {
				return err
			}
			if err := s.auditDefault(tx, who, "default.set", d, was.Value); err != nil {
				return err
			}
		}
		return nil
	})
}

// UnsetDefaults forgets values of one step in one flow for a scope; no keys means all. default.not_found when one of
// them is not set.
func (s *Shelf) UnsetDefaults(ctx context.Context, who conductor.Caller, scope string, f state.Flow, name string, keys []string) error {
	return s.changeDefaults(ctx, scope, f, name, func(tx conductor.Tx, in conductor.Scope, _ conductor.Node, before map[string]conductor.Default) error {
		if len(keys) == 0 {
			keys = slices.Sorted(maps.Keys(before))
		}
		if len(keys) == 0 {
			return fault.New(fault.DefaultNotFound, "%s sets nothing for %s in %s", in, name, f)
		}
		for _, key := range keys {
			d, had := before[key]
			if !had {
				return fault.New(fault.DefaultNotFound, "%s does not set %s of %s in %s", in, key, name, f)
			}
			if err := tx.DeleteDefault(d); err != nil {
				return err
			}
			if err := s.auditDefault(tx, who, "default.unset", d, d.Value); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Shelf) changeDefaults(ctx context.Context, scope string, f state.Flow, name string,
	change func(conductor.Tx, conductor.Scope, conductor.Node, map[string]conductor.Default) error) error {
	return s.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		in, n, err := scopeOf(tx, scope)
		if err != nil {
			return err
		}
		all, err := tx.Defaults(in)
		if err != nil {
			return err
		}
		before := map[string]conductor.Default{}
		for _, d := range all {
			if d.Flow == f && d.Step == name {
				before[d.Key] = d
			}
		}
		return change(tx, in, n, before)
	})
}

func (s *Shelf) auditDefault(tx conductor.Tx, who conductor.Caller, act string, d conductor.Default, before any) error {
	detail := map[string]any{"scope": d.Scope.String(), "flow": d.Flow, "step": d.Step, "key": d.Key, "before": before}
	if act == "default.set" {
		detail["value"] = d.Value
	}
	a := conductor.Audit{Time: s.cfg.Now(), Actor: who.Name, Request: who.Request, Act: act, Detail: detail}
	if d.Scope.Kind == conductor.One {
		a.Node = conductor.NodeID(d.Scope.Name)
	}
	return tx.AppendAudit(a)
}

// checkDefault checks a value against the steps of the node's hardware type, or, for more than one node, of any.
func (s *Shelf) checkDefault(d conductor.Default, driver string) error {
	var registries []*step.Registry
	for _, drv := range s.cfg.Machines.Drivers() {
		if driver == "" || drv.Name() == driver {
			registries = append(registries, s.cfg.Machines.Catalog(drv.Name()))
		}
	}
	var first error
	for _, r := range registries {
		err := defaults.Check(d, r)
		if err == nil {
			return nil
		}
		if first == nil || fault.Has(first, fault.StepUnknown) {
			first = err
		}
	}
	if first == nil {
		first = fault.New(fault.DriverUnknown, "hardware type %q is not known here", driver)
	}
	return first
}

// ExplainDefaults tells for each step and value of a node's automated flows which one holds and why; also the scopes
// the node is in, weakest first.
func (s *Shelf) ExplainDefaults(ctx context.Context, ident string) (scopes []conductor.Scope, out []defaults.Explained, err error) {
	err = s.cfg.Store.View(ctx, func(tx conductor.Tx) error {
		n, err := nodes.Find(tx, ident)
		if err != nil {
			return err
		}
		registry := s.cfg.Machines.Registry(n)
		if registry == nil {
			return fault.New(fault.DriverUnknown, "hardware type %q is not known here", n.Driver).At(string(n.UUID), "")
		}
		scopes = defaults.Scopes(n)
		set, err := tx.Defaults(scopes...)
		if err != nil {
			return err
		}
		out = defaults.Explain(registry, set)
		return nil
	})
	return scopes, out, err
}
