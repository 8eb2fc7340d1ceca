// Package cloud reads how OpenStack's clients are told of a bare metal service: OS_* variables and clouds.yaml, with the
// authentication types none and http_basic. It opens no file and no connection itself. Start at Find.
package cloud

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Server is where the service is and who asks.
type Server struct {
	URL, User, Password string
	CA                  string // file of certificates
	Origin              string // what named it, for people: "OS_ENDPOINT", "cloud lab of /etc/openstack/clouds.yaml"
}

// World is what Find looks at.
type World struct {
	Get  func(name string) string // a variable, "" when it is unset
	Home string
	// Read gives a YAML file as decoded JSON; found is false when there is none.
	Read func(path string) (doc map[string]any, found bool, err error)
}

// Find gives the server that the cloud of this name is. With "" it is what the OS_* variables say, each before what the
// cloud of OS_CLOUD says; ok is false when they name no server. Errors are for the operator: a cloud that is not there,
// an authentication that is not spoken.
func Find(name string, w World) (s Server, ok bool, err error) {
	named := name != ""
	if !named {
		name = w.Get("OS_CLOUD")
	}
	var e entry
	if name != "" {
		if e, err = w.entry(name); err != nil {
			return s, false, err
		}
	}
	if !named {
		e.override(w.Get)
	}
	if e.url == "" {
		if name == "" {
			return s, false, nil // OS_USERNAME and the like alone are for another service
		}
		return s, false, fmt.Errorf("cloud %s of %s names no server: expected auth.endpoint or baremetal_endpoint_override", name, e.origin)
	}
	return e.server()
}

// entry is what is said about one service.
type entry struct {
	url, authType, user, password, ca, keystone string
	unverified                                  bool
	origin                                      string
}

func (w World) files() []string {
	if f := w.Get("OS_CLIENT_CONFIG_FILE"); f != "" {
		return []string{f}
	}
	var out []string
	for _, dir := range []string{".", filepath.Join(w.Home, ".config", "openstack"), "/etc/openstack"} {
		out = append(out, filepath.Join(dir, "clouds.yaml"), filepath.Join(dir, "clouds.yml"))
	}
	return out
}

func (w World) entry(name string) (e entry, err error) {
	var looked []string
	for _, file := range w.files() {
		doc, found, err := w.Read(file)
		if err != nil {
			return e, err
		}
		looked = append(looked, file)
		if !found {
			continue
		}
		secret, _, err := w.Read(filepath.Join(filepath.Dir(file), "secure"+filepath.Ext(file)))
		if err != nil {
			return e, err
		}
		clouds, _ := doc["clouds"].(map[string]any)
		m, ok := clouds[name].(map[string]any)
		if !ok {
			var names []string
			for n := range clouds {
				names = append(names, n)
			}
			slices.Sort(names)
			return e, fmt.Errorf("%s has no cloud %q; it has %s", file, name, strings.Join(names, ", "))
		}
		e.read(m)
		clouds, _ = secret["clouds"].(map[string]any)
		if m, ok := clouds[name].(map[string]any); ok {
			e.read(m)
		}
		e.origin = file
		return e, nil
	}
	return e, fmt.Errorf("there is no file for cloud %q; looked for %s", name, strings.Join(looked, ", "))
}

// read takes what a cloud's object says.
func (e *entry) read(m map[string]any) {
	auth, _ := m["auth"].(map[string]any)
	take := func(to *string, from map[string]any, keys ...string) {
		for _, k := range keys {
			if v, ok := from[k]; ok && v != nil {
				*to = fmt.Sprint(v)
			}
		}
	}
	take(&e.url, auth, "endpoint")
	take(&e.url, m, "endpoint", "endpoint_override", "baremetal_endpoint_override")
	take(&e.keystone, auth, "auth_url")
	take(&e.user, auth, "username")
	take(&e.password, auth, "password")
	take(&e.authType, m, "auth_type")
	take(&e.ca, m, "cacert")
	if v, ok := m["verify"].(bool); ok {
		e.unverified = !v
	}
}

// override takes what the variables say. The cloud's user and password are for the cloud's server alone: another one
// that a variable names does not get them.
func (e *entry) override(get func(string) string) {
	cloud := e.url
	take := func(to *string, name string) bool {
		v := get(name)
		if v != "" {
			*to = v
		}
		return v != ""
	}
	for _, name := range []string{"OS_ENDPOINT_OVERRIDE", "OS_BAREMETAL_ENDPOINT_OVERRIDE", "OS_ENDPOINT"} {
		if take(&e.url, name) {
			e.origin = name
		}
	}
	if strings.TrimRight(e.url, "/") != strings.TrimRight(cloud, "/") {
		e.user, e.password = "", ""
	}
	take(&e.authType, "OS_AUTH_TYPE")
	take(&e.user, "OS_USERNAME")
	take(&e.password, "OS_PASSWORD")
	take(&e.ca, "OS_CACERT")
	take(&e.keystone, "OS_AUTH_URL")
}

func (e entry) server() (Server, bool, error) {
	s := Server{URL: e.url, CA: e.ca, Origin: e.origin}
	kind := e.authType
	switch {
	case kind != "":
	case e.keystone != "":
		kind = "password"
	case e.user != "":
		kind = "http_basic"
	default:
		kind = "none"
	}
	switch kind {
	case "none", "noauth":
	case "http_basic":
		if e.user == "" || e.password == "" {
			return s, false, fmt.Errorf("the authentication http_basic of %s lacks a user name or a password: OS_USERNAME and OS_PASSWORD, or username and password below auth", e.origin)
		}
		s.User, s.Password = e.user, e.password
	default:
		return s, false, fmt.Errorf("the authentication %q of %s is not spoken; none and http_basic are", kind, e.origin)
	}
	if e.unverified {
		return s, false, fmt.Errorf("%s says verify: false, and a password would go to whoever answers: give the server's certificate by cacert", e.origin)
	}
	return s, true, nil
}
