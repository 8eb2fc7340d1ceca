package rest_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bessemer-metal/bessemer/shared/state"
)

// bounded checks a value against the bounds of a schema, and against the schemas that are put together in it.
func bounded(doc, schema map[string]any, v any, where string) string {
	for key, size := range map[string]func() (float64, bool){
		"Length":     func() (float64, bool) { t, ok := v.(string); return float64(utf8.RuneCountInString(t)), ok },
		"Items":      func() (float64, bool) { t, ok := v.([]any); return float64(len(t)), ok },
		"Properties": func() (float64, bool) { t, ok := v.(map[string]any); return float64(len(t)), ok },
		"imum":       func() (float64, bool) { t, ok := v.(float64); return t, ok },
	} {
		n, ok := size()
		if least, there := schema["min"+key].(float64); ok && there && n < least {
			return fmt.Sprintf("%s is %v, described as %v at least", where, v, least)
		}
		if most, there := schema["max"+key].(float64); ok && there && n > most {
			return fmt.Sprintf("%s is %v, described as %v at most", where, v, most)
		}
	}
	if pattern, ok := schema["pattern"].(string); ok {
		if t, isText := v.(string); isText && !regexp.MustCompile(pattern).MatchString(t) {
			return fmt.Sprintf("%s is %q, described by %s", where, t, pattern)
		}
	}
	if not, ok := schema["not"].(map[string]any); ok && fits(doc, not, v, where) == "" {
		return fmt.Sprintf("%s is %v, which the description shuts out", where, v)
	}
	if is, ok := schema["if"].(map[string]any); ok && fits(doc, is, v, where) == "" {
		if wrong := fits(doc, schema["then"].(map[string]any), v, where); wrong != "" {
			return wrong
		}
	}
	for word, right := range map[string]func(fitting, all int) bool{
		"allOf": func(fitting, all int) bool { return fitting == all },
		"anyOf": func(fitting, _ int) bool { return fitting > 0 },
		"oneOf": func(fitting, _ int) bool { return fitting == 1 },
	} {
		list, ok := schema[word].([]any)
		if !ok {
			continue
		}
		var wrong []string
		for _, x := range list {
			if w := fits(doc, x.(map[string]any), v, where); w != "" {
				wrong = append(wrong, w)
			}
		}
		if fitting := len(list) - len(wrong); !right(fitting, len(list)) {
			return fmt.Sprintf("%s fits %d of %d schemas, described as %s: %s", where, fitting, len(list), word, strings.Join(wrong, "; "))
		}
	}
	return ""
}

// What compares bodies with the description sees each kind of difference.
func TestFitsSeesEachDifference(t *testing.T) {
	for _, c := range []struct{ schema, value, wrong string }{
		{`{"type": "string"}`, `1`, "is a number"}, {`{"type": ["string", "null"]}`, `null`, ""}, {`{"type": "integer"}`, `1.5`, "is a number"},
		{`{"type": "object", "properties": {"a": {"type": "boolean"}}, "additionalProperties": false}`, `{"b": 1}`, "b is not described"},
		{`{"type": "object", "additionalProperties": {"type": "string"}}`, `{"b": 1}`, "b is a number"},
		{`{"type": "array", "items": {"type": "string"}}`, `["x", 1]`, "[1] is a number"}, {`{"type": "object", "required": ["a"]}`, `{}`, "lacks a"},
		{`{"type": "string", "enum": ["a"]}`, `"b"`, "one of [a]"},
		{`{"$ref": "#/components/schemas/node"}`, `{"nosuch": 1}`, "nosuch is not described"},
		{`{"minLength": 2, "maxLength": 3}`, `"é"`, "at least"}, {`{"minLength": 2, "maxLength": 3}`, `"éé"`, ""}, {`{"maxLength": 3}`, `"éééé"`, "at most"}, {`{"minLength": 2}`, `null`, ""},
		{`{"minItems": 1}`, `[]`, "at least"}, {`{"maxItems": 1}`, `[1, 2]`, "at most"}, {`{"minProperties": 1}`, `{}`, "at least"}, {`{"minimum": 0}`, `-1`, "at least"}, {`{"minimum": 0}`, `0`, ""},
		{`{"pattern": "\\S"}`, `" "`, "described by"}, {`{"not": {"type": "null"}}`, `null`, "shuts out"}, {`{"not": {"type": "null"}}`, `1`, ""},
		{`{"if": {"required": ["a"]}, "then": {"required": ["b"]}}`, `{"a": 1}`, "lacks b"}, {`{"if": {"required": ["a"]}, "then": {"required": ["b"]}}`, `{}`, ""},
		{`{"allOf": [{"required": ["a"]}, {"required": ["b"]}]}`, `{"a": 1}`, "fits 1 of 2"}, {`{"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}`, `{"c": 1}`, "fits 0 of 2"},
		{`{"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}`, `{"a": 1, "b": 1}`, "fits 2 of 2"}, {`{"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}`, `{"a": 1}`, ""},
	} {
		var schema map[string]any
		var value any
		if err := json.Unmarshal([]byte(c.schema), &schema); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(c.value), &value); err != nil {
			t.Fatal(err)
		}
		if got := fits(described(), schema, value, "it"); (got == "") != (c.wrong == "") || !strings.Contains(got, c.wrong) {
			t.Errorf("%s against %s: %q, expected %q", c.value, c.schema, got, c.wrong)
		}
	}
}

