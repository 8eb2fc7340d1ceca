package nodes

import (
	"net/http"
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

// list is names for a sentence.
func list[S ~string](names []S) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = string(n)
	}
	return strings.Join(out, ", ")
}

// nodeFilters is the arguments of the list that select nodes.
var nodeFilters = []struct {
	serve.Argument
	set func(f *conductor.NodeFilter, value string) error
}{
	{filter("instance_uuid", api.UUID, 1, "only the one with this instance"), func(f *conductor.NodeFilter, v string) error { f.InstanceUUID = v; return nil }},
	{filter("associated", api.Flag, 1, "only those with an instance, or without"), func(f *conductor.NodeFilter, v string) error { return setFlag(&f.Associated, v) }},
	{filter("maintenance", api.Flag, 1, "only those in maintenance, or not"), func(f *conductor.NodeFilter, v string) error { return setFlag(&f.Maintenance, v) }},
	{filter("provision_state", api.Text, 9, "only those in this state"), func(f *conductor.NodeFilter, v string) error {
		if !slices.Contains(state.All(), state.State(v)) {
			return fault.New(fault.RequestInvalid, "%q is no provision state", v).WithHint("they are %s", list(state.All()))
		}
		f.State = v
		return nil
	}},
	{filter("driver", api.Text, 16, "only those of this hardware type"), func(f *conductor.NodeFilter, v string) error { f.Driver = v; return nil }},
	{filter("resource_class", api.Text, 21, "only those of this class"), func(f *conductor.NodeFilter, v string) error { f.ResourceClass = v; return nil }},
	{filter("fault", api.Text, 42, "only those that the server put into maintenance for it"), func(f *conductor.NodeFilter, v string) error {
		known := []string{"power failure", "clean failure", "rescue abort failure", "service failure"}
		if !slices.Contains(known, v) {
			return fault.New(fault.RequestInvalid, "%q is no fault", v).WithHint("they are %s", list(known))
		}
		f.Fault = v
		return nil
	}},
	{filter("conductor_group", api.Text, 46, "only those of this group"), func(f *conductor.NodeFilter, v string) error { f.Group = &v; return nil }},
	{filter("conductor", api.Text, 49, "only those of the server on this host"), func(*conductor.NodeFilter, string) error { return nil }}, // the list is empty for another one's
	{filter("owner", api.Text, 50, "only those of this owner"), func(f *conductor.NodeFilter, v string) error { f.Owner = v; return nil }},
	{filter("lessee", api.Text, 65, "only those lent to this project"), func(f *conductor.NodeFilter, v string) error { f.Lessee = v; return nil }},
	{filter("project", api.Text, 65, "only those that this project owns or is lent"), func(f *conductor.NodeFilter, v string) error { f.Project = v; return nil }},
	{filter("chassis_uuid", api.UUID, 1, "only those in this chassis"), func(f *conductor.NodeFilter, v string) error { f.Chassis = v; return nil }},
	{filter("shard", api.List, 82, "only those in one of these shards"), func(f *conductor.NodeFilter, v string) error { f.Shards = shape.Shards(v); return nil }},
	{filter("sharded", api.Flag, 82, "only those in a shard, or in none"), func(f *conductor.NodeFilter, v string) error { return setFlag(&f.Sharded, v) }},
	{filter("parent_node", api.Text, 83, "only the parts of this node"), func(f *conductor.NodeFilter, v string) error {
		f.Parent, f.Roots = conductor.NodeID(v), false
		return nil
	}},
	{filter("include_children", api.Flag, 83, "those that are parts of a node, too"), func(f *conductor.NodeFilter, v string) error {
		var all *bool
		err := setFlag(&all, v)
		if err == nil && *all {
			f.Roots = false
		}
		return err
	}},
	{filter("instance_name", api.Text, 104, "only those with an instance of this name"), func(f *conductor.NodeFilter, v string) error { f.InstanceName = v; return nil }},
	{filter("description_contains", api.Text, 51, "only those with this in their description"), func(f *conductor.NodeFilter, v string) error { f.Description = &v; return nil }},
	{filter("retired", api.Flag, 61, "only those that are retired, or not"), func(f *conductor.NodeFilter, v string) error { return setFlag(&f.Retired, v) }},
}

