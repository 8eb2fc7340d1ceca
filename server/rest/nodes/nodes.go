package nodes

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// nodeFilters is the arguments of the list that select nodes.
var nodeFilters = []struct {
	name  string
	since api.Version
	set   func(f *conductor.NodeFilter, value string) error
}{
	{"instance_uuid", 1, func(f *conductor.NodeFilter, v string) error {
		f.InstanceUUID = v
		return shape.WantUUID("instance_uuid", v)
	}},
	{"associated", 1, func(f *conductor.NodeFilter, v string) error { return setFlag(&f.Associated, "associated", v) }},
	{"maintenance", 1, func(f *conductor.NodeFilter, v string) error { return setFlag(&f.Maintenance, "maintenance", v) }},
	{"provision_state", 9, func(f *conductor.NodeFilter, v string) error {
		if !slices.Contains(state.All(), state.State(v)) {
			return fault.New(fault.RequestInvalid, "%q is no provision state", v)
		}
		f.State = v
		return nil
	}},
	{"driver", 16, func(f *conductor.NodeFilter, v string) error { f.Driver = v; return nil }},
	{"resource_class", 21, func(f *conductor.NodeFilter, v string) error { f.ResourceClass = v; return nil }},
	{"fault", 42, func(f *conductor.NodeFilter, v string) error {
		if !slices.Contains([]string{"power failure", "clean failure", "rescue abort failure", "service failure"}, v) {
			return fault.New(fault.RequestInvalid, "%q is no fault", v)
		}
		f.Fault = v
		return nil
	}},
	{"conductor_group", 46, func(f *conductor.NodeFilter, v string) error { f.Group = &v; return nil }},
	{"conductor", 49, func(*conductor.NodeFilter, string) error { return nil }}, // the list is empty for another one's
	{"owner", 50, func(f *conductor.NodeFilter, v string) error { f.Owner = v; return nil }},
	{"lessee", 65, func(f *conductor.NodeFilter, v string) error { f.Lessee = v; return nil }},
	{"project", 65, func(f *conductor.NodeFilter, v string) error { f.Project = v; return nil }},
	{"chassis_uuid", 1, func(f *conductor.NodeFilter, v string) error {
		f.Chassis = strings.ToLower(v)
		return shape.WantUUID("chassis_uuid", v)
	}},
	{"shard", 82, func(f *conductor.NodeFilter, v string) error { f.Shards = strings.Split(v, ","); return nil }},
	{"sharded", 82, func(f *conductor.NodeFilter, v string) error { return setFlag(&f.Sharded, "sharded", v) }},
	{"parent_node", 83, func(f *conductor.NodeFilter, v string) error {
		f.Parent, f.Roots = conductor.NodeID(v), false
		return nil
	}},
	{"include_children", 83, func(f *conductor.NodeFilter, v string) error {
		var all *bool
		err := setFlag(&all, "include_children", v)
		if err == nil && *all {
			f.Roots = false
		}
		return err
	}},
	{"instance_name", 104, func(f *conductor.NodeFilter, v string) error { f.InstanceName = v; return nil }},
	{"description_contains", 51, func(f *conductor.NodeFilter, v string) error { f.Description = v; return nil }},
	{"retired", 61, func(f *conductor.NodeFilter, v string) error { return setFlag(&f.Retired, "retired", v) }},
}

func setFlag(to **bool, name, text string) error {
	b, err := api.Bool(text)
	if err != nil {
		return fault.New(fault.RequestInvalid, "%s: %v", name, err)
	}
	*to = &b
	return nil
}

func (a *API) listNodes(c *serve.Call, detail bool) error {
	if c.R.URL.Query().Has("changed_since") {
		return a.listChanged(c, detail)
	}
	return a.listNodesIn(c, detail, nil)
}

// listNodesIn is the list of what is below something else, which narrows the filter; nil: of all nodes.
func (a *API) listNodesIn(c *serve.Call, detail bool, narrow func(f *conductor.NodeFilter)) error {
	known := serve.PageArguments()
	if detail { // it is in the path already
		known = slices.DeleteFunc(known, func(s string) bool { return s == "detail" })
	}
	for _, f := range nodeFilters {
		known = append(known, f.name)
	}
	q, err := c.Query(known...)
	if err != nil {
		return err
	}
	p, err := c.PageOf(q, a.wire.Shape, detail)
	if err != nil {
		return err
	}
	filter := conductor.NodeFilter{Limit: p.Limit, After: conductor.NodeID(p.Marker), SortKey: p.Key, Descending: p.Down, Roots: true, VisibleTo: c.VisibleTo()}
	for _, f := range nodeFilters {
		if !q.Has(f.name) {
			continue
		}
		if f.since > c.Version {
			return fault.New(fault.RequestVersion, "filter %s is there from version %s on, %s was asked for", f.name, f.since, c.Version)
		}
		if err := f.set(&filter, q.Get(f.name)); err != nil {
			return err
		}
	}
	if filter.Chassis != "" {
		if err := a.hasChassis(c, filter.Chassis); err != nil {
			return err
		}
	}
	if narrow != nil {
		narrow(&filter)
	}
	none, err := a.narrowed(c, &filter, q)
	if err != nil {
		return err
	}
	if none {
		return c.JSON(http.StatusOK, map[string]any{"nodes": []any{}})
	}
	return a.wire.Send(c, filter, p)
}

