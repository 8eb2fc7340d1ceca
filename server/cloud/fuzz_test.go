package cloud

import (
	"encoding/json"
	"testing"
)

// FuzzClouds: any clouds.yaml names a server or is an error that says why; a password without its user is sent to nobody.
func FuzzClouds(f *testing.F) {
	text, err := json.Marshal(lab)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("lab", string(text))
	for _, text := range []string{`{"clouds": []}`, `{"clouds": {"lab": null}}`, `{"clouds": {"lab": {"auth": "x", "cacert": 1, "verify": "no"}}}`, `{"clouds": {"lab": {"auth_type": 7, "endpoint": {}}}}`, `{"clouds": {"lab": {"endpoint": "http://a", "auth": {"password": "p"}}}}`} {
		f.Add("lab", text)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		var doc map[string]any
		if json.Unmarshal([]byte(text), &doc) != nil {
			return
		}
		s, ok, err := Find(name, world(nil, map[string]map[string]any{"/home/me/.config/openstack/clouds.yaml": doc}))
		switch {
		case err != nil && (err.Error() == "" || ok):
			t.Fatalf("a server, %t, and the error %q", ok, err)
		case err == nil && ok && s.URL == "", err == nil && !ok && s != Server{}:
			t.Fatalf("found: %t, %+v", ok, s)
		case err == nil && s.Password != "" && s.User == "":
			t.Fatalf("a password goes to %s for nobody", s.URL)
		}
	})
}
