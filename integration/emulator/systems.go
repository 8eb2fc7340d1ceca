package emulator

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/integration/bmc"
	"github.com/bessemer-metal/bessemer/integration/login"
	"github.com/bessemer-metal/bessemer/integration/qemu"
)

const root = "/redfish/v1"

func (q *request) versions() reply { return ok(object{"v1": root + "/"}) }

func (q *request) root() reply {
	uuid := "3a1f6c1c-5a0e-4b0c-9a55-2f5c1d3b7e01"
	if q.s.only != nil {
		uuid = q.s.only.Config().UUID
	}
	return ok(object{
		"@odata.id": root + "/", "@odata.type": "#ServiceRoot.v1_12_0.ServiceRoot", "Id": "RootService", "Name": "Root Service",
		"RedfishVersion": "1.15.0", "UUID": uuid, "Vendor": "Bessemer", "Product": "Bessemer Redfish emulator",
		"ProtocolFeaturesSupported": object{"ExpandQuery": object{"ExpandAll": false}, "FilterQuery": false, "SelectQuery": false},
		"Systems":                   link(root + "/Systems"), "Managers": link(root + "/Managers"), "Chassis": link(root + "/Chassis"),
		"SessionService": link(root + "/SessionService"), "Tasks": link(root + "/TaskService"), "Registries": link(root + "/Registries"),
		"UpdateService": link(root + "/UpdateService"), "EventService": link(eventPath),
		"Links": object{"Sessions": link(root + "/SessionService/Sessions")},
	})
}

func (q *request) sessionService() reply {
	return ok(object{"@odata.id": root + "/SessionService", "@odata.type": "#SessionService.v1_1_8.SessionService", "Id": "SessionService",
		"Name": "Session Service", "ServiceEnabled": true, "SessionTimeout": int(q.s.e.sessions.Timeout().Seconds()), "Status": healthy(),
		"Sessions": link(root + "/SessionService/Sessions")})
}

const sessionPath = root + "/SessionService/Sessions/"

func (q *request) sessionList() reply {
	var members []string
	for _, x := range q.s.e.sessions.List(q.s.address()) {
		members = append(members, sessionPath+x.ID)
	}
	return collection(strings.TrimSuffix(sessionPath, "/"), "SessionCollection", "Sessions", members)
}

func (q *request) login() reply {
	var in struct{ UserName, Password string }
	if a, fine := q.decode(&in); !fine {
		return a
	}
	if !q.s.known(account{user: in.UserName, password: in.Password}) {
		return failure(http.StatusUnauthorized, "InsufficientPrivilege", "The user name or password is wrong.")
	}
	token, x := q.s.e.sessions.Create(in.UserName, in.Password, q.s.address())
	if q.s.only != nil {
		q.s.only.LoggedIn(x.ID)
	}
	a := reply{status: http.StatusCreated, body: sessionBody(x)}
	a.header = http.Header{"X-Auth-Token": {token}, "Location": {sessionPath + x.ID}}
	return a
}

func sessionBody(x *login.Session) object {
	return object{"@odata.id": sessionPath + x.ID, "@odata.type": "#Session.v1_3_0.Session", "Id": x.ID, "Name": "User Session", "UserName": x.User}
}

func (q *request) session() reply {
	for _, x := range q.s.e.sessions.List(q.s.address()) {
		if x.ID == q.PathValue("id") {
			return ok(sessionBody(x))
		}
	}
	return notFound(q.URL.Path)
}

func (q *request) logout() reply {
	if !q.s.e.sessions.Forget(q.s.address(), q.PathValue("id")) {
		return notFound(q.URL.Path)
	}
	return noContent()
}

// members is a collection with one member for each machine.
func (q *request) members(name string) reply {
	var l []string
	for _, m := range q.visible() {
		l = append(l, root+"/"+name+"/"+m.Name())
	}
	kind := map[string]string{"Systems": "ComputerSystemCollection", "Managers": "ManagerCollection", "Chassis": "ChassisCollection"}[name]
	return collection(root+"/"+name, kind, name, l)
}

func (q *request) systems() reply { return q.members("Systems") }

// What a boot override may be.
func targets() []string  { return []string{"None", "Cd", "Hdd", "Pxe", "UefiHttp"} }
func enabling() []string { return []string{"Disabled", "Once", "Continuous"} }

func powerState(on bool) string {
	if on {
		return "On"
	}
	return "Off"
}

