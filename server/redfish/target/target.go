// Package target is driver_info of the hardware type redfish: its keys, and what is made of it once it is checked. It
// reaches nothing.
package target

import (
	"encoding/hex"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// The keys of driver_info.
const (
	KeyAddress  = "redfish_address"
	KeySystem   = "redfish_system_id"
	KeyUsername = "redfish_username"
	KeyPassword = "redfish_password"
	KeyVerify   = "redfish_verify_ca"
	KeyAuth     = "redfish_auth_type"
	KeyAway     = "firmware_update_unresponsive_bmc_wait" // how long, in seconds, a BMC may be away
)

// Properties gives each key of driver_info in one sentence.
func Properties() map[string]string {
	return map[string]string{
		KeyAddress:  "address of the BMC: host, or URL; https unless http:// is written; a path is the API's root. Required.",
		KeySystem:   "path of the machine, as /redfish/v1/Systems/1; may be left out when the BMC has one machine only.",
		KeyUsername: "user name of the BMC's account. Required.",
		KeyPassword: "password of the BMC's account. Required.",
		KeyVerify:   "true: the system's CAs; a path: that CA file; sha256:HEX: this public key; false: the key shown first, from then on. Default true.",
		KeyAuth:     "basic, session, or auto, which tries a session first. Default auto.",
		KeyAway:     fmt.Sprintf("how many seconds a BMC may be without an answer while firmware is updated, its own above all, 1 to %.0f. Default %.0f.", longestAway.Seconds(), usualAway.Seconds()),
	}
}

// Target is driver_info, checked.
type Target struct {
	Origin   string // "https://10.0.0.7:443": what a connection may be made to
	scheme   string
	Host     string // with its port
	Root     string // "/redfish/v1/"
	System   string // path, or the last part of one; "" is the only one
	Username string
	Password string
	Auth     string // "basic", "session", "auto"
	Trust    Trust
	Away     time.Duration // how long it may be without an answer while firmware is updated
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

// Trust says which certificate is the BMC's.
type Trust struct {
	Pin   string // "sha256:HEX"
	File  string // CA file
	First bool   // what was seen first
}

// String is the value of redfish_verify_ca, or "first" or "system".
func (t Trust) String() string {
	switch {
	case t.Pin != "":
		return t.Pin
	case t.File != "":
		return t.File
	case t.First:
		return "first"
	}
	return "system"
}

const PinPrefix = "sha256:"

// Parse checks driver_info. Secrets override the masked values in info; nil secrets mean that only info is checked.
func Parse(info map[string]any, secrets map[string]string) (Target, error) {
	t := Target{
		System:   text(info, KeySystem),
		Username: text(info, KeyUsername),
		Password: text(info, KeyPassword),
		Auth:     text(info, KeyAuth),
	}
	if v, ok := secrets[KeyPassword]; ok {
		t.Password = v
	}
	var missing, wrong []string
	for _, f := range []struct{ key, value string }{
		{KeyAddress, text(info, KeyAddress)}, {KeyUsername, t.Username}, {KeyPassword, t.Password},
	} {
		if _, isText := info[f.key].(string); info[f.key] != nil && !isText {
			wrong = append(wrong, fmt.Sprintf("%s must be a string, not %T", f.key, info[f.key]))
		} else if f.value == "" {
			missing = append(missing, f.key)
		}
	}
	if len(missing) > 0 {
		return Target{}, fault.New(fault.DriverInfoMissing, "driver_info lacks %s", strings.Join(missing, ", "))
	}
	if len(wrong) == 0 {
		u, err := ParseAddress(text(info, KeyAddress))
		if err != nil {
			wrong = append(wrong, KeyAddress+" "+err.Error())
		} else {
			t.scheme, t.Host, t.Root = u.Scheme, u.Host, u.Path
			t.Origin = u.Scheme + "://" + u.Host
		}
	}
	if s := t.System; strings.ContainsAny(s, "\\?#") || strings.Contains(s, "//") || HasControl(s) {
		wrong = append(wrong, fmt.Sprintf("%s is %q, expected a path such as /redfish/v1/Systems/1", KeySystem, s))
	} else if _, isText := info[KeySystem].(string); info[KeySystem] != nil && !isText {
		wrong = append(wrong, fmt.Sprintf("%s must be a string, not %T", KeySystem, info[KeySystem]))
	}
	switch t.Auth {
	case "":
		t.Auth = "auto"
	case "basic", "session", "auto":
	default:
		wrong = append(wrong, fmt.Sprintf("%s is %q, expected basic, session or auto", KeyAuth, t.Auth))
	}
	if HasControl(t.Username) || strings.Contains(t.Username, ":") && t.Auth == "basic" {
		wrong = append(wrong, KeyUsername+" has a character that can't be sent")
	}
	var err error
	if t.Trust, err = parseTrust(info[KeyVerify]); err != nil {
		wrong = append(wrong, KeyVerify+" "+err.Error())
	}
	if t.Away, err = parseAway(info[KeyAway]); err != nil {
		wrong = append(wrong, KeyAway+" "+err.Error())
	}
	if len(wrong) > 0 {
		return Target{}, fault.New(fault.RequestInvalid, "driver_info: %s", strings.Join(wrong, "; ")).
			WithHint("correct it with bessemer node set NODE --driver-info KEY=VALUE")
	}
	return t, nil
}

// Address is that of the BMC; an error when driver_info names none.
func Address(info map[string]any) (*url.URL, error) { return ParseAddress(text(info, KeyAddress)) }

// ParseAddress gives scheme, host with port and root path. It refuses what has no place in the address of a BMC.
func ParseAddress(s string) (*url.URL, error) {
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
		return nil, fmt.Errorf("must not hold user name or password: those are %s and %s", KeyUsername, KeyPassword)
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

func parseTrust(v any) (Trust, error) {
	switch v := v.(type) {
	case nil:
		return Trust{}, nil
	case bool:
		return Trust{First: !v}, nil
	case string:
		digest, pinned := strings.CutPrefix(strings.ToLower(v), PinPrefix)
		switch {
		case v == "" || strings.EqualFold(v, "true"):
			return Trust{}, nil
		case strings.EqualFold(v, "false"):
			return Trust{First: true}, nil
		case pinned:
			if b, err := hex.DecodeString(digest); err != nil || len(b) != 32 {
				return Trust{}, fmt.Errorf("is not %s and 64 hex digits", PinPrefix)
			}
			return Trust{Pin: PinPrefix + digest}, nil
		case strings.HasPrefix(v, "/"):
			return Trust{File: path.Clean(v)}, nil
		}
	}
	return Trust{}, fmt.Errorf("is %v, expected true, false, the path of a CA file, or %sHEX", v, PinPrefix)
}

func text(info map[string]any, key string) string { s, _ := info[key].(string); return s }

// HasControl tells whether a text has a character that is not to be sent.
func HasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

// Addresses are the BMC's, when driver_info names it by one.
func (t Target) Addresses() (v4, v6 *string) {
	u, err := url.Parse(t.Origin)
	if err != nil {
		return nil, nil
	}
	a, err := netip.ParseAddr(u.Hostname())
	text := a.String()
	switch {
	case err != nil:
		return nil, nil
	case a.Is4():
		return &text, nil
	}
	return nil, &text
}
