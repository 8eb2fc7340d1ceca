package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Records is the part of the backend for what stands beside nodes. Every ident is a UUID or a name.
type Records interface {
	Record(ctx context.Context, kind conductor.Kind, ident string) (conductor.Record, error)
	Records(ctx context.Context, kind conductor.Kind, f conductor.RecordFilter) ([]conductor.Record, error)
	CreateRecord(ctx context.Context, who conductor.Caller, r conductor.Record) (conductor.Record, error)
	UpdateRecord(ctx context.Context, who conductor.Caller, kind conductor.Kind, ident string, change func(r conductor.Record) error) (conductor.Record, error)
	DeleteRecord(ctx context.Context, who conductor.Caller, kind conductor.Kind, ident string) error
}

// collection serves the records of one kind: list, show, create, patch, delete. What is particular to the kind is in
// its values; a new resource is one of these (collections), its wire struct and table in shared/api, and its rules in
// the engine.
type collection struct {
	kind    conductor.Kind
	path    string // below /v1
	list    string // the key of the list; "" is the path
	since   api.Version
	named   api.Version // a name in the path will do for the UUID from there on; 0: never
	changes api.Version // PATCH is there from; 0: as since
	absent  bool        // before since, methods that change answer 405, not 404
	full    bool        // lists show every field, and know no detail
	shape   *shape.Shape
	// What list, show, create, and patch and delete need of the caller. On create, the nodes that the body names need
	// the right to change.
	listing, reading, creating, changing access.Right
	owned                                bool // it has an owner of its own (Owned); else it is its node's
	filters                              []recordFilter
	// exclusive are the filters of which one at most may be given.
	exclusive []string
	// fresh makes a record with its defaults; nil: an empty one.
	fresh func() conductor.Record
	show  func(c *call, r conductor.Record) any
	// prepare may rewrite a create body before its fields are checked; nil: nothing is to be done.
	prepare func(c *call, doc map[string]any) error
	// fields is how the fields of a checked document get into a record.
	fields fieldTable
	// judge looks at the named fields together before they are set: it may refuse them, and add to them; nil: nothing is
	// to be judged.
	judge func(c *call, r conductor.Record, d document, names []string) ([]string, error)
}

// assign puts the named fields of a checked document into a record.
func (k *collection) assign(c *call, r conductor.Record, doc map[string]any, names []string) (err error) {
	if k.judge != nil {
		if names, err = k.judge(c, r, doc, names); err != nil {
			return err
		}
	}
	return k.fields.assign(c, r, doc, names)
}

// recordFilter is an argument of a list that selects.
type recordFilter struct {
	name  string
	since api.Version
	set   func(c *call, f *conductor.RecordFilter, value string) error
}

// is selects by a field that has the argument's name.
func is(name string, since api.Version) recordFilter {
	return recordFilter{name, since, func(_ *call, f *conductor.RecordFilter, v string) error {
		if f.Is == nil {
			f.Is = map[string][]string{}
		}
		f.Is[name] = []string{v}
		return nil
	}}
}

// ofNode selects the records of the node that the argument names.
func ofNode(name string) recordFilter {
	return recordFilter{name, 1, func(c *call, f *conductor.RecordFilter, v string) error {
		if name == "node_uuid" {
			if err := shape.WantUUID(name, v); err != nil {
				return err
			}
		}
		return c.setNode(f, v)
	}}
}

func (c *call) setNode(f *conductor.RecordFilter, id string) error {
	if _, err := shape.Ident(id); err != nil {
		return err
	}
	n, err := c.findNode(id)
	f.Node = n.UUID
	return err
}

// collections is everything that is served in this way.
func collections() []*collection {
	return []*collection{ports(), portgroups(), allocations(), templates(), runbooks(), chassis(), connectors(), targets()}
}

// recordRoutes is their rows of the table in routes.go.
func (a *API) recordRoutes() []route {
	const get, post, patch, del = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	var rows []route
	for _, k := range a.beside {
		base := "/v1/" + k.path
		one := base + "/{record}"
		if !k.full {
			rows = append(rows, route{method: get, path: base + "/detail", need: k.listing, since: k.since, handle: func(c *call) error { return c.listRecords(k, true, nil) }})
		}
		rows = append(rows,
			route{method: get, path: base, need: k.listing, since: k.since, handle: func(c *call) error { return c.listRecords(k, false, nil) }},
			route{method: get, path: one, need: k.reading, record: k, since: k.since, handle: func(c *call) error { return c.showRecord(k) }},
			k.change(route{method: post, path: base, need: k.creating, since: k.since, body: maxBody, handle: func(c *call) error { return c.createRecord(k) }}),
			k.change(route{method: patch, path: one, need: k.changing, record: k, since: max(k.since, k.changes), body: maxBody, handle: func(c *call) error { return c.patchRecord(k) }}),
			k.change(route{method: del, path: one, need: k.changing, record: k, since: k.since, handle: func(c *call) error { return c.deleteRecord(k) }}),
		)
	}
	return append(rows, a.recordsOfNode()...)
}

