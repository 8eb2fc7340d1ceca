package system

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// OutputMax caps what is kept of a program's output.
const OutputMax = 1 << 20

// Runner runs programs of the ramdisk for hardware managers (shared/hardware.Runner): found by name in the usual
// folders, no shell, a fixed environment, output capped at OutputMax. When ctx ends the program is killed.
type Runner struct{ root string }

// NewRunner runs programs that lie below root.
func NewRunner(root string) Runner { return Runner{root} }

// Run runs program and gives what it wrote to stdout. A longer output than OutputMax is an error; so is an exit
// status that is not 0, with the last lines of stderr.
func (r Runner) Run(ctx context.Context, program string, args ...string) ([]byte, error) {
	file, err := r.find(program)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, file, args...)
	cmd.Env = []string{"PATH=" + strings.Join(programDirs, ":"), "LC_ALL=C"}
	// What the program started ends with it, and must not hold its pipes open.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, told := &capped{max: OutputMax}, &tail{max: 4 << 10}
	cmd.Stdout, cmd.Stderr = out, told
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return out.b.Bytes(), fmt.Errorf("run %s: %w%s", program, err, told)
	}
	if out.over {
		return out.b.Bytes(), fmt.Errorf("run %s: it wrote more than %d bytes", program, OutputMax)
	}
	return out.b.Bytes(), nil
}

var programDirs = []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin", "/bbin"}

func (r Runner) find(program string) (string, error) {
	if strings.Contains(program, "/") {
		return filepath.Join(r.root, program), nil
	}
	for _, d := range programDirs {
		if file, err := exec.LookPath(filepath.Join(r.root, d, program)); err == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("run %s: not in this ramdisk: %w", program, exec.ErrNotFound)
}

// capped keeps the first max bytes and takes the rest.
type capped struct {
	b    bytes.Buffer
	max  int
	over bool
}

func (c *capped) Write(p []byte) (int, error) {
	if room := c.max - c.b.Len(); len(p) > room {
		c.over = true
		c.b.Write(p[:room])
		return len(p), nil
	}
	return c.b.Write(p)
}

// tail keeps the last max bytes.
type tail struct {
	b   []byte
	max int
}

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if n := len(t.b) - t.max; n > 0 {
		t.b = t.b[n:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	s := strings.TrimSpace(string(t.b))
	if s == "" {
		return ""
	}
	return ": " + s
}

// IsMissing tells whether a Runner's error says that the program is not in the ramdisk.
func IsMissing(err error) bool { return errors.Is(err, exec.ErrNotFound) }
