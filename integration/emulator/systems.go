package emulator

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/integration/qemu"
)

const root = "/redfish/v1"

func (q *request) versions() reply { return ok(object{"v1": root + "/"}) }

func (q *request) root() reply {
	uuid := "3a1f6c1c-5a0e-4b0c-9a55-2f5c1d3b7e01"
	if q.s.only != nil {
		uuid = q.s.only.cfg.UUID
	}
	return ok(object{
		"@odata.id": root + "/", "@odata.type": "#ServiceRoot.v1_12_0.ServiceRoot", "Id": "RootService", "Name": "Root Service",
		"RedfishVersion": "1.15.0", "UUID": uuid, "Vendor": "Bessemer", "Product": "Bessemer Redfish emulator",
		"ProtocolFeaturesSupported": object{"ExpandQuery": object{"ExpandAll": false}, "FilterQuery": false, "SelectQuery": false},
		"Systems":                   link(root + "/Systems"), "Managers": link(root + "/Managers"), "Chassis": link(root + "/Chassis"),
		"SessionService": link(root + "/SessionService"), "Tasks": link(root + "/TaskService"), "Registries": link(root + "/Registries"),
		"Links": object{"Sessions": link(root + "/SessionService/Sessions")},
	})
}

func (q *request) sessionService() reply {
	return ok(object{"@odata.id": root + "/SessionService", "@odata.type": "#SessionService.v1_1_8.SessionService", "Id": "SessionService",
		"Name": "Session Service", "ServiceEnabled": true, "SessionTimeout": int(q.s.e.sessions.timeout.Seconds()), "Status": healthy(),
		"Sessions": link(root + "/SessionService/Sessions")})
}

const sessionPath = root + "/SessionService/Sessions/"

func (q *request) sessionList() reply {
	var members []string
	for _, x := range q.s.e.sessions.list(q.s.only) {
		members = append(members, sessionPath+x.id)
	}
	return collection(strings.TrimSuffix(sessionPath, "/"), "SessionCollection", "Sessions", members)
}

func (q *request) login() reply {
	var in struct{ UserName, Password string }
	if a, fine := q.decode(&in); !fine {
		return a
	}
	if !q.s.known(account{in.UserName, in.Password}) {
		return failure(http.StatusUnauthorized, "InsufficientPrivilege", "The user name or password is wrong.")
	}
	token, x := q.s.e.sessions.create(in.UserName, in.Password, q.s.only)
	a := reply{status: http.StatusCreated, body: sessionBody(x)}
	a.header = http.Header{"X-Auth-Token": {token}, "Location": {sessionPath + x.id}}
	return a
}

func sessionBody(x *session) object {
	return object{"@odata.id": sessionPath + x.id, "@odata.type": "#Session.v1_3_0.Session", "Id": x.id, "Name": "User Session", "UserName": x.user}
}

func (q *request) session() reply {
	for _, x := range q.s.e.sessions.list(q.s.only) {
		if x.id == q.PathValue("id") {
			return ok(sessionBody(x))
		}
	}
	return notFound(q.URL.Path)
}

