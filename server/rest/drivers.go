package rest

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// driverRoutes is what is served of the hardware types.
func driverRoutes() []route {
	const driver = "/v1/drivers/{driver}"
	rows := []route{
		{method: http.MethodGet, path: "/v1/drivers", need: access.ServerRead, handle: (*call).drivers},
		{method: http.MethodGet, path: driver, need: access.ServerRead, handle: (*call).showDriver},
		{method: http.MethodGet, path: driver + "/properties", need: access.ServerRead, handle: (*call).driverProperties},
		{method: http.MethodGet, path: driver + "/raid/logical_disk_properties", need: access.ServerRead, handle: (*call).driverDisks},
		{method: http.MethodGet, path: driver + "/vendor_passthru/methods", need: access.ServerRead, handle: (*call).driverMethods},
		// Beside Ironic's.
		{method: http.MethodGet, path: driver + "/steps", need: access.ServerRead, handle: (*call).driverSteps},
	}
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		rows = append(rows, route{method: m, path: driver + "/vendor_passthru", need: access.NodeVendor, body: maxBody, handle: (*call).driverCall})
	}
	return rows
}

func (c *call) drivers() error {
	q, err := c.query("type", "detail", "fields")
	if err != nil {
		return err
	}
	for _, name := range []string{"type", "detail"} {
		if q.Has(name) && c.version < 30 {
			return fault.New(fault.RequestVersion, "%s is there from version 1.30 on, %s was asked for", name, c.version)
		}
	}
	detail, err := flag(q, "detail")
	if err != nil {
		return err
	}
	if t := q.Get("type"); q.Has("type") && t != "dynamic" && t != "classic" {
		return fault.New(fault.RequestInvalid, "type is %q, expected dynamic or classic", t)
	}
	list := []any{}
	if q.Get("type") != "classic" { // of which there are none any more
		all := slices.SortedFunc(slices.Values(c.api.cfg.Backend.Drivers()), func(x, y conductor.Driver) int { return strings.Compare(x.Name(), y.Name()) })
		for _, d := range all {
			view, err := c.driverPart(d, detail, q.Get("fields"))
			if err != nil {
				return err
			}
			list = append(list, view)
		}
	}
	return c.json(http.StatusOK, map[string]any{"drivers": list})
}

// driverSince is the version from which on the interfaces of a driver are shown that came later than the others.
var driverSince = map[string]api.Version{drivers.Storage: 33, drivers.Rescue: 38, drivers.BIOS: 40, drivers.Firmware: 86}

// driverView is a driver on the wire.
func (c *call) driverView(d conductor.Driver, detail bool) map[string]any {
	path := "drivers/" + d.Name()
	out := map[string]any{"name": d.Name(), "hosts": []string{c.api.cfg.Hostname}, "links": api.LinkPair(c.base, path)}
	if c.version >= 14 {
		out["properties"] = api.LinkPair(c.base, path+"/properties")
	}
	if c.version < 30 {
		return out
	}
	out["type"] = "dynamic"
	if !detail {
		return out
	}
	all := d.Interfaces()
	for _, i := range drivers.Kinds {
		if driverSince[i] > c.version {
			continue
		}
		out["default_"+i+"_interface"] = nil
		if len(all[i]) > 0 {
			out["default_"+i+"_interface"] = all[i][0]
		}
		out["enabled_"+i+"_interfaces"] = append([]string{}, all[i]...)
	}
	return out
}

// driverPart is the fields of a driver that fields= names (1.77); "" names all.
func (c *call) driverPart(d conductor.Driver, detail bool, fields string) (map[string]any, error) {
	view := c.driverView(d, detail)
	if fields == "" {
		return view, nil
	}
	if c.version < 77 {
		return nil, fault.New(fault.RequestVersion, "fields of drivers is there from version 1.77 on, %s was asked for", c.version)
	}
	keep := strings.Split(fields, ",")
	for _, name := range keep {
		if _, ok := view[name]; !ok {
			return nil, fault.New(fault.RequestInvalid, "Field %q is not known.", name).
				WithHint("the fields here are %s", strings.Join(slices.Sorted(maps.Keys(view)), ", "))
		}
	}
	maps.DeleteFunc(view, func(k string, _ any) bool { return k != "links" && !slices.Contains(keep, k) })
	return view, nil
}

func (c *call) pathDriver() (conductor.Driver, error) {
	name := mux.Vars(c.r)["driver"]
	if d := c.api.driver(name); d != nil {
		return d, nil
	}
	return nil, fault.New(fault.DriverNotFound, "Driver %q could not be found.", name)
}

func (c *call) showDriver() error {
	d, err := c.pathDriver()
	if err != nil {
		return err
	}
	q, err := c.query("fields")
	if err != nil {
		return err
	}
	view, err := c.driverPart(d, true, q.Get("fields"))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, view)
}

func (c *call) driverProperties() error {
	d, err := c.pathDriver()
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, d.Properties())
}

// driverDisks tells what a logical disk of target_raid_config may have. Ironic refuses old versions by 406 here, and not by
// 404 as for other paths.
func (c *call) driverDisks() error {
	if c.version < 12 {
		return fault.New(fault.RequestVersion, "RAID is there from version 1.12 on, %s was asked for", c.version)
	}
	d, err := c.pathDriver()
	if err != nil {
		return err
	}
	if all := d.Interfaces()[drivers.RAID]; len(all) == 0 || !slices.ContainsFunc(all, func(i string) bool { return !drivers.Disabled(i) }) {
		f := fault.New(fault.DriverInterface, "driver %s does not support raid", d.Name())
		f.Code = fault.NotFound // as Ironic has it: there is nothing to be shown
		return f
	}
	out := map[string]string{}
	for _, f := range drivers.LogicalDisk {
		out[f.Name] = f.Doc
	}
	return c.json(http.StatusOK, out)
}

// driverMethods is empty: no hardware type has vendor calls that concern no node.
func (c *call) driverMethods() error {
	if _, err := c.pathDriver(); err != nil {
		return err
	}
	return c.json(http.StatusOK, map[string]any{})
}

func (c *call) driverCall() error {
	d, err := c.pathDriver()
	if err != nil {
		return err
	}
	q, err := c.query("method")
	if err != nil {
		return err
	}
	if q.Get("method") == "" {
		return fault.New(fault.RequestInvalid, "Method not specified")
	}
	return fault.New(fault.RequestInvalid, "driver %s has no vendor call %.80q", d.Name(), q.Get("method")).
		WithHint("calls that concern a node are at /v1/nodes/NODE/vendor_passthru")
}

// driverSteps lists the steps that a node of the driver may be asked for.
func (c *call) driverSteps() error {
	d, err := c.pathDriver()
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, api.StepList{Steps: append([]step.Step{}, c.api.cfg.Backend.Catalog(d.Name()).All()...)})
}
