// Package mask keeps secrets out of what is shown (safety.md I22). A text in driver_info is shown only under a key that is
// known to be harmless: one that the driver describes and does not name as secret, or one of CommonInfo. Everything else is
// handed to the conductor as a secret, sealed there, and shown as ******. An empty text forgets it. In instance_info that is
// done with what sounds like a secret. Elsewhere nothing is sealed: what sounds like a secret is refused where it would be
// kept, and masked where it is found.
package mask

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// CommonInfo are the keys of driver_info that all drivers share.
var CommonInfo = []string{
	"deploy_kernel", "deploy_ramdisk", "deploy_iso", "rescue_kernel", "rescue_ramdisk", "rescue_iso",
	"kernel_append_params", "bootloader", "force_persistent_boot_device", "external_http_url", "image_download_source",
	"agent_verify_ca", "config_via_removable", "fast_track",
}

// Drivers is, by driver, which keys of driver_info may be shown. What is not in it is a secret.
type Drivers map[string]map[string]bool

// Of reads it from what the hardware types say of themselves.
func Of(drivers []conductor.Driver) Drivers {
	all := Drivers{}
	for _, d := range drivers {
		all[d.Name()] = keySet(d)
	}
	return all
}

// keySet is the keys of one driver.
func keySet(d conductor.Driver) map[string]bool {
	shown := map[string]bool{}
	for _, k := range CommonInfo {
		shown[k] = true
	}
	for k := range d.Properties() {
		shown[k] = !api.SecretName(k)
	}
	for _, k := range d.SecretKeys() {
		shown[k] = false
	}
	return shown
}

// secret tells whether a text under this key of driver_info is a secret. Of an unknown driver everything is.
func (all Drivers) secret(driver, key string) bool {
	return api.SecretName(key) || !all[driver][key]
}

// Info is driver_info as it is shown.
func (all Drivers) Info(driver string, info map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range info {
		if _, text := v.(string); (text || api.SecretName(k)) && all.secret(driver, k) {
			out[k] = conductor.Masked
			continue
		}
		out[k] = Deep(v)
	}
	return out
}

// Instance is instance_info as it is shown.
func Instance(info map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range info {
		if k == "configdrive" || k == "image_url" || api.SecretName(k) {
			out[k] = conductor.Masked
			continue
		}
		out[k] = Deep(v)
	}
	return out
}

// Deep masks what sounds like a secret anywhere below v, and the user part of URLs.
func Deep(v any) any {
	switch t := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(t))
		pair := secretPair(t)
		for k, x := range t {
			if api.SecretName(k) || pair && k == "value" {
				out[k] = conductor.Masked
			} else {
				out[k] = Deep(x)
			}
		}
		return out
	case []any:
		out := make([]any, len(t))
		for i, x := range t {
			out[i] = Deep(x)
		}
		return out
	case string:
		if userinfo(t) {
			return conductor.Masked
		}
	}
	return v
}

// Seal splits driver_info as given into what is kept open and the secrets, by conductor.DriverSecret. A value of ****** keeps
// the secret that is there. What it finds wrong is request.invalid.
func (all Drivers) Seal(driver string, given, old map[string]any, secrets map[string]string) (map[string]any, error) {
	out := map[string]any{}
	for k, v := range given {
		if text, isText := v.(string); isText && all.secret(driver, k) {
			if err := keep("driver_info", k, text, old, out, secrets); err != nil {
				return nil, err
			}
			continue
		}
		if api.SecretName(k) || HasSecret(v) {
			if _, isText := v.(string); isText {
				return nil, fault.New(fault.RequestInvalid, "driver_info.%s is a URL with a user or password in it", k).
					WithHint("give them in their own keys, where they are kept sealed")
			}
			return nil, noText("driver_info", k)
		}
		out[k] = v
	}
	forget("driver_info", out, old, secrets)
	return out, nil
}

