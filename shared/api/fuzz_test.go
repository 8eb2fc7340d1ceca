package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// FuzzZ9_Answers feeds an agent every answer of the channel, a refusal among them: each is a fault, or a value that reads the same
// when it is written again.
func FuzzZ9_Answers(f *testing.F) {
	for _, s := range []string{
		`{"protocol":1,"node":"n","generation":3,"level":1,"token":"t","expires":"2026-11-20T14:39:08Z","interval":300000000000,"time":"2026-11-20T14:39:08Z"}`,
		`{"command":{"id":"i","step":"deploy.write_image","flow":"deploy","args":{"a":[1,{"b":null}]},"devices":["wwn:1"],"timeout":-1,"destroys":true,"resume":[{"device":"d"}]},"watch":-5}`,
		`{"abort":"i","token":"t","expires":"0001-01-01T00:00:00Z"}`, `{"nonce":"n"}`, `{"value":"aGVsbG8="}`, `{"value":7}`,
		`{"code":"conflict","reason":"node.contested","message":"m","hint":"h"}`, `{"expires":"never"}`, `{`, `null`, `{"generation":-1}`, "\xff",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, kind := range []func() any{
			func() any { return new(LookupAnswer) }, func() any { return new(HeartbeatAnswer) }, func() any { return new(StartAnswer) },
			func() any { return new(SecretAnswer) }, func() any { return new(Fault) },
		} {
			v := kind()
			if err := Decode(strings.NewReader(string(body)), MaxBody, v); err != nil {
				if fault.From(err).Code != fault.Invalid {
					t.Fatalf("%T: %v", v, err)
				}
				continue
			}
			if f, ok := v.(*Fault); ok {
				if err := f.Err(); err.Code == "" || err.Reason == "" {
					t.Fatalf("%s is the fault %+v", body, err)
				}
			}
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatalf("%T does not encode again: %v", v, err)
			}
			again := kind()
			if err := json.Unmarshal(text, again); err != nil {
				t.Fatalf("%T: %s is written as %s, which can't be read: %v", v, body, text, err)
			}
			if twice, err := json.Marshal(again); err != nil || string(twice) != string(text) {
				t.Fatalf("%T: %s is written as %s, then as %s, %v", v, body, text, twice, err)
			}
		}
	})
}

// FuzzZ9_ErrorBodies: whatever a server answers an error with, the command has a code and a sentence to show, and tries nothing
// again for ever that is the operator's to mend.
func FuzzZ9_ErrorBodies(f *testing.F) {
	for _, s := range []string{
		`{"error_message": "{\"faultcode\": \"Client\", \"faultstring\": \"gone\", \"debuginfo\": null}"}`, `{"error_message": "{\"code\": 406, \"title\": \"t\", \"description\": \"too new\"}"}`,
		`{"error": {"message": "Authorization required", "code": 401, "reason": "request.unauthenticated", "hint": "h"}}`, `{"error_message": "text", "fault": {"code": "teapot", "message": "m"}}`,
		`{"error_message": {}}`, `<html>`, ``, `{"fault": {"reason": "x", "message": "y", "node": 1}}`, "\xff",
	} {
		for _, status := range []int{400, 401, 404, 409, 503, 500, 0, -1, 99999} {
			f.Add(status, []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		got := ReadErrorBody(status, body)
		if got == nil || got.Code == "" || got.Message == "" {
			t.Fatalf("%d %q is read as %+v", status, body, got)
		}
	})
}
