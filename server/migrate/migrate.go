// Package migrate takes the machines of another Ironic over: it reads both servers, compares them object by object, and
// carries the differences to the target. The source is only ever read. Nothing here touches a machine by itself: a node
// that runs an instance is adopted, which writes to no disk and is no power act; no node is cleaned or deployed.
//
// Start at Read, then Compare, which is pure, then Plan.Apply. An import that was cut off is begun again: what is done
// already compares as equal.
package migrate

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Source is a server of Ironic's API. Nothing but reading is asked of it.
type Source interface {
	// Each hands every object of a list to fn, over all pages. key is the list's name in the answer.
	Each(ctx context.Context, path, key string, q url.Values, fn func(object map[string]any) error) error
	// Get reads one object.
	Get(ctx context.Context, path string, q url.Values) (map[string]any, error)
}

// Object is an object of the API as decoded JSON.
type Object = map[string]any

// text is a field that holds a text, "" when it is unset.
func text(o Object, field string) string {
	s, _ := o[field].(string)
	return s
}

// label is what people call an object.
func label(o Object) string {
	for _, f := range []string{"name", "address", "description", "uuid"} {
		if s := text(o, f); s != "" {
			return s
		}
	}
	return "?"
}

// kind is a sort of object that is taken over.
type kind struct {
	name   string // for people
	path   string // below /v1; its last word is the list's name
	since  api.Version
	fields []string // carried and compared; of nodes and ports those of the tables
	fixed  []string // of those, given when it is made and never changed
	owned  bool     // it belongs to the node of node_uuid, and is dealt with after it
}

// list is the name of the list of such objects.
func (k kind) list() string { return k.path[strings.LastIndex(k.path, "/")+1:] }

// kinds are all that is taken over, each after what it refers to.
var kinds = []kind{
	{name: "chassis", path: "chassis", since: 1, fields: []string{"description", "extra"}},
	{name: "deploy template", path: "deploy_templates", since: 55, fields: []string{"name", "steps", "description", "extra"}},
	{name: "runbook", path: "runbooks", since: 92, fields: []string{"name", "steps", "disable_ramdisk", "public", "owner", "extra"}},
	{name: "node", path: "nodes", since: 1, fields: writable(api.NodeFields(), "uuid", "maintenance", "console_enabled", "boot_mode", "secure_boot")},
	{name: "port group", path: "portgroups", since: 23, owned: true, fixed: []string{"node_uuid"},
		fields: []string{"node_uuid", "name", "address", "mode", "properties", "standalone_ports_supported", "physical_network", "category", "extra"}},
	{name: "port", path: "ports", since: 1, owned: true, fixed: []string{"node_uuid"}, fields: writable(api.PortFields(), "uuid")},
	{name: "volume connector", path: "volume/connectors", since: 32, owned: true, fixed: []string{"node_uuid"},
		fields: []string{"node_uuid", "type", "connector_id", "extra"}},
	{name: "volume target", path: "volume/targets", since: 32, owned: true, fixed: []string{"node_uuid"},
		fields: []string{"node_uuid", "volume_type", "boot_index", "volume_id", "properties", "extra"}},
}

// writable lists the fields of a table that a caller may set, but for some.
func writable(table []api.Field, but ...string) []string {
	var out []string
	for _, f := range table {
		if (f.Create || f.Patch) && !slices.Contains(but, f.Name) {
			out = append(out, f.Name)
		}
	}
	return out
}

// Fleet is what one server holds, by kind. A kind that it does not serve is not there.
type Fleet struct {
	Version api.Version
	objects map[string][]Object
	drivers map[string]Object // in detail, by name
}

// Objects are the objects of a kind, in the server's order: "node", "port", "port group", "volume connector", "volume
// target", "chassis", "deploy template", "runbook".
func (f *Fleet) Objects(kind string) []Object { return f.objects[kind] }

// Serves tells whether the server has such objects at all.
func (f *Fleet) Serves(kind string) bool { _, ok := f.objects[kind]; return ok }

// Read reads all of a server that speaks the given version.
func Read(ctx context.Context, s Source, v api.Version) (*Fleet, error) {
	f := &Fleet{Version: v, objects: map[string][]Object{}, drivers: map[string]Object{}}
	for _, k := range kinds {
		if k.since > v {
			continue
		}
		path, q := "/v1/"+k.path, url.Values{"detail": {"true"}}
		if v < 43 && k.since == 1 {
			path, q = path+"/detail", url.Values{}
		}
		if k.name == "node" && v >= 83 {
			q.Set("include_children", "true")
		}
		all := []Object{}
		err := s.Each(ctx, path, k.list(), q, func(o Object) error { all = append(all, o); return nil })
		if fault.Is(err, fault.NotFound) && k.name != "node" {
			continue
		}
		if err != nil {
			return nil, err
		}
		f.objects[k.name] = all
	}
	err := s.Each(ctx, "/v1/drivers", "drivers", nil, func(o Object) error { f.drivers[text(o, "name")] = nil; return nil })
	if err != nil {
		return nil, err
	}
	for name := range f.drivers {
		d, err := s.Get(ctx, "/v1/drivers/"+url.PathEscape(name), nil)
		if err != nil {
			return nil, err
		}
		f.drivers[name] = d
	}
	return f, nil
}

// EndMaintenance takes the fleet's nodes out of maintenance, in what was read alone, that are in it for this reason: one
// that the move itself was the reason for is not to come over.
func (f *Fleet) EndMaintenance(reason string) {
	for _, n := range f.objects["node"] {
		if text(n, "maintenance_reason") == reason {
			n["maintenance"], n["maintenance_reason"] = false, nil
		}
	}
}

// enabled are the implementations that a driver offers for an interface ("deploy"); nil: that is not told.
func (f *Fleet) enabled(driver, iface string) []string {
	list, _ := f.drivers[driver]["enabled_"+iface+"_interfaces"].([]any)
	var out []string
	for _, x := range list {
		if s, ok := x.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// kindOf is the kind of this name.
func kindOf(name string) kind {
	return kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })]
}

// Secrets are values of driver_info that the source does not tell, by node (name or UUID, "*" for all), then by key.
type Secrets map[string]map[string]string

// of is a node's secret; ok is false when it is not given.
func (s Secrets) of(node Object, key string) (string, bool) {
	for _, name := range []string{text(node, "uuid"), text(node, "name"), "*"} {
		if v, ok := s[name][key]; ok && name != "" {
			return v, true
		}
	}
	return "", false
}
