package emulator

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/integration/bmc"
)

const biosRegistry = "BiosAttributeRegistryBessemer.v1_0_0"

func (q *request) biosNow() reply {
	path := q.m.SystemPath() + "/Bios"
	v := q.m.View()
	settings := object{"@odata.type": "#Settings.v1_3_4.Settings", "SettingsObject": link(path + "/Settings"), "SupportedApplyTimes": []string{"OnReset"}, "Messages": []object{}}
	if !v.BIOSTime.IsZero() {
		settings["Time"] = v.BIOSTime.UTC().Format(time.RFC3339)
		settings["Messages"] = []object{{"MessageId": "Base.1.13.0.Success", "Message": "The settings were applied.", "Severity": "OK", "Resolution": "None", "MessageArgs": []string{}}}
	}
	return ok(object{
		"@odata.id": path, "@odata.type": "#Bios.v1_2_0.Bios", "Id": "Bios", "Name": "BIOS settings in force", "AttributeRegistry": biosRegistry,
		"Attributes": v.BIOS, "@Redfish.Settings": settings,
		"Actions": object{"#Bios.ResetBios": object{"target": path + "/Actions/Bios.ResetBios"}},
	})
}

func (q *request) biosSettings() reply {
	return ok(object{"@odata.id": q.m.SystemPath() + "/Bios/Settings", "@odata.type": "#Bios.v1_2_0.Bios", "Id": "Settings",
		"Name": "BIOS settings after the next reset", "AttributeRegistry": biosRegistry, "Attributes": q.m.View().BIOSNext})
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
		i := slices.IndexFunc(bmc.Attributes(), func(a bmc.Attribute) bool { return a.Name == name })
		if i < 0 {
			return failure(http.StatusBadRequest, "PropertyUnknown", fmt.Sprintf("There is no BIOS attribute %s.", name), "#/Attributes/"+name)
		}
		value, err := bmc.Attributes()[i].Check(v)
		if err != nil {
			return failure(http.StatusBadRequest, "PropertyValueError", fmt.Sprintf("The value %v for the BIOS attribute %s: %v.", v, name, err), "#/Attributes/"+name)
		}
		next[name] = value
	}
	return q.changeBios(func(ctx context.Context) error { return q.m.SetBIOS(ctx, next) })
}

func (q *request) resetBios() reply { return q.changeBios(q.m.ResetBIOS) }

// changeBios queues a job for the next reset, if the queue takes any.
func (q *request) changeBios(do func(context.Context) error) reply {
	if q.m.Jammed() {
		return jammed()
	}
	return q.change("BIOS settings", do)
}

func (q *request) secureBootState() reply {
	v := q.m.View()
	current, mode := "Disabled", "SetupMode" // a QEMU machine's firmware has no keys
	if v.SecureBoot {
		current = "Enabled"
	}
	if q.m.Fake() {
		mode = "UserMode"
	}
	return ok(object{"@odata.id": q.m.SystemPath() + "/SecureBoot", "@odata.type": "#SecureBoot.v1_1_0.SecureBoot", "Id": "SecureBoot", "Name": "UEFI Secure Boot",
		"SecureBootEnable": v.SecureNext, "SecureBootCurrentBoot": current, "SecureBootMode": mode})
}

func (q *request) patchSecureBoot() reply {
	var in struct{ SecureBootEnable *bool }
	if a, fine := q.decode(&in); !fine {
		return a
	}
	if in.SecureBootEnable == nil {
		return missing("SecureBootEnable")
	}
	if !q.m.Fake() && *in.SecureBootEnable {
		return failure(http.StatusBadRequest, "PropertyNotWritable", "This system's firmware holds no Secure Boot keys, so Secure Boot can't be enabled.", "#/SecureBootEnable")
	}
	return q.change("Secure Boot", func(ctx context.Context) error { return q.m.SetSecureBoot(ctx, *in.SecureBootEnable) })
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
	for _, a := range bmc.Attributes() {
		o := object{"AttributeName": a.Name, "Type": a.Kind, "DefaultValue": a.Default, "DisplayName": a.Name, "HelpText": a.Help, "ReadOnly": a.ReadOnly, "ResetRequired": true}
		switch a.Kind {
		case "Enumeration":
			var values []object
			for _, v := range a.Values {
				values = append(values, object{"ValueName": v, "ValueDisplayName": v})
			}
			o["Value"] = values
		case "Integer":
			o["LowerBound"], o["UpperBound"] = a.Lower, a.Up
		case "String":
			o["MinLength"], o["MaxLength"] = 0, a.Up
		}
		all = append(all, o)
	}
	return ok(object{"@odata.type": "#AttributeRegistry.v1_3_6.AttributeRegistry", "Id": biosRegistry, "Name": "BIOS attribute registry", "Language": "en",
		"OwningEntity": "Bessemer", "RegistryVersion": "1.0.0", "RegistryEntries": object{"Attributes": all}})
}