// change makes the row of a method that changes.
func (k *collection) change(rt route) route {
	if !k.absent {
		return rt
	}
	since, handle := rt.since, rt.handle
	rt.since = 0
	rt.handle = func(c *call) error {
		if c.version < since {
			c.routing = c.version < k.since
			return fault.New(fault.MethodNotAllowed, "%s is not served at %s before version %s; %s was asked for", c.r.Method, c.r.URL.Path, since, c.version)
		}
		return handle(c)
	}
	return rt
}

// collection is the one of a kind.
func (a *API) collection(kind conductor.Kind) *collection {
	return a.beside[slices.IndexFunc(a.beside, func(k *collection) bool { return k.kind == kind })]
}

// recordsOfNode is the lists below a node.
func (a *API) recordsOfNode() []route {
	const node = "/v1/nodes/{node}"
	var rows []route
	for _, l := range []struct {
		kind  conductor.Kind
		path  string
		since api.Version
	}{
		{conductor.KindPort, "/ports", 1},
		{conductor.KindPortgroup, "/portgroups", 24},
		{conductor.KindConnector, "/volume/connectors", 32},
		{conductor.KindTarget, "/volume/targets", 32},
	} {
		k := a.collection(l.kind)
		of := func(detail bool) func(c *call) error {
			return func(c *call) error {
				return c.listRecords(k, detail, func(f *conductor.RecordFilter) error {
					id, err := c.node()
					if err != nil {
						return err
					}
					return c.setNode(f, id)
				})
			}
		}
		rows = append(rows, route{method: http.MethodGet, path: node + l.path, need: k.reading, since: l.since, handle: of(false)},
			route{method: http.MethodGet, path: node + l.path + "/detail", need: k.reading, since: l.since, handle: of(true)})
	}
	return rows
}

// listRecords answers with a page. below narrows a list that stands below something else; such a list takes the
// filters that do not say what it is below.
func (c *call) listRecords(k *collection, detail bool, below func(f *conductor.RecordFilter) error) error {
	known := pageArguments()
	if k.full {
		known = slices.DeleteFunc(known, func(s string) bool { return s == "detail" })
	}
	for _, f := range k.filters {
		if below == nil || f.name == "address" {
			known = append(known, f.name)
		}
	}
	q, err := c.query(known...)
	if err != nil {
		return err
	}
	p, err := c.pageOf(q, k.shape, detail)
	if err != nil {
		return err
	}
	if k.full && p.sel.Given == "" {
		p.sel = k.shape.All(c.version, false)
	}
	filter := conductor.RecordFilter{Limit: p.limit, After: p.marker, SortKey: p.key, Descending: p.down, VisibleTo: c.visibleTo(), Owned: k.owned}
	if err := c.recordFilter(k, q, &filter); err != nil {
		return err
	}
	if below != nil {
		if err := below(&filter); err != nil {
			return err
		}
	}
	found, err := c.api.cfg.Backend.Records(c.r.Context(), k.kind, filter)
	if err != nil {
		return err
	}
	list := make([]json.RawMessage, 0, len(found))
	for _, r := range found {
		text, err := k.shape.Encode(k.show(c, r), p.sel)
		if err != nil {
			return err
		}
		list = append(list, text)
	}
	name := k.list
	if name == "" {
		name = k.path
	}
	answer := map[string]any{name: list}
	if len(found) > 0 {
		if next := c.next(p, len(found), found[len(found)-1].Top().UUID); next != "" {
			answer["next"] = next
		}
	}
	return c.json(http.StatusOK, answer)
}

func (c *call) recordFilter(k *collection, q url.Values, to *conductor.RecordFilter) error {
	var given []string
	for _, f := range k.filters {
		if !q.Has(f.name) {
			continue
		}
		if slices.Contains(k.exclusive, f.name) {
			given = append(given, f.name)
		}
		if f.since > c.version {
			return fault.New(fault.RequestVersion, "filter %s is there from version %s on, %s was asked for", f.name, f.since, c.version)
		}
		if err := f.set(c, to, q.Get(f.name)); err != nil {
			return err
		}
	}
	if len(given) > 1 {
		return fault.New(fault.RequestForbidden, "%s can't be combined", strings.Join(given, " and ")).WithHint("filter by one of them")
	}
	return nil
}

// record is the identifier in the path. What has no names (yet) is found by its UUID alone.
func (c *call) record() (string, error) {
	if given := mux.Vars(c.r)["record"]; c.of.named == 0 || c.version < c.of.named {
		if err := shape.WantUUID(string(c.of.kind), given); err != nil {
			return "", err
		}
	}
	return c.named("record")
}

func (c *call) sendRecord(k *collection, status int, r conductor.Record, sel shape.Selection) error {
	text, err := k.shape.Encode(k.show(c, r), sel)
	if err != nil {
		return err
	}
	return c.raw(status, text)
}

