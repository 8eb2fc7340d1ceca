// Package config is how a server is set up: one table of settings, each with a default, and values from a YAML file,
// from BESSEMER_* and from flags, the later ones winning. An unknown name anywhere is an error. It opens nothing that a
// setting names.
//
// Start at Settings, then Load.
package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"

	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/server/origin"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Server is a server's settings, complete and checked.
type Server struct {
	DataDir        string         // database, keys, certificate, logs, images
	Listen         string         // API
	AgentListen    string         // agent channel
	BootListen     string         // boot files and images
	Auth           string         // "none" or "basic"
	Users          string         // user file of basic
	Roles          string         // roles file of basic
	WebhookOrigins []string       // origins that webhooks may be at, with their ports
	ForceNoAuth    bool           // serve without credentials beyond loopback
	AllowOrigins   []netip.Prefix // networks otherwise refused as BMC or image origin
	AgentNetworks  []netip.Prefix // networks agents may call from; empty: any
	AdvertiseAgent string         // host or host:port by which agents reach AgentListen; "" finds it out
	AdvertiseBoot  string         // the same of BootListen, for BMCs
	// AdvertiseImages is the same of BootListen, for agents; "" is AdvertiseBoot.
	AdvertiseImages string
	// BootTLSListen is where machines' firmware loads the ramdisk over HTTPS; "": nowhere. AdvertiseBootTLS is how it reaches it.
	BootTLSListen    string
	AdvertiseBootTLS string
	BootTLSCert      string // certificate there; "" makes one
	BootTLSKey       string
	BaseProgram      string // the ramdisk's EFI program
	PublicURL        string // base of links in answers; "" takes each request's own
	BaseISO          string // the ramdisk's boot ISO
	AnyBootSource    bool   // serve media to any address, not only the BMC's
	TLSCert          string // certificate of the API off loopback; "" makes one
	TLSKey           string
	FakeMachines     string // Unix socket of the program that plays fake-hardware's machines; "": they are in memory
	// Interfaces is what is offered: by hardware type and interface the implementations, the default first.
	Interfaces    map[string]map[string][]string
	ResourceClass string                   // of nodes that are created without one; "": none
	FakeDelays    map[string]drivers.Delay // how long acts upon fake-hardware take, by interface
	PowerSync     time.Duration            // between two looks at an idle node's power state; 0: never, but for what is owed to a machine
	AddressConns  int                      // connections of one address to the API, and to the boot listener
	LogLevel      string                   // debug, info, warn, error
}

// Kind is how a setting's value is written.
type Kind string

// The kinds. A List is a YAML list, a repeated flag, or values parted by commas.
const (
	Text Kind = "text"
	Flag Kind = "flag"
	List Kind = "list"
)

// Setting is a row of the table from which flags, file keys, variables and the reference page come.
type Setting struct {
	Key     string // in the file; the flag has dashes, the variable is BESSEMER_ and capitals
	Kind    Kind
	Default string
	Doc     string
}

// FlagName is the setting's flag, without dashes before it.
func (s Setting) FlagName() string { return strings.ReplaceAll(s.Key, "_", "-") }

// Variable is the setting's environment variable.
func (s Setting) Variable() string { return prefix + strings.ToUpper(s.Key) }

const prefix = "BESSEMER_"

// mostConns is more than a process may have files open, as a rule: beyond it a bound of connections bounds nothing.
const mostConns = 1 << 20

