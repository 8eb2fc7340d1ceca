package emulator

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// attribute is one line of the BIOS attribute registry.
type attribute struct {
	name, kind string
	value      any      // the default
	values     []string // of an Enumeration
	lower, up  int      // of an Integer
	readOnly   bool
	help       string
}

func attributes() []attribute {
	return []attribute{
		{name: "BootMode", kind: "Enumeration", value: "Uefi", values: []string{"Uefi"}, readOnly: true, help: "How the system boots"},
		{name: "BootTimeout", kind: "Integer", value: 0, up: 60, help: "Seconds to wait before booting"},
		{name: "NumLock", kind: "Enumeration", value: "On", values: []string{"On", "Off"}, help: "Keyboard state after power-on"},
		{name: "PowerProfile", kind: "Enumeration", value: "Balanced", values: []string{"Balanced", "Performance", "PowerSaving"}, help: "Speed against power"},
		{name: "ProcVirtualization", kind: "Enumeration", value: "Enabled", values: []string{"Enabled", "Disabled"}, help: "Hardware virtualization"},
		{name: "QuietBoot", kind: "Boolean", value: true, help: "Hide diagnostic messages"},
		{name: "ServerLabel", kind: "String", value: "", help: "Free text"},
		{name: "Sriov", kind: "Enumeration", value: "Disabled", values: []string{"Enabled", "Disabled"}, help: "I/O virtualization of PCI devices"},
	}
}

func biosDefaults() map[string]any {
	m := map[string]any{}
	for _, a := range attributes() {
		m[a.name] = a.value
	}
	return m
}

// check returns what is wrong with a value as JSON brings it, or "".
func (a attribute) check(v any) string {
	switch a.kind {
	case "Enumeration":
		if s, is := v.(string); !is || !slices.Contains(a.values, s) {
			return fmt.Sprintf("one of %s is expected", strings.Join(a.values, ", "))
		}
	case "Integer":
		if n, is := v.(float64); !is || n != float64(int(n)) || int(n) < a.lower || int(n) > a.up {
			return fmt.Sprintf("a whole number from %d to %d is expected", a.lower, a.up)
		}
	case "Boolean":
		if _, is := v.(bool); !is {
			return "true or false is expected"
		}
	default:
		if s, is := v.(string); !is || len(s) > 64 {
			return "a string of at most 64 bytes is expected"
		}
	}
	return ""
}

const biosRegistry = "BiosAttributeRegistryBessemer.v1_0_0"

func (q *request) biosNow() reply {
	path := q.m.SystemPath() + "/Bios"
	q.m.mu.Lock()
	defer q.m.mu.Unlock()
	settings := object{"@odata.type": "#Settings.v1_3_4.Settings", "SettingsObject": link(path + "/Settings"), "SupportedApplyTimes": []string{"OnReset"}, "Messages": []object{}}
	if !q.m.biosTime.IsZero() {
		settings["Time"] = q.m.biosTime.UTC().Format(time.RFC3339)
		settings["Messages"] = []object{{"MessageId": "Base.1.13.0.Success", "Message": "The settings were applied.", "Severity": "OK", "Resolution": "None", "MessageArgs": []string{}}}
	}
	return ok(object{
		"@odata.id": path, "@odata.type": "#Bios.v1_2_0.Bios", "Id": "Bios", "Name": "BIOS settings in force", "AttributeRegistry": biosRegistry,
		"Attributes": maps.Clone(q.m.bios), "@Redfish.Settings": settings,
		"Actions": object{"#Bios.ResetBios": object{"target": path + "/Actions/Bios.ResetBios"}},
	})
}

func (q *request) biosSettings() reply {
	q.m.mu.Lock()
	defer q.m.mu.Unlock()
	all := maps.Clone(q.m.bios)
	maps.Copy(all, q.m.biosNext)
	return ok(object{"@odata.id": q.m.SystemPath() + "/Bios/Settings", "@odata.type": "#Bios.v1_2_0.Bios", "Id": "Settings",
		"Name": "BIOS settings after the next reset", "AttributeRegistry": biosRegistry, "Attributes": all})
}

func (q *request) patchBios() reply {
	var in struct {
		Attributes map[string]any
		ApplyTime  *struct{ ApplyTime string } `json:"@Redfish.SettingsApplyTime"`
	}
	if a, fine := q.decode(&in); !fine {
		return a
	}
	if in.ApplyTime != nil && in.ApplyTime.ApplyTime != "OnReset" {
		return notInList("ApplyTime", in.ApplyTime.ApplyTime, []string{"OnReset"})
	}
	next := map[string]any{}
	for name, v := range in.Attributes {
		i := slices.IndexFunc(attributes(), func(a attribute) bool { return a.name == name })
		if i < 0 {
			return failure(http.StatusBadRequest, "PropertyUnknown", fmt.Sprintf("There is no BIOS attribute %s.", name), "#/Attributes/"+name)
		}
		a := attributes()[i]
		if a.readOnly && v != a.value {
			return failure(http.StatusBadRequest, "PropertyNotWritable", fmt.Sprintf("The BIOS attribute %s is read-only.", name), "#/Attributes/"+name)
		}
		if wrong := a.check(v); wrong != "" {
			return failure(http.StatusBadRequest, "PropertyValueFormatError", fmt.Sprintf("The value %v for the BIOS attribute %s: %s.", v, name, wrong), "#/Attributes/"+name)
		}
		if a.kind == "Integer" {
			v = int(v.(float64))
		}
		next[name] = v
	}
	return q.setBios(next)
}

