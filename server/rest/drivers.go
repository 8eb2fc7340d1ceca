package rest

import (
	"net/http"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// driverRoutes is what is served of the hardware types.
func (a *API) driverRoutes() []serve.Route {
	const driver = "/v1/drivers/{driver}"
	rows := []serve.Route{
		{Method: http.MethodGet, Path: "/v1/drivers", Need: access.ServerRead, Handle: a.drivers, Query: []serve.Argument{
			{Name: "type", Since: 30, Doc: "dynamic or classic"}, {Name: "detail", Kind: api.Flag, Since: 30, Doc: "show the interfaces too"}, serve.FieldsArgument,
		}},
		{Method: http.MethodGet, Path: driver, Need: access.ServerRead, Query: []serve.Argument{serve.FieldsArgument}, Handle: a.showDriver},
		{Method: http.MethodGet, Path: driver + "/properties", Need: access.ServerRead, Handle: a.driverProperties},
		{Method: http.MethodGet, Path: driver + "/raid/logical_disk_properties", Need: access.ServerRead, Handle: a.driverDisks},
		{Method: http.MethodGet, Path: driver + "/vendor_passthru/methods", Need: access.ServerRead, Handle: a.driverMethods},
		// Beside Ironic's.
		{Method: http.MethodGet, Path: driver + "/steps", Need: access.ServerRead, Handle: a.driverSteps},
	}
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		rows = append(rows, serve.Route{Method: m, Path: driver + "/vendor_passthru", Need: access.NodeVendor, Query: []serve.Argument{{Name: "method", Doc: "the call"}}, Body: serve.MaxBody,
			Handle: func(c *serve.Call) error { return a.driverCall(c, c.Arg("method")) }},
			serve.Route{Method: m, Path: driver + "/vendor_passthru/{method}", Need: access.NodeVendor, Body: serve.MaxBody,
				Handle: func(c *serve.Call) error { return a.driverCall(c, c.Var("method")) }})
	}
	return rows
}

func (a *API) drivers(c *serve.Call) error {
	detail := c.Flag("detail")
	if t := c.Arg("type"); c.Given("type") && t != "dynamic" && t != "classic" {
		return fault.New(fault.RequestInvalid, "type is %q, expected dynamic or classic", t)
	}
	if detail && c.Given("fields") {
		return fault.New(fault.RequestInvalid, "Can't fetch a subset of fields with 'detail' set")
	}
	list := []any{}
	if c.Arg("type") != "classic" { // of which there are none any more
		all := slices.SortedFunc(slices.Values(a.cfg.Backend.Drivers()), func(x, y conductor.Driver) int { return strings.Compare(x.Name(), y.Name()) })
		for _, d := range all {
			view, err := a.driverPart(c, d, detail, c.Arg("fields"))
			if err != nil {
				return err
			}
			list = append(list, view)
		}
	}
	return c.JSON(http.StatusOK, map[string]any{"drivers": list})
}

// driverSince is the version from which on the interfaces of a driver are shown that came later than the others.
var driverSince = map[string]api.Version{drivers.Storage: 33, drivers.Rescue: 38, drivers.BIOS: 40, drivers.Firmware: 86}

// driverView is a driver on the wire.
func (a *API) driverView(c *serve.Call, d conductor.Driver, detail bool) map[string]any {
	path := "drivers/" + d.Name()
	out := map[string]any{"name": d.Name(), "hosts": []string{a.cfg.Hostname}, "links": api.LinkPair(c.Base, path)}
	if c.Version >= 14 {
		out["properties"] = api.LinkPair(c.Base, path+"/properties")
	}
	if c.Version < 30 {
		return out
	}
	out["type"] = "dynamic"
	if !detail {
		return out
	}
	all := d.Interfaces()
	for _, i := range drivers.Kinds {
		if driverSince[i] > c.Version {
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

// driverPart is the fields of a driver that fields= names (1.77); none named are all.
func (a *API) driverPart(c *serve.Call, d conductor.Driver, detail bool, fields string) (map[string]any, error) {
	view, keep := a.driverView(c, d, detail), shape.Items(fields)
	if len(keep) == 0 {
		return view, nil
	}
	if c.Version < 77 {
		return nil, fault.New(fault.RequestVersion, "fields of drivers is there from version 1.77 on, %s was asked for", c.Version)
	}
	return view, keepFields(view, keep)
}

func (a *API) pathDriver(c *serve.Call) (conductor.Driver, error) {
	name := c.Var("driver")
	if d := a.wire.Driver(name); d != nil {
		return d, nil
	}
	return nil, fault.New(fault.DriverNotFound, "Driver %q could not be found.", name)
}

func (a *API) showDriver(c *serve.Call) error {
	d, err := a.pathDriver(c)
	if err != nil {
		return err
	}
	view, err := a.driverPart(c, d, true, c.Arg("fields"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, view)
}

func (a *API) driverProperties(c *serve.Call) error {
	d, err := a.pathDriver(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, d.Properties())
}

// driverDisks tells what a logical disk of target_raid_config may have. Ironic refuses old versions by 406 here, and not by
// 404 as for other paths.
func (a *API) driverDisks(c *serve.Call) error {
	if c.Version < 12 {
		return fault.New(fault.RequestVersion, "RAID is there from version 1.12 on, %s was asked for", c.Version)
	}
	d, err := a.pathDriver(c)
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
	return c.JSON(http.StatusOK, out)
}

// driverMethods is empty: no hardware type has vendor calls that concern no node.
func (a *API) driverMethods(c *serve.Call) error {
	if _, err := a.pathDriver(c); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]any{})
}

// driverCall finds no call, in the query or at the end of the path.
func (a *API) driverCall(c *serve.Call, name string) error {
	d, err := a.pathDriver(c)
	if err != nil {
		return err
	}
	if name == "" {
		return fault.New(fault.RequestInvalid, "Method not specified")
	}
	return fault.New(fault.RequestInvalid, "driver %s has no vendor call %.80q", d.Name(), name).
		WithHint("calls that concern a node are at /v1/nodes/NODE/vendor_passthru")
}

// driverSteps lists the steps that a node of the driver may be asked for.
func (a *API) driverSteps(c *serve.Call) error {
	d, err := a.pathDriver(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, api.StepList{Steps: append([]step.Step{}, a.cfg.Backend.Catalog(d.Name()).All()...)})
}
