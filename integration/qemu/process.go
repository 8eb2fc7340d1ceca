package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// process is one run of QEMU.
type process struct {
	qmp    *monitor
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process was reaped
	stderr tail

	mu     sync.Mutex
	reason string // of the SHUTDOWN event
}

// launch starts QEMU and waits until its monitor answers. The process ends with kill, by its guest, or with us.
func launch(ctx context.Context, wg *sync.WaitGroup, bin string, args []string, event func(string, json.RawMessage)) (*process, error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("start QEMU: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "qmp"), os.NewFile(uintptr(pair[1]), "qmp")
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		return nil, fmt.Errorf("start QEMU: %w", err)
	}
	p := &process{exited: make(chan struct{})}
	p.cmd = exec.Command(bin, append(args, "-chardev", "socket,id=qmp,fd=3", "-mon", "chardev=qmp,mode=control")...)
	p.cmd.ExtraFiles = []*os.File{theirs}
	p.cmd.Stderr = &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	p.qmp = &monitor{conn: conn, answers: make(chan answer, 1), done: make(chan struct{}), events: func(name string, data json.RawMessage) {
		if name == "SHUTDOWN" {
			var d struct {
				Reason string `json:"reason"`
			}
			if json.Unmarshal(data, &d) == nil {
				p.mu.Lock()
				p.reason = d.Reason
				p.mu.Unlock()
			}
		}
		event(name, data)
	}}
	started := make(chan error, 1)
	wg.Go(func() {
		// The kernel kills the child when the thread that made it ends, so the thread stays ours until then.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.cmd.Wait() // how it ended is read from its last words and the SHUTDOWN event
		conn.Close()
		close(p.exited)
	})
	if err := <-started; err != nil {
		conn.Close()
		return nil, fmt.Errorf("start QEMU: %w", err)
	}
	theirs.Close() // so that reading ends with QEMU
	wg.Go(p.qmp.read)
	if err := p.qmp.run(ctx, "qmp_capabilities", nil); err != nil {
		p.kill()
		return nil, fmt.Errorf("start QEMU: %w: %s", err, p.stderr.String())
	}
	return p, nil
}

// kill ends the process and returns when it is gone.
func (p *process) kill() {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.qmp.conn.Close()
	}
	<-p.exited
}

// ending is why the process ended, in QEMU's word (guest-shutdown, guest-reset, …) or its last words.
func (p *process) ending() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reason != "" {
		return p.reason
	}
	return strings.TrimSpace("QEMU ended: " + p.stderr.String())
}

// tail keeps the last of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	t.buf = t.buf[max(0, len(t.buf)-4096):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}
