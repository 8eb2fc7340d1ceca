package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/cli"
	"github.com/bessemer-metal/bessemer/server/cli/clitest"
	"github.com/bessemer-metal/bessemer/server/cli/host"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/server/rest/login"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// page is what a page of docs/howto takes for granted, and what its commands answer. All commands are run one after the
// other, as they stand there, against a server of the page's own.
type page struct {
	world world
	// before are commands that the page does not show. "until NODE STATE" waits, "stop" ends the server.
	before  []string
	between map[string][]string // the same, right before a command of the page
	after   []string            // the same, behind them all
	files   map[string]string   // in the folder that the commands run in
	source  int                 // nodes of the other Ironic that the page calls http://192.0.2.20:6385
	// answers are expressions that what a command writes must match; "exit N" is its last line unless it is 0. A
	// command that is shown and has none is a mistake in the table.
	answers map[string][]string
}

var shown = regexp.MustCompile(`(?m)^\$ bessemer (.*)$`)

// Every command of these pages does what the page says when it is typed.
func TestHowtoCommandsRun(t *testing.T) {
	for name, p := range pages {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("../../docs/howto", name))
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			t.Chdir(dir)
			for file, content := range p.files {
				if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			url, stop, err := p.world.serve(filepath.Join(dir, "data"))
			if err != nil {
				t.Fatal(err)
			}
			stop = sync.OnceFunc(stop)
			defer stop()
			other := httptest.NewServer(ironic(p.source))
			defer other.Close()
			commands := slices.Clone(p.before)
			for _, m := range shown.FindAllStringSubmatch(string(text), -1) {
				commands = append(append(commands, p.between[m[1]]...), m[1])
				if len(p.answers[m[1]]) == 0 {
					t.Errorf("what bessemer %s answers is not looked at", m[1])
				}
			}
			commands = append(commands, p.after...)
			for command := range p.answers {
				if !slices.Contains(commands, command) {
					t.Errorf("bessemer %s is not run", command)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			for _, command := range commands {
				if command == "stop" {
					stop()
					continue
				}
				if f := strings.Fields(command); f[0] == "until" {
					await(ctx, t, url, f[1], strings.Join(f[2:], " "))
					continue
				}
				var out bytes.Buffer
				code := cli.Run(ctx, words(strings.ReplaceAll(command, "http://192.0.2.20:6385", other.URL)), cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out, Now: time.Now,
					Environment: config.Environment{Home: dir, Variables: []string{"BESSEMER_SERVER=" + url}}}, host.Programs{Version: "test", Examine: examined})
				if code != cli.OK {
					fmt.Fprintf(&out, "exit %d\n", code)
				}
				wants := p.answers[command]
				if code != cli.OK && !slices.Contains(wants, fmt.Sprint("exit ", code)) {
					wants = append(slices.Clip(wants), "exit 0")
				}
				for _, want := range wants {
					if !regexp.MustCompile("(?m)" + want).Match(out.Bytes()) {
						t.Errorf("bessemer %s answers\n%s, expected %s", command, out.String(), want)
					}
				}
			}
		})
	}
}

// await waits until a node is in a state.
func await(ctx context.Context, t *testing.T, server, node, state string) {
	t.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		got := clitest.Run(t, server, false, "node", "show", node, "--fields", "provision_state")
		if strings.TrimSpace(strings.TrimPrefix(got, "provision_state")) == state {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("node %s is not %s: %s", node, state, got)
		}
	}
}

// examined is what a look at a data directory finds.
func examined(_ context.Context, s config.Server) []api.Check {
	return []api.Check{{Name: "database", OK: true, Found: "sound, in " + s.DataDir}}
}

// The page on connecting shows a clouds.yaml: with it, and the password beside it, the command reaches a server that
// wants a user, over TLS by its certificate alone. What the page calls refused is.
func TestConnectAsThePageSays(t *testing.T) {
	text, err := os.ReadFile("../../docs/howto/connect.md")
	if err != nil {
		t.Fatal(err)
	}
	clouds := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(string(text))
	commands := shown.FindAllStringSubmatch(string(text), -1)
	if clouds == nil || len(commands) != 1 {
		t.Fatalf("the page shows %d commands, and this clouds.yaml: %q", len(commands), clouds)
	}
	line, err := login.UserLine("ann", "labsecret")
	if err != nil {
		t.Fatal(err)
	}
	auth, err := login.NewBasic(strings.NewReader(line+"\n"), strings.NewReader("ann:admin\n"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Chdir(dir)
	url, stop, err := world{auth: auth, tls: filepath.Join(dir, "lab.pem")}.serve(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	cloud := strings.NewReplacer("https://192.0.2.10:6385", url, "/etc/ssl/lab.pem", filepath.Join(dir, "lab.pem")).Replace(clouds[1])
	connect := func(secret, cloud string) string {
		t.Helper()
		for file, content := range map[string]string{"clouds.yaml": cloud, "secure.yaml": "clouds: {lab: {auth: {password: " + secret + "}}}"} {
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var out bytes.Buffer
		code := cli.Run(t.Context(), words(commands[0][1]), cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out, Now: time.Now,
			Environment: config.Environment{Home: dir, Variables: []string{"OS_CLOUD=other"}}}, host.Programs{})
		return fmt.Sprintf("%sexit %d", out.String(), code)
	}
	for _, x := range []struct{ secret, cloud, want string }{
		{"labsecret", cloud, `^no nodes; bessemer node create`},
		{"wrong", cloud, `^  reason: request.unauthenticated\nexit 1$`},
		{"labsecret", strings.Replace(cloud, "    cacert: "+filepath.Join(dir, "lab.pem"), "", 1), `certificate(.|\n)*exit 1$`},
		{"labsecret", strings.Replace(cloud, "http_basic", "v3password", 1), `v3password(.|\n)*exit 2$`},
		{"labsecret", cloud + "    verify: false\n", `verify(.|\n)*exit 2$`},
	} {
		if got := connect(x.secret, x.cloud); !regexp.MustCompile("(?m)" + x.want).MatchString(got) {
			t.Errorf("with the password %s and\n%s\nbessemer %s answers %s, expected %s", x.secret, x.cloud, commands[0][1], got, x.want)
		}
	}
}
