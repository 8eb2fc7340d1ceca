package redfish

import (
	"encoding/hex"
	"fmt"
	"math"
	"net"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/redfish/update"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// The keys of driver_info.
const (
	keyAddress  = "redfish_address"
	keySystem   = "redfish_system_id"
	keyUsername = "redfish_username"
	keyPassword = "redfish_password"
	keyVerify   = "redfish_verify_ca"
	keyAuth     = "redfish_auth_type"
	keyAway     = update.KeyAway
)

// Properties gives each key of driver_info in one sentence.
func (d *Driver) Properties() map[string]string {
	return map[string]string{
		keyAddress:  "address of the BMC: host, or URL; https unless http:// is written; a path is the API's root. Required.",
		keySystem:   "path of the machine, as /redfish/v1/Systems/1; may be left out when the BMC has one machine only.",
		keyUsername: "user name of the BMC's account. Required.",
		keyPassword: "password of the BMC's account. Required.",
		keyVerify:   "true: the system's CAs; a path: that CA file; sha256:HEX: this public key; false: the key shown first, from then on. Default true.",
		keyAuth:     "basic, session, or auto, which tries a session first. Default auto.",
		keyAway:     fmt.Sprintf("how many seconds a BMC may be without an answer while firmware is updated, its own above all, 1 to %.0f. Default %.0f.", longestAway.Seconds(), usualAway.Seconds()),
	}
}

// target is driver_info, checked.
type target struct {
	origin   string // "https://10.0.0.7:443": what a connection may be made to
	scheme   string
	host     string // with its port
	root     string // "/redfish/v1/"
	system   string // path, or the last part of one; "" is the only one
	username string
	password string
	auth     string // "basic", "session", "auto"
	trust    trust
	away     time.Duration // how long it may be without an answer while firmware is updated
}

// How long a BMC may be away: real ones take five to fifteen minutes to install their own firmware.
const (
	usualAway   = 15 * time.Minute
	longestAway = time.Hour
)

// parseAway reads seconds, as a number or, as Ironic's clients write them, as a text.
func parseAway(v any) (time.Duration, error) {
	var seconds float64
	switch v := v.(type) {
	case nil:
		return usualAway, nil
	case int:
		seconds = float64(v)
	case float64:
		seconds = v
	case string:
		n, err := strconv.Atoi(v)
		if err != nil {
			return 0, fmt.Errorf("is %.40q, expected a number of seconds", v)
		}
		seconds = float64(n)
	default:
		return 0, fmt.Errorf("must be a number of seconds, not %T", v)
	}
	if seconds != math.Trunc(seconds) || seconds < 1 || seconds > longestAway.Seconds() {
		return 0, fmt.Errorf("is %v, expected a whole number of seconds from 1 to %.0f", seconds, longestAway.Seconds())
	}
	return time.Duration(seconds) * time.Second, nil
}

// trust says which certificate is the BMC's.
type trust struct {
	pin   string // "sha256:HEX"
	file  string // CA file
	first bool   // what was seen first
}

func (t trust) String() string {
	switch {
	case t.pin != "":
		return t.pin
	case t.file != "":
		return t.file
	case t.first:
		return "first"
	}
	return "system"
}

const pinPrefix = "sha256:"

// parse checks driver_info. Secrets override the masked values in info; nil secrets mean that only info is checked.
func parse(info map[string]any, secrets map[string]string) (target, error) {
	t := target{
		system:   text(info, keySystem),
		username: text(info, keyUsername),
		password: text(info, keyPassword),
		auth:     text(info, keyAuth),
	}
	if v, ok := secrets[keyPassword]; ok {
		t.password = v
	}
	var missing, wrong []string
	for _, f := range []struct{ key, value string }{
		{keyAddress, text(info, keyAddress)}, {keyUsername, t.username}, {keyPassword, t.password},
	} {
		if _, isText := info[f.key].(string); info[f.key] != nil && !isText {
			wrong = append(wrong, fmt.Sprintf("%s must be a string, not %T", f.key, info[f.key]))
		} else if f.value == "" {
			missing = append(missing, f.key)
		}
	}
	if len(missing) > 0 {
		return target{}, fault.New(fault.DriverInfoMissing, "driver_info lacks %s", strings.Join(missing, ", "))
	}
	if len(wrong) == 0 {
		u, err := parseAddress(text(info, keyAddress))
		if err != nil {
			wrong = append(wrong, keyAddress+" "+err.Error())
		} else {
			t.scheme, t.host, t.root = u.Scheme, u.Host, u.Path
			t.origin = u.Scheme + "://" + u.Host
		}
	}
	if s := t.system; strings.ContainsAny(s, "\\?#") || strings.Contains(s, "//") || hasControl(s) {
		wrong = append(wrong, fmt.Sprintf("%s is %q, expected a path such as /redfish/v1/Systems/1", keySystem, s))
	} else if _, isText := info[keySystem].(string); info[keySystem] != nil && !isText {
		wrong = append(wrong, fmt.Sprintf("%s must be a string, not %T", keySystem, info[keySystem]))
	}
	switch t.auth {
	case "":
		t.auth = "auto"
	case "basic", "session", "auto":
	default:
		wrong = append(wrong, fmt.Sprintf("%s is %q, expected basic, session or auto", keyAuth, t.auth))
	}
	if hasControl(t.username) || strings.Contains(t.username, ":") && t.auth == "basic" {
		wrong = append(wrong, keyUsername+" has a character that can't be sent")
	}
	var err error
	if t.trust, err = parseTrust(info[keyVerify]); err != nil {
		wrong = append(wrong, keyVerify+" "+err.Error())
	}
	if t.away, err = parseAway(info[keyAway]); err != nil {
		wrong = append(wrong, keyAway+" "+err.Error())
	}
	if len(wrong) > 0 {
		return target{}, fault.New(fault.RequestInvalid, "driver_info: %s", strings.Join(wrong, "; ")).
			WithHint("correct it with bessemer node set NODE --driver-info KEY=VALUE")
	}
	return t, nil
}

// parseAddress gives scheme, host with port and root path. It refuses what has no place in the address of a BMC.
func parseAddress(s string) (*url.URL, error) {
	if s == "" {
		return nil, fmt.Errorf("is empty")
	}
	if !strings.Contains(s, "://") {
		if strings.Count(s, ":") > 1 && !strings.HasPrefix(s, "[") { // a bare IPv6 address
			s = "[" + s + "]"
		}
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("is not a URL")
	}
	ports := map[string]string{"https": "443", "http": "80"}
	switch {
	case ports[u.Scheme] == "":
		return nil, fmt.Errorf("has scheme %q, expected https or http", u.Scheme)
	case u.User != nil:
		return nil, fmt.Errorf("must not hold user name or password: those are %s and %s", keyUsername, keyPassword)
	case u.Hostname() == "":
		return nil, fmt.Errorf("names no host")
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return nil, fmt.Errorf("must not have a query or fragment")
	}
	port := u.Port()
	if port == "" {
		port = ports[u.Scheme]
	}
	root := path.Clean("/" + u.Path)
	if root == "/" {
		root = "/redfish/v1"
	}
	return &url.URL{Scheme: u.Scheme, Host: net.JoinHostPort(strings.ToLower(u.Hostname()), port), Path: root + "/"}, nil
}

func parseTrust(v any) (trust, error) {
	switch v := v.(type) {
	case nil:
		return trust{}, nil
	case bool:
		return trust{first: !v}, nil
	case string:
		digest, pinned := strings.CutPrefix(strings.ToLower(v), pinPrefix)
		switch {
		case v == "" || strings.EqualFold(v, "true"):
			return trust{}, nil
		case strings.EqualFold(v, "false"):
			return trust{first: true}, nil
		case pinned:
			if b, err := hex.DecodeString(digest); err != nil || len(b) != 32 {
				return trust{}, fmt.Errorf("is not %s and 64 hex digits", pinPrefix)
			}
			return trust{pin: pinPrefix + digest}, nil
		case strings.HasPrefix(v, "/"):
			return trust{file: path.Clean(v)}, nil
		}
	}
	return trust{}, fmt.Errorf("is %v, expected true, false, the path of a CA file, or %sHEX", v, pinPrefix)
}

func text(info map[string]any, key string) string { s, _ := info[key].(string); return s }

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}
