package host_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/cli"
	"github.com/bessemer-metal/bessemer/server/cli/clitest"
	"github.com/bessemer-metal/bessemer/server/cli/host"
	"github.com/bessemer-metal/bessemer/server/config"
)

// ran is what a command line came to.
type ran struct {
	code      int
	out, errs string
}

func run(t *testing.T, p host.Programs, in string, variables []string, args ...string) ran {
	t.Helper()
	var out, errs bytes.Buffer
	code := cli.Run(t.Context(), args, cli.Streams{In: strings.NewReader(in), Out: &out, Err: &errs, Now: func() time.Time { return clitest.Now },
		Environment: config.Environment{Home: t.TempDir(), Variables: variables}}, p)
	return ran{code, out.String(), errs.String()}
}

// want checks the exit code, all of the output, and a part of what is said beside it.
func (r ran) want(t *testing.T, what string, code int, out, errs string) {
	t.Helper()
	if r.code != code || r.out != out || !strings.Contains(r.errs, errs) || errs == "" && r.errs != "" {
		t.Errorf("%s: exit %d, %q, %q; want %d, %q, %q", what, r.code, r.out, r.errs, code, out, errs)
	}
}

// The later of file, variable and flag wins; what can't be read is said before anything runs, and a server's end is the
// command's.
func TestServeRunsWithItsSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(file, []byte("data_dir: /from/file\nlisten: 192.0.2.1:1\nauth: basic\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got []config.Server
	var ends error
	p := host.Programs{Serve: func(_ context.Context, s config.Server) error { got = append(got, s); return ends }}
	vars := []string{"BESSEMER_LISTEN=192.0.2.1:2", "BESSEMER_DATA_DIR=/from/variable"}
	run(t, p, "", vars, "serve", "--config", file, "--data-dir", "/from/flag").want(t, "serve", cli.OK, "", "")
	if len(got) != 1 || got[0].DataDir != "/from/flag" || got[0].Listen != "192.0.2.1:2" || got[0].Auth != "basic" {
		t.Fatalf("it runs with %+v", got)
	}
	ends = errors.New("the port is taken")
	run(t, p, "", nil, "serve").want(t, "a server that ends", cli.Failed, "", "the port is taken")
	before := len(got)
	for _, args := range [][]string{{"serve", "--config", file + ".none"}, {"serve", "--nosuch"}, {"serve", "extra"}, {"serve", "--auth", "guess"}} {
		if r := run(t, p, "", nil, args...); r.code != cli.Usage || r.errs == "" || len(got) != before {
			t.Errorf("%q: %+v, ran %d times", args, r, len(got)-before)
		}
	}
}

// Settings are shown with where each comes from, in a form for people and in one for programs.
func TestSettingsAreShownWithTheirOrigin(t *testing.T) {
	r := run(t, host.Programs{}, "", []string{"BESSEMER_DATA_DIR=/from/variable"}, "config", "show", "--origin", "--auth", "basic")
	if r.code != cli.OK || r.errs != "" {
		t.Fatalf("%+v", r)
	}
	origins := map[string]string{}
	for line := range strings.Lines(r.out) {
		f := strings.Fields(line)
		origins[f[0]] = strings.Join(f[1:], " ")
	}
	if d := origins["data_dir"]; !strings.HasPrefix(d, "/from/variable ") || !strings.Contains(d, "BESSEMER_DATA_DIR") {
		t.Errorf("data_dir: %q", d)
	}
	if a := origins["auth"]; a != "basic flag --auth" && !strings.HasPrefix(a, "basic ") {
		t.Errorf("auth: %q", a)
	}
	j := run(t, host.Programs{}, "", nil, "config", "show", "-o", "json")
	if j.code != cli.OK || !strings.HasPrefix(j.out, "[\n") || strings.Count(j.out, `"key": "auth"`) != 1 || !strings.Contains(j.out, `"origin": "default"`) {
		t.Errorf("%+v", j)
	}
	run(t, host.Programs{}, "", nil, "config", "show", "--config", "/nosuch.yaml").want(t, "no file", cli.Usage, "", "/nosuch.yaml")
}

func TestVersionInEachForm(t *testing.T) {
	run(t, host.Programs{Version: "1.2"}, "", nil, "version").want(t, "a release", cli.OK, "bessemer 1.2\n", "")
	run(t, host.Programs{}, "", nil, "version").want(t, "no release", cli.OK, "bessemer devel\n", "")
	run(t, host.Programs{Version: "1.2"}, "", nil, "version", "-o", "json").want(t, "as JSON", cli.OK, "{\n  \"version\": \"1.2\"\n}\n", "")
}

func TestTheRamdiskIsBuiltAsAskedFor(t *testing.T) {
	var got host.Ramdisk
	var ends error
	p := host.Programs{BuildRamdisk: func(_ context.Context, r host.Ramdisk) error { got = r; return ends }}
	run(t, p, "", nil, "ramdisk", "build").want(t, "as it is", cli.OK, "", "")
	if want := (host.Ramdisk{Output: "build/ramdisk", Source: ".", CACerts: host.Certificates, Rescue: true}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	run(t, p, "", nil, "ramdisk", "build", "--output", "o", "--agent", "./mine", "--bundle", "a,b", "--bundle", "c", "--cmdline", "x=1,2", "--rescue=false", "--fast").want(t, "with all", cli.OK, "", "")
	if want := (host.Ramdisk{Output: "o", Source: ".", Agent: "./mine", Bundles: []string{"a", "b", "c"}, Cmdline: []string{"x=1,2"}, CACerts: host.Certificates, Fast: true}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	ends = errors.New("no kernel")
	run(t, p, "", nil, "ramdisk", "build").want(t, "a build that fails", cli.Failed, "", "no kernel")
}

func TestASimulationNeedsItsSocket(t *testing.T) {
	var got []host.Simulation
	p := host.Programs{Simulate: func(_ context.Context, s host.Simulation) error { got = append(got, s); return nil }}
	run(t, p, "", nil, "simulate").want(t, "no socket", cli.Usage, "", "--socket is missing")
	run(t, p, "", nil, "simulate", "--socket", "s", "--beats", "5").want(t, "beats without end", cli.Usage, "", "--beats needs --for")
	if len(got) != 0 {
		t.Fatalf("it ran with %+v", got)
	}
	run(t, p, "", []string{"BESSEMER_SERVER=http://127.0.0.1:1"}, "simulate", "--socket", "s", "--nodes", "7", "--step-time", "1m", "--beats", "5", "--for", "2s").want(t, "all of it", cli.OK, "", "")
	if len(got) != 1 || got[0].Socket != "s" || got[0].Nodes != 7 || got[0].StepTime != time.Minute || got[0].Beats != 5 || got[0].For != 2*time.Second || got[0].Prefix != "sim-" || got[0].API == nil {
		t.Errorf("it ran with %+v", got)
	}
}

// The files of the settings are kept, and nothing is written that was typed wrongly.
func TestUsersAreKeptOnThisHost(t *testing.T) {
	var did []string
	var users []host.User
	var refuses error
	p := host.Programs{Users: host.Users{
		List: func(s config.Server) ([]host.User, error) { return users, refuses },
		Set: func(s config.Server, u host.User, password string) error {
			did = append(did, fmt.Sprintf("set %s %s/%s %q in %s", u.Name, u.Role, u.Project, password, s.DataDir))
			return refuses
		},
		Delete: func(s config.Server, name string) error { did = append(did, "delete "+name); return refuses },
	}}
	run(t, host.Programs{}, "", nil, "user", "list").want(t, "a program without", cli.Failed, "", "keeps no user files")
	run(t, p, "", nil, "user", "list", "-o", "json").want(t, "nobody, as JSON", cli.OK, "[]\n", "")
	users = []host.User{{Name: "ann", Role: "admin"}, {Name: "bob", Role: "observer", Project: "lab"}, {Name: "cy"}}
	run(t, p, "", nil, "user", "ls").want(t, "a list", cli.OK, "NAME  ROLE             PROJECT\nann   admin            -\nbob   observer         lab\ncy    none: no access  -\n", "")
	for _, args := range [][]string{{"user", "set", "ann"}, {"user", "set", "ann", "--role", "admin:"}, {"user", "set"}, {"user", "delete"}, {"user", "set", "ann", "--config", "/nosuch", "--role", "admin"}} {
		if r := run(t, p, "", nil, args...); r.code != cli.Usage || r.errs == "" || len(did) != 0 {
			t.Errorf("%q: %+v, did %q", args, r, did)
		}
	}
	const soon = "; a server that runs with these files takes it over within a few seconds\n"
	run(t, p, "secret\n", nil, "user", "set", "bob", "--role", "observer:lab", "--new-password-file", "-", "--data-dir", "/d").
		want(t, "a password", cli.OK, "user bob is set"+soon+"the setting auth is none: only bessemer serve --auth basic asks for users\n", "")
	if r := run(t, p, "", []string{"BESSEMER_AUTH=basic"}, "user", "set", "ann", "--role", "admin", "--data-dir", "/d"); r.code != cli.OK || r.out != "user ann is set"+soon {
		t.Errorf("a server that asks for users: %+v", r)
	}
	run(t, p, "", nil, "user", "delete", "cy").want(t, "a user less", cli.OK, "user cy is deleted"+soon, "")
	if want := []string{`set bob observer/lab "secret" in /d`, `set ann admin/ "" in /d`, "delete cy"}; !reflect.DeepEqual(did, want) {
		t.Errorf("did %q, want %q", did, want)
	}
	refuses = errors.New("the file is not yours")
	for _, args := range [][]string{{"user", "list"}, {"user", "set", "ann", "--role", "admin"}, {"user", "delete", "ann"}} {
		if r := run(t, p, "", nil, args...); r.code != cli.Failed || r.out != "" || !strings.Contains(r.errs, "not yours") {
			t.Errorf("%q that is refused: %+v", args, r)
		}
	}
}
