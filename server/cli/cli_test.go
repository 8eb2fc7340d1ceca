package cli_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/bessemer-metal/bessemer/server/cli"
	"github.com/bessemer-metal/bessemer/server/cli/clitest"
	"github.com/bessemer-metal/bessemer/server/cli/host"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/server/engine"
	"github.com/bessemer-metal/bessemer/server/fake"
	"github.com/bessemer-metal/bessemer/server/logs"
	"github.com/bessemer-metal/bessemer/server/redfish"
	"github.com/bessemer-metal/bessemer/server/rest"
	"github.com/bessemer-metal/bessemer/server/rest/login"
	"github.com/bessemer-metal/bessemer/server/sqlite"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// bessemer is the command in a script, with <FILE as its standard input. It runs in this process.
func bessemer(ts *testscript.TestScript, neg bool, args []string) {
	in := ""
	if last := len(args) - 1; last >= 0 && strings.HasPrefix(args[last], "<") {
		in, args = ts.ReadFile(args[last][1:]), args[:last]
	}
	e := config.Environment{Home: ts.Getenv("WORK")}
	for _, name := range []string{"BESSEMER_SERVER", "BESSEMER_LISTEN", "BESSEMER_PASSWORD_FILE"} {
		if v := ts.Getenv(name); v != "" {
			e.Variables = append(e.Variables, name+"="+v)
		}
	}
	code := cli.Run(context.Background(), args, cli.Streams{In: strings.NewReader(in), Out: ts.Stdout(), Err: ts.Stderr(), Interactive: ts.Getenv("INTERACTIVE") != "", Now: time.Now, Environment: e}, host.Programs{
		Version: "test",
		Serve: func(_ context.Context, s config.Server) error {
			_, err := fmt.Fprintln(ts.Stdout(), "serve on", s.Listen, "origins", s.AllowOrigins)
			return err
		},
		BuildRamdisk: func(_ context.Context, r host.Ramdisk) error {
			_, err := fmt.Fprintln(ts.Stdout(), "build into", r.Output, r.Bundles, r.Fast)
			return err
		},
	})
	want := map[string]int{"": cli.OK, "failed": cli.Failed, "usage": cli.Usage, "left-out": cli.LeftOut}[ts.Getenv("EXIT")]
	if neg && want == cli.OK {
		want = cli.Failed
	}
	if !neg {
		want = cli.OK
	}
	if code != want {
		ts.Fatalf("exit code %d, expected %d", code, want)
	}
}

// until waits for a node to be in a state: until n1 'clean wait'.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: until NODE STATE")
	}
	again, late := time.NewTicker(10*time.Millisecond), time.After(2*time.Minute)
	defer again.Stop()
	for {
		var out bytes.Buffer
		cli.Run(context.Background(), []string{"--server", ts.Getenv("BESSEMER_SERVER"), "node", "show", args[0]}, cli.Streams{
			In: strings.NewReader(""), Out: &out, Err: &out, Now: time.Now}, host.Programs{})
		if regexp.MustCompile(`(?m)^state +` + regexp.QuoteMeta(args[1]) + `( ->|,)`).Match(out.Bytes()) {
			return
		}
		select {
		case <-again.C:
		case <-late:
			ts.Fatalf("node %s is not in state %q: %s", args[0], args[1], out.String())
		}
	}
}

// cursor keeps the cursor that stands in what was written last, as $CURSOR.
func cursor(ts *testscript.TestScript, _ bool, _ []string) {
	m := regexp.MustCompile(`"cursor": "([^"]+)"`).FindStringSubmatch(ts.ReadFile("stdout"))
	if m == nil {
		ts.Fatalf("there is no cursor")
	}
	ts.Setenv("CURSOR", m[1])
}

// The scripts run the command against the real API, conductor and store, with machines that are in memory only.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			url, stop, err := serve(filepath.Join(e.WorkDir, "data"))
			if err != nil {
				return err
			}
			e.Defer(stop)
			e.Setenv("BESSEMER_SERVER", url)
			return nil
		},
		Cmds:          map[string]func(*testscript.TestScript, bool, []string){"bessemer": bessemer, "until": until, "cursor": cursor},
		UpdateScripts: *clitest.Update,
	})
}

// world is what a server of these tests has. Its machines wait for a ramdisk, which makes more to look at than those
// that only pretend.
type world struct {
	wrap    func(conductor.Driver) conductor.Driver // nil: the driver as it is
	pretend bool                                    // the machines pretend all work
	redfish bool                                    // nodes may be of redfish, too; no BMC is ever reached
	auth    login.Authenticator                     // nil: everybody may do everything
	tls     string                                  // file that its certificate is written to; "": no TLS
}