// SealInstance is Seal for instance_info, by conductor.InstanceSecret. A config drive is not given there; ****** for one that
// is kept leaves it as it is.
func SealInstance(given, old map[string]any, secrets map[string]string) (map[string]any, error) {
	out := map[string]any{}
	for _, k := range slices.Sorted(maps.Keys(given)) {
		text, isText := given[k].(string)
		switch {
		case k == "configdrive" && text == conductor.Masked && old[k] == conductor.Masked:
		case k == "configdrive":
			return nil, fault.New(fault.RequestInvalid, "instance_info.configdrive can't be set").
				WithHint("give configdrive together with the target active")
		case api.SecretName(k) && isText:
			if err := keep("instance_info", k, text, old, out, secrets); err != nil {
				return nil, err
			}
			continue
		case isText && userinfo(text):
			return nil, fault.New(fault.RequestInvalid, "instance_info.%s is a URL with a user or password in it, which every answer would show", k).
				WithHint("put the image where the machines reach it without credentials, or into the server's store: bessemer image add")
		case api.SecretName(k) || HasSecret(given[k]):
			return nil, noText("instance_info", k)
		}
		out[k] = given[k]
	}
	forget("instance_info", out, old, secrets)
	return out, nil
}

// fields names the sealed secrets of an object of a node.
var fields = map[string]func(key string) string{"driver_info": conductor.DriverSecret, "instance_info": conductor.InstanceSecret}

// keep puts a secret given as text where it belongs, and what stands for it into out.
func keep(object, key, text string, old, out map[string]any, secrets map[string]string) error {
	switch field := fields[object](key); {
	case text == "":
		out[key], secrets[field] = "", ""
	case text != conductor.Masked:
		secrets[field], out[key] = text, conductor.Masked
	case old[key] == nil:
		return fault.New(fault.RequestInvalid, "%s.%s is %s, which stands for a secret kept here, but none is", object, key, conductor.Masked)
	default:
		out[key] = conductor.Masked
	}
	return nil
}

// forget forgets the secrets whose keys are gone.
func forget(object string, out, old map[string]any, secrets map[string]string) {
	for k, v := range old {
		if _, kept := out[k]; !kept && v == conductor.Masked {
			secrets[fields[object](k)] = ""
		}
	}
}

func noText(object, key string) error {
	return fault.New(fault.RequestInvalid, "%s.%s holds a secret that is not a plain string", object, key).
		WithHint("secrets are kept sealed one by one: give each as a string at the top of %s", object)
}

// HasSecret tells whether anything below v sounds like a secret, or is a URL with a user or password.
func HasSecret(v any) bool {
	switch t := v.(type) {
	case map[string]any:
		for k, x := range t {
			if api.SecretName(k) || HasSecret(x) {
				return true
			}
		}
		return secretPair(t)
	case []any:
		for _, x := range t {
			if HasSecret(x) {
				return true
			}
		}
	case string:
		return userinfo(t)
	}
	return false
}

// HasSecretPair tells whether a secret stands anywhere below v as a setting does: {"name": "AdminPassword", "value": "…"}.
func HasSecretPair(v any) bool {
	switch t := v.(type) {
	case map[string]any:
		return secretPair(t) || slices.ContainsFunc(slices.Collect(maps.Values(t)), HasSecretPair)
	case []any:
		return slices.ContainsFunc(t, HasSecretPair)
	}
	return false
}

func secretPair(m map[string]any) bool {
	name, _ := m["name"].(string)
	v, text := m["value"].(string)
	return text && v != conductor.Masked && api.SecretName(name)
}

// userinfo tells whether a text is a URL with a user or password. What looks like one but can't be parsed counts.
func userinfo(s string) bool {
	_, rest, ok := strings.Cut(s, "://")
	if !ok {
		return false
	}
	authority, _, _ := strings.Cut(rest, "/")
	u, err := url.Parse(s)
	return strings.Contains(authority, "@") || err == nil && u.User != nil
}

// Args shows a step's arguments: only those the step declares, secret ones masked.
func Args(s step.Step, args step.Args) map[string]any {
	out := map[string]any{}
	for _, a := range s.Args {
		v, given := args[a.Name]
		if !given {
			continue
		}
		if a.Secret || api.SecretName(a.Name) {
			v = conductor.Masked
		}
		out[a.Name] = Deep(v)
	}
	return out
}
