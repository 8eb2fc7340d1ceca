package boot

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// guest is a machine whose kernel is started without firmware, and what its serial line says when.
type guest struct {
	begin time.Time
	ended chan struct{} // closed when QEMU has ended
	kill  func()

	mu   sync.Mutex
	said bytes.Buffer
	more chan struct{} // closed and made anew when something was said
}

// machine is what both sides of a comparison have in common.
type machine struct {
	kernel, cmdline, medium, disk string
	memoryMB                      int
}

// boot starts a guest with an initramfs; close must be called.
func (m machine) boot(initramfs string) (*guest, error) {
	cmd := exec.Command("qemu-system-x86_64",
		"-machine", "q35", "-cpu", "max", "-accel", "tcg,thread=multi", "-smp", "2", "-m", strconv.Itoa(m.memoryMB), "-nodefaults", "-no-user-config",
		"-display", "none", "-no-reboot", "-serial", "stdio", "-device", "virtio-rng-pci", "-device", "virtio-scsi-pci",
		"-drive", "if=none,id=cd,format=raw,readonly=on,file="+m.medium, "-device", "scsi-cd,drive=cd",
		"-drive", "if=none,id=disk,format=raw,file="+m.disk, "-device", "nvme,drive=disk,serial=D0",
		"-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=",
		"-kernel", m.kernel, "-initrd", initramfs, "-append", m.cmdline)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	g := &guest{ended: make(chan struct{}), more: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = g, g
	started := make(chan error, 1)
	go func() {
		// The kernel kills the child when the thread that made it ends, so the thread stays ours until then.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		g.begin = time.Now()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait() //nolint:errcheck // it is killed, or powers itself off
		}
		close(g.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start QEMU: %w", err)
	}
	g.kill = func() {
		cmd.Process.Kill() //nolint:errcheck // it may have ended by itself
		<-g.ended
	}
	return g, nil
}

func (g *guest) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.said.Write(p)
	close(g.more)
	g.more = make(chan struct{})
	return len(p), nil
}

// when waits until the guest has said text and tells how long after power on that was.
func (g *guest) when(ctx context.Context, text string) (time.Duration, error) {
	for {
		g.mu.Lock()
		found, more := bytes.Contains(g.said.Bytes(), []byte(text)), g.more
		g.mu.Unlock()
		if found {
			return time.Since(g.begin), nil
		}
		select {
		case <-more:
			continue
		case <-ctx.Done():
		case <-g.ended:
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if bytes.Contains(g.said.Bytes(), []byte(text)) {
			return time.Since(g.begin), nil
		}
		said := g.said.Bytes()
		return 0, fmt.Errorf("the guest never said %q; the end of what it said:\n%s", text, said[max(0, len(said)-1500):])
	}
}

// archive is an initramfs of one program: a cpio archive in the form newc, with the console that it writes to.
func archive(program []byte) []byte {
	var b bytes.Buffer
	pad := func() {
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
	}
	add := func(inode int, name string, mode, major, minor int, content []byte) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
			inode, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name)+1, 0)
		b.WriteString(name + "\x00")
		pad()
		b.Write(content)
		pad()
	}
	add(1, "dev", syscall.S_IFDIR|0o755, 0, 0, nil)
	add(2, "dev/console", syscall.S_IFCHR|0o600, 5, 1, nil)
	add(3, "init", syscall.S_IFREG|0o755, 0, 0, program)
	add(0, "TRAILER!!!", 0, 0, 0, nil)
	return b.Bytes()
}

// blank makes a disk.
func blank(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Truncate(size)
}
