package serve

import (
	"errors"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Var is a variable of the path as it was given; "" when the path has none of the name.
func (c *Call) Var(name string) string { return mux.Vars(c.R)[name] }

// Node is the identifier in the path; characters that no name or UUID has are refused.
// Names are there from version 1.5 on: before it a node is known by its UUID only.
func (c *Call) Node() (string, error) {
	s := c.Var("node")
	if c.Version < 5 && shape.IsName(s) && !shape.IsUUID(s) {
		return "", fault.New(fault.NodeNotFound, "there is no node with the UUID %q", s)
	}
	if err := c.Names(s); err != nil {
		return "", err
	}
	return c.Named("node")
}

// Names checks what is to name a node: a UUID, from version 1.5 on a host's name too, from 1.10 on any name.
func (c *Call) Names(s string) error {
	if _, err := shape.Ident(s); err != nil || shape.IsUUID(s) {
		return err
	}
	if c.Version < 5 {
		return fault.New(fault.RequestVersion, "names of nodes are there from version 1.5 on, %s was asked for", c.Version)
	}
	return shape.NodeName(s, c.Version)
}

// Named is the identifier that a path variable holds, or the UUID for which access was decided.
func (c *Call) Named(variable string) (string, error) {
	if id := c.pinned[variable]; id != "" {
		return id, nil
	}
	return shape.Ident(c.Var(variable))
}

// Body decodes a JSON object of known keys. With optional an empty body is an empty object.
func (c *Call) Body(optional bool, known ...string) (map[string]any, error) {
	v, err := c.decode()
	if err != nil {
		if optional && errors.Is(err, io.EOF) {
			return map[string]any{}, nil
		}
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fault.New(fault.RequestInvalid, "the body must be a JSON object")
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if len(known) > 0 && !slices.Contains(known, k) {
			return nil, fault.New(fault.RequestInvalid, "%q is not known here; known are %s", k, strings.Join(known, ", "))
		}
	}
	return m, nil
}

// decode reads a bounded JSON value.
func (c *Call) decode() (any, error) {
	var v any
	if err := api.Decode(c.R.Body, MaxProvision, &v); err != nil {
		return nil, err
	}
	if deeper(v, maxDepth) {
		return nil, fault.New(fault.RequestInvalid, "the body is nested deeper than %d levels", maxDepth)
	}
	return v, nil
}

func deeper(v any, levels int) bool {
	switch t := v.(type) {
	case map[string]any:
		for _, x := range t {
			if levels == 0 || deeper(x, levels-1) {
				return true
			}
		}
		return levels == 0
	case []any:
		for _, x := range t {
			if levels == 0 || deeper(x, levels-1) {
				return true
			}
		}
		return levels == 0
	}
	return false
}

// Record is the identifier in the path. What has no names (yet) is found by its UUID alone.
func (c *Call) Record() (string, error) {
	if given := c.Var("record"); c.rt.Record.Named == 0 || c.Version < c.rt.Record.Named {
		if err := shape.WantUUID(string(c.rt.Record.Kind), given); err != nil {
			return "", err
		}
	}
	return c.Named("record")
}

// FieldsAsked is the selection of an answer that shows one object.
func (c *Call) FieldsAsked(s *shape.Shape) (shape.Selection, error) {
	if list := c.Arg("fields"); len(shape.Items(list)) > 0 {
		return s.Wanted(list, c.Version)
	}
	return s.All(c.Version, false), nil
}

// Patch decodes a PATCH body: a list of operations without extra keys.
func (c *Call) Patch() ([]api.PatchOp, error) {
	v, err := c.decode()
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fault.New(fault.RequestInvalid, "the body must be a list of operations")
	}
	ops := make([]api.PatchOp, 0, len(list))
	for i, x := range list {
		m, _ := x.(map[string]any)
		op := api.PatchOp{Value: m["value"]}
		_, valued := m["value"]
		var okOp, okPath bool
		op.Op, okOp = m["op"].(string)
		op.Path, okPath = m["path"].(string)
		extra := len(m) - 2
		if valued {
			extra--
		}
		if !okOp || !okPath || extra != 0 {
			return nil, fault.New(fault.RequestInvalid, "operation %d must be an object of op, path and value", i+1)
		}
		if !valued && op.Op != "remove" {
			return nil, fault.New(fault.RequestInvalid, "operation %d: %s needs a value", i+1, op.Op).WithHint("give value, which may be null")
		}
		ops = append(ops, op)
	}
	return ops, nil
}
