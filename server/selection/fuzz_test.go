package selection

import (
	"encoding/json"
	"testing"
)

// FuzzExpression: whatever is typed is an expression or an error that says why, and comparing a node of any form with it ends.
// What was read reads the same again, and a server that filters by Filters leaves out no node that matches.
func FuzzExpression(f *testing.F) {
	const node = `{"uuid": "u", "name": "n1", "provision_state": "manageable", "maintenance": false, "traits": ["CUSTOM_A"], "properties": {"cpus": 4, "a": {"b": null}}, "owner": null}`
	for _, text := range []string{"state=manageable", "properties.cpus>=4,traits!=CUSTOM_B", `name="a,b|c"|d*`, "extra.a.b~x", "owner=", "maintenance=yes", "name=**", "properties=<", `"`, ",", "a=\xff"} {
		f.Add(text, node)
	}
	f.Add("properties.a.b=1", `{"properties": [1, "x"], "traits": {"a": 1}, "provision_state": 7}`)
	f.Fuzz(func(t *testing.T, text, object string) {
		q, err := Parse(text)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error without words")
			}
			return
		}
		again, err := Parse(q.String())
		if err != nil || again.String() != q.String() {
			t.Fatalf("%q reads as %q, %v", text, again.String(), err)
		}
		q.Fields()
		var doc map[string]any
		if json.Unmarshal([]byte(object), &doc) != nil {
			return
		}
		if q.Match(doc) != again.Match(doc) {
			t.Fatalf("%q matches %s in one reading only", text, object)
		}
		for key := range q.Filters() {
			if v, ok := doc[key].(string); ok && q.Match(doc) && q.Filters().Get(key) != v {
				t.Fatalf("%q matches %s, and the server is asked for %s=%s", text, object, key, q.Filters().Get(key))
			}
		}
	})
}
