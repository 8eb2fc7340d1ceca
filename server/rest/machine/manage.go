package machine

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// What is done with a machine's BMC beside power and provisioning: boot mode, secure boot, RAID target, console, boot
// devices, interrupt, indicators, virtual media.

// Management is the part of the Backend behind it.
type Management interface {
	Manage(ctx context.Context, who conductor.Caller, ident string, a conductor.Act) error
	SetTargetRAID(ctx context.Context, who conductor.Caller, ident string, target map[string]any) error
	Console(ctx context.Context, ident string) (bool, error)
	SetConsole(ctx context.Context, who conductor.Caller, ident string, on bool) error
	BootDevices(ctx context.Context, ident string) ([]string, error)
	InjectNMI(ctx context.Context, who conductor.Caller, ident string) error
	Lights(ctx context.Context, ident string) ([]conductor.Light, error)
	SetLight(ctx context.Context, who conductor.Caller, ident, component, name, state string) error
	Drives(ctx context.Context, ident string) ([]conductor.Drive, error)
}

func (a *API) manageRoutes() []serve.Route {
	const get, post, put, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
	const node = "/v1/nodes/{node}"
	return []serve.Route{
		{Method: put, Path: node + "/states/boot_mode", Need: access.NodeManage, Since: 76, Body: serve.MaxBody, Handle: a.setBootMode},
		{Method: put, Path: node + "/states/secure_boot", Need: access.NodeManage, Since: 76, Body: serve.MaxBody, Handle: a.setSecureBoot},
		{Method: put, Path: node + "/states/raid", Need: access.NodeManage, Body: serve.MaxBody, Handle: a.setRAID},
		{Method: get, Path: node + "/states/console", Need: access.NodeInside, Handle: a.console},
		{Method: put, Path: node + "/states/console", Need: access.NodeManage, Body: serve.MaxBody, Handle: a.setConsole},
		{Method: put, Path: node + "/management/inject_nmi", Need: access.NodeManage, Since: 29, Body: serve.MaxBody, Handle: a.injectNMI},
		{Method: get, Path: node + "/management/indicators", Need: access.NodeInside, Since: 63, Handle: a.lights},
		{Method: get, Path: node + "/management/indicators/{light}", Need: access.NodeInside, Since: 63, Handle: a.light},
		{Method: put, Path: node + "/management/indicators/{light}", Need: access.NodeManage, Since: 63, Body: serve.MaxBody, Handle: a.setLight},
		{Method: get, Path: node + "/vmedia", Need: access.NodeInside, Since: 93, Handle: a.drives},
		{Method: post, Path: node + "/vmedia", Need: access.NodeManage, Since: 89, Body: serve.MaxBody, Handle: a.attach},
		{Method: del, Path: node + "/vmedia", Need: access.NodeManage, Since: 89, Handle: a.detach, Query: []serve.Argument{
			{Name: "device_types", Kind: api.List, Doc: "only from drives of these kinds"},
		}},
	}
}

// shown is a value of a body in a message.
func shown(v any) string {
	if v == nil {
		return "missing"
	}
	return fmt.Sprintf("%.60q", fmt.Sprint(v))
}

// manage asks for an act that is carried out after.
func (a *API) manage(c *serve.Call, act conductor.Act) (string, error) {
	id, err := c.Node()
	if err != nil {
		return "", err
	}
	return id, a.backend.Manage(c.R.Context(), c.Who, id, act)
}

func (a *API) setBootMode(c *serve.Call) error {
	body, err := c.Body(false, "target")
	if err != nil {
		return err
	}
	mode, _ := body["target"].(string)
	if mode != "uefi" && mode != "bios" {
		return fault.New(fault.RequestInvalid, "target is %s, expected uefi or bios", shown(body["target"]))
	}
	id, err := a.manage(c, conductor.Act{Kind: conductor.ActBootMode, Mode: mode})
	if err != nil {
		return err
	}
	return c.Accepted(id)
}

func (a *API) setSecureBoot(c *serve.Call) error {
	body, err := c.Body(false, "target")
	if err != nil {
		return err
	}
	on, err := api.Bool(body["target"])
	if err != nil {
		return fault.New(fault.RequestInvalid, "target is %s, expected true or false", shown(body["target"]))
	}
	id, err := a.manage(c, conductor.Act{Kind: conductor.ActSecureBoot, On: on})
	if err != nil {
		return err
	}
	return c.Accepted(id)
}

func (a *API) setRAID(c *serve.Call) error {
	if c.Version < 12 {
		return fault.New(fault.RequestVersion, "RAID is there from version 1.12 on, %s was asked for", c.Version)
	}
	id, err := c.Node()
	if err != nil {
		return err
	}
	body, err := c.Body(false)
	if err != nil {
		return err
	}
	if err := a.backend.SetTargetRAID(c.R.Context(), c.Who, id, body); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}

func (a *API) console(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	on, err := a.backend.Console(c.R.Context(), id)
	if err != nil {
		return err
	}
	answer := map[string]any{"console_enabled": on, "console_info": nil}
	if on {
		answer["console_info"] = map[string]any{}
	}
	return c.JSON(http.StatusOK, answer)
}

