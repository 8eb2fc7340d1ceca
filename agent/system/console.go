// Package system is the one place with system calls: early mounts, kernel modules, network, boot medium, firmware
// variables, programs, power. It decides nothing about steps and knows no server. Everything is reached below a root,
// so that tests run on recorded trees.
//
// Start at Mount (what PID 1 does), Modules, Network and FindMedium (what the agent does first).
package system

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Console tells the person in front of the machine what the ramdisk does and what it lacks: one line for each
// change, on every console the kernel has (screen and serial line). It may be used by several goroutines.
type Console struct {
	mu   sync.Mutex
	outs []io.WriteCloser
	last map[string]string
}

// OpenConsole finds the consoles below root. One that can't be opened is left out; with none at all, lines go to the
// kernel's log only.
func OpenConsole(root string) *Console {
	c := &Console{last: map[string]string{}}
	active, _ := os.ReadFile(filepath.Join(root, "sys/class/tty/console/active"))
	names := strings.Fields(string(active))
	if len(names) == 0 {
		names = []string{"console"}
	}
	for _, n := range names {
		if f, err := os.OpenFile(filepath.Join(root, "dev", n), os.O_WRONLY|noctty|nonblock, 0); err == nil {
			c.outs = append(c.outs, f)
		}
	}
	if f, err := os.OpenFile(filepath.Join(root, "dev/kmsg"), os.O_WRONLY, 0); err == nil {
		c.outs = append(c.outs, kmsg{f})
	}
	return c
}

// NewConsole tells its lines to w.
func NewConsole(w io.WriteCloser) *Console {
	return &Console{outs: []io.WriteCloser{w}, last: map[string]string{}}
}

// Say tells a line about a subject ("eth0", "medium", "server"), unless it is what was last told about it.
func (c *Console) Say(subject, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last[subject] == text {
		return
	}
	c.last[subject] = text
	for _, w := range c.outs {
		fmt.Fprintf(w, "bessemer: %s\n", clean(text)) // a console that fails has nobody to tell
	}
}

// Close releases the consoles.
func (c *Console) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.outs {
		w.Close()
	}
	c.outs = nil
	return nil
}

// clean keeps a line one line and free of terminal controls: parts of it may come from a network or a firmware.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, s)
}

// kmsg writes to the kernel's log without showing the line on a console again.
type kmsg struct{ *os.File }

func (k kmsg) Write(b []byte) (int, error) { return k.File.Write(append([]byte("<6>"), b...)) }
