package api_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

func TestNegotiate(t *testing.T) {
	for _, c := range []struct {
		name, value string
		version     api.Version
		parsed      bool
	}{
		{"", "", 1, true},
		{api.HeaderVersion, "1.52", 52, true},
		{api.HeaderVersion, "Latest", api.MaxVersion, true},
		{api.HeaderNewVersion, "baremetal 1.87", 87, true},
		{api.HeaderNewVersion, "compute 2.1, Baremetal latest", api.MaxVersion, true},
		{api.HeaderNewVersion, "compute 2.1", 1, true},
		{api.HeaderVersion, "1.0", 0, true},
		{api.HeaderVersion, "1.1000", 0, true},
		{api.HeaderVersion, "2.5", 0, true},
		{api.HeaderVersion, "1", 0, false},
		{api.HeaderVersion, "1.-5", 0, false},
		{api.HeaderVersion, "1.99999999999", 0, false},
		{api.HeaderVersion, "x.y", 0, false},
	} {
		h := http.Header{}
		h.Set(c.name, c.value)
		v, parsed, err := api.Negotiate(h)
		if v != c.version || parsed != c.parsed || (err == nil) != (c.version > 0) || err != nil && !fault.Has(err, fault.RequestVersion) {
			t.Errorf("%s %q: %v, %v, %v", c.name, c.value, v, parsed, err)
		}
	}
}

func TestTimesAreIronics(t *testing.T) {
	for in, want := range map[time.Time]string{
		{}: "null",
		time.Date(2026, 11, 20, 14, 39, 8, 0, time.UTC):                           `"2026-11-20T14:39:08+00:00"`,
		time.Date(2026, 11, 20, 15, 39, 8, 120_000_000, time.FixedZone("", 3600)): `"2026-11-20T14:39:08.12+00:00"`,
	} {
		text, err := json.Marshal(api.Time{Time: in})
		if err != nil || string(text) != want {
			t.Errorf("%v is %s, %v", in, text, err)
		}
		var back api.Time
		if err := json.Unmarshal(text, &back); err != nil || !back.Equal(in) {
			t.Errorf("%s comes back as %v, %v", text, back, err)
		}
	}
}

