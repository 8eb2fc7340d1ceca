package system

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bessemer-metal/bessemer/shared/crypt"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// rescued is a root with a shell and somebody's password.
func rescued(t *testing.T, password string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "bbin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, shell), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	hash, err := crypt.Hash(password, []byte("0123456789ab"))
	if err != nil {
		t.Fatal(err)
	}
	if err := (RescueLogin{root}).Admit(t.Context(), hash); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestI22_TheHashIsNobodysButRoots(t *testing.T) {
	root := rescued(t, "canary")
	path := filepath.Join(root, RunDir, rescueFile)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	if b, _ := os.ReadFile(path); strings.Contains(string(b), "canary") {
		t.Error("the password itself is kept")
	}
	if !Rescued(root) || Rescued(t.TempDir()) {
		t.Error("who may log in where is wrong")
	}
}

func TestLogin(t *testing.T) {
	for name, c := range map[string]struct {
		typed string
		waits int
		in    bool
	}{
		"right":                 {"rescue\ncanary\n", 0, true},
		"right, without a name": {"\ncanary\n", 0, true},
		"wrong, then right":     {"rescue\nCanary\nrescue\ncanary\n", 1, true},
		"another user":          {"root\ncanary\n", 1, false},
		"nothing":               {"rescue\n\n", 1, false},
		"too long":              {strings.Repeat("x", 2000) + "\ncanary\n", 0, false},
		"nobody there":          {"", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			root := rescued(t, "canary")
			var out strings.Builder
			waits := 0
			err := login(root, strings.NewReader(c.typed), &out, func(d time.Duration) {
				if waits++; d < time.Second {
					t.Errorf("a wrong answer costs %s", d)
				}
			})
			if (err == nil) != c.in || waits != c.waits {
				t.Errorf("%v after %d waits", err, waits)
			}
			if strings.Contains(out.String(), "canary") {
				t.Error("the console shows the password")
			}
		})
	}
}

func TestLoginEndsWithTheRescue(t *testing.T) {
	root := rescued(t, "canary")
	if err := os.Remove(filepath.Join(root, RunDir, rescueFile)); err != nil {
		t.Fatal(err)
	}
	if err := login(root, strings.NewReader("rescue\ncanary\n"), io.Discard, func(time.Duration) {}); err == nil {
		t.Error("somebody is let in without a rescue")
	}
}

func TestAdmitRefusals(t *testing.T) {
	if err := (RescueLogin{t.TempDir()}).Admit(t.Context(), "$6$a$b"); !fault.Has(err, fault.StepVersion) {
		t.Errorf("without a shell: %v", err)
	}
	root := rescued(t, "canary")
	for _, hash := range []string{"", "canary", "$1$a$b", "$6$a$b\nroot::"} {
		if err := (RescueLogin{root}).Admit(t.Context(), hash); !fault.Has(err, fault.StepArgument) {
			t.Errorf("%q: %v", hash, err)
		}
	}
}

// On a real terminal the name that is typed is seen, and the password is not; the terminal is as before afterwards.
func TestI22_TheTerminalHidesThePassword(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	fd := int(master.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	console, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close()
	was, err := unix.IoctlGetTermios(int(console.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	root := rescued(t, "canary")
	done := make(chan error, 1)
	go func() { done <- login(root, console, console, func(time.Duration) {}) }()
	var seen strings.Builder
	until := func(prompt string) {
		t.Helper()
		for b := make([]byte, 256); !strings.HasSuffix(strings.TrimRight(seen.String(), " "), prompt); {
			n, err := master.Read(b)
			if err != nil {
				t.Fatalf("after %q: %v", seen.String(), err)
			}
			seen.Write(b[:n])
		}
	}
	for _, say := range []struct{ prompt, answer string }{{"(rescue):", "rescue"}, {"password:", "canary"}} {
		until(say.prompt)
		if _, err := master.WriteString(say.answer + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if text := seen.String(); !strings.Contains(text, "): rescue") || strings.Contains(text, "canary") {
		t.Errorf("the terminal shows %q", text)
	}
	if is, err := unix.IoctlGetTermios(int(console.Fd()), unix.TCGETS); err != nil || is.Lflag != was.Lflag {
		t.Errorf("the terminal was left with %v instead of %v: %v", is.Lflag, was.Lflag, err)
	}
}
