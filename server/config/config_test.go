package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/config"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bessemer.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSensibleWithoutAnything(t *testing.T) {
	s, _, err := config.Load("", config.Environment{Home: t.TempDir()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Listen != "127.0.0.1:6385" || s.AgentListen != ":6386" || s.BootListen != ":6387" || s.Auth != "none" ||
		!strings.HasSuffix(s.DataDir, ".local/state/bessemer") || s.BaseISO != filepath.Join(s.DataDir, "ramdisk/bessemer.iso") {
		t.Errorf("defaults %+v", s)
	}
	if root, _, _ := config.Load("", config.Environment{Root: true}, nil); root.DataDir != "/var/lib/bessemer" {
		t.Errorf("root's data directory is %s", root.DataDir)
	}
}

func TestLaterLayersWinAndOriginsAreTold(t *testing.T) {
	path := write(t, "listen: 127.0.0.1:1\nagent_listen: 127.0.0.1:2\nboot_listen: 127.0.0.1:3\nallow_origin: [127.0.0.0/8, 192.0.2.7]\n")
	e := config.Environment{Home: t.TempDir(), Variables: []string{"BESSEMER_AGENT_LISTEN=127.0.0.1:20", "BESSEMER_BOOT_LISTEN=127.0.0.1:30",
		"BESSEMER_SERVER=http://ignored", "BESSEMER_AGENT_NETWORK=192.0.2.0/24, 2001:db8::/32", "OTHER=1"}}
	s, values, err := config.Load(path, e, map[string]any{"boot_listen": "127.0.0.1:300", "any_boot_source": true})
	if err != nil {
		t.Fatal(err)
	}
	if s.Listen != "127.0.0.1:1" || s.AgentListen != "127.0.0.1:20" || s.BootListen != "127.0.0.1:300" || !s.AnyBootSource ||
		len(s.AllowOrigins) != 2 || s.AllowOrigins[1].String() != "192.0.2.7/32" || len(s.AgentNetworks) != 2 {
		t.Errorf("settings %+v", s)
	}
	got := map[string]string{}
	for _, v := range values {
		got[v.Key] = v.Origin
	}
	want := map[string]string{"listen": "file " + path, "agent_listen": "BESSEMER_AGENT_LISTEN", "boot_listen": "--boot-listen", "auth": "default"}
	for k, o := range want {
		if got[k] != o {
			t.Errorf("%s comes from %q, expected %q", k, got[k], o)
		}
	}
}

func TestMistakesAreNamed(t *testing.T) {
	e := config.Environment{Home: t.TempDir()}
	for name, c := range map[string]struct {
		file  string
		vars  []string
		flags map[string]any
		want  []string
	}{
		"key":      {file: "lisen: x", want: []string{"lisen", "bessemer.yaml", "listen"}},
		"dots":     {file: "auth.mode: x", want: []string{"auth.mode"}},
		"nested":   {file: "auth:\n  mode: basic", want: []string{"auth", "expected a text"}},
		"yaml":     {file: "listen: [", want: []string{"bessemer.yaml"}},
		"variable": {vars: []string{"BESSEMER_LISEN=1"}, want: []string{"BESSEMER_LISEN"}},
		"flag":     {flags: map[string]any{"auth": "kerberos"}, want: []string{"--auth", "kerberos", "basic"}},
		"cidr":     {flags: map[string]any{"allow_origin": []string{"lab"}}, want: []string{"lab", "192.0.2.0/24"}},
		"address":  {vars: []string{"BESSEMER_LISTEN=localhost"}, want: []string{"BESSEMER_LISTEN", "ADDRESS:PORT"}},
		"often":    {flags: map[string]any{"power_sync": "1s"}, want: []string{"--power-sync", "10s"}},
		"conns":    {flags: map[string]any{"connections_per_address": "0"}, want: []string{"--connections-per-address", "from 1"}},
		"class":    {flags: map[string]any{"default_resource_class": strings.Repeat("x", 81)}, want: []string{"--default-resource-class", "81"}},
		"pair":     {flags: map[string]any{"tls_cert": "c.pem"}, want: []string{"tls_key"}},
		"boot":     {vars: []string{"BESSEMER_BOOT_TLS_KEY=k.pem"}, want: []string{"boot_tls_cert", "boot_tls_key"}},
		"reach":    {flags: map[string]any{"advertise_boot_tls": "https://boot.example/"}, want: []string{"--advertise-boot-tls", "HOST:PORT"}},
		"public":   {flags: map[string]any{"public_url": "https://ann:pw@b.example"}, want: []string{"--public-url", "nothing else"}},
		"query":    {vars: []string{"BESSEMER_PUBLIC_URL=https://b.example/?x=1"}, want: []string{"BESSEMER_PUBLIC_URL"}},
		"bool":     {vars: []string{"BESSEMER_FORCE_NO_AUTH=perhaps"}, want: []string{"force_no_auth"}},
	} {
		env := e
		env.Variables = c.vars
		path := ""
		if c.file != "" {
			path = write(t, c.file)
		}
		_, _, err := config.Load(path, env, c.flags)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, part := range c.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: error %q lacks %q", name, err, part)
			}
		}
	}
	if _, _, err := config.Load(filepath.Join(t.TempDir(), "absent.yaml"), e, nil); err == nil {
		t.Error("a file asked for and absent is no error")
	}
}

// A setting that Load reads but Server lacks, or the other way round, shows here.
func TestEverySettingChangesTheServer(t *testing.T) {
	e := config.Environment{Home: t.TempDir()}
	base, _, err := config.Load("", e, nil)
	if err != nil {
		t.Fatal(err)
	}
	other := map[string]any{"auth": "basic", "allow_origin": []string{"192.0.2.0/24"}, "webhook_origin": []string{"https://hooks.example"}, "agent_network": []string{"192.0.2.0/24"},
		"public_url": "https://b.example", "power_sync": "7m", "connections_per_address": "7", "log_level": "debug", "listen": "127.0.0.1:9", "agent_listen": ":9", "boot_listen": ":9", "boot_tls_listen": ":9",
		"enabled_hardware_types": []string{"redfish"}, "enabled_interfaces": []string{"deploy=direct"}, "default_interfaces": []string{"deploy=custom-agent"},
		"fake_delays": []string{"deploy=1"}}
	rows := config.Settings(e)
	// Three settings say together what Interfaces is.
	if n := reflect.TypeFor[config.Server]().NumField(); n != len(rows)-2 {
		t.Errorf("%d fields, %d settings", n, len(rows))
	}
	for _, s := range rows {
		flags := map[string]any{s.Key: "other"}
		if s.Kind == config.Flag {
			flags[s.Key] = true
		}
		if v, ok := other[s.Key]; ok {
			flags[s.Key] = v
		}
		for _, pair := range []string{"tls_", "boot_tls_"} {
			if s.Key == pair+"cert" || s.Key == pair+"key" {
				flags = map[string]any{pair + "cert": "c", pair + "key": "k"}
			}
		}
		changed, _, err := config.Load("", e, flags)
		if err != nil {
			t.Errorf("%s: %v", s.Key, err)
		}
		if reflect.DeepEqual(base, changed) {
			t.Errorf("%s changes nothing", s.Key)
		}
	}
}
