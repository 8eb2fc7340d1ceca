package system

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/u-root/u-root/pkg/libinit"

	"github.com/bessemer-metal/bessemer/agent/system/systemtest"
	"github.com/bessemer-metal/bessemer/shared/hardware"
)

func TestConsoleTellsChangesOnce(t *testing.T) {
	var s systemtest.Screen
	c := NewConsole(&s)
	for range 3 {
		c.Say("eth0", "no link")
		c.Say("eth1", "no link")
	}
	c.Say("eth0", "up\x1b[2J\r\nand \u009bgone")
	c.Say("eth0", "no link")
	want := "bessemer: no link\nbessemer: no link\nbessemer: up [2J  and  gone\nbessemer: no link\n"
	if s.String() != want {
		t.Errorf("told %q, expected %q", s.String(), want)
	}
}

func TestConsoleReachesEveryConsole(t *testing.T) {
	root := systemtest.Tree(t, map[string]string{"sys/class/tty/console/active": "tty0 ttyS0\n", "dev/tty0": "", "dev/ttyS0": "", "dev/kmsg": ""})
	c := OpenConsole(root)
	c.Say("x", "hello")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for dev, want := range map[string]string{"tty0": "bessemer: hello\n", "ttyS0": "bessemer: hello\n", "kmsg": "<6>bessemer: hello\n"} {
		b, err := os.ReadFile(filepath.Join(root, "dev", dev))
		if err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", dev, b, err)
		}
	}
}

// What is mounted must have its folder made before, and nothing may lie outside the root.
func TestNamespaceIsInOrder(t *testing.T) {
	made := map[string]bool{}
	for _, c := range Namespace("/r") {
		switch c := c.(type) {
		case libinit.Dir:
			made[c.Name] = true
			if !strings.HasPrefix(c.Name, "/r/") {
				t.Errorf("%v outside the root", c)
			}
		case libinit.Mount:
			if !made[c.Target] {
				t.Errorf("%v before its folder", c)
			}
		default:
			t.Errorf("%v is unexpected", c)
		}
	}
	for _, want := range []string{"/r/proc", "/r/sys", "/r/dev", "/r/run", "/r/tmp", "/r/" + RunDir} {
		if !made[want] {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestF29_ClockIsNeverMovedBack(t *testing.T) {
	now := func() time.Time { return time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC) }
	for _, floor := range []time.Time{{}, now(), now().Add(-time.Hour)} {
		if moved, err := ClockFloor(floor, now); moved || err != nil {
			t.Errorf("floor %v: moved %v, %v", floor, moved, err)
		}
	}
}

var _ hardware.Runner = Runner{}

// program writes an executable; the tests' only interpreter is the shell of the machine that runs them.
func program(t *testing.T, root, text string) {
	t.Helper()
	dir := filepath.Join(root, "usr/sbin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tool"), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestRunner(t *testing.T) {
	root := t.TempDir()
	r := NewRunner(root)
	ctx := context.Background()
	if _, err := r.Run(ctx, "tool"); !IsMissing(err) || !strings.Contains(err.Error(), "tool") {
		t.Errorf("a missing program: %v", err)
	}
	program(t, root, `echo "$1|$2"; env | grep -c SECRET`)
	t.Setenv("SECRET", "x")
	if out, err := r.Run(ctx, "tool", "a b", "$(id)"); string(out) != "a b|$(id)\n0\n" {
		t.Errorf("%q, %v", out, err)
	}
	program(t, root, `echo some; echo "bad disk" >&2; exit 3`)
	out, err := r.Run(ctx, "tool")
	if err == nil || !strings.Contains(err.Error(), "tool") || !strings.Contains(err.Error(), "exit status 3: bad disk") || string(out) != "some\n" {
		t.Errorf("%q, %v", out, err)
	}
	program(t, root, `head -c 3000000 /dev/zero`)
	if out, err := r.Run(ctx, "tool"); err == nil || len(out) != OutputMax {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	program(t, root, `sleep 100 & wait`)
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := r.Run(short, "tool"); err == nil || !strings.Contains(err.Error(), context.DeadlineExceeded.Error()) {
		t.Errorf("a program that does not end: %v", err)
	}
	if _, err := exec.LookPath("sh"); err != nil {
		t.Errorf("these tests need a shell: %v", err)
	}
}

// PID 1's children are known by the numbers Spawn gave. This test reaps: it must not run beside others that start programs.
func TestSpawnAndReap(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "console"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	want := map[int]string{}
	for how, script := range map[string]string{"exit status 3": "echo hello; exit 3", "signal 15: terminated": "kill -TERM $$"} {
		pid, err := Spawn([]string{"/bin/sh", "-c", script}, nil, out)
		if err != nil || pid <= 0 {
			t.Fatalf("pid %d, %v", pid, err)
		}
		want[pid] = how
	}
	for end := time.Now().Add(time.Minute); len(want) > 0 && time.Now().Before(end); runtime.Gosched() {
		for _, e := range Reap() {
			if want[e.PID] != e.How {
				t.Errorf("process %d: %s, expected %q", e.PID, e.How, want[e.PID])
			}
			delete(want, e.PID)
		}
	}
	if len(want) > 0 {
		t.Errorf("never ended: %v", want)
	}
	if b, err := os.ReadFile(out.Name()); err != nil || string(b) != "hello\n" {
		t.Errorf("console: %q, %v", b, err)
	}
	if _, err := Spawn([]string{"/no/such/program"}, nil, out); err == nil {
		t.Error("a missing program was started")
	}
}

func TestParseEvent(t *testing.T) {
	e, ok := parseEvent([]byte("add@/devices/pci0000:00/x\x00ACTION=add\x00SUBSYSTEM=scsi\x00MODALIAS=scsi:t-0x05\x00SEQNUM=1\x00"))
	if !ok || e != (Event{Action: "add", Subsystem: "scsi", Modalias: "scsi:t-0x05"}) {
		t.Errorf("%+v", e)
	}
	if e, ok := parseEvent([]byte("change@/x\x00SUBSYSTEM=block\x00DEVNAME=sr0\x00")); !ok || e.Name != "sr0" || e.Action != "change" {
		t.Errorf("%+v", e)
	}
	if _, ok := parseEvent([]byte("libudev\x00\xfe\xed")); ok {
		t.Error("a message of udev was taken for the kernel's")
	}
}
