//go:build vm

package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// guest is a bare QEMU machine without a BMC, for what happens before there is a server.
type guest struct {
	t     *testing.T
	dir   string
	stdin *os.File

	mu   sync.Mutex
	said bytes.Buffer
	more chan struct{} // closed and replaced when something was said
	gone chan struct{} // closed when QEMU has ended
}

// boot starts QEMU with what all bare machines share and args; it ends with the test.
func boot(t *testing.T, args ...string) *guest {
	t.Helper()
	dir, err := os.MkdirTemp("", "vm") // short: a socket lies there
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{t: t, dir: dir, more: make(chan struct{}), gone: make(chan struct{})}
	in, stdin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	g.stdin = stdin
	cmd := exec.Command("qemu-system-x86_64", append([]string{
		"-machine", "q35", "-cpu", "max", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "512", "-nodefaults", "-no-user-config",
		"-display", "none", "-no-reboot", "-serial", "stdio", "-device", "virtio-rng-pci", "-device", "virtio-scsi-pci,id=scsi",
		"-qmp", "unix:" + filepath.Join(dir, "qmp") + ",server=on,wait=off"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, g, g
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	go func() {
		defer close(g.gone)
		cmd.Wait()
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-g.gone
		stdin.Close()
		os.RemoveAll(dir)
		if t.Failed() {
			t.Logf("the machine said:\n%s", g.said.String())
		}
	})
	return g
}

func (g *guest) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.said.Write(p)
	close(g.more)
	g.more = make(chan struct{})
	return len(p), nil
}

// expect waits until the console has said text.
func (g *guest) expect(text string) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 3*time.Minute)
	defer cancel()
	for {
		g.mu.Lock()
		have, more := strings.Contains(g.said.String(), text), g.more
		g.mu.Unlock()
		if have {
			return
		}
		select {
		case <-more:
		case <-g.gone:
			g.t.Fatalf("QEMU ended; the machine never said %q", text)
		case <-ctx.Done():
			g.t.Fatalf("the machine never said %q", text)
		}
	}
}

// all is what the console has said so far.
func (g *guest) all() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.said.String()
}

// count is how often the console has said text.
func (g *guest) count(text string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Count(g.said.String(), text)
}

// typed types a line on the serial console.
func (g *guest) typed(line string) {
	g.t.Helper()
	if _, err := fmt.Fprintf(g.stdin, "%s\r", line); err != nil {
		g.t.Fatal(err)
	}
}

// qmp gives QEMU one command.
func (g *guest) qmp(command string, args map[string]any) {
	g.t.Helper()
	if args == nil {
		args = map[string]any{}
	}
	c := g.dial()
	defer c.Close()
	dec, enc := json.NewDecoder(c), json.NewEncoder(c)
	var greeting map[string]any
	if err := dec.Decode(&greeting); err != nil {
		g.t.Fatal(err)
	}
	for _, m := range []map[string]any{{"execute": "qmp_capabilities"}, {"execute": command, "arguments": args}} {
		if err := enc.Encode(m); err != nil {
			g.t.Fatal(err)
		}
		for answer := map[string]any{}; answer["return"] == nil; {
			answer = map[string]any{}
			if err := dec.Decode(&answer); err != nil || answer["error"] != nil {
				g.t.Fatalf("%s: %v %v", command, answer["error"], err)
			}
		}
	}
}

// dial reaches QEMU's control socket, which appears some time after the start.
func (g *guest) dial() net.Conn {
	g.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.Dial("unix", filepath.Join(g.dir, "qmp"))
		if err == nil {
			return c
		}
		select {
		case <-tick.C:
		case <-g.gone:
			g.t.Fatalf("QEMU ended before it could be controlled: %v", err)
		case <-g.t.Context().Done():
			g.t.Fatal(err)
		}
	}
}