// serve starts a server without agents.
func serve(dir string) (url string, stop func(), err error) {
	return world{}.serve(dir)
}

// serve starts a server in that world.
func (x world) serve(dir string) (url string, stop func(), err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", nil, err
	}
	log := slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(context.Background())
	store, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, "bessemer.db"), Sealer: plain{}, Log: log, Now: time.Now})
	if err != nil {
		cancel()
		return "", nil, err
	}
	kept, err := logs.Open(filepath.Join(dir, "logs"), log)
	if err != nil {
		cancel()
		return "", nil, err
	}
	wait := drivers.Settings{Types: []string{"fake-hardware"}, Default: []drivers.Choice{{Kind: drivers.Deploy, Name: "direct"}, {Kind: drivers.Inspect, Name: "agent"}, {Kind: drivers.Vendor, Name: "no-vendor"}}}
	if x.pretend {
		wait = drivers.Settings{Types: wait.Types}
	}
	offered, err := wait.Offer()
	if err != nil {
		cancel()
		return "", nil, err
	}
	driver := conductor.Driver(fake.New(fake.Config{Interfaces: offered["fake-hardware"]}))
	if x.wrap != nil {
		driver = x.wrap(driver)
	}
	types := []conductor.Driver{driver}
	if x.redfish {
		types = append(types, redfish.New(redfish.Config{Log: log, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }}))
	}
	if x.auth == nil {
		x.auth = login.None{}
	}
	c, err := engine.New(engine.Config{
		Store: store, Drivers: types, Dispatcher: nobody{}, Logs: kept, ConfigDrives: drives{},
		BootKey: bytes.Repeat([]byte{1}, 32), AgentURL: func() string { return "https://192.0.2.1:6386" },
		MediumURL: func(token string) string { return "http://192.0.2.1:6387/boot/" + token + "/bessemer.iso" },
		Now:       time.Now, Log: log, Timeouts: conductor.DefaultTimeouts(),
	})
	if err != nil {
		cancel()
		return "", nil, err
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	h := httptest.NewUnstartedServer(rest.New(rest.Config{Backend: c, Images: &shelf{images: map[string]api.Image{}}, Auth: x.auth, WebhookOrigins: []string{"https://hooks.example:443"},
		Hostname: "lab", Now: time.Now, Started: time.Now(), Log: log}))
	if x.tls == "" {
		h.Start()
	} else {
		h.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
		h.StartTLS()
		if err := os.WriteFile(x.tls, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw}), 0o600); err != nil {
			cancel()
			return "", nil, err
		}
	}
	return h.URL, func() {
		cancel()
		h.CloseClientConnections()
		h.Close()
		<-done
		_ = kept.Close()
		_ = store.Close()
	}, nil
}

type plain struct{}

func (plain) Seal(_, _ string, v []byte) (string, []byte, error) { return "k", slices.Clone(v), nil }
func (plain) Open(_, _, _ string, v []byte) ([]byte, error)      { return v, nil }

// nobody is a dispatcher without agents.
type nobody struct{}

func (nobody) Offer(conductor.NodeID, uint64, api.Command) {}
func (nobody) Withdraw(conductor.NodeID, step.ID)          {}
func (nobody) Drop(conductor.NodeID)                       {}
func (nobody) Heard(conductor.NodeID, uint64) time.Time    { return time.Time{} }

type drives struct{}

func (drives) ConfigDrive(files map[string][]byte) ([]byte, error) {
	return bytes.Join(slices.Collect(func(yield func([]byte) bool) {
		for _, f := range files {
			if !yield(f) {
				return
			}
		}
	}), nil), nil
}

// shelf is an image store in memory.
type shelf struct{ images map[string]api.Image }

func (s *shelf) Put(_ context.Context, name string, r io.Reader) (api.Image, error) {
	n, err := io.Copy(io.Discard, r)
	i := api.Image{Name: name, Size: n, Format: "raw", SHA256: strings.Repeat("ab", 32), URL: "http://192.0.2.1:6387/images/" + name}
	s.images[name] = i
	return i, err
}

func (s *shelf) Image(_ context.Context, name string) (api.Image, error) {
	if i, ok := s.images[name]; ok {
		return i, nil
	}
	return api.Image{}, fault.New(fault.ImageNotFound, "there is no image %s", name)
}

func (s *shelf) List(context.Context) (out []api.Image, _ error) {
	for _, i := range s.images {
		out = append(out, i)
	}
	return out, nil
}

func (s *shelf) Delete(_ context.Context, name string) error { delete(s.images, name); return nil }
