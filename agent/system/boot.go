package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/u-root/u-root/pkg/libinit"
	"golang.org/x/sys/unix"
)

const (
	noctty   = unix.O_NOCTTY
	nonblock = unix.O_NONBLOCK
)

// RunDir is where the agent keeps what must outlive its process but not this boot: tmpfs, root only.
const RunDir = "run/bessemer"

// Namespace is what the ramdisk's file system needs before anything else runs, in order.
func Namespace(root string) []libinit.Creator {
	at := func(p string) string { return filepath.Join(root, p) }
	const safe = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	return []libinit.Creator{
		libinit.Dir{Name: at("proc"), Mode: 0o555},
		libinit.Mount{Source: "proc", Target: at("proc"), FSType: "proc", Flags: safe},
		libinit.Dir{Name: at("sys"), Mode: 0o555},
		libinit.Mount{Source: "sysfs", Target: at("sys"), FSType: "sysfs", Flags: safe},
		libinit.Dir{Name: at("dev"), Mode: 0o755},
		libinit.Mount{Source: "devtmpfs", Target: at("dev"), FSType: "devtmpfs", Flags: unix.MS_NOSUID, Opts: "mode=0755"},
		libinit.Dir{Name: at("dev/pts"), Mode: 0o755},
		libinit.Mount{Source: "devpts", Target: at("dev/pts"), FSType: "devpts", Flags: unix.MS_NOSUID | unix.MS_NOEXEC, Opts: "mode=0620,ptmxmode=0666"},
		libinit.Dir{Name: at("run"), Mode: 0o755},
		libinit.Mount{Source: "tmpfs", Target: at("run"), FSType: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_NODEV, Opts: "mode=0755,size=25%"},
		libinit.Dir{Name: at(RunDir), Mode: 0o700},
		libinit.Dir{Name: at("tmp"), Mode: 0o1777},
		libinit.Mount{Source: "tmpfs", Target: at("tmp"), FSType: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_NODEV, Opts: "mode=1777,size=25%"},
	}
}

// Mount makes the namespace. What fails is told together and does not keep the rest from being made: a ramdisk that
// lacks a part can still say so.
func Mount(root string) error {
	var errs []error
	for _, c := range Namespace(root) {
		if err := c.Create(); err != nil && !errors.Is(err, unix.EBUSY) { // EBUSY: mounted already
			errs = append(errs, fmt.Errorf("%v: %w", c, err))
		}
	}
	return errors.Join(errs...)
}

// MountEFI mounts the firmware's variables, on a machine that booted by UEFI; elsewhere it does nothing. The kernel
// asks for the file system's module, so modprobe must be answered by then.
func MountEFI(root string) error {
	dir := filepath.Join(root, efiVars)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	err := unix.Mount("efivarfs", dir, "efivarfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mount the firmware's variables: %w", err)
	}
	return nil
}

// Spawn starts a program on the console without owning its end: PID 1 learns of that by Reap.
func Spawn(argv, env []string, console *os.File) (pid int, err error) {
	p, err := os.StartProcess(argv[0], argv, &os.ProcAttr{Env: env, Files: []*os.File{console, console, console},
		Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		return 0, err
	}
	pid = p.Pid // before Release forgets it
	return pid, p.Release()
}

// Ended is a child that is no more.
type Ended struct {
	PID int
	How string // "exit status 1", "signal 9: killed"
}

// Reap collects every child that has ended, also those that PID 1 inherited. It does not wait.
func Reap() []Ended {
	var out []Ended
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || pid == 0: // no child, or none that ended
			return out
		case ws.Signaled():
			out = append(out, Ended{pid, fmt.Sprintf("signal %d: %s", ws.Signal(), ws.Signal())})
		case ws.Exited():
			out = append(out, Ended{pid, fmt.Sprintf("exit status %d", ws.ExitStatus())})
		}
	}
}

// InitSignals keeps PID 1 from acting on signals that a stray program may send it, and gives the one it waits for:
// that a child has ended.
func InitSignals() <-chan os.Signal {
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGPIPE, unix.SIGQUIT)
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGCHLD)
	return c
}

// Reboot restarts the machine, after writing what the kernel still holds. It returns only on failure.
func Reboot() error {
	unix.Sync()
	return fmt.Errorf("reboot: %w", unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART))
}

// PowerOff switches the machine off, after writing what the kernel still holds. It returns only on failure.
func PowerOff() error {
	unix.Sync()
	return fmt.Errorf("power off: %w", unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
}

// KernelRelease is the running kernel's.
func KernelRelease() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}

// ClockFloor moves a clock that is behind to the floor and says whether it did (safety.md F29): certificates and logs make no sense
// in 1970. The clock is never moved back, and nothing is decided by it.
func ClockFloor(floor time.Time, now func() time.Time) (moved bool, err error) {
	if floor.IsZero() || !now().Before(floor) {
		return false, nil
	}
	tv := unix.NsecToTimeval(floor.UnixNano())
	if err := unix.Settimeofday(&tv); err != nil {
		return false, fmt.Errorf("set the clock to %s: %w", floor.UTC().Format(time.RFC3339), err)
	}
	return true, nil
}

// BootID is the kernel's name for this boot.
func BootID(root string) (string, error) {
	b, err := os.ReadFile(filepath.Join(root, "proc/sys/kernel/random/boot_id"))
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return string(b[:min(36, len(b))]), nil
}

// Sleep waits and tells whether ctx still lives.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