func (q *request) resetBios() reply { return q.setBios(biosDefaults()) }

// setBios queues a job for the next reset.
func (q *request) setBios(next map[string]any) reply {
	m := q.m
	m.mu.Lock()
	jammed := m.jammed()
	m.mu.Unlock()
	if jammed {
		return failure(http.StatusConflict, "ResourceInUse", "The job queue is stuck: it holds tasks that do not end. Delete them below /redfish/v1/TaskService/Tasks.")
	}
	return q.change("BIOS settings", func() error {
		m.mu.Lock()
		if m.biosNext == nil {
			m.biosNext = map[string]any{}
			m.addTask(&task{name: biosTask, state: "Pending"})
		}
		maps.Copy(m.biosNext, next)
		m.mu.Unlock()
		return m.rearm(q.Context())
	})
}

func (q *request) secureBootState() reply {
	q.m.mu.Lock()
	defer q.m.mu.Unlock()
	current := "Disabled"
	if q.m.secureBoot {
		current = "Enabled"
	}
	return ok(object{"@odata.id": q.m.SystemPath() + "/SecureBoot", "@odata.type": "#SecureBoot.v1_1_0.SecureBoot", "Id": "SecureBoot", "Name": "UEFI Secure Boot",
		"SecureBootEnable": q.m.secureNext, "SecureBootCurrentBoot": current, "SecureBootMode": q.m.secureBootMode()})
}

// secureBootMode of a QEMU machine is that of firmware without keys, which is what it runs.
func (m *Machine) secureBootMode() string {
	if m.real != nil {
		return "SetupMode"
	}
	return "UserMode"
}

func (q *request) patchSecureBoot() reply {
	var in struct{ SecureBootEnable *bool }
	if a, fine := q.decode(&in); !fine {
		return a
	}
	if in.SecureBootEnable == nil {
		return missing("SecureBootEnable")
	}
	if q.m.real != nil && *in.SecureBootEnable {
		return failure(http.StatusBadRequest, "PropertyNotWritable", "This system's firmware holds no Secure Boot keys, so Secure Boot can't be enabled.", "#/SecureBootEnable")
	}
	return q.change("Secure Boot", func() error {
		q.m.mu.Lock()
		q.m.secureNext = *in.SecureBootEnable
		q.m.mu.Unlock()
		return q.m.rearm(q.Context())
	})
}

func (q *request) registries() reply {
	return collection(root+"/Registries", "MessageRegistryFileCollection", "Registries", []string{root + "/Registries/" + biosRegistry})
}

func (q *request) registry() reply {
	if q.PathValue("id") != biosRegistry {
		return notFound(q.URL.Path)
	}
	path := root + "/Registries/" + biosRegistry
	return ok(object{"@odata.id": path, "@odata.type": "#MessageRegistryFile.v1_1_3.MessageRegistryFile", "Id": biosRegistry, "Name": "BIOS attribute registry",
		"Languages": []string{"en"}, "Registry": biosRegistry, "Location": []object{{"Language": "en", "Uri": path + "/Registry.json"}}})
}

func (q *request) registryFile() reply {
	if q.PathValue("id") != biosRegistry {
		return notFound(q.URL.Path)
	}
	var all []object
	for _, a := range attributes() {
		o := object{"AttributeName": a.name, "Type": a.kind, "DefaultValue": a.value, "DisplayName": a.name, "HelpText": a.help, "ReadOnly": a.readOnly, "ResetRequired": true}
		switch a.kind {
		case "Enumeration":
			var values []object
			for _, v := range a.values {
				values = append(values, object{"ValueName": v, "ValueDisplayName": v})
			}
			o["Value"] = values
		case "Integer":
			o["LowerBound"], o["UpperBound"] = a.lower, a.up
		case "String":
			o["MinLength"], o["MaxLength"] = 0, 64
		}
		all = append(all, o)
	}
	return ok(object{"@odata.type": "#AttributeRegistry.v1_3_6.AttributeRegistry", "Id": biosRegistry, "Name": "BIOS attribute registry", "Language": "en",
		"OwningEntity": "Bessemer", "RegistryVersion": "1.0.0", "RegistryEntries": object{"Attributes": all}})
}
