package rest

import (
	"net/http"
	"reflect"
	"regexp"
	"strings"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// The description of the API for programs (OpenAPI 3.1), made of the table of routes, the tables of fields and the wire
// structs: what is not in them is not in it. The tests of this package check each answer they get against it.

// openAPIRoutes are beside Ironic's.
func (a *API) openAPIRoutes() []serve.Route {
	return []serve.Route{{Method: http.MethodGet, Path: "/v1/openapi", Need: access.ServerRead, Handle: func(c *serve.Call) error {
		return c.JSON(http.StatusOK, a.describe())
	}}}
}

// schema is a JSON schema.
type schema map[string]any

// answers are the bodies of what answers with one of the API's own structs. Those of nodes and of collections are made
// of their tables.
var answers = map[string]reflect.Type{
	"GET /v1/nodes/{node}/states":                 reflect.TypeFor[api.States](),
	"GET /v1/nodes/{node}/management/boot_device": reflect.TypeFor[api.BootDevice](),
	"GET /v1/nodes/{node}/steps":                  reflect.TypeFor[api.StepsAnswer](),
	"GET /v1/nodes/{node}/plan":                   reflect.TypeFor[api.Plan](),
	"GET /v1/nodes/{node}/default_config":         reflect.TypeFor[api.DefaultsOfNode](),
	"GET /v1/nodes/{node}/doctor":                 reflect.TypeFor[api.Diagnosis](),
	"GET /v1/default_config":                      reflect.TypeFor[api.DefaultList](),
	"GET /v1/doctor":                              reflect.TypeFor[api.Doctor](),
	"GET /v1/images":                              reflect.TypeFor[api.ImageList](),
	"GET /v1/images/{image}":                      reflect.TypeFor[api.Image](),
	"PUT /v1/images/{image}":                      reflect.TypeFor[api.Image](),
	"GET /v1/drivers/{driver}/steps":              reflect.TypeFor[api.StepList](),
	"GET /v1/usage":                               reflect.TypeFor[api.UsageList](),
	"GET /v1/inspection_rules":                    reflect.TypeFor[api.InspectionRuleList](),
	"GET /v1/webhooks":                            reflect.TypeFor[api.WebhookList](),
	"POST /v1/webhooks":                           reflect.TypeFor[api.Webhook](),
	"GET /v1/webhooks/{webhook}":                  reflect.TypeFor[api.Webhook](),
	"PUT /v1/webhooks/{webhook}":                  reflect.TypeFor[api.Webhook](),
}

// streams are the answers that are no JSON.
var streams = map[string]string{
	"GET /v1/events":            "text/event-stream",
	"GET /v1/nodes/{node}/logs": "application/x-ndjson",
}

var pathVariable = regexp.MustCompile(`\{(\w+)\}`)

// describe makes the document.
func (a *API) describe() map[string]any {
	node := map[string]any{"$ref": "#/components/schemas/node"}
	schemas := map[string]any{"node": ofFields(api.NodeFields()), "error": schema{"type": "object", "properties": schema{
		"error_message": schema{"type": "string", "description": "JSON text: faultcode, faultstring, debuginfo; or code, title, description"},
		"fault":         ofType(reflect.TypeFor[api.RESTFault]()),
		"error":         schema{"type": "object", "description": "in its place where credentials are missing or wrong"},
	}}}
	bodies := map[string]any{
		"GET /v1/nodes": listOf("nodes", node), "GET /v1/nodes/detail": listOf("nodes", node), "POST /v1/nodes": node,
		"GET /v1/nodes/{node}": node, "PATCH /v1/nodes/{node}": node, "POST /v1/nodes:batchGet": listOf("nodes", node),
	}
	for _, k := range a.records.Tables() {
		one := map[string]any{"$ref": "#/components/schemas/" + string(k.Kind)}
		schemas[string(k.Kind)] = ofFields(k.Fields)
		base := "/v1/" + k.Path
		bodies["GET "+base], bodies["GET "+base+"/detail"] = listOf(k.List, one), listOf(k.List, one)
		for _, m := range []string{"GET ", "PATCH "} {
			bodies[m+base+"/{record}"] = one
		}
		bodies["POST "+base] = one
	}
	for key, t := range answers {
		bodies[key] = ofType(t)
	}
	paths, requests := map[string]any{}, a.requests()
	for _, rt := range a.routes() {
		key := rt.Method + " " + rt.Path
		body, known := bodies[key]
		if !known {
			body = schema{}
		}
		kind := "application/json"
		if s, ok := streams[key]; ok {
			kind, body = s, schema{"type": "string"}
		}
		op := map[string]any{
			"operationId": strings.NewReplacer("/", "_", "{", "", "}", "", ":", "_").Replace(strings.ToLower(rt.Method) + rt.Path),
			"x-right":     string(rt.Need),
			"responses": map[string]any{
				"2XX": map[string]any{"description": "done, or taken", "content": map[string]any{kind: map[string]any{"schema": body}}},
				"4XX": errorAnswer("the request is refused"), "5XX": errorAnswer("the server could not do it now"),
			},
		}
		if parameters := queryOf(rt); parameters != nil {
			op["parameters"] = parameters
		}
		if rt.Since > 0 {
			op["x-since"] = rt.Since.String()
		}
		if rt.Need == access.Open {
			op["security"] = []any{}
		}
		if rt.Body != 0 {
			in := "application/json"
			if rt.Body < 0 {
				in = "application/octet-stream"
			}
			taken, known := requests[key]
			if !known {
				taken = schema{}
			}
			op["requestBody"] = map[string]any{"content": map[string]any{in: map[string]any{"schema": taken}}}
		}
		item, ok := paths[rt.Path].(map[string]any)
		if !ok {
			item = map[string]any{}
			var variables []any
			for _, v := range pathVariable.FindAllStringSubmatch(rt.Path, -1) {
				variables = append(variables, map[string]any{"name": v[1], "in": "path", "required": true, "schema": schema{"type": "string"}})
			}
			if variables != nil {
				item["parameters"] = variables
			}
			paths[rt.Path] = item
		}
		item[strings.ToLower(rt.Method)] = op
	}
	return map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{"title": "Bessemer", "version": api.MaxVersion.String(),
			"description": "Ironic's API, with what Bessemer adds beside it. x-since is the first version that has a route, x-right what a caller must be granted."},
		"paths": paths,
		"components": map[string]any{"schemas": schemas,
			"securitySchemes": map[string]any{"basic": map[string]any{"type": "http", "scheme": "basic"}}},
		"security": []any{map[string]any{"basic": []any{}}},
	}
}

