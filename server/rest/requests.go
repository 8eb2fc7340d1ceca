package rest

import (
	"maps"
	"slices"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/server/rest/machine"
	"github.com/bessemer-metal/bessemer/server/rest/provision"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/watch"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// The bodies of requests in the API's description: those that make and change objects from the tables of fields, the others
// from the handlers' arguments. The tests of this package check each body that is taken against them.

// keyed is the schema of a body with these keys and no others.
func keyed(required []string, properties schema) schema {
	s := schema{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

func oneOf(values ...string) schema { return schema{"type": "string", "enum": values} }

func listed(items schema) schema { return schema{"type": "array", "items": items} }

// What several bodies have. A flag is whatever Ironic takes for one.
var (
	aText     = schema{"type": "string"}
	maybeText = schema{"type": []string{"string", "null"}}
	aFlag     = schema{"type": []string{"boolean", "string", "number", "null"}, "description": "true or false; also 1, 0, yes, no, on, off as text"}
	anObject  = schema{"type": "object"}
)

// newObject is the body that makes an object of a table of fields.
func newObject(fields []api.Field) schema {
	kinds := map[api.Kind]schema{
		api.Text: maybeText, api.UUID: maybeText, api.Flag: aFlag, api.Tristate: aFlag, api.Stamp: maybeText,
		api.Integer: {"type": []string{"integer", "string", "null"}}, api.Map: {"type": []string{"object", "null"}}, api.List: {"type": []string{"array", "null"}},
	}
	properties, required := schema{}, []string{}
	for _, f := range fields {
		if !f.Create {
			continue
		}
		s := maps.Clone(kinds[f.Kind])
		s["description"] = f.Doc
		if f.Since > 1 {
			s["x-since"] = f.Since.String()
		}
		if f.Kind == api.Text {
			longest := f.Max
			if longest == 0 {
				longest = 255
			}
			s["maxLength"] = longest
		}
		properties[f.Name] = s
		if f.Need {
			required = append(required, f.Name)
			switch f.Kind {
			case api.Text:
				s["type"], s["minLength"] = "string", 1
			case api.Integer:
				s["type"] = []string{"integer", "string"}
			case api.List:
				s["type"] = "array"
			}
		}
	}
	return keyed(required, properties)
}

// patchOf is the body of a PATCH of an object of a table of fields.
func patchOf(fields []api.Field) schema {
	var names []string
	for _, f := range fields {
		if f.Patch {
			names = append(names, "/"+f.Name)
		}
	}
	op := keyed([]string{"op", "path"}, schema{"op": oneOf("add", "replace", "remove"), "path": aText, "value": schema{}})
	op["allOf"] = []schema{where(having("op", oneOf("add", "replace")), schema{"required": []string{"value"}})}
	s := listed(op)
	s["maxItems"], s["description"], s["x-paths"] = api.MaxPatch, "a path is one of x-paths, or a key below one that is an object", names
	return s
}

// aliases are keys that a body may have beside the table's fields, for one of them.
var aliases = map[conductor.Kind]struct{ name, of string }{
	conductor.KindPort:       {"node_ident", "node_uuid"},
	conductor.KindAllocation: {"node", "resource_class"},
}

// requests is the bodies by method and path. The rest is JSON of which nothing is said.
func (a *API) requests() map[string]schema {
	const node = "/v1/nodes/{node}"
	orNull := func(s schema) schema {
		s["type"] = []string{"array", "null"}
		return s
	}
	var verbs []string
	for _, v := range api.Verbs() {
		verbs = append(verbs, v.Target)
	}
	reason := keyed(nil, schema{"reason": maybeText})
	hook := schema{"url": schema{"type": []string{"string", "null"}, "maxLength": watch.MaxURL}, "project": maybeText,
		"secret": schema{"type": []string{"string", "null"}, "minLength": watch.MinSecret, "maxLength": watch.MaxSecret}}
	newNode, newHook := newObject(api.NodeFields()), maps.Clone(hook)
	newNode["allOf"] = nodeRules()
	newHook["url"], newHook["secret"] = schema{"type": "string", "maxLength": watch.MaxURL}, schema{"type": "string", "minLength": watch.MinSecret, "maxLength": watch.MaxSecret}
	provision := keyed([]string{"target"}, schema{"target": oneOf(verbs...), "configdrive": schema{"type": []string{"string", "object", "null"}},
		"clean_steps": orNull(stepsOnChildren(drivers.StepKinds)), "deploy_steps": orNull(stepsWith(drivers.StepKinds, "priority", "args", "priority")),
		"service_steps": orNull(stepsOnChildren(provision.ServiceInterfaces)), "rescue_password": maybeText, "disable_ramdisk": aFlag, "runbook": maybeText})
	provision["allOf"] = provisionRules()
	defaults := keyed([]string{"scope", "flow", "step"}, schema{"scope": someText, "flow": someText, "step": someText, "priority": schema{},
		"args": schema{"type": []string{"object", "null"}}})
	defaults["anyOf"] = []schema{having("priority", schema{"not": schema{"type": "null"}}), having("args", schema{"type": "object", "minProperties": 1})}
	out := map[string]schema{
		"POST /v1/nodes": newNode,
		"PATCH " + node:  patchOf(api.NodeFields()),

		"PUT " + node + "/states/power": keyed([]string{"target"}, schema{"target": oneOf(machine.PowerTargets...),
			"timeout": schema{"type": []string{"integer", "string", "null"}, "minimum": 1, "pattern": "^[0-9]+$", "description": "seconds; x-since 1.27"}}),
		"PUT " + node + "/states/provision":              provision,
		"PUT " + node + "/states/out_of_service":         reason,
		"PUT " + node + "/maintenance":                   reason,
		"PUT " + node + "/states/boot_mode":              keyed([]string{"target"}, schema{"target": oneOf("uefi", "bios")}),
		"PUT " + node + "/states/secure_boot":            keyed([]string{"target"}, schema{"target": aFlag}),
		"PUT " + node + "/states/console":                keyed([]string{"enabled"}, schema{"enabled": aFlag}),
		"PUT " + node + "/states/raid":                   {"type": "object", "properties": schema{"logical_disks": listed(anObject)}},
		"PUT " + node + "/management/boot_device":        keyed([]string{"boot_device"}, schema{"boot_device": oneOf("bios", "cdrom", "disk", "floppy", "pxe"), "persistent": aFlag}),
		"PUT " + node + "/management/inject_nmi":         keyed(nil, schema{}),
		"PUT " + node + "/management/indicators/{light}": keyed([]string{"state"}, schema{"state": aText}),
		"PUT " + node + "/traits":                        keyed([]string{"traits"}, schema{"traits": listed(aText)}),
		"PUT " + node + "/traits/{trait}":                keyed(nil, schema{}),
		"POST " + node + "/vmedia": keyed([]string{"device_type", "image_url"}, schema{"device_type": oneOf(conductor.MediaDevices...), "image_url": aText,
			"image_download_source": schema{"type": []string{"string", "null"}}}),
		"POST " + node + "/vifs":   {"type": "object", "required": []string{"id"}, "properties": schema{"id": aText, "port_uuid": maybeText}},
		"POST " + node + "/doctor": keyed([]string{"act"}, schema{"act": aText}),

		"POST /v1/nodes:batchGet": keyed([]string{"ids"}, schema{"ids": schema{"type": "array", "items": aText, "minItems": 1, "maxItems": serve.MaxPage},
			"fields": listed(aText)}),
		"PUT /v1/default_config":     defaults,
		"POST /v1/webhooks":          keyed([]string{"url", "secret"}, newHook),
		"PUT /v1/webhooks/{webhook}": keyed(nil, hook),
		"POST /v1/events":            keyed([]string{"events"}, schema{"events": listed(anObject)}),
		"POST /v1/heartbeat/{node}": keyed([]string{"callback_url"}, schema{"callback_url": aText, "agent_version": maybeText, "agent_token": maybeText,
			"agent_verify_ca": maybeText, "agent_status": maybeText, "agent_status_message": maybeText}),
		"POST /v1/inspection_rules":         newObject(api.InspectionRuleFields()),
		"PATCH /v1/inspection_rules/{rule}": patchOf(api.InspectionRuleFields()),
		"POST /v1/continue_inspection":      {"type": "object", "required": []string{"inventory"}, "properties": schema{"inventory": anObject}},
	}
	for _, k := range a.records.Tables() {
		made := newObject(k.Fields)
		if alias, ok := aliases[k.Kind]; ok {
			made["properties"].(schema)[alias.name] = schema{"type": "string", "description": "in place of " + alias.of}
			if required, _ := made["required"].([]string); slices.Contains(required, alias.of) {
				made["required"] = slices.DeleteFunc(slices.Clone(required), func(s string) bool { return s == alias.of })
			}
		}
		recordRules(k.Kind, made)
		out["POST /v1/"+k.Path] = made
		out["PATCH /v1/"+k.Path+"/{record}"] = patchOf(k.Fields)
	}
	return out
}
