package rest

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

func (a *API) v1Version(c *serve.Call) map[string]any {
	return map[string]any{
		"id": "v1", "status": "CURRENT", "min_version": api.MinVersion.String(), "version": api.MaxVersion.String(),
		"links": []api.Link{{Href: c.Base + "/v1/", Rel: "self"}},
	}
}

func (a *API) root(c *serve.Call) error {
	v := a.v1Version(c)
	return c.JSON(http.StatusOK, map[string]any{
		"name":            "OpenStack Ironic API",
		"description":     "Bessemer serves the Ironic API: it takes machines from enrolled to deployed and back.",
		"default_version": v, "versions": []any{v},
	})
}

// v1 names the resources that are served; a client finds here what there is.
func (a *API) v1(c *serve.Call) error {
	answer := map[string]any{
		"id": "v1",
		"links": []api.Link{{Href: c.Base + "/v1/", Rel: "self"},
			{Href: "https://docs.openstack.org/ironic/latest/contributor/webapi.html", Rel: "describedby", Type: "text/html"}},
		"media_types": map[string]any{"base": "application/json", "type": "application/vnd.openstack.ironic.v1+json"},
		"version":     a.v1Version(c),
	}
	for _, r := range resources {
		if r.since <= c.Version && a.serves("/v1/"+r.name) {
			answer[r.name] = []api.Link{{Href: c.Base + "/v1/" + r.name + "/", Rel: "self"}, {Href: c.Base + "/" + r.name + "/", Rel: "bookmark"}}
		}
	}
	return c.JSON(http.StatusOK, answer)
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
	return slices.ContainsFunc(a.routes(), func(rt serve.Route) bool {
		return (rt.Path == path && (path != "/v1/events" || rt.Method == http.MethodPost)) || strings.HasPrefix(rt.Path, path+"/{")
	})
}

// conductorView is this server; there is no other.
func (a *API) conductorView(c *serve.Call, detail bool) map[string]any {
	host := a.cfg.Hostname
	out := map[string]any{"hostname": host, "conductor_group": "", "alive": true, "links": api.LinkPair(c.Base, "conductors/"+host)}
	if detail {
		var names []string
		for _, d := range a.cfg.Backend.Drivers() {
			names = append(names, d.Name())
		}
		slices.Sort(names)
		out["drivers"] = append([]string{}, names...)
		out["created_at"], out["updated_at"] = api.Time{Time: a.cfg.Started}, api.Time{Time: a.cfg.Now()}
	}
	return out
}

// conductorSorts is what a list of one may be sorted by, for clients that do.
var conductorSorts = []string{"conductor_group", "created_at", "hostname", "updated_at"}

// conductorArguments are those of a list; what one is known by is its host's name.
func conductorArguments() []serve.Argument {
	all := serve.PageArguments(false)
	for i := range all {
		if all[i].Name == "marker" {
			all[i].Kind = api.Text
		}
	}
	return all
}

// conductorPart is the fields that fields= names; none named are those of a list, or all in detail.
func (a *API) conductorPart(c *serve.Call, detail bool, fields string) (map[string]any, error) {
	keep := shape.Items(fields)
	view := a.conductorView(c, detail || len(keep) > 0)
	if len(keep) == 0 {
		return view, nil
	}
	return view, keepFields(view, keep)
}

// keepFields leaves the named fields of a view, and its links. One that it does not have is refused.
func keepFields(view map[string]any, keep []string) error {
	for _, name := range keep {
		if _, ok := view[name]; !ok {
			return fault.New(fault.RequestInvalid, "Field %q is not known.", name).
				WithHint("the fields here are %s", strings.Join(slices.Sorted(maps.Keys(view)), ", "))
		}
	}
	maps.DeleteFunc(view, func(k string, _ any) bool { return k != "links" && !slices.Contains(keep, k) })
	return nil
}

func (a *API) conductors(c *serve.Call) error {
	p, err := c.Ordered()
	if err != nil {
		return err
	}
	if p.Key != "" && !slices.Contains(conductorSorts, p.Key) {
		return fault.New(fault.RequestInvalid, "The sort_key value %q is invalid for sorting.", p.Key)
	}
	detail := c.Flag("detail")
	if detail && c.Given("fields") {
		return fault.New(fault.RequestInvalid, "Can't fetch a subset of fields with 'detail' set")
	}
	view, err := a.conductorPart(c, detail, c.Arg("fields"))
	if err != nil {
		return err
	}
	list := []any{view}
	switch p.Marker {
	case "":
	case a.cfg.Hostname:
		list = []any{}
	default:
		return fault.New(fault.ConductorNotFound, "Conductor %q could not be found.", p.Marker)
	}
	return c.JSON(http.StatusOK, map[string]any{"conductors": list})
}

func (a *API) showConductor(c *serve.Call) error {
	if host := c.Var("host"); host != a.cfg.Hostname {
		return fault.New(fault.ConductorNotFound, "Conductor %q could not be found.", host)
	}
	view, err := a.conductorPart(c, true, c.Arg("fields"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, view)
}
