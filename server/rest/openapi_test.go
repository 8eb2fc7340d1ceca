package rest_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest"
	"github.com/bessemer-metal/bessemer/server/rest/login"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// described is the API's description as a client gets it.
var described = sync.OnceValue(func() map[string]any {
	t := &testing.T{}
	s := newServer(t)
	raw := s.ask("GET", "/v1/openapi").Body.Bytes()
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		panic(err)
	}
	return doc
})

// recorded is the routes whose answers, given when all is well, were checked against the description.
var recorded sync.Map

// unrecorded is the routes that no test of the package had an answer of: what is said of them is not checked.
func unrecorded() (out []string) {
	never := []string{
		// No hardware type has calls of its own beside its nodes', and no rule of an inspection is kept: all of them are refused.
		"/v1/drivers/{driver}/vendor_passthru", "/v1/inspection_rules",
	}
	for path, item := range described()["paths"].(map[string]any) {
		for m := range item.(map[string]any) {
			key := strings.ToUpper(m) + " " + path
			if _, ok := recorded.Load(key); ok || m == "parameters" || key == "GET /v1/inspection_rules" || key == "GET /v1/drivers/{driver}/vendor_passthru/methods" {
				continue
			}
			if !slices.ContainsFunc(never, func(p string) bool { return strings.HasPrefix(path, p) }) {
				out = append(out, key)
			}
		}
	}
	slices.Sort(out)
	return out
}

// conforms checks an answer against the description: path, method, kind and body; and the body of what was taken.
func (s *server) conforms(method, target, sent string, a answer) {
	s.Helper()
	path, _, _ := strings.Cut(target, "?")
	path = strings.TrimSuffix("/"+strings.Trim(path, "/"), "/")
	if path == "" {
		path = "/"
	} else if path != "/v1" && !strings.HasPrefix(path, "/v1/") {
		path = "/v1" + path
	}
	doc := described()
	// Of two templates that match, the one with fewer variables is meant.
	paths := doc["paths"].(map[string]any)
	templates := slices.SortedFunc(maps.Keys(paths), func(x, y string) int { return cmp.Compare(strings.Count(x, "{"), strings.Count(y, "{")) })
	for _, template := range templates {
		op, there := paths[template].(map[string]any)[strings.ToLower(method)].(map[string]any)
		if !there || !matches(template, path) {
			continue
		}
		if a.Code < 300 {
			recorded.Store(strings.ToUpper(method)+" "+template, true)
		}
		if wrong := misfit(doc, op, sent); a.Code < 300 && wrong != "" {
			s.Errorf("%s %s takes %.200s, described as another body: %s", method, target, sent, wrong)
		}
		answer, ok := op["responses"].(map[string]any)[fmt.Sprintf("%dXX", a.Code/100)].(map[string]any)
		if !ok {
			s.Errorf("%s %s: status %d is not described", method, target, a.Code)
			return
		}
		kind, _, _ := strings.Cut(a.Header().Get("Content-Type"), ";")
		if a.Body.Len() == 0 {
			return
		}
		content, ok := answer["content"].(map[string]any)[kind].(map[string]any)
		if !ok {
			s.Errorf("%s %s: an answer of %q is not described", method, target, kind)
			return
		}
		if kind != "application/json" {
			return
		}
		var body any
		if err := json.Unmarshal(a.Body.Bytes(), &body); err != nil {
			s.Errorf("%s %s: %v", method, target, err)
			return
		}
		if wrong := fits(doc, content["schema"].(map[string]any), body, "body"); wrong != "" && !(template == "/v1/nodes" && strings.Contains(target, "changed_since")) {
			s.Errorf("%s %s, described as %s: %s", method, target, template, wrong)
		}
		return
	}
	if a.Code < 400 {
		s.Errorf("%s %s answers %d and is not described", method, target, a.Code)
	}
}

// misfit names what is wrong with the body of a request by the description of its route.
func misfit(doc, op map[string]any, sent string) string {
	request, _ := op["requestBody"].(map[string]any)
	content, _ := request["content"].(map[string]any)
	kind, ok := content["application/json"].(map[string]any)
	var body any
	if !ok || json.Unmarshal([]byte(sent), &body) != nil {
		return "" // no JSON is asked for, or none was sent
	}
	return fits(doc, kind["schema"].(map[string]any), body, "body")
}