func TestErrorBodies(t *testing.T) {
	f := fault.New(fault.NodeNotFound, "Node x could not be found.").At("x", "").Because(http.ErrAbortHandler)
	text, err := json.Marshal(api.NewErrorBody(f, "req-1"))
	if err != nil {
		t.Fatal(err)
	}
	var outer struct {
		Message string `json:"error_message"`
	}
	var inner map[string]any
	if err := json.Unmarshal(text, &outer); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(outer.Message), &inner); err != nil {
		t.Fatalf("error_message is not JSON itself: %s", outer.Message)
	}
	if inner["faultcode"] != "Client" || !strings.HasPrefix(inner["faultstring"].(string), "Node x could") || len(inner) != 5 ||
		inner["reason"] != string(f.Reason) || inner["hint"] != f.Hint {
		t.Errorf("inner %v", inner)
	}
	if strings.Contains(string(text), "abort") {
		t.Errorf("the cause is told: %s", text)
	}
	back := api.ReadErrorBody(404, text)
	if back.Code != f.Code || back.Reason != f.Reason || back.Message != f.Message || back.Hint != f.Hint || back.Node != "x" {
		t.Errorf("back %+v", back)
	}
	for _, c := range []struct {
		body api.ErrorBody
		want string
	}{
		{api.NewErrorBody(fault.New(fault.RequestVersion, "new"), ""), `{"faultcode":"Client","faultstring":`},
		{api.NewErrorBody(fault.New(fault.RequestPath, "new"), ""), `{"faultcode":"Client","faultstring":`},
		{api.NewErrorBody(fault.New(fault.InternalError, "x"), ""), `{"faultcode":"Server","faultstring":`},
		{api.NewRouterErrorBody(fault.New(fault.RequestVersion, "x"), ""), `{"code":406,"title":"Not Acceptable","description":`},
		{api.NewRouterErrorBody(fault.New(fault.RequestPath, "x"), ""), `{"code":404,"title":"Not Found","description":`},
		{api.NewRouterErrorBody(fault.New(fault.MethodNotAllowed, "x"), ""), `{"code":405,"title":"Method Not Allowed","description":`},
	} {
		if !strings.HasPrefix(c.body.Message, c.want) {
			t.Errorf("%s, expected %s", c.body.Message, c.want)
		}
	}
	for _, c := range []struct {
		reason fault.Reason
		status int
	}{{fault.RequestVersion, 406}, {fault.MethodNotAllowed, 405}, {fault.RequestTooLarge, 413}, {fault.BMCAuth, 500}, {fault.RequestAuth, 401},
		{fault.NodeBusy, 409}, {fault.NodeProtected, 403}, {fault.StateVerb, 400}, {fault.StorageUnavailable, 503}} {
		if got := api.Status(fault.New(c.reason, "x")); got != c.status {
			t.Errorf("%s is %d, expected %d", c.reason, got, c.status)
		}
	}
	// What this server adds to the form of HTTP basic is read back, as it is of the others.
	if got := api.ReadErrorBody(503, []byte(`{"error": {"message": "too many", "code": 503, "reason": "request.rate_limited", "hint": "wait"}}`)); got.Reason != fault.RequestRate ||
		got.Hint != "wait" || got.Code != fault.Unavailable || got.Message != "too many" {
		t.Errorf("too many log-ins are read as %+v", got)
	}
	// Upstream's forms, and what is none.
	for body, want := range map[string]string{
		`{"error_message": "{\"faultcode\": \"Client\", \"faultstring\": \"gone\", \"debuginfo\": null}"}`:  "gone",
		`{"error_message": "{\"code\": 406, \"title\": \"Not Acceptable\", \"description\": \"too new\"}"}`: "too new",
		`{"error": {"message": "Authorization required", "code": 401}}`:                                     "Authorization required",
		`<html>`: "the server answered Not Found",
	} {
		if got := api.ReadErrorBody(404, []byte(body)); got.Message != want || got.Code != fault.NotFound {
			t.Errorf("%s is %+v", body, got)
		}
	}
}

func TestTablesAndStructsAgree(t *testing.T) {
	for name, c := range map[string]struct {
		object any
		fields []api.Field
	}{"node": {api.Node{}, api.NodeFields()}, "port": {api.Port{}, api.PortFields()}} {
		tags := map[string]bool{}
		ty := reflect.TypeOf(c.object)
		for i := range ty.NumField() {
			tags[ty.Field(i).Tag.Get("json")] = true
		}
		for _, f := range c.fields {
			if !tags[f.Name] {
				t.Errorf("%s: the table has %s, the struct not, or the table has it twice", name, f.Name)
			}
			delete(tags, f.Name)
			if f.Doc == "" || f.Kind == "" || f.Since < api.MinVersion {
				t.Errorf("%s: the row of %s is incomplete: %+v", name, f.Name, f)
			}
		}
		if len(tags) > 0 {
			t.Errorf("%s: not in the table: %v", name, tags)
		}
	}
}

// A value that is null is sent: without it an add is no operation. A remove has none.
func TestPatchOpKeepsNull(t *testing.T) {
	for want, op := range map[string]api.PatchOp{
		`{"op":"add","path":"/extra/x","value":null}`:     {Op: "add", Path: "/extra/x"},
		`{"op":"replace","path":"/owner","value":null}`:   {Op: "replace", Path: "/owner"},
		`{"op":"add","path":"/extra/x","value":false}`:    {Op: "add", Path: "/extra/x", Value: false},
		`{"op":"remove","path":"/extra/x"}`:               {Op: "remove", Path: "/extra/x"},
		`{"op":"add","path":"/extra/x","value":["a",""]}`: {Op: "add", Path: "/extra/x", Value: []string{"a", ""}},
	} {
		if got, err := json.Marshal([]api.PatchOp{op}); err != nil || string(got) != "["+want+"]" {
			t.Errorf("%+v is encoded as %s (%v), expected %s", op, got, err, want)
		}
	}
}

