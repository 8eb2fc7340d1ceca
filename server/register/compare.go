package register

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// API is the part of the REST client that registering needs. Objects are decoded JSON.
type API interface {
	Each(ctx context.Context, path, key string, q url.Values, fn func(object map[string]any) error) error
	NodeFields(ctx context.Context, node string, fields []string) (map[string]any, error)
	Send(ctx context.Context, method, path string, q url.Values, body any) (map[string]any, error)
}

// Server is what a server has, as far as entries may collide with it.
type Server struct {
	api   API
	names map[string]string         // node's name to UUID
	bmcs  map[string]string         // BMC's address to the node's UUID
	label map[string]string         // UUID to what the node is called
	ports map[string]map[string]any // by address
}

// Look reads what is there.
func Look(ctx context.Context, a API) (*Server, error) {
	s := &Server{api: a, names: map[string]string{}, bmcs: map[string]string{}, label: map[string]string{}, ports: map[string]map[string]any{}}
	err := a.Each(ctx, "/v1/nodes", "nodes", url.Values{"fields": {"uuid,name,driver_info"}}, func(n map[string]any) error {
		id := text(n, "uuid")
		s.label[id] = id
		if name := text(n, "name"); name != "" {
			s.names[name], s.label[id] = id, name
		}
		if b := api.BMCOf(object(n, "driver_info")); b != "" {
			s.bmcs[b] = id
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = a.Each(ctx, "/v1/ports", "ports", url.Values{"detail": {"true"}}, func(p map[string]any) error {
		s.ports[strings.ToLower(text(p, "address"))] = p
		return nil
	})
	return s, err
}

// Change is what makes a server agree with one entry.
type Change struct {
	Name  string   `json:"name"`
	New   bool     `json:"new"`
	Diff  []string `json:"diff"`           // what is set, for people
	Kept  []string `json:"kept,omitempty"` // secrets that are set and can't be compared
	uuid  string
	body  map[string]any // of a new one
	ops   []api.PatchOp
	ports []map[string]any         // new ones
	edits map[string][]api.PatchOp // of ports that are there, by UUID
	trait []string                 // nil: they agree
}

// UUID is that of the node: "" for a new one until Apply made it.
func (c Change) UUID() string { return c.uuid }

// Same tells that nothing is to be done.
func (c Change) Same() bool { return !c.New && len(c.Diff) == 0 }

// Compare says what makes the server agree with an entry. Keys that the entry does not name stay as they are, and so do
// secrets that are set, unless they are to be set again: the server does not tell them, so they can't be compared. A
// port or a BMC that another node has is a conflict, the error.
func (s *Server) Compare(ctx context.Context, e Entry, secrets bool) (Change, error) {
	c := Change{Name: e.Name, uuid: s.names[e.Name], edits: map[string][]api.PatchOp{}}
	if err := s.conflict(e, c.uuid); err != nil {
		return c, err
	}
	var have map[string]any
	if c.uuid == "" {
		c.New, c.body = true, e.Fields
		c.Diff = append(c.Diff, "enrolled")
	} else {
		var err error
		if have, err = s.api.NodeFields(ctx, c.uuid, nil); err != nil {
			return c, err
		}
		if err := c.fields(have, e.Fields, secrets); err != nil {
			return c, err
		}
	}
	for _, p := range e.Ports {
		old := s.ports[text(p, "address")]
		if old == nil {
			c.ports = append(c.ports, p)
			c.Diff = append(c.Diff, "port "+text(p, "address"))
			continue
		}
		want, err := decoded(p)
		if err != nil {
			return c, err
		}
		for _, f := range slices.Sorted(maps.Keys(want)) {
			if f != "address" && !reflect.DeepEqual(want[f], old[f]) {
				c.edits[text(old, "uuid")] = append(c.edits[text(old, "uuid")], api.PatchOp{Op: "add", Path: "/" + f, Value: want[f]})
				c.Diff = append(c.Diff, fmt.Sprintf("port %s %s: %s -> %s", text(p, "address"), f, shown(old[f]), shown(want[f])))
			}
		}
	}
	if e.Traits != nil {
		list, _ := have["traits"].([]any)
		now := []string{}
		for _, t := range list {
			now = append(now, fmt.Sprint(t))
		}
		slices.Sort(now)
		if !slices.Equal(now, e.Traits) {
			c.trait = e.Traits
			c.Diff = append(c.Diff, fmt.Sprintf("traits: %s -> %s", shown(strings.Join(now, " ")), shown(strings.Join(e.Traits, " "))))
		}
	}
	return c, nil
}

func (s *Server) conflict(e Entry, uuid string) error {
	if b := api.BMCOf(object(e.Fields, "driver_info")); b != "" && s.bmcs[b] != "" && s.bmcs[b] != uuid {
		return fault.New(fault.NodeExists, "its BMC %s is that of node %s", b, s.label[s.bmcs[b]]).WithHint("is it the same machine under another name? Change the address, or remove one of the two")
	}
	for _, p := range e.Ports {
		if old := s.ports[text(p, "address")]; old != nil && text(old, "node_uuid") != uuid {
			return fault.New(fault.PortExists, "port %s belongs to node %s", text(p, "address"), s.label[text(old, "node_uuid")])
		}
	}
	return nil
}

// fields makes the patch of a node that is there. Objects are compared key by key.
func (c *Change) fields(have, fields map[string]any, secrets bool) error {
	want, err := decoded(fields)
	if err != nil {
		return err
	}
	set := func(path, name string, old, v any) {
		op := api.PatchOp{Op: "add", Path: path, Value: v}
		if v == nil {
			op.Op = "remove"
		}
		c.ops = append(c.ops, op)
		c.Diff = append(c.Diff, name+": "+shown(old)+" -> "+shown(v))
	}
	for _, f := range slices.Sorted(maps.Keys(want)) {
		m, isMap := want[f].(map[string]any)
		old, _ := have[f].(map[string]any)
		if f == "conductor_group" {
			want[f] = strings.ToLower(text(want, f))
		}
		if !isMap {
			if !reflect.DeepEqual(want[f], have[f]) {
				set(api.Pointer(f), f, have[f], want[f])
			}
			continue
		}
		for _, k := range slices.Sorted(maps.Keys(m)) {
			switch path := api.Pointer(f, k); {
			case old[k] == api.Masked && f == "driver_info" && m[k] != api.Masked:
				if !secrets {
					c.Kept = append(c.Kept, f+"."+k)
					continue
				}
				c.ops = append(c.ops, api.PatchOp{Op: "replace", Path: path, Value: m[k]})
				c.Diff = append(c.Diff, f+"."+k+" is set again")
			case f == "driver_info" && api.SecretName(k) && !reflect.DeepEqual(m[k], old[k]):
				c.ops = append(c.ops, api.PatchOp{Op: "add", Path: path, Value: m[k]})
				c.Diff = append(c.Diff, f+"."+k+" is set")
			case !reflect.DeepEqual(m[k], old[k]):
				set(path, f+"."+k, old[k], m[k])
			}
		}
	}
	return nil
}

// Apply carries the change out: the node, then its ports and traits. Begun again after a failure it goes on.
func (c *Change) Apply(ctx context.Context, a API) error {
	switch {
	case c.New:
		made, err := a.Send(ctx, http.MethodPost, "/v1/nodes", nil, c.body)
		if err != nil {
			return err
		}
		c.uuid = text(made, "uuid")
	case len(c.ops) > 0:
		if _, err := a.Send(ctx, http.MethodPatch, "/v1/nodes/"+c.uuid, nil, c.ops); err != nil {
			return err
		}
	}
	for _, p := range c.ports {
		body := maps.Clone(p)
		body["node_uuid"] = c.uuid
		if _, err := a.Send(ctx, http.MethodPost, "/v1/ports", nil, body); err != nil {
			return err
		}
	}
	for _, port := range slices.Sorted(maps.Keys(c.edits)) {
		if _, err := a.Send(ctx, http.MethodPatch, "/v1/ports/"+port, nil, c.edits[port]); err != nil {
			return err
		}
	}
	if c.trait == nil {
		return nil
	}
	_, err := a.Send(ctx, http.MethodPut, "/v1/nodes/"+c.uuid+"/traits", nil, map[string]any{"traits": c.trait})
	return err
}

// decoded is a value as it comes back from the wire, to compare.
func decoded(v map[string]any) (map[string]any, error) {
	t, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	var out map[string]any
	err = json.Unmarshal(t, &out)
	return out, err
}

// shown is a value for people.
func shown(v any) string {
	if s, ok := v.(string); ok && s != "" {
		return s
	}
	if v == nil || v == "" {
		return "-"
	}
	t, err := json.Marshal(v)
	if err != nil { // decoded JSON can be encoded again
		return fmt.Sprint(v)
	}
	return string(t)
}