// Settings is the table, in the order of the help page. The default data directory depends on who runs the server.
func Settings(e Environment) []Setting {
	return []Setting{
		{"data_dir", Text, e.dataDir(), "where database, keys, certificate, logs and images are kept"},
		{"listen", Text, "127.0.0.1:6385", "address of the API; TLS unless it is loopback"},
		{"agent_listen", Text, ":6386", "address of the agent channel, TLS 1.3"},
		{"boot_listen", Text, ":6387", "address of boot media and images"},
		{"boot_tls_listen", Text, "", "address, as :6388, where machines with the boot interface redfish-https load the ramdisk over TLS (default: none, and no machine boots so)"},
		{"auth", Text, "none", "none or basic; none is for loopback only"},
		{"users", Text, "", "user file of basic: lines of name:bcrypt-hash (default: users in the data directory)"},
		{"roles", Text, "", "roles file of basic: lines of name:role or name:role:project with admin, operator or observer (default: roles in the data directory)"},
		{"webhook_origin", List, "", "origin (https://host:port) that webhooks may be at; none given: there are no webhooks"},
		{"force_no_auth", Flag, "false", "serve without credentials also beyond loopback"},
		{"allow_origin", List, "", "network (CIDR) in which BMCs and image servers may be although it is loopback, link-local or the server's own"},
		{"agent_network", List, "", "network (CIDR) from which agents may call; none given: any"},
		{"advertise_agent", Text, "", "host[:port] by which agents reach the agent channel (default: the address of the default route)"},
		{"advertise_boot", Text, "", "host[:port] by which BMCs reach the boot listener (default: the address of the default route)"},
		{"advertise_images", Text, "", "host[:port] by which agents reach the boot listener for images (default: as advertise_boot)"},
		{"advertise_boot_tls", Text, "", "host[:port] by which machines' firmware reaches boot_tls_listen (default: the address of the default route)"},
		{"public_url", Text, "", "base URL of links in answers (default: that of each request)"},
		{"base_iso", Text, "", "the ramdisk's boot ISO (default: ramdisk/bessemer.iso in the data directory)"},
		{"base_program", Text, "", "the ramdisk's EFI program, for boot_tls_listen (default: bessemer.efi beside the boot ISO)"},
		{"any_boot_source", Flag, "false", "serve a boot medium to any address, not only to the BMC's"},
		{"tls_cert", Text, "", "certificate file of the API (default: made on the first start)"},
		{"tls_key", Text, "", "key file of tls_cert"},
		{"boot_tls_cert", Text, "", "certificate file of boot_tls_listen, RSA, which machines' firmware is to trust (default: boot.crt in the data directory, made on the first start)"},
		{"boot_tls_key", Text, "", "key file of boot_tls_cert"},
		{"fake_machines", Text, "", "Unix socket of a program that plays the machines of fake-hardware nodes: bessemer simulate"},
		{"enabled_hardware_types", List, "", "hardware type that nodes may have (default: all)"},
		{"enabled_interfaces", List, "", "INTERFACE=IMPLEMENTATION that nodes may have, as deploy=direct; an interface that is not named keeps all"},
		{"default_interfaces", List, "", "INTERFACE=IMPLEMENTATION that nodes have unless they name another, as deploy=custom-agent"},
		{"default_resource_class", Text, "", "resource class of nodes that are created without one (default: none)"},
		{"fake_delays", List, "", "INTERFACE=SECONDS or INTERFACE=LEAST-MOST: how long fake-hardware takes for an act (default: no time)"},
		{"power_sync", Text, "1m", "how often the power state of each idle node is read from its BMC; 0 never"},
		{"connections_per_address", Text, "256", "how many connections one address may have open to the API, and as many to boot_listen; all clients behind a proxy have its address"},
		{"log_level", Text, "info", "debug, info, warn or error"},
	}
}

// clientVariables are those that the command reads, not the server.
var clientVariables = []string{"BESSEMER_SERVER", "BESSEMER_USER", "BESSEMER_PASSWORD", "BESSEMER_PASSWORD_FILE", "BESSEMER_CA", "BESSEMER_CONFIG"}

// Environment is what Load may look at beside the file.
type Environment struct {
	Variables []string // NAME=value
	Home      string
	Root      bool // runs as root
}