// hasChassis refuses a chassis that is not there, or of which the caller sees no node: chassis are shown to no project.
func (a *API) hasChassis(c *serve.Call, id string) error {
	if c.Grant.Project == "" {
		_, err := a.backend.Record(c.R.Context(), conductor.KindChassis, id)
		return err
	}
	in, err := a.backend.Nodes(c.R.Context(), conductor.NodeFilter{Chassis: id, VisibleTo: c.Grant.Project, Limit: 1})
	if err == nil && len(in) == 0 {
		err = conductor.KindChassis.Missing(id)
	}
	return err
}

// narrowed does what a filter needs to be looked up for; none tells that nothing can be selected.
func (a *API) narrowed(c *serve.Call, f *conductor.NodeFilter, q url.Values) (none bool, err error) {
	if q.Has("conductor") && q.Get("conductor") != a.hostname {
		return true, nil
	}
	if f.Parent != "" && !shape.IsUUID(string(f.Parent)) {
		parent, err := c.FindNode(string(f.Parent))
		if fault.Is(err, fault.NotFound) {
			return true, nil
		}
		f.Parent = parent.UUID
		return false, err
	}
	return false, nil
}

func (a *API) sendNode(c *serve.Call, status int, n conductor.Node, sel shape.Selection) error {
	text, err := a.wire.Encode(c, n, sel)
	if err != nil {
		return err
	}
	return c.Raw(status, text)
}

func (a *API) showNode(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	sel, err := c.FieldsAsked(a.wire.Shape)
	if err != nil {
		return err
	}
	n, err := a.backend.Node(c.R.Context(), id)
	if err != nil {
		return err
	}
	return a.sendNode(c, http.StatusOK, n, sel)
}

func (a *API) createNode(c *serve.Call) error {
	if _, err := c.Query(); err != nil {
		return err
	}
	doc, err := c.Body(false)
	if err != nil {
		return err
	}
	names, err := a.wire.Shape.Created(doc, c.Version)
	if err != nil {
		return err
	}
	if parent, given := doc["parent_node"]; given {
		if doc["parent_node"], err = c.MayBeParent(parent); err != nil {
			return err
		}
	}
	if c.Grant.Project != "" { // what a project's administrator makes is the project's
		if owner, given := doc["owner"]; given && owner != c.Grant.Project {
			return c.Judged("node.set.owner", access.Refused, "")
		}
		delete(doc, "owner")
		if err := c.MaySet(conductor.Node{Owner: c.Grant.Project}, slices.DeleteFunc(slices.Clone(names), func(f string) bool { return f == "owner" })); err != nil {
			return err
		}
		doc["owner"] = c.Grant.Project
		if !slices.Contains(names, "owner") {
			names = append(names, "owner")
		}
	}
	n := conductor.Node{DriverInfo: map[string]any{}, Properties: map[string]any{}, InstanceInfo: map[string]any{}, Extra: map[string]any{}}
	secrets := map[string]string{}
	if err := a.wire.Assign(&n, doc, names, secrets); err != nil {
		return err
	}
	n, err = a.backend.CreateNode(c.R.Context(), c.Who, n, secrets)
	if err != nil {
		return err
	}
	c.W.Header().Set("Location", c.Base+"/v1/nodes/"+string(n.UUID))
	return a.sendNode(c, http.StatusCreated, n, a.wire.Shape.All(c.Version, false))
}

func (a *API) patchNode(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	q, err := c.Query("reset_interfaces")
	if err != nil {
		return err
	}
	reset := false
	if q.Has("reset_interfaces") {
		if c.Version < 45 {
			return fault.New(fault.RequestVersion, "reset_interfaces is there from version 1.45 on, %s was asked for", c.Version)
		}
		if reset, err = serve.Flag(q, "reset_interfaces"); err != nil {
			return err
		}
	}
	ops, err := c.Patch()
	if err != nil {
		return err
	}
	if reset && !slices.ContainsFunc(ops, func(o api.PatchOp) bool { return o.Path == "/driver" }) {
		return fault.New(fault.RequestInvalid, "reset_interfaces is possible only together with a change of /driver")
	}
	var unseen error // told after the caller's right to set the field
	for i := range ops {
		if ops[i].Path == "/parent_node" && unseen == nil {
			ops[i].Value, unseen = c.MayBeParent(ops[i].Value)
		}
	}
	n, err := a.backend.UpdateNode(c.R.Context(), c.Who, id, func(n *conductor.Node, secrets map[string]string) error {
		if err := c.MaySet(*n, a.wire.Shape.Patched(ops)); err != nil {
			return err
		}
		if unseen != nil {
			return unseen
		}
		if n.State == state.Inspecting && c.Version >= 39 { // older versions know no wait state, so they may change it here
			return fault.New(fault.NodeBusy, "Cannot update node %s while it is in state %s.", id, n.State)
		}
		return a.wire.Patch(n, secrets, ops, reset, c.Version)
	})
	if err != nil {
		return err
	}
	return a.sendNode(c, http.StatusOK, n, a.wire.Shape.All(c.Version, false))
}

// confirmNode takes an operator's word that the record of an unverified node is right.
func (a *API) confirmNode(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	if err := a.backend.ConfirmNode(c.R.Context(), c.Who, id); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}

func (a *API) deleteNode(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	if err := a.backend.DeleteNode(c.R.Context(), c.Who, id); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}