// emptyValues are the filters that an empty value is one of many for. No node has an empty one of the others, as what is
// not set is null: by them it selects nothing.
var emptyValues = []string{"conductor_group", "description_contains"}

// filter is the argument of a filter.
func filter(name string, kind api.Kind, since api.Version, doc string) serve.Argument {
	return serve.Argument{Name: name, Kind: kind, Since: since, Doc: doc}
}

func setFlag(to **bool, text string) error {
	b, err := api.Bool(text)
	*to = &b
	return err
}

// listArguments are those of a list of nodes; detail is what the path says.
func listArguments(detail bool, more ...serve.Argument) []serve.Argument {
	all := append(serve.PageArguments(detail), more...)
	for _, f := range nodeFilters {
		all = append(all, f.Argument)
	}
	return all
}

func (a *API) listNodes(c *serve.Call, detail bool) error {
	if c.Given(changedSince.Name) {
		return a.listChanged(c, detail)
	}
	return a.listNodesIn(c, detail, nil)
}

// listNodesIn is the list of what is below something else, which narrows the filter; nil: of all nodes.
func (a *API) listNodesIn(c *serve.Call, detail bool, narrow func(f *conductor.NodeFilter)) error {
	p, err := c.PageOf(a.wire.Shape, detail)
	if err != nil {
		return err
	}
	filter := conductor.NodeFilter{Limit: p.Limit, After: conductor.NodeID(p.Marker), SortKey: p.Key, Descending: p.Down, Roots: true, VisibleTo: c.VisibleTo()}
	none := false
	for _, f := range nodeFilters {
		if !c.Given(f.Name) {
			continue
		}
		if err := f.set(&filter, c.Arg(f.Name)); err != nil {
			return err
		}
		none = none || f.Kind == api.Text && c.Arg(f.Name) == "" && !slices.Contains(emptyValues, f.Name)
	}
	if filter.Chassis != "" {
		if err := a.hasChassis(c, filter.Chassis); err != nil {
			return err
		}
	}
	if narrow != nil {
		narrow(&filter)
	}
	if iface, ok := strings.CutSuffix(p.Key, "_interface"); ok {
		filter.Defaults = a.wire.Defaults(iface)
	}
	if err := mayOrderBy(c, filter); err != nil {
		return err
	}
	p.Alone = filter.InstanceUUID != "" // there is one at most
	other, err := a.narrowed(c, &filter)
	if err != nil {
		return err
	}
	if none || other {
		return c.JSON(http.StatusOK, map[string]any{"nodes": []any{}})
	}
	return a.wire.Send(c, filter, p)
}

// mayOrderBy refuses an order by what the caller is not shown of some of the nodes: the order tells of a field what its
// redaction hides (safety.md I26).
func mayOrderBy(c *serve.Call, f conductor.NodeFilter) error {
	of := access.Object{Owner: f.Owner, Lessee: c.Grant.Project}
	if f.SortKey == "" || c.Grant.Project == "" || c.Grant.Sees(of, f.SortKey) {
		return nil
	}
	return fault.New(fault.RequestForbidden, "%s is not shown of every node in this list, so the list can't be sorted by it", f.SortKey).
		WithHint("list the project's own nodes alone: owner=%s", c.Grant.Project)
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
func (a *API) narrowed(c *serve.Call, f *conductor.NodeFilter) (none bool, err error) {
	if c.Given("conductor") && c.Arg("conductor") != a.hostname {
		return true, nil
	}
	if shape.IsUUID(string(f.Parent)) {
		f.Parent = conductor.NodeID(strings.ToLower(string(f.Parent)))
	} else if f.Parent != "" {
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
	doc, err := c.Body(false)
	if err != nil {
		return err
	}
	names, err := a.wire.Shape.Created(doc, c.Version)
	if err != nil {
		return err
	}
	if name, ok := doc["name"].(string); ok {
		if err := shape.NodeName(name, c.Version); err != nil {
			return err
		}
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
	reset := c.Flag("reset_interfaces")
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