// Get is a variable's value, or "".
func (e Environment) Get(name string) string {
	for _, v := range e.Variables {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

func (e Environment) dataDir() string {
	if e.Root {
		return "/var/lib/bessemer"
	}
	if dir := e.Get("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "bessemer")
	}
	return filepath.Join(e.Home, ".local", "state", "bessemer")
}

// defaultFile is read when it is there.
func (e Environment) defaultFile() string {
	if e.Root {
		return "/etc/bessemer/bessemer.yaml"
	}
	if dir := e.Get("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Join(dir, "bessemer", "bessemer.yaml")
	}
	return filepath.Join(e.Home, ".config", "bessemer", "bessemer.yaml")
}

// Value is a setting with where its value comes from: "default", "file PATH", "BESSEMER_LISTEN" or "--listen".
type Value struct {
	Setting
	Value  string
	Origin string
}

// Load reads the settings. path is the file asked for, which then must exist; "" takes BESSEMER_CONFIG or the default
// place. flags holds what was given on the command line by key: string, bool or []string.
func Load(path string, e Environment, flags map[string]any) (Server, []Value, error) {
	table := Settings(e)
	known := map[string]Setting{}
	origins := map[string]string{}
	defaults := map[string]any{}
	for _, s := range table {
		known[s.Key], origins[s.Key] = s, "default"
		switch s.Kind {
		case Text:
			defaults[s.Key] = s.Default
		case Flag:
			defaults[s.Key] = s.Default == "true"
		case List:
			defaults[s.Key] = []string{}
		}
	}
	all := koanf.New(".")
	if err := all.Load(confmap.Provider(defaults, ""), nil); err != nil {
		return Server{}, nil, fmt.Errorf("load the default settings: %w", err)
	}
	add := func(layer map[string]any, origin func(Setting) string) error {
		values := map[string]any{}
		for _, key := range sortedKeys(layer) {
			s, ok := known[key]
			if !ok {
				return fmt.Errorf("%s: there is no setting %q; there are %s", origin(Setting{Key: key}), key, strings.Join(sortedKeys(known), ", "))
			}
			v, err := s.value(layer[key])
			if err != nil {
				return fmt.Errorf("%s: %w", origin(s), err)
			}
			values[key], origins[key] = v, origin(s)
		}
		return all.Load(confmap.Provider(values, ""), nil)
	}
	path, fromFile, err := readFile(path, e)
	if err != nil {
		return Server{}, nil, err
	}
	if err := add(fromFile, func(Setting) string { return "file " + path }); err != nil {
		return Server{}, nil, err
	}
	fromEnv := koanf.New(".")
	err = fromEnv.Load(env.Provider(".", env.Opt{Prefix: prefix, EnvironFunc: func() []string { return e.Variables },
		TransformFunc: func(k, v string) (string, any) {
			if slices.Contains(clientVariables, k) {
				return "", nil
			}
			return strings.ToLower(strings.TrimPrefix(k, prefix)), v
		}}), nil)
	if err != nil {
		return Server{}, nil, fmt.Errorf("read %s*: %w", prefix, err)
	}
	if err := add(fromEnv.Raw(), Setting.Variable); err != nil {
		return Server{}, nil, err
	}
	if err := add(flags, func(s Setting) string { return "--" + s.FlagName() }); err != nil {
		return Server{}, nil, err
	}
	var values []Value
	for _, s := range table {
		text := all.String(s.Key)
		if s.Kind == List {
			text = strings.Join(all.Strings(s.Key), ",")
		}
		values = append(values, Value{s, text, origins[s.Key]})
	}
	server, err := build(all, origins)
	return server, values, err
}

// readFile gives the keys of the settings file, none when there is no file.
func readFile(path string, e Environment) (string, map[string]any, error) {
	asked := true
	if path == "" {
		path = e.Get("BESSEMER_CONFIG")
	}
	if path == "" {
		path, asked = e.defaultFile(), false
	}
	if _, err := os.Stat(path); err != nil {
		if asked || !os.IsNotExist(err) {
			return path, nil, fmt.Errorf("settings file: %w", err)
		}
		return path, nil, nil
	}
	k := koanf.New("\x00") // keys with dots stay whole, so that they are told as they are written
	if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
		return path, nil, fmt.Errorf("settings file %s: %w", path, err)
	}
	return path, k.Raw(), nil
}

// value brings what a file, a variable or a flag holds into the setting's type.
func (s Setting) value(v any) (any, error) {
	wrong := fmt.Errorf("%s is %v, expected a %s", s.Key, v, s.Kind)
	switch s.Kind {
	case Text:
		switch t := v.(type) {
		case string:
			return t, nil
		case int:
			return strconv.Itoa(t), nil
		}
	case Flag:
		switch t := v.(type) {
		case bool:
			return t, nil
		case string:
			if b, err := strconv.ParseBool(t); err == nil {
				return b, nil
			}
		}
	case List:
		switch t := v.(type) {
		case []string:
			return t, nil
		case []any:
			out := []string{}
			for _, x := range t {
				text, ok := x.(string)
				if !ok {
					return nil, wrong
				}
				out = append(out, text)
			}
			return out, nil
		case string:
			out := []string{}
			for part := range strings.SplitSeq(t, ",") {
				if part = strings.TrimSpace(part); part != "" {
					out = append(out, part)
				}
			}
			return out, nil
		}
	}
	return nil, wrong
}

// build checks the values and makes the settings of them. Every problem is told with its origin.
func build(k *koanf.Koanf, origins map[string]string) (Server, error) {
	var bad []string
	wrong := func(key, format string, args ...any) {
		bad = append(bad, fmt.Sprintf("%s (%s): ", key, origins[key])+fmt.Sprintf(format, args...))
	}
	prefixes := func(key string) []netip.Prefix {
		var out []netip.Prefix
		for _, text := range k.Strings(key) {
			p, err := netip.ParsePrefix(text)
			if a, errAddr := netip.ParseAddr(text); err != nil && errAddr == nil {
				p, err = netip.PrefixFrom(a, a.BitLen()), nil
			}
			if err != nil {
				wrong(key, "%q is no network, expected a form like 192.0.2.0/24", text)
				continue
			}
			out = append(out, p.Masked())
		}
		return out
	}
	address := func(key string) string {
		text := k.String(key)
		if _, port, err := net.SplitHostPort(text); err != nil || !isPort(port) {
			wrong(key, "%q is no address, expected ADDRESS:PORT or :PORT", text)
		}
		return text
	}
	s := Server{
		DataDir: k.String("data_dir"), Listen: address("listen"), AgentListen: address("agent_listen"), BootListen: address("boot_listen"),
		Auth: k.String("auth"), Users: k.String("users"), Roles: k.String("roles"), ForceNoAuth: k.Bool("force_no_auth"),
		AllowOrigins: prefixes("allow_origin"), AgentNetworks: prefixes("agent_network"),
		AdvertiseAgent: k.String("advertise_agent"), AdvertiseBoot: k.String("advertise_boot"),
		AdvertiseImages: k.String("advertise_images"), PublicURL: k.String("public_url"),
		AdvertiseBootTLS: k.String("advertise_boot_tls"), BootTLSCert: k.String("boot_tls_cert"), BootTLSKey: k.String("boot_tls_key"),
		BaseProgram: k.String("base_program"), BaseISO: k.String("base_iso"), AnyBootSource: k.Bool("any_boot_source"),
		TLSCert: k.String("tls_cert"), TLSKey: k.String("tls_key"), FakeMachines: k.String("fake_machines"), LogLevel: k.String("log_level"),
	}
	if s.ResourceClass = k.String("default_resource_class"); utf8.RuneCountInString(s.ResourceClass) > 80 {
		wrong("default_resource_class", "%d characters, expected 80 at most", utf8.RuneCountInString(s.ResourceClass))
	}
	if every, err := time.ParseDuration(k.String("power_sync")); err != nil || every < 0 || every > 0 && every < 10*time.Second {
		wrong("power_sync", "%q, expected a time of at least 10s, such as 1m, or 0", k.String("power_sync"))
	} else {
		s.PowerSync = every
	}
	if n, err := strconv.Atoi(k.String("connections_per_address")); err != nil || n < 1 || n > mostConns {
		wrong("connections_per_address", "%q, expected a number from 1 to %d", k.String("connections_per_address"), mostConns)
	} else {
		s.AddressConns = n
	}
	choices := func(key string) (out []drivers.Choice) {
		for _, text := range k.Strings(key) {
			c, err := drivers.ParseChoice(text)
			if err != nil {
				wrong(key, "%s", advice(err))
			}
			out = append(out, c)
		}
		return out
	}
	offer := drivers.Settings{Types: k.Strings("enabled_hardware_types"), Enabled: choices("enabled_interfaces"), Default: choices("default_interfaces")}
	if len(bad) == 0 {
		var err error
		if s.Interfaces, err = offer.Offer(); err != nil {
			wrong("enabled_interfaces", "%s", advice(err))
		}
	}
	var err error
	if s.FakeDelays, err = drivers.ParseDelays(k.Strings("fake_delays")); err != nil {
		wrong("fake_delays", "%s", advice(err))
	}
	if s.DataDir == "" {
		wrong("data_dir", "it must not be empty")
	}
	if s.Auth != "none" && s.Auth != "basic" {
		wrong("auth", "%q, expected none or basic", s.Auth)
	}
	if s.Users == "" {
		s.Users = filepath.Join(s.DataDir, "users")
	}
	for _, text := range k.Strings("webhook_origin") {
		o, err := origin.ParseOrigin(text)
		if err != nil {
			wrong("webhook_origin", "%q is no origin, expected a form like https://hooks.example:8443", text)
			continue
		}
		s.WebhookOrigins = append(s.WebhookOrigins, o)
	}
	if s.Roles == "" {
		s.Roles = filepath.Join(s.DataDir, "roles")
	}
	if s.BaseISO == "" {
		s.BaseISO = filepath.Join(s.DataDir, "ramdisk", "bessemer.iso")
	}
	if s.BaseProgram == "" {
		s.BaseProgram = filepath.Join(filepath.Dir(s.BaseISO), "bessemer.efi")
	}
	if k.String("boot_tls_listen") != "" {
		s.BootTLSListen = address("boot_tls_listen")
	}
	if (s.BootTLSCert == "") != (s.BootTLSKey == "") {
		wrong("boot_tls_cert", "it goes together with boot_tls_key")
	}
	if (s.TLSCert == "") != (s.TLSKey == "") {
		wrong("tls_cert", "it goes together with tls_key")
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, s.LogLevel) {
		wrong("log_level", "%q, expected debug, info, warn or error", s.LogLevel)
	}
	if u, err := url.Parse(s.PublicURL); s.PublicURL != "" && (err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		wrong("public_url", "expected http or https, a host and perhaps a path, and nothing else")
	}
	for key, text := range map[string]string{"advertise_agent": s.AdvertiseAgent, "advertise_boot": s.AdvertiseBoot, "advertise_boot_tls": s.AdvertiseBootTLS, "advertise_images": s.AdvertiseImages} {
		if strings.ContainsAny(text, "/@ ") {
			wrong(key, "%q, expected HOST or HOST:PORT", text)
		}
	}
	if len(bad) > 0 {
		slices.Sort(bad)
		return Server{}, fmt.Errorf("settings: %s", strings.Join(bad, "; "))
	}
	return s, nil
}

// advice is what a fault says, with what to do.
func advice(err error) string {
	f := fault.From(err)
	return f.Message + "; " + f.Hint
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
