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
// or *:N, which kills at the N-th pass of any. Every pass is a line of LogVariable's file, the deadly one with a "!"
// before it; without that variable nothing is written. The names do not begin as those of the server's settings do.
const (
	PointVariable = "FAILPOINT"
	LogVariable   = "FAILPOINT_LOG"
)

// On tells whether this is the crash harness's build.
const On = true

// armed is what the environment asks for, with the passes so far.
type armed struct {
	name string // "*": any
	at   int    // 0: never

	mu     sync.Mutex
	passes int
	log    *os.File
}

var arm = sync.OnceValue(func() *armed {
	a := &armed{}
	if v := os.Getenv(PointVariable); v != "" {
		i := strings.LastIndex(v, ":")
		n, err := strconv.Atoi(v[i+1:])
		if i < 1 || err != nil || n < 1 {
			panic(fmt.Sprintf("%s=%q: NAME:N or *:N is expected", PointVariable, v))
		}
		a.name, a.at = v[:i], n
	}
	if path := os.Getenv(LogVariable); path != "" {
		var err error
		if a.log, err = os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			panic(err)
		}
	}
	return a
})

// Here ends the process as SIGKILL does if it was told to die at this pass.
func Here(name string) {
	a := arm()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.name == name || a.name == "*" {
		a.passes++
	}
	deadly := a.at > 0 && a.passes == a.at && (a.name == name || a.name == "*")
	if a.log != nil {
		line := name + "\n"
		if deadly {
			line = "!" + line
		}
		if _, err := a.log.WriteString(line); err != nil {
			panic(err)
		}
	}
	if deadly {
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			panic(err)
		}
		select {} // the signal may take a moment; nothing of this goroutine follows the mark
	}
}
