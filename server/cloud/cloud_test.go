package cloud

import (
	"errors"
	"strings"
	"testing"
)

// world is variables and files.
func world(variables map[string]string, files map[string]map[string]any) World {
	return World{Home: "/home/me", Get: func(n string) string { return variables[n] }, Read: func(p string) (map[string]any, bool, error) {
		if p == "/broken.yaml" {
			return nil, true, errors.New("broken")
		}
		doc, ok := files[p]
		return doc, ok, nil
	}}
}

func clouds(name string, fields map[string]any) map[string]any {
	return map[string]any{"clouds": map[string]any{name: fields}}
}

var lab = clouds("lab", map[string]any{"auth_type": "http_basic", "auth": map[string]any{"endpoint": "https://lab:6385", "username": "ann", "password": "low"}, "cacert": "/lab.pem"})

func TestFind(t *testing.T) {
	const file = "/home/me/.config/openstack/clouds.yaml"
	files := map[string]map[string]any{file: lab, "/home/me/.config/openstack/secure.yaml": clouds("lab", map[string]any{"auth": map[string]any{"password": "secret"}}),
		"/etc/openstack/clouds.yaml": clouds("etc", map[string]any{"baremetal_endpoint_override": "http://etc"}), "/etc2.yaml": clouds("etc2", map[string]any{"endpoint": "http://etc2", "auth": map[string]any{"username": "ann", "password": "low"}}),
		"/x.yaml": clouds("x", map[string]any{"auth_type": "none", "endpoint": "http://x", "auth": map[string]any{"username": "no"}})}
	for name, x := range map[string]struct {
		cloud     string
		variables map[string]string
		want      Server
	}{
		"named":                     {"lab", nil, Server{"https://lab:6385", "ann", "secret", "/lab.pem", file}},
		"named before variables":    {"lab", map[string]string{"OS_ENDPOINT": "http://other", "OS_USERNAME": "bob", "OS_PASSWORD": "b"}, Server{"https://lab:6385", "ann", "secret", "/lab.pem", file}},
		"OS_CLOUD":                  {"", map[string]string{"OS_CLOUD": "lab"}, Server{"https://lab:6385", "ann", "secret", "/lab.pem", file}},
		"variables before OS_CLOUD": {"", map[string]string{"OS_CLOUD": "lab", "OS_ENDPOINT": "http://other", "OS_USERNAME": "bob", "OS_PASSWORD": "b", "OS_CACERT": "/c"}, Server{"http://other", "bob", "b", "/c", "OS_ENDPOINT"}},
		"the cloud's own endpoint":  {"", map[string]string{"OS_CLOUD": "lab", "OS_ENDPOINT": "https://lab:6385/"}, Server{"https://lab:6385/", "ann", "secret", "/lab.pem", "OS_ENDPOINT"}},
		"without the cloud's user":  {"", map[string]string{"OS_CLOUD": "etc2", "OS_CLIENT_CONFIG_FILE": "/etc2.yaml", "OS_ENDPOINT": "http://other"}, Server{"http://other", "", "", "", "OS_ENDPOINT"}},
		"endpoint alone":            {"", map[string]string{"OS_ENDPOINT": "http://a"}, Server{"http://a", "", "", "", "OS_ENDPOINT"}},
		"endpoint override":         {"", map[string]string{"OS_ENDPOINT_OVERRIDE": "http://a", "OS_AUTH_TYPE": "none", "OS_USERNAME": "left out"}, Server{"http://a", "", "", "", "OS_ENDPOINT_OVERRIDE"}},
		"endpoint before override":  {"", map[string]string{"OS_ENDPOINT_OVERRIDE": "http://a", "OS_ENDPOINT": "http://b"}, Server{"http://b", "", "", "", "OS_ENDPOINT"}},
		"user means http_basic":     {"", map[string]string{"OS_ENDPOINT": "http://a", "OS_USERNAME": "u", "OS_PASSWORD": "p"}, Server{"http://a", "u", "p", "", "OS_ENDPOINT"}},
		"a file of one's own":       {"x", map[string]string{"OS_CLIENT_CONFIG_FILE": "/x.yaml"}, Server{"http://x", "", "", "", "/x.yaml"}},
		"nothing":                   {"", map[string]string{"OS_USERNAME": "u", "OS_PASSWORD": "p"}, Server{}},
	} {
		got, ok, err := Find(x.cloud, world(x.variables, files))
		if err != nil || got != x.want || ok != (x.want.URL != "") {
			t.Errorf("%s: %+v, %v, %v; expected %+v", name, got, ok, err, x.want)
		}
	}
	for want, x := range map[string]struct {
		cloud     string
		variables map[string]string
		fields    map[string]any
	}{
		`has no cloud "prod"; it has lab`:              {"prod", nil, nil},
		`no file for cloud "x"; looked for /none.yaml`: {"x", map[string]string{"OS_CLIENT_CONFIG_FILE": "/none.yaml"}, nil},
		"broken": {"x", map[string]string{"OS_CLIENT_CONFIG_FILE": "/broken.yaml"}, nil},
		`"password" of OS_ENDPOINT is not spoken`: {"", map[string]string{"OS_ENDPOINT": "http://a", "OS_AUTH_URL": "http://keystone", "OS_USERNAME": "u", "OS_PASSWORD": "p"}, nil},
		`"v3token" of OS_ENDPOINT`:                {"", map[string]string{"OS_ENDPOINT": "http://a", "OS_AUTH_TYPE": "v3token"}, nil},
		"lacks a user name":                       {"", map[string]string{"OS_ENDPOINT": "http://a", "OS_AUTH_TYPE": "http_basic", "OS_USERNAME": "u"}, nil},
		"user name or a password: OS_USERNAME":    {"", map[string]string{"OS_CLOUD": "lab", "OS_ENDPOINT": "http://other", "OS_USERNAME": "bob"}, nil},
		"names no server":                         {"y", map[string]string{"OS_CLIENT_CONFIG_FILE": "/y.yaml"}, map[string]any{"auth_type": "none"}},
		"cacert":                                  {"y", map[string]string{"OS_CLIENT_CONFIG_FILE": "/y.yaml"}, map[string]any{"endpoint": "https://a", "verify": false}},
	} {
		files["/y.yaml"] = clouds("y", x.fields)
		if _, ok, err := Find(x.cloud, world(x.variables, files)); ok || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, expected %q", err, want)
		}
	}
}