// The rules between the keys of a body are those of the handlers: what keeps one is taken, and what breaks it, and no
// other, is refused and does not fit the description.
func TestOpenAPIDescribesRulesBetweenKeys(t *testing.T) {
	const reset = `[{"interface": "management", "step": "reset_bmc"}]`
	firstID := strings.TrimPrefix(first, "/v1/nodes/")
	const verb = "PUT " + first + "/states/provision"
	type rule struct {
		request     string
		at          state.State
		taken, says string // says is of the refusals
		refused     []string
	}
	rules := []rule{
		{verb, state.Manageable, `{"target": "clean", "clean_steps": ` + reset + `}`, "clean_steps", []string{
			`{"target": "clean"}`, `{"target": "clean", "clean_steps": []}`, `{"target": "clean", "clean_steps": null}`,
			`{"target": "clean", "clean_steps": [{"interface": "management"}]}`, `{"target": "clean", "clean_steps": [{"interface": "network", "step": "x"}]}`,
			`{"target": "clean", "clean_steps": [{"interface": "management", "step": "reset_bmc", "order": -1}]}`,
			`{"target": "clean", "clean_steps": [{"interface": "management", "step": "reset_bmc", "order": "x"}]}`,
			`{"target": "clean", "clean_steps": [{"interface": "management", "step": "reset_bmc", "execute_on_child_nodes": "yes"}]}`,
			`{"target": "clean", "clean_steps": [{"interface": "management", "step": "reset_bmc", "limit_child_node_execution": "x"}]}`,
			`{"target": "provide", "clean_steps": ` + reset + `}`}},
		{verb, state.Active, `{"target": "service", "service_steps": ` + reset + `}`, "service_steps", []string{
			`{"target": "service"}`, `{"target": "service", "service_steps": []}`, `{"target": "rescue", "rescue_password": "p", "service_steps": ` + reset + `}`}},
		{verb, state.Active, `{"target": "rescue", "rescue_password": "p"}`, "rescue_password", []string{
			`{"target": "rescue"}`, `{"target": "rescue", "rescue_password": " "}`, `{"target": "rescue", "rescue_password": null}`,
			`{"target": "deleted", "rescue_password": "p"}`}},
		{verb, state.Available, `{"target": "active", "deploy_steps": [{"interface": "deploy", "step": "write_image", "args": {}, "priority": 80}]}`, "deploy_steps", []string{
			`{"target": "active", "deploy_steps": [{"interface": "deploy", "step": "write_image", "priority": 80}]}`,
			`{"target": "active", "deploy_steps": [{"interface": "deploy", "step": "write_image", "args": {}}]}`,
			`{"target": "active", "deploy_steps": [{"interface": "deploy", "step": "write_image", "args": {}, "priority": "x"}]}`,
			`{"target": "manage", "deploy_steps": [{"interface": "deploy", "step": "write_image", "args": {}, "priority": 80}]}`}},
		{verb, state.Manageable, `{"target": "provide", "configdrive": null, "runbook": null, "disable_ramdisk": null}`, "is not possible with the target", []string{
			`{"target": "provide", "configdrive": {"meta_data": {}}}`, `{"target": "provide", "runbook": "CUSTOM_X"}`, `{"target": "provide", "disable_ramdisk": false}`}},
		{"PATCH " + first, state.Manageable, `[{"op": "add", "path": "/extra/x", "value": null}]`, "needs a value", []string{
			`[{"op": "add", "path": "/extra/x"}]`, `[{"op": "replace", "path": "/extra"}]`}},
		{"POST /v1/nodes", "", `{"driver": "redfish", "retired": true, "retired_reason": "old"}`, "not retired", []string{
			`{"driver": "redfish", "retired_reason": "old"}`, `{"driver": "redfish", "retired": false, "retired_reason": "old"}`}},
		{"POST /v1/nodes", "", `{"driver": "redfish"}`, "driver", []string{`{"driver": null}`, `{"driver": ""}`, `{"name": "x"}`}},
		{"POST /v1/ports", "", `{"address": "52:54:00:12:34:56", "node_ident": "` + firstID + `"}`, "node_", []string{
			`{"address": "52:54:00:12:34:57"}`, `{"address": "52:54:00:12:34:57", "node_uuid": "` + firstID + `", "node_ident": "` + firstID + `"}`}},
		{"POST /v1/deploy_templates", "", `{"name": "CUSTOM_T", "steps": [{"interface": "deploy", "step": "write_image", "args": {}, "priority": "80"}]}`, "steps", []string{
			`{"name": "CUSTOM_T", "steps": []}`, `{"name": "CUSTOM_T", "steps": [{"interface": "deploy", "step": "write_image", "priority": 80}]}`,
			`{"name": "CUSTOM_T", "steps": [{"interface": "deploy", "step": "write_image", "args": {}}]}`,
			`{"name": "CUSTOM_T", "steps": [{"interface": "deploy", "step": "write_image", "args": {}, "priority": -1}]}`,
			`{"name": "CUSTOM_T", "steps": [{"interface": "nosuch", "step": "write_image", "args": {}, "priority": 80}]}`}},
		{"POST /v1/runbooks", "", `{"name": "CUSTOM_R", "public": true, "steps": [{"interface": "deploy", "step": "erase_devices", "order": 1}]}`, "owner", []string{
			`{"name": "CUSTOM_R", "public": true, "owner": "x", "steps": [{"interface": "deploy", "step": "erase_devices", "order": 1}]}`}},
		{"PUT /v1/default_config", "", `{"scope": "fleet", "flow": "clean", "step": "deploy.erase_devices", "args": {"verify": "full"}}`, "neither", []string{
			`{"scope": "fleet", "flow": "clean", "step": "deploy.erase_devices"}`, `{"scope": "fleet", "flow": "clean", "step": "deploy.erase_devices", "priority": null, "args": {}}`}},
		{"POST /v1/nodes:batchGet", "", `{"ids": ["x"]}`, "0 entries", []string{`{"ids": []}`}},
	}
	doc := described()
	for _, r := range rules {
		method, path, _ := strings.Cut(r.request, " ")
		template := strings.Replace(path, first, "/v1/nodes/{node}", 1)
		op := doc["paths"].(map[string]any)[template].(map[string]any)[strings.ToLower(method)].(map[string]any)
		for i, body := range append([]string{r.taken}, r.refused...) {
			s := newDeciding(t)
			if r.at != "" {
				s.placed(r.at)
			}
			a, wrong := s.do(method, path, body), misfit(doc, op, body)
			switch {
			case i == 0 && (a.Code >= 300 || wrong != ""):
				t.Errorf("%s with %s is answered %d, and by the description %q: %s", r.request, body, a.Code, wrong, a.fault())
			case i > 0 && (a.Code != 400 || !strings.Contains(a.fault(), r.says)):
				t.Errorf("%s with %s is answered %d, expected a refusal for %s: %s", r.request, body, a.Code, r.says, a.fault())
			case i > 0 && wrong == "":
				t.Errorf("%s: %s fits the description, and is refused: %s", r.request, body, a.fault())
			}
		}
	}
}
