package rest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
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

func manageRoutes() []route {
	const get, post, put, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
	const node = "/v1/nodes/{node}"
	return []route{
		{method: put, path: node + "/states/boot_mode", need: access.NodeManage, since: 76, body: maxBody, handle: (*call).setBootMode},
		{method: put, path: node + "/states/secure_boot", need: access.NodeManage, since: 76, body: maxBody, handle: (*call).setSecureBoot},
		{method: put, path: node + "/states/raid", need: access.NodeManage, body: maxBody, handle: (*call).setRAID},
		{method: get, path: node + "/states/console", need: access.NodeInside, handle: (*call).console},
		{method: put, path: node + "/states/console", need: access.NodeManage, body: maxBody, handle: (*call).setConsole},
		{method: put, path: node + "/management/inject_nmi", need: access.NodeManage, since: 29, body: maxBody, handle: (*call).injectNMI},
		{method: get, path: node + "/management/indicators", need: access.NodeInside, since: 63, handle: (*call).lights},
		{method: get, path: node + "/management/indicators/{light}", need: access.NodeInside, since: 63, handle: (*call).light},
		{method: put, path: node + "/management/indicators/{light}", need: access.NodeManage, since: 63, body: maxBody, handle: (*call).setLight},
		{method: get, path: node + "/vmedia", need: access.NodeInside, since: 93, handle: (*call).drives},
		{method: post, path: node + "/vmedia", need: access.NodeManage, since: 89, body: maxBody, handle: (*call).attach},
		{method: del, path: node + "/vmedia", need: access.NodeManage, since: 89, handle: (*call).detach},
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
func (c *call) manage(a conductor.Act) (string, error) {
	id, err := c.node()
	if err != nil {
		return "", err
	}
	return id, c.api.cfg.Backend.Manage(c.r.Context(), c.who, id, a)
}

func (c *call) setBootMode() error {
	body, err := c.body(false, "target")
	if err != nil {
		return err
	}
	mode, _ := body["target"].(string)
	if mode != "uefi" && mode != "bios" {
		return fault.New(fault.RequestInvalid, "target is %s, expected uefi or bios", shown(body["target"]))
	}
	id, err := c.manage(conductor.Act{Kind: conductor.ActBootMode, Mode: mode})
	if err != nil {
		return err
	}
	return c.accepted(id)
}

func (c *call) setSecureBoot() error {
	body, err := c.body(false, "target")
	if err != nil {
		return err
	}
	on, err := api.Bool(body["target"])
	if err != nil {
		return fault.New(fault.RequestInvalid, "target is %s, expected true or false", shown(body["target"]))
	}
	id, err := c.manage(conductor.Act{Kind: conductor.ActSecureBoot, On: on})
	if err != nil {
		return err
	}
	return c.accepted(id)
}

func (c *call) setRAID() error {
	if c.version < 12 {
		return fault.New(fault.RequestVersion, "RAID is there from version 1.12 on, %s was asked for", c.version)
	}
	id, err := c.node()
	if err != nil {
		return err
	}
	body, err := c.body(false)
	if err != nil {
		return err
	}
	if err := c.api.cfg.Backend.SetTargetRAID(c.r.Context(), c.who, id, body); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (c *call) console() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	on, err := c.api.cfg.Backend.Console(c.r.Context(), id)
	if err != nil {
		return err
	}
	answer := map[string]any{"console_enabled": on, "console_info": nil}
	if on {
		answer["console_info"] = map[string]any{}
	}
	return c.json(http.StatusOK, answer)
}

func (c *call) setConsole() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	body, err := c.body(false, "enabled")
	if err != nil {
		return err
	}
	on, err := api.Bool(body["enabled"])
	if err != nil {
		return fault.New(fault.RequestInvalid, "enabled is %s, expected true or false", shown(body["enabled"]))
	}
	if err := c.api.cfg.Backend.SetConsole(c.r.Context(), c.who, id, on); err != nil {
		return err
	}
	c.w.Header().Set("Location", c.base+"/v1/nodes/"+id+"/states/console")
	return c.empty(http.StatusAccepted)
}

func (c *call) bootDevices() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	all, err := c.api.cfg.Backend.BootDevices(c.r.Context(), id)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, map[string]any{"supported_boot_devices": append([]string{}, all...)})
}

