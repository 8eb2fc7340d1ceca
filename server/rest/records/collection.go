package records

import (
	"cmp"
	"encoding/json"
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
)

// collection serves the records of one kind: list, show, create, patch, delete. What is particular to the kind is in
// its values; a new resource is one of these (API.collections), its wire struct and table in shared/api, and its rules in
// the engine.
type collection struct {
	serve.Records
	path    string // below /v1
	list    string // the key of the list; "" is the path
	since   api.Version
	changes api.Version // PATCH is there from; 0: as since
	absent  bool        // before since, methods that change answer 405, not 404
	full    bool        // lists show every field, and know no detail
	details bool        // lists know detail in each version
	named   bool        // a marker may look like a name: no record is found by it, but it is not refused as no UUID
	shape   *shape.Shape
	// What list, show, create, and patch and delete need of the caller. On create, the nodes that the body names need
	// the right to change.
	listing, reading, creating, changing access.Right
	filters                              []recordFilter
	// apart are the filters that can't be combined, the first rule first.
	apart []apart
	// fresh makes a record with its defaults; nil: an empty one.
	fresh func() conductor.Record
	show  func(c *serve.Call, r conductor.Record) any
	// conceal takes out of what is shown what a version does not have below its fields; nil: there is nothing. A PATCH
	// applies to the whole.
	conceal func(v api.Version, shown any) any
	// prepare may rewrite a create body before its fields are checked, and put into the new record what is none of
	// them; nil: nothing is to be done.
	prepare func(c *serve.Call, r conductor.Record, doc map[string]any) error
	// fields is how the fields of a checked document get into a record.
	fields fieldTable
	// judge looks at the named fields together before they are set: it may refuse them, and add to them; nil: nothing is
	// to be judged.
	judge func(c *serve.Call, r conductor.Record, d document, names []string) ([]string, error)
}

// assign puts the named fields of a checked document into a record.
func (k *collection) assign(c *serve.Call, r conductor.Record, doc map[string]any, names []string) (err error) {
	if k.judge != nil {
		if names, err = k.judge(c, r, doc, names); err != nil {
			return err
		}
	}
	return k.fields.assign(c, r, doc, names)
}

// shown is a record as answers have it.
func (k *collection) shown(c *serve.Call, r conductor.Record) any {
	if k.conceal == nil {
		return k.show(c, r)
	}
	return k.conceal(c.Version, k.show(c, r))
}

// recordFilter is an argument of a list that selects.
type recordFilter struct {
	serve.Argument
	set func(c *serve.Call, f *conductor.RecordFilter, value string) error
}

// apart are filters of which one at most may be given. What a list stands below counts as given.
type apart struct {
	reason  fault.Reason // of the refusal
	filters []string
}

// narrowed is what a list stands below: as if it were filtered so.
type narrowed struct {
	by  string // the filter's name
	set func(f *conductor.RecordFilter) error
}

// is selects by a field that has the argument's name.
func is(name string, since api.Version) recordFilter {
	return recordFilter{serve.Argument{Name: name, Since: since, Doc: "only those with this one"}, func(_ *serve.Call, f *conductor.RecordFilter, v string) error {
		if f.Is == nil {
			f.Is = map[string][]string{}
		}
		f.Is[name] = []string{v}
		return nil
	}}
}

// ofNode selects the records of the node that the argument names.
func ofNode(name string) recordFilter {
	kind := api.Text
	if name == "node_uuid" {
		kind = api.UUID
	}
	return recordFilter{serve.Argument{Name: name, Kind: kind, Doc: "only those of this node"}, setNode}
}

func setNode(c *serve.Call, f *conductor.RecordFilter, id string) error {
	if err := c.Names(id); err != nil {
		return err
	}
	n, err := c.FindNode(id)
	f.Node = n.UUID
	return err
}

// collections is everything that is served in this way.
func (a *API) collections() []*collection {
	return []*collection{a.ports(), portgroups(), a.allocations(), templates(), runbooks(), chassis(), connectors(), targets()}
}

