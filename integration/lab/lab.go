// Package lab is a rack on one computer: the built server as a process of its own, and emulated machines with Redfish
// BMCs (integration/emulator) that reach it as real ones would. The demo and the virtual machine tests run on it. It
// knows nothing of what is tested; start at Start.
package lab

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// GuestHost is this computer as QEMU's user network shows it to a guest.
const GuestHost = "10.0.2.2"

// The BMCs' account.
const (
	Username = "admin"
	Password = "password"
)

// Config is what a lab is made of.
type Config struct {
	Dir      string // state of server and machines
	Cache    string // what outlives the lab: the probe for KVM
	Bessemer string // the built server
	ISO      string // the ramdisk's boot medium
	Listen   string // the server's API; "" is a port on loopback that the system chooses
	Args     []string
	Machines []emulator.MachineConfig
	Accel    string // "tcg", "kvm" or "auto"
}

// Lab is a running rack.
type Lab struct {
	Client   *client.Client
	Emulator *emulator.Emulator
	URL      string // of the server's API
	Images   string // base URL of the image store as guests reach it

	cfg    Config
	iso    string
	args   []string
	server *process
}

// Start starts everything and returns when the API answers. Close ends it.
func Start(ctx context.Context, cfg Config) (*Lab, error) {
	l := &Lab{cfg: cfg}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	// A copy of its own: the next build may replace the file while a machine still reads it.
	iso := filepath.Join(cfg.Dir, "bessemer.iso")
	if err := copyFile(iso, cfg.ISO); err != nil {
		return nil, fmt.Errorf("copy the boot medium: %w", err)
	}
	l.iso = iso
	l.args = l.arguments(addresses{cmp.Or(cfg.Listen, anyPort), anyPort, anyPort})
	var err error
	l.Emulator, err = emulator.New(emulator.Config{
		Dir: filepath.Join(cfg.Dir, "machines"), Listen: "127.0.0.1:0", Username: Username, Password: Password,
		Accelerator: cfg.Accel, Cache: cfg.Cache, Machines: cfg.Machines, Control: "127.0.0.1:0",
		Log: slog.New(slog.NewTextHandler(l.logFile("emulator.log"), nil)),
	})
	if err != nil {
		return nil, err
	}
	if err := l.StartServer(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

const anyPort = "127.0.0.1:0"

// addresses are what the server listens on.
type addresses struct{ api, agents, boot string }

func (l *Lab) arguments(a addresses) []string {
	return append([]string{
		"serve", "--data-dir", filepath.Join(l.cfg.Dir, "server"), "--listen", a.api,
		"--agent-listen", a.agents, "--advertise-agent", GuestHost, "--boot-listen", a.boot, "--advertise-images", GuestHost,
		"--base-iso", l.iso, "--allow-origin", "127.0.0.0/8", "--allow-origin", GuestHost + "/32",
	}, l.cfg.Args...)
}

var serving = regexp.MustCompile(`msg=serving api=(\S+) agents=\S+:(\d+) boot=\S+:(\d+) `)

// bound finds out what the server's first process listens on, whose ports the system chose. The next ones listen there
// as well.
func (l *Lab) bound(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		text, err := os.ReadFile(l.ServerLog())
		if err != nil {
			return err
		}
		if m := serving.FindStringSubmatch(string(text)); m != nil {
			l.URL, l.Images = m[1], "http://"+GuestHost+":"+m[3]
			l.args = l.arguments(addresses{strings.TrimPrefix(l.URL, "http://"), "127.0.0.1:" + m[2], "127.0.0.1:" + m[3]})
			l.Client, err = client.New(client.Options{Server: l.URL})
			return err
		}
		select {
		case <-l.server.ended:
			return fmt.Errorf("the server ended: %v\n%s", l.server.err, Tail(l.ServerLog(), 20))
		case <-ctx.Done():
			return fmt.Errorf("the server does not say that it serves\n%s", Tail(l.ServerLog(), 20))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func (l *Lab) logFile(name string) io.Writer {
	f, err := os.OpenFile(filepath.Join(l.cfg.Dir, name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return io.Discard
	}
	return f
}

// ServerLog is the file with what the server says.
func (l *Lab) ServerLog() string { return filepath.Join(l.cfg.Dir, "server.log") }

// Command is the server's command line, to be shown to a person.
func (l *Lab) Command() string { return l.cfg.Bessemer + " " + strings.Join(l.args, " ") }

// StartServer starts the server and waits until it answers.
func (l *Lab) StartServer(ctx context.Context) error {
	p, err := start(l.cfg.Bessemer, l.args, l.logFile("server.log"))
	if err != nil {
		return err
	}
	l.server = p
	if l.Client == nil {
		if err := l.bound(ctx); err != nil {
			return err
		}
	}
	return l.answers(ctx)
}

// answers waits until the API does.
func (l *Lab) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if _, err := l.Client.Nodes(ctx, nil); err == nil {
			return nil
		}
		select {
		case <-l.server.ended:
			return fmt.Errorf("the server ended: %v\n%s", l.server.err, Tail(l.ServerLog(), 20))
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer at %s\n%s", l.URL, Tail(l.ServerLog(), 20))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// KillServer ends the server without a chance to say good-bye (F1).
func (l *Lab) KillServer() { l.server.kill() }

// ServerPID is the server's process.
func (l *Lab) ServerPID() int { return l.server.cmd.Process.Pid }

// Close powers everything off, ends the server and waits for both.
func (l *Lab) Close() error {
	var err error
	if l.Emulator != nil {
		err = l.Emulator.Close()
	}
	if l.server != nil {
		l.server.stop()
	}
	if l.Client != nil {
		l.Client.Close()
	}
	return err
}

// Enroll makes a node and a port for each card of a machine, as an operator would.
func (l *Lab) Enroll(ctx context.Context, m *emulator.Machine, properties map[string]any) (api.Node, error) {
	n, err := l.Client.CreateNode(ctx, map[string]any{
		"name": m.Name(), "driver": "redfish", "properties": properties,
		"driver_info": map[string]any{
			"redfish_address": m.URL(), "redfish_system_id": m.SystemPath(), "redfish_username": Username, "redfish_password": Password,
		},
	})
	if err != nil {
		return n, err
	}
	for _, mac := range m.MACs() {
		if _, err := l.Client.CreatePort(ctx, map[string]any{"node_uuid": n.UUID, "address": mac.String()}); err != nil {
			return n, err
		}
	}
	return n, nil
}

// Until waits until the node is in the state wanted, and calls seen (which may be nil) with every change on the way.
// A failed state that is not wanted ends the wait with its cause.
func (l *Lab) Until(ctx context.Context, node string, want state.State, seen func(api.StepsAnswer)) (api.StepsAnswer, error) {
	for {
		s, err := l.Client.Steps(ctx, node, "")
		if err != nil {
			return s, err
		}
		if seen != nil {
			seen(s)
		}
		_, busy := state.FlowOf(s.State)
		busy = busy || s.Run != nil && s.Run.Ended.IsZero() // a verb's answer may come before its flow's state does
		switch {
		case s.State == want && !busy:
			return s, nil
		case !busy && s.LastError != "":
			return s, fmt.Errorf("%s is %s, expected %s: %s", node, s.State, want, s.LastError)
		}
		select {
		case <-ctx.Done():
			return s, fmt.Errorf("%s is still %s, expected %s; it waits for: %s", node, s.State, want, waitText(s))
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func waitText(s api.StepsAnswer) string {
	if s.Wait == nil {
		return "nothing"
	}
	return s.Wait.For + " (" + s.Wait.Evidence + ")"
}

// Console waits until a machine's serial line says text after offset and gives the offset behind it.
func (l *Lab) Console(ctx context.Context, m *emulator.Machine, offset int, text string) (int, error) {
	for {
		raw, err := os.ReadFile(m.Console())
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
		if offset <= len(raw) {
			if i := bytes.Index(raw[offset:], []byte(text)); i >= 0 {
				return offset + i + len(text), nil
			}
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("the serial line of %s never said %q; its end:\n%s", m.Name(), text, Tail(m.Console(), 25))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// ConsoleLength is how much a machine's serial line has said so far.
func (l *Lab) ConsoleLength(m *emulator.Machine) int {
	st, err := os.Stat(m.Console())
	if err != nil {
		return 0
	}
	return int(st.Size())
}

// Tail is the last lines of a file, or why it can not be read.
func Tail(file string, lines int) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(raw), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// process is a child that dies with this one.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error
}

func start(program string, args []string, log io.Writer) (*process, error) {
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The kernel kills the child when the thread that made it ends, so the thread stays ours until then.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		close(p.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return p, nil
}

// environment is ours without settings of Bessemer: a lab is what its configuration says.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "BESSEMER_") })
}

func (p *process) kill() {
	p.cmd.Process.Kill() //nolint:errcheck // it may have ended by itself
	<-p.ended
}

// stop asks, and insists after a while.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended by itself
	select {
	case <-p.ended:
	case <-time.After(15 * time.Second):
		p.kill()
	}
}

// Busy makes a machine's BMC answer 503 for a while.
func Busy(m *emulator.Machine, span time.Duration) error {
	_, err := m.Inject(emulator.Fault{Kind: emulator.Status, Status: 503, For: emulator.Duration(span)})
	return err
}