func TestApplyPatch(t *testing.T) {
	doc := func() map[string]any {
		return map[string]any{"name": "n", "extra": map[string]any{"list": []any{"a", "b"}, "deep": map[string]any{"x": 1.0}}, "protected": true, "driver": "d"}
	}
	for _, c := range []struct {
		op   api.PatchOp
		want string // "" is a refusal; else the JSON of extra, or of the field
		at   string
	}{
		{api.PatchOp{Op: "add", Path: "/extra/list/1", Value: "c"}, `["a","c","b"]`, "list"},
		{api.PatchOp{Op: "add", Path: "/extra/list/2", Value: "c"}, `["a","b","c"]`, "list"},
		{api.PatchOp{Op: "replace", Path: "/extra/list/0", Value: "c"}, `["c","b"]`, "list"},
		{api.PatchOp{Op: "remove", Path: "/extra/list/0"}, `["b"]`, "list"},
		{api.PatchOp{Op: "add", Path: "/extra/list/3", Value: "c"}, "", ""},
		{api.PatchOp{Op: "replace", Path: "/extra/list/2", Value: "c"}, "", ""},
		{api.PatchOp{Op: "remove", Path: "/extra/list/-1"}, "", ""},
		{api.PatchOp{Op: "add", Path: "/extra/list/-", Value: "c"}, `["a","b","c"]`, "list"},
		{api.PatchOp{Op: "replace", Path: "/extra/list/-", Value: "c"}, "", ""},
		{api.PatchOp{Op: "add", Path: "/extra/deep/y", Value: nil}, `{"x":1,"y":null}`, "deep"},
		{api.PatchOp{Op: "replace", Path: "/extra/deep/y", Value: 1}, "", ""},
		{api.PatchOp{Op: "remove", Path: "/extra/deep/x"}, `{}`, "deep"},
		{api.PatchOp{Op: "remove", Path: "/extra/none/x"}, "", ""},
		{api.PatchOp{Op: "add", Path: "/extra/deep/x/z", Value: 1}, "", ""},
		{api.PatchOp{Op: "add", Path: "/extra/a~1b", Value: 1.0}, `1`, "a/b"},
		{api.PatchOp{Op: "add", Path: "/extra/größe", Value: 1.0}, `1`, "größe"},
		{api.PatchOp{Op: "add", Path: "/extra/a.b", Value: 1}, "", ""},
		{api.PatchOp{Op: "add", Path: "/extra/", Value: 1}, "", ""},
		{api.PatchOp{Op: "move", Path: "/extra/deep"}, "", ""},
		{api.PatchOp{Op: "remove", Path: "/driver"}, "", ""},
		{api.PatchOp{Op: "add", Path: "/uuid", Value: "x"}, "", ""},
	} {
		before := doc()
		got, _, err := api.ApplyPatch(before, []api.PatchOp{c.op}, api.NodeFields(), api.MaxVersion)
		if !reflect.DeepEqual(before, doc()) {
			t.Fatalf("%v changed what it was given", c.op)
		}
		if (err == nil) != (c.want != "") {
			t.Errorf("%v: %v", c.op, err)
			continue
		}
		if err != nil {
			continue
		}
		if text, _ := json.Marshal(got["extra"].(map[string]any)[c.at]); string(text) != c.want {
			t.Errorf("%v gives %s, expected %s", c.op, text, c.want)
		}
	}
	reset, touched, err := api.ApplyPatch(doc(), []api.PatchOp{{Op: "remove", Path: "/extra"}, {Op: "remove", Path: "/name"}, {Op: "remove", Path: "/protected"}}, api.NodeFields(), 50)
	if err != nil || len(touched) != 3 || reset["name"] != nil || reset["protected"] != false || len(reset["extra"].(map[string]any)) != 0 {
		t.Errorf("reset %v, %v, %v", reset, touched, err)
	}
	if _, _, err := api.ApplyPatch(doc(), []api.PatchOp{{Op: "add", Path: "/shard", Value: "s"}}, api.NodeFields(), 50); !fault.Has(err, fault.RequestVersion) {
		t.Errorf("a field of a later version: %v", err)
	}
	if _, _, err := api.ApplyPatch(doc(), []api.PatchOp{{Op: "add", Path: "/extra/a~1b", Value: 1}}, api.NodeFields(), 97); err == nil {
		t.Error("escapes are taken before version 1.98")
	}
}