// recordRoutes is their rows of the table of routes.
func (a *API) recordRoutes() []serve.Route {
	const get, post, patch, del = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	var rows []serve.Route
	for _, k := range a.all {
		base := "/v1/" + k.path
		one := base + "/{record}"
		if !k.full {
			rows = append(rows, serve.Route{Method: get, Path: base + "/detail", Need: k.listing, Since: k.since, Query: k.arguments(true), Handle: func(c *serve.Call) error { return a.listRecords(c, k, true, nil) }})
		}
		rows = append(rows,
			serve.Route{Method: get, Path: base, Need: k.listing, Since: k.since, Query: k.arguments(false), Handle: func(c *serve.Call) error { return a.listRecords(c, k, false, nil) }},
			serve.Route{Method: get, Path: one, Need: k.reading, Record: &k.Records, Since: k.since, Query: []serve.Argument{serve.FieldsArgument}, Handle: func(c *serve.Call) error { return a.showRecord(c, k) }},
			k.change(serve.Route{Method: post, Path: base, Need: k.creating, Since: k.since, Body: serve.MaxBody, Handle: func(c *serve.Call) error { return a.createRecord(c, k) }}),
			k.change(serve.Route{Method: patch, Path: one, Need: k.changing, Record: &k.Records, Since: max(k.since, k.changes), Body: serve.MaxBody, Handle: func(c *serve.Call) error { return a.patchRecord(c, k) }}),
			k.change(serve.Route{Method: del, Path: one, Need: k.changing, Record: &k.Records, Since: k.since, Handle: func(c *serve.Call) error { return a.deleteRecord(c, k) }}),
		)
	}
	return append(rows, a.recordsOfNode()...)
}

// key is that of the list.
func (k *collection) key() string { return cmp.Or(k.list, k.path) }

// change makes the row of a method that changes.
func (k *collection) change(rt serve.Route) serve.Route {
	if !k.absent {
		return rt
	}
	return rt.Absent(k.since)
}

// collection is the one of a kind.
func (a *API) collection(kind conductor.Kind) *collection {
	return a.all[slices.IndexFunc(a.all, func(k *collection) bool { return k.Kind == kind })]
}

// recordsOfNode is the lists below a node.
func (a *API) recordsOfNode() []serve.Route {
	const node = "/v1/nodes/{node}"
	var rows []serve.Route
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
		of := func(detail bool) func(c *serve.Call) error {
			return func(c *serve.Call) error {
				return a.listRecords(c, k, detail, &narrowed{"node", func(f *conductor.RecordFilter) error {
					id, err := c.Node()
					if err != nil {
						return err
					}
					return setNode(c, f, id)
				}})
			}
		}
		rows = append(rows, serve.Route{Method: http.MethodGet, Path: node + l.path, Need: k.reading, Since: l.since, Query: belowArguments(k, "node", false), Handle: of(false)},
			serve.Route{Method: http.MethodGet, Path: node + l.path + "/detail", Need: k.reading, Since: l.since, Query: belowArguments(k, "node", true), Handle: of(true)})
	}
	return rows
}

// arguments are those of the list; detail is what the path says.
func (k *collection) arguments(detail bool) []serve.Argument {
	all := serve.PageArguments(detail)
	if k.named {
		for i := range all {
			if all[i].Name == "marker" {
				all[i].Kind = api.Text
			}
		}
	}
	at := slices.IndexFunc(all, func(a serve.Argument) bool { return a.Name == "detail" })
	switch {
	case at >= 0 && k.full:
		all = slices.Delete(all, at, at+1)
	case at >= 0 && k.details:
		all[at].Early = 0
	}
	for _, f := range k.filters {
		all = append(all, f.Argument)
	}
	return all
}

// belowArguments are those of a list that stands below what a filter would name: it takes the others.
func belowArguments(k *collection, by string, detail bool) []serve.Argument {
	return slices.DeleteFunc(k.arguments(detail), func(a serve.Argument) bool { return a.Name == by })
}

// listRecords answers with a page; below is nil for a list that stands below nothing.
func (a *API) listRecords(c *serve.Call, k *collection, detail bool, below *narrowed) error {
	p, err := c.PageOf(k.shape, detail)
	if err != nil {
		return err
	}
	if k.full && p.Sel.Given == "" {
		p.Sel = k.shape.All(c.Version, false)
	}
	if p.Marker != "" {
		if _, err := shape.Ident(p.Marker); err != nil {
			return err
		}
	}
	filter := conductor.RecordFilter{Limit: p.Limit, After: p.Marker, SortKey: p.Key, Descending: p.Down, VisibleTo: c.VisibleTo(), Owned: k.Owned}
	if err := recordFilters(c, k, p.Query, below, &filter); err != nil {
		return err
	}
	found, err := a.backend.Records(c.R.Context(), k.Kind, filter)
	if err != nil {
		return err
	}
	list := make([]json.RawMessage, 0, len(found))
	for _, r := range found {
		text, err := k.shape.Encode(k.shown(c, r), p.Sel)
		if err != nil {
			return err
		}
		list = append(list, text)
	}
	answer := map[string]any{k.key(): list}
	if len(found) > 0 {
		if next := c.Next(p, len(found), found[len(found)-1].Top().UUID); next != "" {
			answer["next"] = next
		}
	}
	return c.JSON(http.StatusOK, answer)
}