func (q *request) logout() reply {
	if !q.s.e.sessions.forget(q.s.only, q.PathValue("id")) {
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
	m, path := q.m, q.m.SystemPath()
	m.mu.Lock()
	defer m.mu.Unlock()
	boot := object{
		"BootSourceOverrideEnabled": m.boot.Enabled, "BootSourceOverrideTarget": m.boot.Target, "BootSourceOverrideMode": "UEFI",
		"BootSourceOverrideTarget@Redfish.AllowableValues": targets(), "BootSourceOverrideEnabled@Redfish.AllowableValues": enabling(),
		"BootSourceOverrideMode@Redfish.AllowableValues": []string{"UEFI"}, "HttpBootUri": nil,
	}
	if m.boot.URI != "" {
		boot["HttpBootUri"] = m.boot.URI
	}
	body := object{
		"@odata.id": path, "@odata.type": "#ComputerSystem.v1_16_0.ComputerSystem", "Id": m.Name(), "Name": m.Name(), "SystemType": "Physical",
		"Manufacturer": m.cfg.Manufacturer, "Model": m.cfg.Model, "SerialNumber": m.cfg.Serial, "UUID": m.cfg.UUID, "AssetTag": m.assetTag,
		"LocationIndicatorActive": m.led, "PowerState": powerState(m.on), "Status": healthy(), "Boot": boot, "BootProgress": m.bootProgress(),
		"Bios": link(path + "/Bios"), "SecureBoot": link(path + "/SecureBoot"), "EthernetInterfaces": link(path + "/EthernetInterfaces"),
		"Links": object{"Chassis": []object{link(root + "/Chassis/" + m.Name())}, "ManagedBy": []object{link(root + "/Managers/" + m.Name())}},
		"Actions": object{"#ComputerSystem.Reset": object{"target": path + "/Actions/ComputerSystem.Reset",
			"ResetType@Redfish.AllowableValues": resetTypes()}},
	}
	if !m.lastReset.IsZero() {
		body["LastResetTime"] = m.lastReset.UTC().Format(time.RFC3339)
	}
	if c := m.cfg.QEMU; c != nil {
		body["MemorySummary"] = object{"TotalSystemMemoryGiB": float64(max(c.MemoryMB, 1)) / 1024, "Status": healthy()}
		body["ProcessorSummary"] = object{"Count": 1, "LogicalProcessorCount": max(c.CPUs, 1), "Status": healthy()}
	}
	return ok(body)
}

// bootProgress tells what is known, and no more: that a machine has power does not mean that anything booted.
func (m *Machine) bootProgress() object {
	state, oem := "None", ""
	switch m.progress {
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
	if m.detail != "" {
		b["Oem"] = object{"Bessemer": object{"Detail": m.detail}}
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
	m := q.m
	m.mu.Lock()
	next := m.boot
	m.mu.Unlock()
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
		if v := b.BootSourceOverrideMode; v != nil && *v != "UEFI" {
			return notInList("BootSourceOverrideMode", *v, []string{"UEFI"})
		}
		if v := b.HttpBootUri; v != nil {
			next.URI = *v
		}
	}
	if next.Enabled == "Disabled" || next.Target == qemu.Default {
		next = override{Enabled: "Disabled", Target: qemu.Default}
	}
	return q.change("boot override", func() error {
		m.mu.Lock()
		m.boot = next
		if in.AssetTag != nil {
			m.assetTag = *in.AssetTag
		}
		if in.LocationIndicatorActive != nil {
			m.led = *in.LocationIndicatorActive
		}
		if in.IndicatorLED != nil {
			m.led = *in.IndicatorLED != "Off"
		}
		m.mu.Unlock()
		return m.rearm(q.Context())
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
	if !slices.Contains(resetTypes(), in.ResetType) {
		return notInList("ResetType", in.ResetType, resetTypes())
	}
	if on := q.m.On(); !on && slices.Contains([]string{"ForceRestart", "GracefulRestart", "GracefulShutdown", "PowerCycle", "Nmi"}, in.ResetType) {
		return failure(http.StatusConflict, "ActionNotSupported", fmt.Sprintf("%s is not possible while the system is off; On is.", in.ResetType))
	}
	return q.change("reset "+in.ResetType, func() error { return q.m.reset(q.Context(), in.ResetType) })
}

func missing(parameter string) reply {
	return failure(http.StatusBadRequest, "ActionParameterMissing", "The action needs the parameter "+parameter+".", "#/"+parameter)
}

func (q *request) cards() reply {
	var l []string
	for i := range q.m.macs {
		l = append(l, fmt.Sprintf("%s/EthernetInterfaces/NIC%d", q.m.SystemPath(), i+1))
	}
	return collection(q.m.SystemPath()+"/EthernetInterfaces", "EthernetInterfaceCollection", "Ethernet Interfaces", l)
}

func (q *request) card() reply {
	for i, mac := range q.m.macs {
		if id := fmt.Sprintf("NIC%d", i+1); id == q.PathValue("id") {
			return ok(object{"@odata.id": q.m.SystemPath() + "/EthernetInterfaces/" + id, "@odata.type": "#EthernetInterface.v1_8_0.EthernetInterface",
				"Id": id, "Name": id, "MACAddress": mac.String(), "PermanentMACAddress": mac.String(), "InterfaceEnabled": true, "LinkStatus": "LinkUp",
				"SpeedMbps": 1000, "Status": healthy()})
		}
	}
	return notFound(q.URL.Path)
}
