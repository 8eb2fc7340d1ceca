package rest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
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

// page is what every list takes: limit, marker, sort_key, sort_dir, fields, detail.
type page struct {
	limit  int
	marker string
	key    string
	down   bool
	sel    shape.Selection
	query  url.Values // to repeat in next
}

func pageArguments(more ...string) []string {
	return append([]string{"limit", "marker", "sort_key", "sort_dir", "fields", "detail"}, more...)
}

// pageOf reads the arguments of a list; detail is what the path says.
func (c *call) pageOf(q url.Values, s *shape.Shape, detail bool) (page, error) {
	p := page{limit: maxPage, marker: q.Get("marker"), query: q}
	var err error
	if p.limit, err = limitOf(q); err != nil {
		return p, err
	}
	if p.marker != "" {
		if err := shape.WantUUID("marker", p.marker); err != nil {
			return p, err
		}
	}
	switch q.Get("sort_dir") {
	case "", "asc":
	case "desc":
		p.down = true
	default:
		return p, fault.New(fault.RequestInvalid, "Invalid sort direction: %s. Acceptable values are 'asc' or 'desc'", q.Get("sort_dir"))
	}
	if key := q.Get("sort_key"); key != "" {
		if err := s.Sortable(key, c.version); err != nil {
			return p, err
		}
		if key != "id" {
			p.key = key
		}
	}
	if q.Has("detail") {
		if c.version < 43 {
			return p, fault.New(fault.RequestInvalid, "detail is there from version 1.43 on, %s was asked for", c.version)
		}
		asked, err := flag(q, "detail")
		if err != nil {
			return p, err
		}
		detail = detail || asked
	}
	if list := q.Get("fields"); list != "" {
		if detail {
			return p, fault.New(fault.RequestInvalid, "Can't fetch a subset of fields with 'detail' set")
		}
		p.sel, err = s.Wanted(list, c.version)
		return p, err
	}
	p.sel = s.All(c.version, !detail)
	return p, nil
}

func limitOf(q url.Values) (int, error) {
	text := q.Get("limit")
	if !q.Has("limit") {
		return maxPage, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fault.New(fault.RequestInvalid, "Limit must be a positive number, received %q", text)
	}
	return min(n, maxPage), nil
}

// next is the URL of the page after one that is full and ends with marker.
func (c *call) next(p page, count int, marker string) string {
	if count < p.limit {
		return ""
	}
	q := url.Values{}
	for k, v := range p.query {
		q[k] = v
	}
	q.Set("limit", strconv.Itoa(p.limit))
	q.Set("marker", marker)
	return c.base + c.r.URL.Path + "?" + q.Encode()
}

func (c *call) listNodes(detail bool) error {
	if c.r.URL.Query().Has("changed_since") {
		return c.listChanged(detail)
	}
	return c.listNodesIn(detail, nil)
}

// listNodesIn is the list of what is below something else, which narrows the filter; nil: of all nodes.
func (c *call) listNodesIn(detail bool, narrow func(f *conductor.NodeFilter)) error {
	known := pageArguments()
	if detail { // it is in the path already
		known = slices.DeleteFunc(known, func(s string) bool { return s == "detail" })
	}
	for _, f := range nodeFilters {
		known = append(known, f.name)
	}
	q, err := c.query(known...)
	if err != nil {
		return err
	}
	p, err := c.pageOf(q, c.api.node, detail)
	if err != nil {
		return err
	}
	filter := conductor.NodeFilter{Limit: p.limit, After: conductor.NodeID(p.marker), SortKey: p.key, Descending: p.down, Roots: true, VisibleTo: c.visibleTo()}
	for _, f := range nodeFilters {
		if !q.Has(f.name) {
			continue
		}
		if f.since > c.version {
			return fault.New(fault.RequestVersion, "filter %s is there from version %s on, %s was asked for", f.name, f.since, c.version)
		}
		if err := f.set(&filter, q.Get(f.name)); err != nil {
			return err
		}
	}
	if filter.Chassis != "" {
		if err := c.hasChassis(filter.Chassis); err != nil {
			return err
		}
	}
	if narrow != nil {
		narrow(&filter)
	}
	none, err := c.narrowed(&filter, q)
	if err != nil {
		return err
	}
	if none {
		return c.json(http.StatusOK, map[string]any{"nodes": []any{}})
	}
	return c.sendNodes(filter, p)
}

// hasChassis refuses a chassis that is not there, or of which the caller sees no node: chassis are shown to no project.
func (c *call) hasChassis(id string) error {
	if c.grant.Project == "" {
		_, err := c.api.cfg.Backend.Record(c.r.Context(), conductor.KindChassis, id)
		return err
	}
	in, err := c.api.cfg.Backend.Nodes(c.r.Context(), conductor.NodeFilter{Chassis: id, VisibleTo: c.grant.Project, Limit: 1})
	if err == nil && len(in) == 0 {
		err = conductor.KindChassis.Missing(id)
	}
	return err
}

// narrowed does what a filter needs to be looked up for; none tells that nothing can be selected.
func (c *call) narrowed(f *conductor.NodeFilter, q url.Values) (none bool, err error) {
	if q.Has("conductor") && q.Get("conductor") != c.api.cfg.Hostname {
		return true, nil
	}
	if f.Parent != "" && !shape.IsUUID(string(f.Parent)) {
		parent, err := c.findNode(string(f.Parent))
		if fault.Is(err, fault.NotFound) {
			return true, nil
		}
		f.Parent = parent.UUID
		return false, err
	}
	return false, nil
}

