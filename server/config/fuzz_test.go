package config_test

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/bessemer-metal/bessemer/server/config"
)

// FuzzZ11_SettingsFile: any bytes in the place of the settings file, one that is cut off anywhere among them, are settings that
// keep to the rules, or an error that says what is wrong. No key passes that is no setting, and the same file means the same again.
func FuzzZ11_SettingsFile(f *testing.F) {
	const whole = "listen: 192.0.2.1:6385\nauth: basic\nallow_origin: [192.0.2.0/24, 2001:db8::1]\npublic_url: https://metal.example/api\nforce_no_auth: false\n" +
		"enabled_interfaces: deploy=direct,deploy=fake\nfake_delays: [power=1-2.5]\npower_sync: 90s\nwebhook_origin: https://hooks.example:443\nlog_level: warn\n"
	for i := range len(whole) {
		f.Add(whole[:i])
	}
	for _, text := range []string{whole, "listen: 6385\n", "- listen\n", "a: &a [*a]\n", "listen: {a: 1}\n", "auth: !!binary YQ==\n", "data_dir: \"\"\n", "\x00", "fake_delays: power=NaN\n", "listen: a\nlisten: b\n"} {
		f.Add(text)
	}
	dir := f.TempDir()
	path := filepath.Join(dir, "bessemer.yaml")
	e := config.Environment{Home: dir}
	var known []string
	for _, s := range config.Settings(e) {
		known = append(known, s.Key)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, values, err := config.Load(path, e, nil)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error without words")
			}
			return
		}
		var doc map[string]any
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatalf("%q is no YAML (%v) and taken", text, err)
		}
		for k := range doc {
			if !slices.Contains(known, k) {
				t.Fatalf("%q is no setting and taken", k)
			}
		}
		if again, more, err := config.Load(path, e, nil); err != nil || !reflect.DeepEqual(again, s) || !reflect.DeepEqual(more, values) {
			t.Fatalf("%q means %+v, then %+v, %v", text, s, again, err)
		}
		for _, addr := range []string{s.Listen, s.AgentListen, s.BootListen} {
			if _, _, err := net.SplitHostPort(addr); err != nil {
				t.Fatalf("%q listens on %q", text, addr)
			}
		}
		if u, err := url.Parse(s.PublicURL); err != nil || u.User != nil {
			t.Fatalf("%q has the public URL %q", text, s.PublicURL)
		}
		if s.DataDir == "" || !slices.Contains([]string{"none", "basic"}, s.Auth) || s.PowerSync != 0 && s.PowerSync < 10*time.Second || len(s.Interfaces) == 0 {
			t.Fatalf("%q means %+v", text, s)
		}
		for kind, d := range s.FakeDelays {
			if d.Least < 0 || d.Most < d.Least || d.Most > 10*time.Minute {
				t.Fatalf("%q lets %s take %+v", text, kind, d)
			}
		}
	})
}
