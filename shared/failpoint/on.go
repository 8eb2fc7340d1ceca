//go:build failpoint

// Package failpoint, in the build of the crash harness: see off.go.
package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// The environment a process is told by. Of PointVariable the value is NAME:N, which kills at the N-th pass of that mark,
// *:N, which kills at the N-th pass of any, or either with ":stop" behind it, which stops the process there until it gets
// SIGCONT. Every pass is a line of LogVariable's file, the one that is acted upon with a "!" before it; without that
// variable nothing is written. The names do not begin as those of the server's settings do.
const (
	PointVariable = "FAILPOINT"
	LogVariable   = "FAILPOINT_LOG"
)

// On tells whether this is the crash harness's build.
const On = true

// armed is what the environment asks for, with the passes so far.
type armed struct {
	name   string // "*": any
	at     int    // 0: never
	signal syscall.Signal

	mu     sync.Mutex
	passes int
	log    *os.File
}

var arm = sync.OnceValue(func() *armed {
	a := &armed{signal: syscall.SIGKILL}
	if v := os.Getenv(PointVariable); v != "" {
		point, stop := strings.CutSuffix(v, ":stop")
		if stop {
			a.signal = syscall.SIGSTOP
		}
		i := strings.LastIndex(point, ":")
		n, err := strconv.Atoi(point[i+1:])
		if i < 1 || err != nil || n < 1 {
			panic(fmt.Sprintf("%s=%q: NAME:N, *:N or one of them with :stop is expected", PointVariable, v))
		}
		a.name, a.at = point[:i], n
	}
	if path := os.Getenv(LogVariable); path != "" {
		var err error
		if a.log, err = os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			panic(err)
		}
	}
	return a
})

// Here ends or stops the process if it was told to do so at this pass.
func Here(name string) {
	a := arm()
	a.mu.Lock()
	defer a.mu.Unlock()
	asked := a.name == name || a.name == "*"
	if asked {
		a.passes++
	}
	now := asked && a.passes == a.at
	if a.log != nil {
		line := name + "\n"
		if now {
			line = "!" + line
		}
		if _, err := a.log.WriteString(line); err != nil {
			panic(err)
		}
	}
	if !now {
		return
	}
	// To this thread, so that it is taken on the way back from this very call.
	if _, _, e := syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(syscall.Getpid()), uintptr(syscall.Gettid()), uintptr(a.signal)); e != 0 {
		panic(e)
	}
}
