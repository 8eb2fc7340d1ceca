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

// supervise is PID 1: it makes the file system, starts the agent, starts it again whenever it ends, and reaps what
// others leave behind. It runs no step and reads nothing from a network, for its end is the machine's: the kernel
// panics. It never returns.
func supervise() {
	s := &supervisor{children: map[int]*child{}}
	survive(s.prepare)
	for {
		if !survive(s.turn) {
			time.Sleep(lastDelay)
		}
	}
}

// survive tells of a panic instead of dying of it; ok is false then.
func survive(fn func()) (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(os.Stderr, "bessemer: init: %v\n%s", r, debug.Stack())
		}
	}()
	fn()
	return true
}

type supervisor struct {
	console  *system.Console
	stdio    *os.File
	ended    <-chan os.Signal
	kinds    []*child
	taken    bool           // somebody asks at the console what to do: the shell, or the log-in of a rescue
	children map[int]*child // those running, by process id
}

func (s *supervisor) prepare() {
	s.ended = system.InitSignals()
	s.kinds = []*child{{argv: []string{"/init", "agent"}}}
	s.stdio = os.Stderr
	err := system.Mount("/")
	s.console = system.OpenConsole("/")
	s.console.Say("init", "ramdisk %s", version)
	if err != nil {
		s.console.Say("mount", "the ramdisk's file system is incomplete: %v", err)
	}
	if f, err := os.OpenFile("/dev/console", os.O_RDWR, 0); err == nil {
		s.stdio = f
	}
	if cmdline, err := os.ReadFile("/proc/cmdline"); err == nil && slices.Contains(strings.Fields(string(cmdline)), "bessemer.rescue") {
		s.kinds, s.taken = append(s.kinds, &child{argv: []string{"/bbin/gosh"}}), true
	}
}

// turn starts what is due, then waits for an end or for the next thing to be due.
func (s *supervisor) turn() {
	if !s.taken && system.Rescued("/") {
		s.kinds, s.taken = append(s.kinds, &child{argv: []string{"/init", "login"}}), true
	}
	for _, k := range s.kinds {
		if !k.running && !time.Now().Before(k.next) {
			s.start(k)
		}
	}
	select {
	case <-s.ended:
	case <-time.After(firstDelay):
	}
	for _, e := range system.Reap() {
		if k := s.children[e.PID]; k != nil {
			delete(s.children, e.PID)
			s.say(k, e.How)
		}
	}
}

func (s *supervisor) start(k *child) {
	k.began = time.Now()
	pid, err := system.Spawn(k.argv, []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin:/bbin", "HOME=/root", "TERM=linux"}, s.stdio)
	if err != nil {
		s.say(k, err.Error())
		return
	}
	k.running = true
	s.children[pid] = k
}

func (s *supervisor) say(k *child, how string) {
	wait := k.ended(time.Now())
	s.console.Say(k.argv[0], "%s ended (%s); it is started again in %s", strings.Join(k.argv, " "), how, wait)
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

// ended notes the end and says how long the child stays down: longer each time, unless it had lived for a while.
func (k *child) ended(now time.Time) time.Duration {
	if now.Sub(k.began) >= steady {
		k.delay = 0
	}
	wait := k.delay
	k.running, k.next = false, now.Add(wait)
	k.delay = min(max(2*k.delay, firstDelay), lastDelay)
	return wait
}
