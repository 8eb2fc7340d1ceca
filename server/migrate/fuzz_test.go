package migrate

import (
	"encoding/json"
	"testing"
)

// FuzzSource: whatever another server answers, and whatever is here, an import is planned or refused; nothing crashes, and
// what is left out has a reason.
func FuzzSource(f *testing.F) {
	whole, err := json.Marshal(old(2).objects)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(whole), `{}`)
	f.Add(string(whole), string(whole))
	for _, text := range []string{`{"nodes": [{}]}`, `{"nodes": [{"uuid": 1, "name": [], "provision_state": {}, "driver_info": "x", "traits": 7}]}`, `{"ports": [{"node_uuid": null, "address": 1}], "portgroups": [null]}`,
		`{"deploy_templates": [{"name": "x", "steps": {}}], "chassis": [{"uuid": ""}]}`} {
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, source, target string) {
		from, to := newServer(), newServer()
		for text, s := range map[string]*server{source: from, target: to} {
			if text == "" || json.Unmarshal([]byte(text), &s.objects) != nil || s.objects == nil {
				s.objects = map[string][]Object{}
			}
			for kind, list := range s.objects { // as a list is decoded, its members are objects
				for _, o := range list {
					if o == nil {
						delete(s.objects, kind)
						break
					}
				}
			}
		}
		there, err := Read(t.Context(), from, 82)
		if err != nil {
			return
		}
		here, err := Read(t.Context(), to, 110)
		if err != nil {
			return
		}
		plan := Compare(there, here, Secrets{"*": {"redfish_password": "secret"}})
		for _, i := range plan.Items {
			if i.Kind == "" || i.Action == Blocked && i.Why == "" {
				t.Fatalf("an item without words: %+v", i)
			}
		}
		plan.Count()
	})
}
