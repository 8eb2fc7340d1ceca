package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/bessemer-metal/bessemer/initramfs/media"
	"github.com/bessemer-metal/bessemer/integration/fleet"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// rack is a server process under load, with a data directory and a fleet's socket of its own.
type rack struct {
	dir     string
	program string
	ports   [3]int // API, agents, boot
	api     *client.Client
	running *process
}

// process is a child that ends with us.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// child starts a program; what it says goes to said.
func child(said io.Writer, program string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(program, args...), ended: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Stdout, p.cmd.Stderr = io.Discard, said
	started := make(chan error, 1)
	go func() {
		// The kernel kills the child when the thread that made it ends, so the thread stays ours until then.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.ended)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.cmd.Wait() //nolint:errcheck // it is killed
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(program), err)
	}
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill ends it as a crash does.
func (p *process) kill() error {
	err := p.cmd.Process.Kill()
	<-p.ended
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// newRack builds the server and makes its directory; nothing runs yet.
func newRack(ctx context.Context, root string) (*rack, error) {
	dir, err := os.MkdirTemp("", "load")
	if err != nil {
		return nil, err
	}
	r := &rack{dir: dir, program: filepath.Join(dir, "bessemer")}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", r.program, "./server")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("build the server: %w\n%s", err, out), r.close())
	}
	if err := media.RegionISO(r.iso(), make([]byte, api.RegionSize)); err != nil {
		return nil, errors.Join(err, r.close())
	}
	for i := range r.ports {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(err, r.close())
		}
		r.ports[i] = ln.Addr().(*net.TCPAddr).Port
		if err := ln.Close(); err != nil {
			return nil, errors.Join(err, r.close())
		}
	}
	if r.api, err = client.New(client.Options{Server: r.url(), Timeout: 2 * time.Minute}); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *rack) iso() string    { return filepath.Join(r.dir, "base.iso") }
func (r *rack) socket() string { return filepath.Join(r.dir, "play", "machines") }
func (r *rack) url() string    { return fmt.Sprintf("http://127.0.0.1:%d", r.ports[0]) }

// start starts the server and tells how long its first answer took.
func (r *rack) start(ctx context.Context) (time.Duration, error) {
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", r.ports[i]) }
	var said bytes.Buffer
	began := time.Now()
	p, err := child(&said, r.program, "serve", "--data-dir", filepath.Join(r.dir, "data"), "--listen", at(0), "--agent-listen", at(1),
		"--boot-listen", at(2), "--base-iso", r.iso(), "--fake-machines", r.socket(), "--log-level", "error")
	if err != nil {
		return 0, err
	}
	r.running = p
	ask := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		answer, err := ask.Get(r.url() + "/v1")
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return time.Since(began), nil
			}
		}
		select {
		case <-p.ended:
			return 0, fmt.Errorf("the server ended: %s", said.String())
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// kill ends the server as a crash does.
func (r *rack) kill() error {
	p := r.running
	if r.running = nil; p == nil {
		return nil
	}
	return p.kill()
}

func (r *rack) close() error {
	if r.api != nil {
		r.api.Close()
	}
	return errors.Join(r.kill(), os.RemoveAll(r.dir))
}

// cpu is the processor time that the server has used.
func (r *rack) cpu() (time.Duration, error) { return cpuOf(r.running.pid()) }

// cpuOf reads /proc/PID/stat; its clock ticks a hundred times a second on Linux.
func cpuOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field, a name in parentheses, may hold anything.
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(f) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat is short", pid)
	}
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2)
}

// files is how many files and sockets the server has open.
func (r *rack) files() (int, error) {
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.running.pid()))
	return len(all), err
}

var resident = regexp.MustCompile(`(?m)^(VmRSS|VmHWM):\s+(\d+) kB`)

// memory is what the server holds now and held at most, MB.
func (r *rack) memory() (now, most float64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.running.pid()))
	if err != nil {
		return 0, 0, err
	}
	for _, m := range resident.FindAllStringSubmatch(string(text), -1) {
		kb, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return 0, 0, err
		}
		if m[1] == "VmRSS" {
			now = kb * 1024 / 1e6
		} else {
			most = kb * 1024 / 1e6
		}
	}
	return now, most, nil
}

// fleet makes machines for this server.
func (r *rack) fleet(o fleet.Options) (*fleet.Fleet, error) {
	o.API, o.Socket, o.Log = r.api, r.socket(), quiet
	return fleet.New(o)
}