func recordFilters(c *serve.Call, k *collection, q url.Values, below *narrowed, to *conductor.RecordFilter) error {
	var given []recordFilter
	named := map[string]bool{}
	for _, f := range k.filters {
		if !q.Has(f.Name) || f.Kind == api.List && len(shape.Items(q.Get(f.Name))) == 0 { // a list of nothing selects nothing out, as in Ironic
			continue
		}
		given, named[f.Name] = append(given, f), true
	}
	if below != nil {
		named[below.by] = true
	}
	for _, r := range k.apart {
		both := slices.DeleteFunc(slices.Clone(r.filters), func(name string) bool { return !named[name] })
		if len(both) > 1 {
			return fault.New(r.reason, "%s can't be combined", strings.Join(both, " and ")).WithHint("filter by one of them")
		}
	}
	for _, f := range given {
		if err := f.set(c, to, q.Get(f.Name)); err != nil {
			return err
		}
	}
	if below != nil {
		return below.set(to)
	}
	return nil
}

func (a *API) sendRecord(c *serve.Call, k *collection, status int, r conductor.Record, sel shape.Selection) error {
	text, err := k.shape.Encode(k.shown(c, r), sel)
	if err != nil {
		return err
	}
	return c.Raw(status, text)
}

func (a *API) showRecord(c *serve.Call, k *collection) error {
	id, err := c.Record()
	if err != nil {
		return err
	}
	sel, err := c.FieldsAsked(k.shape)
	if err != nil {
		return err
	}
	r, err := a.backend.Record(c.R.Context(), k.Kind, id)
	if err != nil {
		return err
	}
	return a.sendRecord(c, k, http.StatusOK, r, sel)
}

func (a *API) createRecord(c *serve.Call, k *collection) error {
	doc, err := c.Body(false)
	if err != nil {
		return err
	}
	c.Refers = k.changing
	r := k.Kind.Empty()
	if k.fresh != nil {
		r = k.fresh()
	}
	if k.prepare != nil {
		if err := k.prepare(c, r, doc); err != nil {
			return err
		}
	}
	names, err := k.shape.Created(doc, c.Version)
	if err != nil {
		return err
	}
	if err := k.assign(c, r, doc, names); err != nil {
		return err
	}
	if r, err = a.backend.CreateRecord(c.R.Context(), c.Who, r); err != nil {
		return err
	}
	c.W.Header().Set("Location", c.Base+"/v1/"+k.path+"/"+r.Top().UUID)
	return a.sendRecord(c, k, http.StatusCreated, r, k.shape.All(c.Version, false))
}

func (a *API) patchRecord(c *serve.Call, k *collection) error {
	id, err := c.Record()
	if err != nil {
		return err
	}
	ops, err := c.Patch()
	if err != nil {
		return err
	}
	r, err := a.backend.UpdateRecord(c.R.Context(), c.Who, k.Kind, id, func(r conductor.Record) error {
		doc, err := k.shape.Document(k.show(&serve.Call{}, r))
		if err != nil {
			return err
		}
		doc, touched, err := api.ApplyPatch(doc, ops, k.shape.Fields, c.Version)
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
	return a.sendRecord(c, k, http.StatusOK, r, k.shape.All(c.Version, false))
}

func (a *API) deleteRecord(c *serve.Call, k *collection) error {
	id, err := c.Record()
	if err != nil {
		return err
	}
	if err := a.backend.DeleteRecord(c.R.Context(), c.Who, k.Kind, id); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
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

// sameNode is bodyNode for a record that stays with the node it has.
func sameNode(c *serve.Call, what string, has conductor.NodeID, id string) (conductor.NodeID, error) {
	switch {
	case has == "":
		return c.BodyNode(id)
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