func (q *request) system() reply {
	m, path, cfg, v := q.m, q.m.SystemPath(), q.m.Config(), q.m.View()
	boot := object{
		"BootSourceOverrideEnabled": v.Boot.Enabled, "BootSourceOverrideTarget": v.Boot.Target, "BootSourceOverrideMode": q.bootMode(),
		"BootSourceOverrideTarget@Redfish.AllowableValues": targets(), "BootSourceOverrideEnabled@Redfish.AllowableValues": enabling(),
		"BootSourceOverrideMode@Redfish.AllowableValues": q.bootModes(), "HttpBootUri": nil, "Certificates": link(path + "/Boot/Certificates"),
	}
	if v.Boot.URI != "" {
		boot["HttpBootUri"] = v.Boot.URI
	}
	body := object{
		"@odata.id": path, "@odata.type": "#ComputerSystem.v1_16_0.ComputerSystem", "Id": m.Name(), "Name": m.Name(), "SystemType": "Physical",
		"Manufacturer": cfg.Manufacturer, "Model": cfg.Model, "SerialNumber": cfg.Serial, "BiosVersion": q.m.Firmware()["bios"], "UUID": cfg.UUID, "AssetTag": v.AssetTag,
		"LocationIndicatorActive": v.LED, "PowerState": powerState(v.On), "Status": healthy(), "Boot": boot, "BootProgress": bootProgress(v),
		"Bios": link(path + "/Bios"), "SecureBoot": link(path + "/SecureBoot"), "EthernetInterfaces": link(path + "/EthernetInterfaces"),
		"Links": object{"Chassis": []object{link(root + "/Chassis/" + m.Name())}, "ManagedBy": []object{link(root + "/Managers/" + m.Name())}},
		"Actions": object{"#ComputerSystem.Reset": object{"target": path + "/Actions/ComputerSystem.Reset",
			"ResetType@Redfish.AllowableValues": bmc.Resets()}},
	}
	if !v.LastReset.IsZero() {
		body["LastResetTime"] = v.LastReset.UTC().Format(time.RFC3339)
	}
	p := m.Parts()
	body["MemorySummary"] = object{"TotalSystemMemoryGiB": float64(p.MemoryMB) / 1024, "Status": healthy()}
	body["ProcessorSummary"] = object{"Count": 1, "LogicalProcessorCount": p.CPUs, "Status": healthy()}
	for _, name := range []string{"Processors", "Memory", "Storage"} {
		body[name] = link(path + "/" + name)
	}
	return ok(body)
}

// bootProgress tells what is known, and no more: that a machine has power does not mean that anything booted.
func bootProgress(v bmc.View) object {
	state, oem := "None", ""
	switch v.Progress {
	case qemu.PoweredOn:
		state = "PrimaryProcessorInitializationStarted"
	case qemu.Firmware:
		state = "SystemHardwareInitializationComplete"
	case qemu.Loader:
		state = "OSBootStarted"
	case qemu.System:
		state = "OSRunning"
	case qemu.NothingToBoot:
		state, oem = "OEM", "NothingToBoot"
	}
	b := object{"LastState": state}
	if oem != "" {
		b["OemLastState"] = oem
	}
	if v.Detail != "" {
		b["Oem"] = object{"Bessemer": object{"Detail": v.Detail}}
	}
	return b
}

func (q *request) patchSystem() reply {
	var in struct {
		Boot *struct {
			BootSourceOverrideEnabled, BootSourceOverrideTarget, BootSourceOverrideMode, HttpBootUri *string
		}
		AssetTag                *string
		LocationIndicatorActive *bool
		IndicatorLED            *string
	}
	if a, fine := q.decode(&in); !fine {
		return a
	}
	next := q.m.View().Boot
	if b := in.Boot; b != nil {
		if v := b.BootSourceOverrideTarget; v != nil {
			if !slices.Contains(targets(), *v) {
				return notInList("BootSourceOverrideTarget", *v, targets())
			}
			next.Target = qemu.Target(*v)
			if next.Enabled == "Disabled" && b.BootSourceOverrideEnabled == nil {
				next.Enabled = "Once"
			}
		}
		if v := b.BootSourceOverrideEnabled; v != nil {
			if !slices.Contains(enabling(), *v) {
				return notInList("BootSourceOverrideEnabled", *v, enabling())
			}
			next.Enabled = *v
		}
		if v := b.BootSourceOverrideMode; v != nil && !slices.Contains(q.bootModes(), *v) {
			return notInList("BootSourceOverrideMode", *v, q.bootModes())
		}
		if v := b.HttpBootUri; v != nil {
			next.URI = *v
		}
	}
	led := in.LocationIndicatorActive
	if in.IndicatorLED != nil {
		led = new(*in.IndicatorLED != "Off")
	}
	return q.change("boot override", func(ctx context.Context) error {
		q.m.Label(in.AssetTag, led)
		if in.Boot != nil && in.Boot.BootSourceOverrideMode != nil {
			q.m.SetLegacy(*in.Boot.BootSourceOverrideMode == "Legacy")
		}
		return q.m.SetBoot(ctx, next)
	})
}

func (q *request) resetSystem() reply {
	var in struct{ ResetType string }
	if a, fine := q.decode(&in); !fine {
		return a
	}
	if in.ResetType == "" {
		return missing("ResetType")
	}
	if !slices.Contains(bmc.Resets(), in.ResetType) {
		return notInList("ResetType", in.ResetType, bmc.Resets())
	}
	return q.change("reset "+in.ResetType, func(ctx context.Context) error { return q.m.Reset(ctx, in.ResetType) })
}

func missing(parameter string) reply {
	return failure(http.StatusBadRequest, "ActionParameterMissing", "The action needs the parameter "+parameter+".", "#/"+parameter)
}

func (q *request) cards() reply {
	var l []string
	for i := range q.m.MACs() {
		l = append(l, fmt.Sprintf("%s/EthernetInterfaces/NIC%d", q.m.SystemPath(), i+1))
	}
	return collection(q.m.SystemPath()+"/EthernetInterfaces", "EthernetInterfaceCollection", "Ethernet Interfaces", l)
}

func (q *request) card() reply {
	for i, mac := range q.m.MACs() {
		if id := fmt.Sprintf("NIC%d", i+1); id == q.PathValue("id") {
			return ok(object{"@odata.id": q.m.SystemPath() + "/EthernetInterfaces/" + id, "@odata.type": "#EthernetInterface.v1_8_0.EthernetInterface",
				"Id": id, "Name": id, "MACAddress": mac.String(), "PermanentMACAddress": mac.String(), "InterfaceEnabled": true, "LinkStatus": "LinkUp",
				"SpeedMbps": 1000, "Status": healthy()})
		}
	}
	return notFound(q.URL.Path)
}
