package system

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bessemer-metal/bessemer/shared/crypt"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// A rescue: a person with the rescue's password logs in at the machine's console. The ramdisk has no network log-in: it
// listens nowhere (safety.md §2.1).

const (
	shell      = "bbin/gosh" // of the rescue layer
	rescueFile = "rescue"    // below RunDir: the hash of the password
	rescueUser = "rescue"
)

// RescueLogin lets people log in at the consoles of the machine below Root.
type RescueLogin struct{ Root string }

// Admit takes the hash of the password; whatever was taken before counts no more. It is step.not_in_ramdisk when the
// ramdisk was built without the rescue layer: there would be nothing to log in to.
func (r RescueLogin) Admit(_ context.Context, hash string) error {
	if _, err := os.Stat(filepath.Join(r.Root, shell)); err != nil {
		return fault.New(fault.StepVersion, "this ramdisk has no shell").WithHint("build it with its rescue layer: bessemer ramdisk build --rescue")
	}
	if hash == "" || strings.ContainsAny(hash, "\n\x00") || !strings.HasPrefix(hash, "$6$") {
		return fault.New(fault.StepArgument, "the hash of the password is not one of the form $6$")
	}
	dir := filepath.Join(r.Root, RunDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, rescueFile+".*") // 0600; the old hash stays whole until the new one is
	if err != nil {
		return err
	}
	_, err = f.WriteString(hash)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, rescueFile))
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// Rescued tells whether people may log in below a root.
func Rescued(root string) bool {
	_, err := os.Stat(filepath.Join(root, RunDir, rescueFile))
	return err == nil
}

// Login asks whoever is at the console for user and password until both are right, then gives the console to the
// shell. in and out are the console; wait is slept after a wrong answer. It returns only with an error.
func Login(root string, in io.Reader, out io.Writer, wait func(time.Duration)) error {
	if err := login(root, in, out, wait); err != nil {
		return err
	}
	path := filepath.Join(root, shell)
	return fmt.Errorf("%s: %w", path, unix.Exec(path, []string{path}, os.Environ()))
}

const (
	wrongWait = 2 * time.Second
	maxLine   = 512 // bytes of an answer
)

func login(root string, in io.Reader, out io.Writer, wait func(time.Duration)) error {
	lines := bufio.NewReaderSize(in, maxLine)
	for {
		fmt.Fprintf(out, "\nThis machine is in rescue. Its disks are untouched.\nlogin (%s): ", rescueUser)
		user, err := line(lines)
		if err != nil {
			return err
		}
		password, err := secretly(in, func() (string, error) {
			fmt.Fprint(out, "password: ") // only now: who types at once is not shown either
			return line(lines)
		})
		fmt.Fprintln(out)
		if err != nil {
			return err
		}
		hash, err := os.ReadFile(filepath.Join(root, RunDir, rescueFile)) // each time: a later rescue has another one
		if errors.Is(err, fs.ErrNotExist) {
			return errors.New("nobody may log in here")
		}
		if err != nil {
			return err
		}
		known := crypt.Match(string(hash), password)
		if user = strings.TrimSpace(user); known && (user == rescueUser || user == "") {
			return nil
		}
		wait(wrongWait)
		fmt.Fprintln(out, "login incorrect")
	}
}

// line reads an answer without its end; a longer one than anybody types is an error.
func line(r *bufio.Reader) (string, error) {
	b, long, err := r.ReadLine()
	if long {
		return "", errors.New("the answer is too long")
	}
	return string(b), err
}

// secretly reads while a terminal does not show what is typed. What is no terminal shows nothing by itself.
func secretly(in io.Reader, read func() (string, error)) (string, error) {
	f, ok := in.(*os.File)
	if !ok {
		return read()
	}
	fd := int(f.Fd())
	was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return read()
	}
	quiet := *was
	quiet.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
		return "", fmt.Errorf("the console can't hide what is typed: %w", err)
	}
	defer unix.IoctlSetTermios(fd, unix.TCSETS, was)
	return read()
}