func (c *call) encodeNode(n conductor.Node, sel shape.Selection) (json.RawMessage, error) {
	out := c.show(n)
	if slices.ContainsFunc(sel.Names, func(f string) bool { return f == "clean_step" || f == "deploy_step" || f == "service_step" }) {
		if err := c.addStep(c.r.Context(), n, &out); err != nil {
			return nil, err
		}
	}
	return c.api.node.Encode(out, sel)
}

func (c *call) sendNode(status int, n conductor.Node, sel shape.Selection) error {
	text, err := c.encodeNode(n, sel)
	if err != nil {
		return err
	}
	return c.raw(status, text)
}

func (c *call) showNode() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	sel, err := c.fieldsAsked(c.api.node)
	if err != nil {
		return err
	}
	n, err := c.api.cfg.Backend.Node(c.r.Context(), id)
	if err != nil {
		return err
	}
	return c.sendNode(http.StatusOK, n, sel)
}

func (c *call) createNode() error {
	if _, err := c.query(); err != nil {
		return err
	}
	doc, err := c.body(false)
	if err != nil {
		return err
	}
	names, err := c.api.node.Created(doc, c.version)
	if err != nil {
		return err
	}
	if parent, given := doc["parent_node"]; given {
		if doc["parent_node"], err = c.mayBeParent(parent); err != nil {
			return err
		}
	}
	if c.grant.Project != "" { // what a project's administrator makes is the project's
		if owner, given := doc["owner"]; given && owner != c.grant.Project {
			return c.judged("node.set.owner", access.Refused, "")
		}
		delete(doc, "owner")
		if err := c.maySet(conductor.Node{Owner: c.grant.Project}, slices.DeleteFunc(slices.Clone(names), func(f string) bool { return f == "owner" })); err != nil {
			return err
		}
		doc["owner"] = c.grant.Project
		if !slices.Contains(names, "owner") {
			names = append(names, "owner")
		}
	}
	n := conductor.Node{DriverInfo: map[string]any{}, Properties: map[string]any{}, InstanceInfo: map[string]any{}, Extra: map[string]any{}}
	secrets := map[string]string{}
	if err := c.api.assign(&n, doc, names, secrets); err != nil {
		return err
	}
	n, err = c.api.cfg.Backend.CreateNode(c.r.Context(), c.who, n, secrets)
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", c.base+"/v1/nodes/"+string(n.UUID))
	return c.sendNode(http.StatusCreated, n, c.api.node.All(c.version, false))
}

func (c *call) patchNode() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	q, err := c.query("reset_interfaces")
	if err != nil {
		return err
	}
	reset := false
	if q.Has("reset_interfaces") {
		if c.version < 45 {
			return fault.New(fault.RequestVersion, "reset_interfaces is there from version 1.45 on, %s was asked for", c.version)
		}
		if reset, err = flag(q, "reset_interfaces"); err != nil {
			return err
		}
	}
	ops, err := c.patch()
	if err != nil {
		return err
	}
	if reset && !slices.ContainsFunc(ops, func(o api.PatchOp) bool { return o.Path == "/driver" }) {
		return fault.New(fault.RequestInvalid, "reset_interfaces is possible only together with a change of /driver")
	}
	var unseen error // told after the caller's right to set the field
	for i := range ops {
		if ops[i].Path == "/parent_node" && unseen == nil {
			ops[i].Value, unseen = c.mayBeParent(ops[i].Value)
		}
	}
	n, err := c.api.cfg.Backend.UpdateNode(c.r.Context(), c.who, id, func(n *conductor.Node, secrets map[string]string) error {
		if err := c.maySet(*n, c.api.node.Patched(ops)); err != nil {
			return err
		}
		if unseen != nil {
			return unseen
		}
		if n.State == state.Inspecting && c.version >= 39 { // older versions know no wait state, so they may change it here
			return fault.New(fault.NodeBusy, "Cannot update node %s while it is in state %s.", id, n.State)
		}
		return c.api.patchNode(n, secrets, ops, reset, c.version)
	})
	if err != nil {
		return err
	}
	return c.sendNode(http.StatusOK, n, c.api.node.All(c.version, false))
}

// patchNode applies a PATCH to a node.
func (a *API) patchNode(n *conductor.Node, secrets map[string]string, ops []api.PatchOp, reset bool, v api.Version) error {
	if reset {
		n.Interfaces = nil
	}
	shown := a.plain(*n)
	for _, f := range interfaceFields(&shown) {
		*f.shown = shape.OrNull(n.Interfaces[f.name]) // the choice, not the default
	}
	doc, err := a.node.Document(shown)
	if err != nil {
		return err
	}
	if v < 25 && slices.ContainsFunc(ops, func(op api.PatchOp) bool { return op.Op == "remove" && op.Path == "/chassis_uuid" }) {
		return fault.New(fault.RequestVersion, "a node can be taken out of its chassis from version 1.25 on, %s was asked for", v)
	}
	doc, touched, err := api.ApplyPatch(doc, ops, a.node.Fields, v)
	if err != nil {
		return err
	}
	if slices.Contains(touched, "driver") && !slices.Contains(touched, "driver_info") {
		touched = append(touched, "driver_info") // another driver has other secrets
	}
	// A flag and its reason are judged together, the flag first.
	slices.SortStableFunc(touched, func(x, y string) int { return len(x) - len(y) })
	if err := a.node.Check(doc, touched); err != nil {
		return err
	}
	return a.assign(n, doc, touched, secrets)
}

// patch decodes a PATCH body: a list of operations without extra keys.
func (c *call) patch() ([]api.PatchOp, error) {
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

// confirmNode takes an operator's word that the record of an unverified node is right.
func (c *call) confirmNode() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	if err := c.api.cfg.Backend.ConfirmNode(c.r.Context(), c.who, id); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (c *call) deleteNode() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	if err := c.api.cfg.Backend.DeleteNode(c.r.Context(), c.who, id); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}
