package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/agent/system"
)

// supervise is PID 1: it makes the file system, starts the agent and starts it again whenever it ends, and reaps what
// others leave behind. It runs no step and reads nothing from a network, for its end is the machine's: the kernel
// panics. It never returns.
func supervise() {
	for {
		once()
		time.Sleep(5 * time.Second) // only after a crash of its own
	}
}

// once survives a panic by telling of it; supervise begins anew.
func once() {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(os.Stderr, "bessemer: init: %v\n%s", r, debug.Stack())
		}
	}()
	system.IgnoreSignals()
	mountErr := system.Mount("/")
	c := system.OpenConsole("/")
	defer c.Close()
	c.Say("init", "ramdisk %s", version)
	if mountErr != nil {
		c.Say("mount", "the ramdisk's file system is incomplete: %v", mountErr)
	}
	out, err := os.OpenFile("/dev/console", os.O_RDWR, 0)
	if err != nil {
		out = os.Stderr
	}
	defer out.Close()

	children := map[int]*child{}
	kinds := []*child{{argv: []string{"/init", "agent"}}}
	if cmdline, _ := os.ReadFile("/proc/cmdline"); slices.Contains(strings.Fields(string(cmdline)), "bessemer.rescue") {
		kinds = append(kinds, &child{argv: []string{"/bbin/gosh"}})
	}
	for {
		for _, k := range kinds {
			if !k.running && !time.Now().Before(k.next) {
				k.start(c, out, children)
			}
		}
		pid, how, err := system.Reap()
		if err != nil { // no child at all: the next start is due soon
			time.Sleep(200 * time.Millisecond)
			continue
		}
		if k := children[pid]; k != nil {
			delete(children, pid)
			k.ended(c, how)
		}
	}
}

// child is a program that PID 1 keeps running.
type child struct {
	argv    []string
	running bool
	began   time.Time
	next    time.Time
	delay   time.Duration
}

const (
	firstDelay = time.Second
	lastDelay  = 30 * time.Second
	steady     = time.Minute // a child that lived so long is started again at once
)

func (k *child) start(c *system.Console, out *os.File, children map[int]*child) {
	k.began = time.Now()
	pid, err := system.Spawn(k.argv, []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin:/bbin", "HOME=/root", "TERM=linux"}, out)
	if err != nil {
		k.ended(c, err.Error())
		return
	}
	k.running = true
	children[pid] = k
}

func (k *child) ended(c *system.Console, how string) {
	k.running = false
	now := time.Now()
	if now.Sub(k.began) >= steady {
		k.delay = 0
	}
	k.next = now.Add(k.delay)
	c.Say(k.argv[0], "%s ended (%s); it is started again in %s", strings.Join(k.argv, " "), how, k.delay)
	k.delay = min(max(2*k.delay, firstDelay), lastDelay)
}
