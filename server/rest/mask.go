package rest

import (
	"net/url"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Secrets (safety.md I22). A text in driver_info is shown only under a key that is known to be harmless: one that the
// driver describes and does not name as secret, or one of commonInfo. Everything else is handed to the conductor as a
// secret, sealed there, and shown as ******. An empty text forgets it.

// commonInfo are the keys of driver_info that all drivers share.
var commonInfo = []string{
	"deploy_kernel", "deploy_ramdisk", "deploy_iso", "rescue_kernel", "rescue_ramdisk", "rescue_iso",
	"kernel_append_params", "bootloader", "force_persistent_boot_device", "external_http_url", "image_download_source",
	"agent_verify_ca", "config_via_removable", "fast_track",
}

// keySet is the driver_info keys of a driver that may be shown.
func keySet(d conductor.Driver) map[string]bool {
	shown := map[string]bool{}
	for _, k := range commonInfo {
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

// secretInfo tells whether a text under this key of driver_info is a secret. Of an unknown driver everything is.
func (a *API) secretInfo(driver, key string) bool {
	return api.SecretName(key) || !a.sealed[driver][key]
}

// maskInfo is driver_info as it is shown.
func (a *API) maskInfo(driver string, info map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range info {
		if _, text := v.(string); (text || api.SecretName(k)) && a.secretInfo(driver, k) {
			out[k] = conductor.Masked
			continue
		}
		out[k] = maskDeep(v)
	}
	return out
}

// maskInstance is instance_info as it is shown.
func maskInstance(info map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range info {
		if k == "configdrive" || k == "image_url" || api.SecretName(k) {
			out[k] = conductor.Masked
			continue
		}
		out[k] = maskDeep(v)
	}
	return out
}

// maskDeep masks what sounds like a secret anywhere below v, and the user part of URLs.
func maskDeep(v any) any {
	switch t := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(t))
		for k, x := range t {
			if api.SecretName(k) {
				out[k] = conductor.Masked
			} else {
				out[k] = maskDeep(x)
			}
		}
		return out
	case []any:
		out := make([]any, len(t))
		for i, x := range t {
			out[i] = maskDeep(x)
		}
		return out
	case string:
		if userinfo(t) {
			return conductor.Masked
		}
	}
	return v
}

// sealInfo splits driver_info as given into what is kept open and the secrets. A value of ****** keeps the secret that
// is there.
func (a *API) sealInfo(driver string, given, old map[string]any, secrets map[string]string) (map[string]any, error) {
	out := map[string]any{}
	for k, v := range given {
		text, isText := v.(string)
		if !isText {
			if api.SecretName(k) || hasSecret(v) {
				return nil, fault.New(fault.RequestInvalid, "driver_info.%s holds a secret that is not a plain string", k).
					WithHint("secrets are kept sealed one by one: give each as a string at the top of driver_info")
			}
			out[k] = v
			continue
		}
		switch {
		case !a.secretInfo(driver, k):
			if userinfo(text) {
				return nil, fault.New(fault.RequestInvalid, "driver_info.%s is a URL with a user or password in it", k).
					WithHint("give them in their own keys, where they are kept sealed")
			}
			out[k] = text
		case text == "":
			out[k], secrets[k] = "", ""
		case text != conductor.Masked:
			secrets[k], out[k] = text, conductor.Masked
		case old[k] == nil:
			return nil, fault.New(fault.RequestInvalid, "driver_info.%s is %s, which stands for a secret kept here, but none is", k, conductor.Masked)
		default:
			out[k] = conductor.Masked
		}
	}
	for k, v := range old {
		if _, kept := out[k]; !kept && v == conductor.Masked {
			secrets[k] = "" // forget it
		}
	}
	return out, nil
}

// checkInstance refuses secrets in instance_info: it is shown, and not sealed. ****** for a config drive that is kept
// leaves it as it is.
func checkInstance(info, old map[string]any) error {
	for _, k := range sortedKeys(info) {
		text, _ := info[k].(string)
		switch {
		case k == "configdrive" && info[k] == conductor.Masked && old[k] == conductor.Masked:
		case k == "configdrive":
			return fault.New(fault.RequestInvalid, "instance_info.configdrive can't be set").
				WithHint("give configdrive together with the target active")
		case api.SecretName(k) || hasSecret(info[k]):
			return fault.New(fault.RequestInvalid, "instance_info.%s would hold a secret, and this server keeps none there", k)
		case userinfo(text):
			return fault.New(fault.RequestInvalid, "instance_info.%s is a URL with a user or password in it, which every answer would show", k).
				WithHint("put the image where the machines reach it without credentials, or into the server's store: bessemer image add")
		}
	}
	return nil
}

func hasSecret(v any) bool {
	switch t := v.(type) {
	case map[string]any:
		for k, x := range t {
			if api.SecretName(k) || hasSecret(x) {
				return true
			}
		}
	case []any:
		for _, x := range t {
			if hasSecret(x) {
				return true
			}
		}
	case string:
		return userinfo(t)
	}
	return false
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
