package rest

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

func (c *call) v1Version() map[string]any {
	return map[string]any{
		"id": "v1", "status": "CURRENT", "min_version": api.MinVersion.String(), "version": api.MaxVersion.String(),
		"links": []api.Link{{Href: c.base + "/v1/", Rel: "self"}},
	}
}

func (c *call) root() error {
	v := c.v1Version()
	return c.json(http.StatusOK, map[string]any{
		"name":            "OpenStack Ironic API",
		"description":     "Bessemer serves the Ironic API: it takes machines from enrolled to deployed and back.",
		"default_version": v, "versions": []any{v},
	})
}

// v1 names the resources that are served; a client finds here what there is.
func (c *call) v1() error {
	answer := map[string]any{
		"id": "v1",
		"links": []api.Link{{Href: c.base + "/v1/", Rel: "self"},
			{Href: "https://docs.openstack.org/ironic/latest/contributor/webapi.html", Rel: "describedby", Type: "text/html"}},
		"media_types": map[string]any{"base": "application/json", "type": "application/vnd.openstack.ironic.v1+json"},
		"version":     c.v1Version(),
	}
	for _, r := range resources {
		if r.since <= c.version && c.api.serves("/v1/"+r.name) {
			answer[r.name] = []api.Link{{Href: c.base + "/v1/" + r.name + "/", Rel: "self"}, {Href: c.base + "/" + r.name + "/", Rel: "bookmark"}}
		}
	}
	return c.json(http.StatusOK, answer)
}

// resources is what GET /v1 may name, with the version from which it does.
var resources = []struct {
	name  string
	since api.Version
}{
	{"nodes", 1}, {"ports", 1}, {"chassis", 1}, {"drivers", 1}, {"lookup", 22}, {"heartbeat", 22}, {"portgroups", 23}, {"volume", 32},
	{"conductors", 49}, {"allocations", 52}, {"events", 54}, {"deploy_templates", 55}, {"shards", 82}, {"continue_inspection", 84},
	{"runbooks", 92}, {"inspection_rules", 96},
}

// serves tells whether a route of Ironic's is at the path, or below it. GET /v1/events is there in any case and is this
// server's own: of Ironic's events there is only POST.
func (a *API) serves(path string) bool {
	return slices.ContainsFunc(a.routes(), func(rt route) bool {
		return (rt.path == path && (path != "/v1/events" || rt.method == http.MethodPost)) || strings.HasPrefix(rt.path, path+"/{")
	})
}

// conductorView is this server; there is no other.
func (c *call) conductorView(detail bool) map[string]any {
	host := c.api.cfg.Hostname
	out := map[string]any{"hostname": host, "conductor_group": "", "alive": true, "links": api.LinkPair(c.base, "conductors/"+host)}
	if detail {
		var names []string
		for _, d := range c.api.cfg.Backend.Drivers() {
			names = append(names, d.Name())
		}
		slices.Sort(names)
		out["drivers"] = append([]string{}, names...)
		out["created_at"], out["updated_at"] = api.Time{Time: c.api.cfg.Started}, api.Time{Time: c.api.cfg.Now()}
	}
	return out
}

// conductorSorts is what a list of one may be sorted by, for clients that do.
var conductorSorts = []string{"conductor_group", "created_at", "hostname", "id", "updated_at"}

// conductorPart is the fields that fields= names; "" names those of a list, or all in detail.
func (c *call) conductorPart(detail bool, fields string) (map[string]any, error) {
	view := c.conductorView(detail || fields != "")
	if fields == "" {
		return view, nil
	}
	keep := strings.Split(fields, ",")
	for i, name := range keep {
		keep[i] = strings.TrimSpace(name)
		if _, ok := view[keep[i]]; !ok {
			return nil, fault.New(fault.RequestInvalid, "Field %q is not known.", name).
				WithHint("the fields here are %s", strings.Join(slices.Sorted(maps.Keys(view)), ", "))
		}
	}
	maps.DeleteFunc(view, func(k string, _ any) bool { return k != "links" && !slices.Contains(keep, k) })
	return view, nil
}

func (c *call) conductors() error {
	q, err := c.query("detail", "fields", "limit", "marker", "sort_dir", "sort_key")
	if err != nil {
		return err
	}
	if _, err := limitOf(q); err != nil {
		return err
	}
	detail, err := flag(q, "detail")
	if err != nil {
		return err
	}
	if d := q.Get("sort_dir"); d != "" && d != "asc" && d != "desc" {
		return fault.New(fault.RequestInvalid, "Invalid sort direction: %s. Acceptable values are 'asc' or 'desc'", d)
	}
	if key := q.Get("sort_key"); key != "" && !slices.Contains(conductorSorts, key) {
		return fault.New(fault.RequestInvalid, "The sort_key value %q is invalid for sorting.", key)
	}
	if detail && q.Get("fields") != "" {
		return fault.New(fault.RequestInvalid, "Can't fetch a subset of fields with 'detail' set")
	}
	view, err := c.conductorPart(detail, q.Get("fields"))
	if err != nil {
		return err
	}
	list := []any{view}
	switch q.Get("marker") {
	case "":
	case c.api.cfg.Hostname:
		list = []any{}
	default:
		return fault.New(fault.ConductorNotFound, "Conductor %q could not be found.", q.Get("marker"))
	}
	return c.json(http.StatusOK, map[string]any{"conductors": list})
}

func (c *call) showConductor() error {
	if host := mux.Vars(c.r)["host"]; host != c.api.cfg.Hostname {
		return fault.New(fault.ConductorNotFound, "Conductor %q could not be found.", host)
	}
	q, err := c.query("fields")
	if err != nil {
		return err
	}
	view, err := c.conductorPart(true, q.Get("fields"))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, view)
}
