package register

import (
	"encoding/json"
	"errors"
	"testing"
)

// FuzzFile: any document is a list of machines or an error that says why, and never one machine twice.
func FuzzFile(f *testing.F) {
	for _, text := range []string{`{"nodes": [{"name": "n1", "driver": "redfish", "driver_info": {"redfish_address": "https://192.0.2.1", "redfish_password": "@secret"}, "ports": ["52:54:00:aa:bb:01"], "traits": ["CUSTOM_A"]}]}`,
		`{"nodes": [{"name": "a", "ports": [{"address": 1}]}, {"name": "a"}]}`, `{"nodes": [[]]}`, `{"nodes": {}}`, `[]`, `null`, `{"nodes": [{"name": "n", "traits": {"a": 1}, "driver_info": []}]}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var doc any
		if json.Unmarshal([]byte(text), &doc) != nil {
			return
		}
		entries, err := Parse(doc, func(name string) (string, error) {
			if name == "" {
				return "", errors.New("no such file")
			}
			return "content", nil
		})
		if err != nil {
			if err.Error() == "" || len(entries) > 0 {
				t.Fatalf("%d machines, and the error %q", len(entries), err)
			}
			return
		}
		names := map[string]bool{}
		for _, e := range entries {
			if e.Name == "" || names[e.Name] {
				t.Fatalf("%s gives a machine %q, again: %t", text, e.Name, names[e.Name])
			}
			names[e.Name] = true
		}
		if len(entries) == 0 {
			t.Fatalf("%s names no machine, and that is no error", text)
		}
	})
}
