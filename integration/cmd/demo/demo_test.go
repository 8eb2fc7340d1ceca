package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// The demo says that a disk is clean only when it would see the pattern anywhere on it.
func TestPatternIsSeenAnywhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	const size = 3 << 20
	if err := leaveData(path, size); err != nil {
		t.Fatal(err)
	}
	per := 4096 / len(pattern)
	if n, err := count(path); err != nil || n != 3*per+1 {
		t.Errorf("counted %d, %v; expected %d", n, err, 3*per+1)
	}
	for _, at := range []int64{0, 1<<20 - 5, 1<<20 + int64(len(pattern)) - 7, 2<<20 - 1, size - int64(len(pattern))} {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt([]byte(pattern), at)
		// Around it there is data, so that it may lie on the border of two pieces that are read.
		_, err2 := f.WriteAt(bytes.Repeat([]byte{1}, 1<<20), size)
		if err := errors.Join(err, err2, f.Close()); err != nil {
			t.Fatal(err)
		}
		if n, err := count(path); err != nil || n != 1 {
			t.Errorf("at %d: counted %d, %v", at, n, err)
		}
		if n, err := countIn(bytes.NewReader(append(make([]byte, at), pattern...))); err != nil || n != 1 {
			t.Errorf("without holes, at %d: counted %d, %v", at, n, err)
		}
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	if n, err := count(path); err != nil || n != 0 {
		t.Errorf("an empty disk: counted %d, %v", n, err)
	}
}

func TestBannerIsTheLastOne(t *testing.T) {
	got := banner([]byte("bessemer: ramdisk\r\nDebian GNU/Linux 12 old ttyS0\r\n\r\n\x1b[2JDebian GNU/Linux 12 web1 ttyS0\r\n\r\nweb1 login:"))
	if got != "    Debian GNU/Linux 12 web1 ttyS0\n    web1 login:\n" {
		t.Errorf("%q", got)
	}
}

func TestDoingTellsTheStepOrTheWait(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	d := &demo{now: func() time.Time { return at.Add(5 * time.Second) }}
	s := api.StepsAnswer{State: state.CleanWait, Wait: &api.Wait{For: "the ramdisk", Since: api.Time{Time: at}, Deadline: api.Time{Time: at.Add(time.Minute)}, Evidence: "medium read"}}
	if what, now := d.doing(s); what != "clean wait, waits for the ramdisk" || now != "5 of 60 s, last sign: medium read" {
		t.Errorf("%q %q", what, now)
	}
	s.Steps = []api.StepView{
		{Step: "deploy.done", Started: api.Time{Time: at}, Ended: api.Time{Time: at}},
		{Step: "deploy.erase_devices", Started: api.Time{Time: at}, Progress: &step.Progress{Percent: 42.4, Rate: 3e6, Unit: "bytes", Left: 2 * time.Second}},
		{Step: "deploy.next"},
	}
	if what, now := d.doing(s); what != "clean wait, deploy.erase_devices" || now != "42%, 3 MB/s, 2.0 s left" {
		t.Errorf("%q %q", what, now)
	}
}

func TestScreen(t *testing.T) {
	var pipe bytes.Buffer
	s := newScreen(&pipe, false)
	if err := s.during("1/1", func() error {
		s.set("a", "waits", "1 s")
		s.set("a", "waits", "2 s")
		s.set("a", "runs\x1b[2J\n", "")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s.print("done")
	if got := pipe.String(); got != "            a: waits\n            a: runs \ndone\n" {
		t.Errorf("piped: %q", got)
	}

	var tty bytes.Buffer
	s = newScreen(&tty, true)
	s.set("a", "waits", "1 s")
	s.draw("head", time.Second)
	s.print("stays")
	s.draw("head", time.Second)
	if got := tty.String(); strings.Count(got, "a: waits  1 s\n") != 2 || !strings.Contains(got, "\x1b[2A\x1b[Jstays\n") || strings.Count(got, noWrap) != strings.Count(got, wrap) {
		t.Errorf("terminal: %q", got)
	}
}

func TestOneDemoAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(path); err == nil || !strings.Contains(err.Error(), "process ") {
		t.Errorf("a second one began: %v", err)
	}
	unlock()
	again, err := lock(path)
	if err != nil {
		t.Fatal(err)
	}
	again()
}