// matches compares a path with a template; a fixed part wins over a variable elsewhere, which is as well for answers.
func matches(template, path string) bool {
	x, y := strings.Split(template, "/"), strings.Split(path, "/")
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if x[i] != y[i] && !strings.HasPrefix(x[i], "{") || strings.HasPrefix(x[i], "{") && (y[i] == "detail" || y[i] == "") {
			return false
		}
	}
	return true
}

// fits checks a value against a schema: type, properties, items, references. It names what is wrong.
func fits(doc, schema map[string]any, v any, where string) string {
	if ref, ok := schema["$ref"].(string); ok {
		schema = doc["components"].(map[string]any)["schemas"].(map[string]any)[strings.TrimPrefix(ref, "#/components/schemas/")].(map[string]any)
	}
	var types []string
	switch t := schema["type"].(type) {
	case string:
		types = []string{t}
	case []any:
		for _, x := range t {
			types = append(types, x.(string))
		}
	}
	is := "null"
	switch t := v.(type) {
	case string:
		is = "string"
	case bool:
		is = "boolean"
	case float64:
		is = "number"
		if t == float64(int64(t)) && slices.Contains(types, "integer") {
			is = "integer"
		}
	case map[string]any:
		is = "object"
	case []any:
		is = "array"
	}
	if types != nil && !slices.Contains(types, is) {
		return fmt.Sprintf("%s is a %s, described as %v", where, is, types)
	}
	if allowed, ok := schema["enum"].([]any); ok && !slices.Contains(allowed, v) {
		return fmt.Sprintf("%s is %v, described as one of %v", where, v, allowed)
	}
	if wrong := bounded(doc, schema, v, where); wrong != "" {
		return wrong
	}
	switch t := v.(type) {
	case []any:
		items, ok := schema["items"].(map[string]any)
		for i, x := range t {
			if !ok {
				break
			}
			if wrong := fits(doc, items, x, fmt.Sprintf("%s[%d]", where, i)); wrong != "" {
				return wrong
			}
		}
	case map[string]any:
		properties, _ := schema["properties"].(map[string]any)
		required, _ := schema["required"].([]any)
		for _, k := range required {
			if _, there := t[k.(string)]; !there {
				return where + " lacks " + k.(string)
			}
		}
		for k, x := range t {
			p, known := properties[k].(map[string]any)
			if !known {
				switch more := schema["additionalProperties"].(type) {
				case bool:
					if !more {
						return fmt.Sprintf("%s.%s is not described", where, k)
					}
				case map[string]any:
					p, known = more, true
				}
			}
			if known {
				if wrong := fits(doc, p, x, where+"."+k); wrong != "" {
					return wrong
				}
			}
		}
	}
	return ""
}

// The description has every route, with its right; and the check of answers finds what is wrong.
func TestOpenAPIDescribesEveryRoute(t *testing.T) {
	s := newServer(t)
	paths := described()["paths"].(map[string]any)
	n := 0
	for _, r := range s.handler.(*rest.API).Served() {
		item, _ := paths[r.Path].(map[string]any)
		op, ok := item[strings.ToLower(r.Method)].(map[string]any)
		if !ok || op["x-right"] != string(r.Need) {
			t.Errorf("%s %s is not described, or with another right: %v", r.Method, r.Path, op)
		}
		if (r.Need == access.Open) != (op["security"] != nil) {
			t.Errorf("%s %s: whether it asks for credentials is described wrongly", r.Method, r.Path)
		}
		n++
	}
	for _, item := range paths {
		for m := range item.(map[string]any) {
			if m != "parameters" {
				n--
			}
		}
	}
	if n != 0 {
		t.Errorf("%d operations are described that are not served, or the other way round", -n)
	}
}