func (c *call) showRecord(k *collection) error {
	id, err := c.record()
	if err != nil {
		return err
	}
	sel, err := c.fieldsAsked(k.shape)
	if err != nil {
		return err
	}
	r, err := c.api.cfg.Backend.Record(c.r.Context(), k.kind, id)
	if err != nil {
		return err
	}
	return c.sendRecord(k, http.StatusOK, r, sel)
}

// fieldsAsked is the selection of an answer that shows one object.
func (c *call) fieldsAsked(s *shape.Shape) (shape.Selection, error) {
	q, err := c.query("fields")
	if err != nil {
		return shape.Selection{}, err
	}
	if list := q.Get("fields"); list != "" {
		return s.Wanted(list, c.version)
	}
	return s.All(c.version, false), nil
}

func (c *call) createRecord(k *collection) error {
	if _, err := c.query(); err != nil {
		return err
	}
	doc, err := c.body(false)
	if err != nil {
		return err
	}
	c.refers = k.changing
	if k.prepare != nil {
		if err := k.prepare(c, doc); err != nil {
			return err
		}
	}
	names, err := k.shape.Created(doc, c.version)
	if err != nil {
		return err
	}
	r := k.kind.Empty()
	if k.fresh != nil {
		r = k.fresh()
	}
	if err := k.assign(c, r, doc, names); err != nil {
		return err
	}
	if r, err = c.api.cfg.Backend.CreateRecord(c.r.Context(), c.who, r); err != nil {
		return err
	}
	c.w.Header().Set("Location", c.base+"/v1/"+k.path+"/"+r.Top().UUID)
	return c.sendRecord(k, http.StatusCreated, r, k.shape.All(c.version, false))
}

func (c *call) patchRecord(k *collection) error {
	id, err := c.record()
	if err != nil {
		return err
	}
	ops, err := c.patch()
	if err != nil {
		return err
	}
	r, err := c.api.cfg.Backend.UpdateRecord(c.r.Context(), c.who, k.kind, id, func(r conductor.Record) error {
		doc, err := k.shape.Document(k.show(&call{api: c.api, version: c.version}, r))
		if err != nil {
			return err
		}
		doc, touched, err := api.ApplyPatch(doc, ops, k.shape.Fields, c.version)
		if err != nil {
			return err
		}
		if err := k.shape.Check(doc, touched); err != nil {
			return err
		}
		return k.assign(c, r, doc, touched)
	})
	if err != nil {
		return err
	}
	return c.sendRecord(k, http.StatusOK, r, k.shape.All(c.version, false))
}

func (c *call) deleteRecord(k *collection) error {
	id, err := c.record()
	if err != nil {
		return err
	}
	if err := c.api.cfg.Backend.DeleteRecord(c.r.Context(), c.who, k.kind, id); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// document reads typed fields of a checked document.
type document map[string]any

func (d document) text(name string) string           { s, _ := d[name].(string); return s }
func (d document) number(name string) int            { n, _ := d[name].(int); return n }
func (d document) flag(name string) bool             { b, _ := d[name].(bool); return b }
func (d document) object(name string) map[string]any { m, _ := d[name].(map[string]any); return m }

// head puts a field that all records have into one.
func (d document) head(h *conductor.Head, name string) error {
	switch name {
	case "uuid":
		h.UUID = d.text(name)
	case "name":
		if s := d.text(name); s != "" && (!shape.IsName(s) || shape.IsUUID(s)) {
			return fault.New(fault.RequestInvalid, "%q can't be a name", s).WithHint("1 to 255 letters, digits and - . _ ~; not a UUID")
		}
		h.Name = d.text(name)
	}
	return nil
}

// bodyNode is the node that a body names by UUID: not found it is a wrong request.
func (c *call) bodyNode(id string) (conductor.NodeID, error) {
	if c.grant.Project == "" && shape.IsUUID(id) { // whose it is does not matter, and whether it is there the conductor looks itself
		var err error
		if c.refers != "" {
			err = c.mayOn(c.refers, conductor.Node{})
		}
		return conductor.NodeID(strings.ToLower(id)), err
	}
	n, err := c.findNode(id)
	if fault.Is(err, fault.NotFound) {
		return "", fault.New(fault.RequestInvalid, "Node %s could not be found.", id)
	}
	if err == nil && c.refers != "" {
		err = c.mayOn(c.refers, n)
	}
	return n.UUID, err
}

// sameNode is bodyNode for a record that stays with the node it has.
func (c *call) sameNode(what string, has conductor.NodeID, id string) (conductor.NodeID, error) {
	switch {
	case has == "":
		return c.bodyNode(id)
	case strings.EqualFold(id, string(has)):
		return has, nil
	}
	return has, fault.New(fault.RequestInvalid, "a %s can't be moved to another node", what).
		WithHint("delete it and create it on the other node")
}

// stamps are the times of a record; updated_at is null until it changes.
func stamps(h *conductor.Head) (created, updated api.Time) {
	return api.Time{Time: h.Created}, api.Time{Time: h.Updated}
}