func (c *call) injectNMI() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	if body, err := c.body(true); err != nil {
		return err
	} else if len(body) > 0 {
		return fault.New(fault.RequestInvalid, "an interrupt takes no arguments; the body must be {}")
	}
	if err := c.api.cfg.Backend.InjectNMI(c.r.Context(), c.who, id); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// Indicators are named NAME@COMPONENT.

var (
	lightComponents = []string{"chassis", "system", "disk", "power", "nic"}
	lightStates     = []string{"on", "off", "blinking"}
)

func (c *call) lights() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	all, err := c.api.cfg.Backend.Lights(c.r.Context(), id)
	if err != nil {
		return err
	}
	list := []any{}
	for _, l := range all {
		name := l.Name + "@" + l.Component
		list = append(list, map[string]any{"name": name, "component": l.Component, "readonly": l.ReadOnly,
			"states": append([]string{}, l.States...), "links": api.LinkPair(c.base, "nodes/"+id+"/management/indicators/"+name)})
	}
	return c.json(http.StatusOK, map[string]any{"indicators": list})
}

// lightName is the indicator in the path.
func (c *call) lightName() (id, name, component string, err error) {
	if id, err = c.node(); err != nil {
		return "", "", "", err
	}
	name, component, ok := strings.Cut(mux.Vars(c.r)["light"], "@")
	if !ok || name == "" || !slices.Contains(lightComponents, component) {
		return "", "", "", fault.New(fault.RequestInvalid, "an indicator is named NAME@COMPONENT, with one of the components %s", strings.Join(lightComponents, ", "))
	}
	return id, name, component, nil
}

func (c *call) light() error {
	id, name, component, err := c.lightName()
	if err != nil {
		return err
	}
	all, err := c.api.cfg.Backend.Lights(c.r.Context(), id)
	if err != nil {
		return err
	}
	for _, l := range all {
		if l.Name == name && l.Component == component {
			return c.json(http.StatusOK, map[string]any{"state": l.State})
		}
	}
	return fault.New(fault.LightNotFound, "there is no indicator %s@%s", name, component)
}

func (c *call) setLight() error {
	id, name, component, err := c.lightName()
	if err != nil {
		return err
	}
	body, err := c.body(false, "state")
	if err != nil {
		return err
	}
	state, _ := body["state"].(string)
	if state = strings.ToLower(state); !slices.Contains(lightStates, state) {
		return fault.New(fault.RequestInvalid, "state is %s, expected one of %s", shown(body["state"]), strings.Join(lightStates, ", "))
	}
	if err := c.api.cfg.Backend.SetLight(c.r.Context(), c.who, id, component, name, state); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (c *call) drives() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	all, err := c.api.cfg.Backend.Drives(c.r.Context(), id)
	if err != nil {
		return err
	}
	list := []any{}
	for _, d := range all {
		list = append(list, map[string]any{"image": d.Image, "inserted": d.Inserted, "media_types": append([]string{}, d.Types...)})
	}
	return c.json(http.StatusOK, list)
}

func (c *call) attach() error {
	body, err := c.body(false, "device_type", "image_url", "image_download_source")
	if err != nil {
		return err
	}
	a := conductor.Act{Kind: conductor.ActAttach}
	a.Device, _ = body["device_type"].(string)
	a.URL, _ = body["image_url"].(string)
	if !slices.Contains(conductor.MediaDevices, a.Device) || a.URL == "" {
		return fault.New(fault.RequestInvalid, "device_type (one of %s) and image_url are required", strings.Join(conductor.MediaDevices, ", "))
	}
	switch v := body["image_download_source"]; v {
	case nil, "http", "local":
	case "swift":
		return fault.New(fault.RequestInvalid, "image_download_source swift is not served").WithHint("give a URL that the BMC reaches, and http")
	default:
		return fault.New(fault.RequestInvalid, "image_download_source is %s, expected http or local", shown(v))
	}
	if _, err := c.manage(a); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (c *call) detach() error {
	q, err := c.query("device_types")
	if err != nil {
		return err
	}
	a := conductor.Act{Kind: conductor.ActDetach}
	if list := q.Get("device_types"); list != "" {
		a.Devices = strings.Split(list, ",")
	}
	if _, err := c.manage(a); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}