// TestOpenAPIOfWhatIsSeldomAsked asks, while all is well, for the routes of which no other test has an answer, and compares it
// with the description.
func TestOpenAPIOfWhatIsSeldomAsked(t *testing.T) {
	s := tenants(t, access.Grant{Role: access.Admin})
	group := owners[0].port
	withRAID := rest.New(rest.Config{Backend: raiding{s.backend}, Auth: login.None{}, Hostname: "lab", Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	for request, body := range map[string]string{
		"GET /v1/openapi": "", "GET /v1/drivers/redfish/raid/logical_disk_properties": "", "GET /v1/chassis/" + group + "/nodes/detail": "",
		"GET /v1/nodes/own/portgroups/detail": "", "GET /v1/nodes/own/ports/detail": "", "GET /v1/nodes/own/vmedia": "",
		"GET /v1/nodes/own/volume/connectors": "", "GET /v1/nodes/own/volume/connectors/detail": "", "GET /v1/nodes/own/volume/targets/detail": "",
		"GET /v1/portgroups/" + group + "/ports/detail": "",
		"PUT /v1/nodes/own/confirm":                     "", "DELETE /v1/nodes/own/traits": "",
		"GET /v1/nodes/own/vendor_passthru?method=x": "", "PUT /v1/nodes/own/vendor_passthru?method=x": "{}", "PATCH /v1/nodes/own/vendor_passthru?method=x": "{}",
		"GET /v1/nodes/own/vendor_passthru/x": "", "PUT /v1/nodes/own/vendor_passthru/x": "{}", "PATCH /v1/nodes/own/vendor_passthru/x": "{}",
		"POST /v1/nodes/own/vendor_passthru/x": "{}", "DELETE /v1/nodes/own/vendor_passthru/x": "",
	} {
		method, path, _ := strings.Cut(request, " ")
		r := httptest.NewRequest(method, "http://127.0.0.1"+path, strings.NewReader(body))
		r.Header.Set(api.HeaderVersion, "latest")
		a := answer{ResponseRecorder: httptest.NewRecorder()}
		if strings.Contains(path, "/raid/") {
			withRAID.ServeHTTP(a, r)
		} else {
			s.handler.ServeHTTP(a, r)
		}
		if s.conforms(method, path, body, a); a.Code >= 300 {
			t.Errorf("%s is answered %d: %.300s", request, a.Code, a.Body)
		}
	}
}

// raiding is a backend whose hardware type has RAID.
type raiding struct{ *backend }

func (raiding) Drivers() []conductor.Driver { return []conductor.Driver{withRAID{}} }

type withRAID struct{ redfish }

func (withRAID) Interfaces() map[string][]string {
	all := redfish{}.Interfaces()
	all["raid"] = []string{"redfish"}
	return all
}

// The bodies that make and change objects are described, and the description of no body says less than the handler: what it
// forbids or misses is refused.
func TestOpenAPIDescribesRequests(t *testing.T) {
	doc := described()
	free := map[string]bool{} // of whose bodies nothing is said: what they are is the driver's
	for _, m := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		free[m+" /v1/nodes/{node}/vendor_passthru"], free[m+" /v1/drivers/{driver}/vendor_passthru"] = true, true
		free[m+" /v1/nodes/{node}/vendor_passthru/{method}"], free[m+" /v1/drivers/{driver}/vendor_passthru/{method}"] = true, true
	}
	for path, item := range doc["paths"].(map[string]any) {
		for method, o := range item.(map[string]any) {
			op, _ := o.(map[string]any)
			content, ok := op["requestBody"].(map[string]any)
			if !ok {
				continue
			}
			kind, ok := content["content"].(map[string]any)["application/json"].(map[string]any)
			if !ok {
				continue
			}
			schema, key := kind["schema"].(map[string]any), strings.ToUpper(method)+" "+path
			if len(schema) == 0 {
				if !free[key] {
					t.Errorf("the body of %s is not described", key)
				}
				continue
			}
			bad := map[string]string{"a text": `"x"`}
			if schema["type"] == "object" && schema["additionalProperties"] == false {
				bad["an unknown key"] = `{"nosuch": 1}`
			}
			if schema["type"] == "array" {
				bad["an unknown op"] = `[{"op": "move", "path": "/extra/x", "value": 1}]`
				bad["no path"] = `[{"op": "add", "value": 1}]`
			}
			if required, _ := schema["required"].([]any); len(required) > 0 {
				bad["nothing"] = "{}"
			}
			for what, body := range bad {
				if misfit(doc, op, body) == "" {
					t.Errorf("%s: %s fits the description", key, what)
				}
				s := tenants(t, access.Grant{Role: access.Admin})
				target := variable.ReplaceAllStringFunc(path, func(v string) string {
					switch name := strings.Trim(v, "{}"); {
					case name == "node":
						return "own"
					case name == "record":
						return owners[0].port
					case name == "webhook":
						return "hook-own"
					case name == "light":
						return "led@system"
					case fill[name] != "":
						return fill[name]
					}
					return "x"
				})
				if a := s.do(strings.ToUpper(method), target, body); a.Code != 400 {
					t.Errorf("%s with %s (%s) is answered %d, expected 400: %.200s", key, what, body, a.Code, a.Body)
				}
			}
		}
	}
}