// FuzzZ1_Patch compares the rules that hold whatever the operations are.
func FuzzZ1_Patch(f *testing.F) {
	f.Add(`[{"op": "add", "path": "/extra/a/0", "value": {"b": [1]}}]`)
	f.Add(`[{"op": "remove", "path": "/extra/list/1"}, {"op": "replace", "path": "/name", "value": null}]`)
	f.Fuzz(func(t *testing.T, text string) {
		var ops []api.PatchOp
		if api.Decode(strings.NewReader(text), api.MaxBody, &ops) != nil {
			return
		}
		doc := map[string]any{"name": "n", "extra": map[string]any{"list": []any{"a", "b"}, "a": []any{}}, "driver": "d"}
		before, _ := json.Marshal(doc)
		out, touched, err := api.ApplyPatch(doc, ops, api.NodeFields(), api.MaxVersion)
		if after, _ := json.Marshal(doc); string(after) != string(before) {
			t.Fatalf("%s changed what it was given", text)
		}
		if err != nil {
			if out != nil || touched != nil {
				t.Fatalf("%s failed and gave a result", text)
			}
			return
		}
		for name := range out {
			if _, was := doc[name]; !was && !strings.Contains(text, name) {
				t.Fatalf("%s made a field %s", text, name)
			}
		}
	})
}

func TestBool(t *testing.T) {
	for _, v := range []any{true, "1", "t", "True", "ON", "y", "yes", 1.0} {
		if b, err := api.Bool(v); err != nil || !b {
			t.Errorf("%v is %v, %v", v, b, err)
		}
	}
	for _, v := range []any{false, "0", "f", "FALSE", "off", "n", "no", 0.0} {
		if b, err := api.Bool(v); err != nil || b {
			t.Errorf("%v is %v, %v", v, b, err)
		}
	}
	for _, v := range []any{nil, "maybe", "", 2.0, []any{}} {
		if _, err := api.Bool(v); err == nil {
			t.Errorf("%v is taken", v)
		}
	}
}

func TestDriverInfoWords(t *testing.T) {
	for key, want := range map[string]bool{"redfish_password": true, "SNMP_Community": true, "deploy_token": true, "snmp_auth_key": true, "redfish_address": false, "redfish_username": false, "key": false} {
		if got := api.SecretName(key); got != want {
			t.Errorf("%s is a secret: %v", key, got)
		}
	}
	for want, info := range map[string]map[string]any{
		"192.0.2.10": {"redfish_address": "HTTPS://192.0.2.10/"}, "192.0.2.10/redfish/v1/Systems/1": {"redfish_address": "https://192.0.2.10", "redfish_system_id": "/redfish/v1/Systems/1"},
		"bmc.example": {"redfish_address": api.Masked, "ipmi_address": "BMC.example"}, "": {"redfish_address": 7},
	} {
		if got := api.BMCOf(info); got != want {
			t.Errorf("the BMC of %v is %q, expected %q", info, got, want)
		}
	}
	if got := api.Pointer("extra", "a/b", "~x"); got != "/extra/a~1b/~0x" {
		t.Error(got)
	}
}