// queryOf is the parameters of a route's query.
func queryOf(rt serve.Route) (out []any) {
	kinds := map[api.Kind]schema{api.UUID: {"type": "string", "format": "uuid"}, api.Flag: {"type": "boolean"}, api.Integer: {"type": "integer"}}
	for _, a := range rt.Query {
		s, ok := kinds[a.Kind]
		if !ok {
			s = schema{"type": "string"}
		}
		p := map[string]any{"name": a.Name, "in": "query", "description": a.Doc, "schema": s}
		if since := max(a.Since, a.Early); since > 0 {
			p["x-since"] = since.String()
		}
		out = append(out, p)
	}
	return out
}

func errorAnswer(what string) map[string]any {
	return map[string]any{"description": what, "content": map[string]any{"application/json": map[string]any{"schema": map[string]any{"$ref": "#/components/schemas/error"}}}}
}

func listOf(key string, one any) schema {
	return schema{"type": "object", "required": []string{key}, "properties": schema{key: schema{"type": "array", "items": one}, "next": schema{"type": "string"}}}
}

// ofFields is the schema of an object that a table of fields describes. An answer may leave out any of them.
func ofFields(fields []api.Field) schema {
	kinds := map[api.Kind]schema{
		api.Text: {"type": []string{"string", "null"}}, api.UUID: {"type": []string{"string", "null"}}, api.Flag: {"type": "boolean"},
		api.Tristate: {"type": []string{"boolean", "null"}}, api.Map: {"type": []string{"object", "null"}}, api.List: {"type": []string{"array", "null"}},
		api.Stamp: {"type": []string{"string", "null"}},
	}
	properties := schema{}
	for _, f := range fields {
		s := schema{}
		for k, v := range kinds[f.Kind] {
			s[k] = v
		}
		s["description"] = f.Doc
		if f.Since > 1 {
			s["x-since"] = f.Since.String()
		}
		properties[f.Name] = s
	}
	return schema{"type": "object", "properties": properties, "additionalProperties": false}
}

// ofType is the schema of a wire struct.
func ofType(t reflect.Type) schema {
	switch {
	case t == reflect.TypeFor[api.Time]() || t.String() == "time.Time":
		return schema{"type": []string{"string", "null"}}
	case t.Implements(reflect.TypeFor[interface{ MarshalJSON() ([]byte, error) }]()), t.Kind() == reflect.Interface:
		return schema{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		s := ofType(t.Elem())
		if name, ok := s["type"].(string); ok {
			s["type"] = []string{name, "null"}
		}
		return s
	case reflect.String:
		return schema{"type": "string"}
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return schema{"type": "integer"}
	case reflect.Float32, reflect.Float64:
		return schema{"type": "number"}
	case reflect.Slice:
		return schema{"type": []string{"array", "null"}, "items": ofType(t.Elem())}
	case reflect.Map:
		return schema{"type": []string{"object", "null"}, "additionalProperties": ofType(t.Elem())}
	case reflect.Struct:
		properties := schema{}
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case f.Anonymous && name == "":
				inner := f.Type
				if inner.Kind() == reflect.Pointer {
					inner = inner.Elem()
				}
				more, _ := ofType(inner)["properties"].(schema)
				for k, v := range more {
					properties[k] = v
				}
			case f.IsExported() && name != "" && name != "-":
				properties[name] = ofType(f.Type)
			}
		}
		return schema{"type": "object", "properties": properties, "additionalProperties": false}
	}
	return schema{}
}
