package servers

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Child is a program with all processes it starts: they are one process group, which ends with us.
type Child struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// Start starts a program, with more in its environment than is in ours; what it says goes to said.
func Start(said io.Writer, env []string, program string, args ...string) (*Child, error) {
	c := &Child{cmd: exec.Command(program, args...), ended: make(chan struct{})}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stdout, c.cmd.Stderr = said, said
	began := make(chan error, 1)
	go func() {
		// The kernel kills the child when the thread that made it ends, so the thread stays ours until then.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		began <- err
		if err == nil {
			c.cmd.Wait() //nolint:errcheck // it is killed
		}
		close(c.ended)
	}()
	if err := <-began; err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(program), err)
	}
	return c, nil
}

// PID is the program's own.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Ended is closed once the program itself is dead and reaped.
func (c *Child) Ended() <-chan struct{} { return c.ended }

// Kill ends the whole group, as a crash does. It may be called again.
func (c *Child) Kill() error {
	err := syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	<-c.ended
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// stat is what /proc/PID/stat tells behind the program's name (proc(5)), from the state on.
func stat(pid string) []string {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return nil // it has ended
	}
	_, after, _ := strings.Cut(string(text), ") ")
	return strings.Fields(after)
}

// group is the processes that are alive now.
func (c *Child) group() ([]string, error) {
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var pids []string
	for _, dir := range all {
		pid := filepath.Base(dir)
		if f := stat(pid); len(f) > 14 && f[2] == strconv.Itoa(c.cmd.Process.Pid) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// CPU is the processor time, user and system, that the group has used, with that of members that have ended. It is an
// error when all have: what they used is not to be read any more.
func (c *Child) CPU() (time.Duration, error) {
	pids, err := c.group()
	if err != nil {
		return 0, err
	}
	if len(pids) == 0 {
		return 0, fmt.Errorf("%s has ended", filepath.Base(c.cmd.Path))
	}
	ticks := 0
	for _, pid := range pids {
		f := stat(pid)
		if len(f) < 15 {
			continue
		}
		for _, field := range f[11:15] { // utime, stime, and those of children that were waited for
			n, err := strconv.Atoi(field)
			if err != nil {
				return 0, fmt.Errorf("/proc/%s/stat: %w", pid, err)
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil // Linux counts in hundredths of a second
}

// memory is the group's resident bytes; pages that its processes share are counted once for each (proc(5), statm).
func (c *Child) memory() (int64, error) {
	pids, err := c.group()
	if err != nil {
		return 0, err
	}
	var pages int64
	for _, pid := range pids {
		text, err := os.ReadFile("/proc/" + pid + "/statm")
		if err != nil {
			continue // it has ended
		}
		var size, resident int64
		if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
			return 0, fmt.Errorf("/proc/%s/statm: %w", pid, err)
		}
		pages += resident
	}
	return pages * int64(os.Getpagesize()), nil
}