func (a *API) setConsole(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	body, err := c.Body(false, "enabled")
	if err != nil {
		return err
	}
	on, err := api.Bool(body["enabled"])
	if err != nil {
		return fault.New(fault.RequestInvalid, "enabled is %s, expected true or false", shown(body["enabled"]))
	}
	if err := a.backend.SetConsole(c.R.Context(), c.Who, id, on); err != nil {
		return err
	}
	c.W.Header().Set("Location", c.Base+"/v1/nodes/"+id+"/states/console")
	return c.Empty(http.StatusAccepted)
}

func (a *API) bootDevices(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	all, err := a.backend.BootDevices(c.R.Context(), id)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]any{"supported_boot_devices": append([]string{}, all...)})
}

func (a *API) injectNMI(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	if body, err := c.Body(true); err != nil {
		return err
	} else if len(body) > 0 {
		return fault.New(fault.RequestInvalid, "an interrupt takes no arguments; the body must be {}")
	}
	if err := a.backend.InjectNMI(c.R.Context(), c.Who, id); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}

// Indicators are named NAME@COMPONENT.

var (
	lightComponents = []string{"chassis", "system", "disk", "power", "nic"}
	lightStates     = []string{"on", "off", "blinking"}
)

func (a *API) lights(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	all, err := a.backend.Lights(c.R.Context(), id)
	if err != nil {
		return err
	}
	list := []any{}
	for _, l := range all {
		name := l.Name + "@" + l.Component
		list = append(list, map[string]any{"name": name, "component": l.Component, "readonly": l.ReadOnly,
			"states": append([]string{}, l.States...), "links": api.LinkPair(c.Base, "nodes/"+id+"/management/indicators/"+name)})
	}
	return c.JSON(http.StatusOK, map[string]any{"indicators": list})
}

// lightName is the indicator in the path.
func (a *API) lightName(c *serve.Call) (id, name, component string, err error) {
	if id, err = c.Node(); err != nil {
		return "", "", "", err
	}
	name, component, ok := strings.Cut(c.Var("light"), "@")
	if !ok || name == "" || !slices.Contains(lightComponents, component) {
		return "", "", "", fault.New(fault.RequestInvalid, "an indicator is named NAME@COMPONENT, with one of the components %s", strings.Join(lightComponents, ", "))
	}
	return id, name, component, nil
}

func (a *API) light(c *serve.Call) error {
	id, name, component, err := a.lightName(c)
	if err != nil {
		return err
	}
	all, err := a.backend.Lights(c.R.Context(), id)
	if err != nil {
		return err
	}
	for _, l := range all {
		if l.Name == name && l.Component == component {
			return c.JSON(http.StatusOK, map[string]any{"state": l.State})
		}
	}
	return fault.New(fault.LightNotFound, "there is no indicator %s@%s", name, component)
}

func (a *API) setLight(c *serve.Call) error {
	id, name, component, err := a.lightName(c)
	if err != nil {
		return err
	}
	body, err := c.Body(false, "state")
	if err != nil {
		return err
	}
	state, _ := body["state"].(string)
	if state = strings.ToLower(state); !slices.Contains(lightStates, state) {
		return fault.New(fault.RequestInvalid, "state is %s, expected one of %s", shown(body["state"]), strings.Join(lightStates, ", "))
	}
	if err := a.backend.SetLight(c.R.Context(), c.Who, id, component, name, state); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}

func (a *API) drives(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	all, err := a.backend.Drives(c.R.Context(), id)
	if err != nil {
		return err
	}
	list := []any{}
	for _, d := range all {
		list = append(list, map[string]any{"image": d.Image, "inserted": d.Inserted, "media_types": append([]string{}, d.Types...)})
	}
	return c.JSON(http.StatusOK, list)
}

func (a *API) attach(c *serve.Call) error {
	body, err := c.Body(false, "device_type", "image_url", "image_download_source")
	if err != nil {
		return err
	}
	act := conductor.Act{Kind: conductor.ActAttach}
	act.Device, _ = body["device_type"].(string)
	act.URL, _ = body["image_url"].(string)
	if !slices.Contains(conductor.MediaDevices, act.Device) || act.URL == "" {
		return fault.New(fault.RequestInvalid, "device_type (one of %s) and image_url are required", strings.Join(conductor.MediaDevices, ", "))
	}
	switch v := body["image_download_source"]; v {
	case nil, "http", "local":
	case "swift":
		return fault.New(fault.RequestInvalid, "image_download_source swift is not served").WithHint("give a URL that the BMC reaches, and http")
	default:
		return fault.New(fault.RequestInvalid, "image_download_source is %s, expected http or local", shown(v))
	}
	if _, err := a.manage(c, act); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}

func (a *API) detach(c *serve.Call) error {
	act := conductor.Act{Kind: conductor.ActDetach}
	list := c.Arg("device_types")
	if act.Devices = shape.Items(list); c.Given("device_types") && len(act.Devices) == 0 {
		return fault.New(fault.RequestInvalid, "device_types is %q, expected %s, with commas between them", list, strings.Join(conductor.MediaDevices, ", ")).
			WithHint("leave it out to empty every virtual drive")
	}
	if _, err := a.manage(c, act); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}
