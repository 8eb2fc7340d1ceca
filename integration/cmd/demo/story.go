package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/bessemer-metal/bessemer/integration/figures"
	"github.com/bessemer-metal/bessemer/integration/image"
	"github.com/bessemer-metal/bessemer/integration/lab"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// patience is with one stage; the server gives up its waits before, and says why.
const patience = 20 * time.Minute

// demo is one run.
type demo struct {
	root, dir, accel string
	screen           *screen
	now              func() time.Time

	built    lab.Built
	debian   image.Image
	lab      *lab.Lab
	machines []machine
	marks    map[string]int // machine to how much of its serial line was there before the deploy
	took     []figures.Figure
	banners  []string
}

// story is the demo, stage by stage.
func (d *demo) story(ctx context.Context) error {
	begin := d.now()
	d.screen.print("Two emulated servers, from enroll to a booted Debian. What each stage does: docs/tutorial/first-machine.md\n")
	stages := []struct {
		name string
		work func(ctx context.Context) (told string, err error)
	}{
		{"build", d.build}, {"image", d.image}, {"start", d.start}, {"register", d.register},
		{"manage", d.manage}, {"inspect", d.inspect}, {"provide", d.provide}, {"upload", d.upload}, {"deploy", d.deploy}, {"boot", d.boot},
	}
	for i, s := range stages {
		began, told := d.now(), ""
		head := fmt.Sprintf("%2d/%d %-9s", i+1, len(stages), s.name)
		err := d.screen.during(head, func() (err error) {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			told, err = s.work(ctx)
			return err
		})
		took := d.now().Sub(began)
		if err != nil {
			return fmt.Errorf("%s failed after %s: %w", s.name, seconds(took), err)
		}
		d.screen.print("%s %8s  %s", head, seconds(took), told)
		d.took = append(d.took, figures.Figure{What: s.name + ": " + told, Value: took.Seconds(), Unit: "s"})
	}
	if err := d.keepFigures(ctx, d.now().Sub(begin)); err != nil { // no reason to fail: the machines run
		d.screen.print("\nNote: the figures of this run are not kept: %v", err)
	}
	return nil
}

func (d *demo) build(ctx context.Context) (told string, err error) {
	d.screen.set("building", "server and ramdisk", "")
	if d.built, err = lab.Build(ctx, slog.New(&latest{screen: d.screen})); err != nil {
		return "", err
	}
	st, err := os.Stat(d.built.Ramdisk.Initramfs)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("server; ramdisk: Linux %s, initramfs of %.1f MB", d.built.Ramdisk.KernelRelease, float64(st.Size())/1e6), nil
}

func (d *demo) image(ctx context.Context) (told string, err error) {
	d.screen.set("making", "Debian 12 by mmdebstrap, unless build/cache/images has it", "")
	if d.debian, err = image.Debian(ctx, filepath.Join(d.built.Dir, "cache", "images")); err != nil {
		return "", err
	}
	return fmt.Sprintf("Debian 12, %d MB, compressed %d MB", d.debian.Size/1e6, d.debian.Zstd.Size/1e6), os.Symlink(d.debian.Zstd.Path, filepath.Join(d.dir, "debian.raw.zst"))
}

func (d *demo) start(ctx context.Context) (told string, err error) {
	if d.machines, err = machines(filepath.Join(d.dir, "disks")); err != nil {
		return "", err
	}
	cfg := lab.Config{
		Dir: d.dir, Cache: filepath.Join(d.built.Dir, "cache"), Bessemer: d.built.Bessemer, ISO: d.built.Ramdisk.ISO, Accel: d.accel,
	}
	for _, m := range d.machines {
		cfg.Machines = append(cfg.Machines, m.config)
	}
	if d.lab, err = lab.Start(ctx, cfg); err != nil {
		return "", err
	}
	old := 0
	for _, m := range d.machines {
		n, err := m.holds()
		if err != nil {
			return "", err
		}
		if n == 0 {
			return "", fmt.Errorf("the disks of %s hold no old data to be erased", m.name)
		}
		old += n
	}
	d.screen.print("$ export BESSEMER_SERVER=%s", d.lab.URL)
	return fmt.Sprintf("server; %d machines, off; their disks hold the secret of a previous tenant, %d times", len(d.machines), old), nil
}

func (d *demo) register(ctx context.Context) (string, error) {
	if err := os.WriteFile(filepath.Join(d.dir, "bmc-password.txt"), []byte(lab.Password+"\n"), 0o600); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(d.dir, "nodes.yaml"), []byte(nodesFile(d.machines, d.lab)), 0o600); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d nodes: enroll", len(d.machines)), d.bessemer(ctx, "register", "nodes.yaml")
}

func (d *demo) manage(ctx context.Context) (string, error) {
	return "BMCs answer: manageable", d.verb(ctx, "manage", state.Manageable)
}

func (d *demo) inspect(ctx context.Context) (string, error) {
	if err := d.verb(ctx, "inspect", state.Manageable); err != nil {
		return "", err
	}
	disks := 0
	for _, m := range d.machines {
		disks += len(m.config.QEMU.Disks)
	}
	return fmt.Sprintf("the ramdisk told what it found, %d disks among it: manageable", disks), nil
}

func (d *demo) provide(ctx context.Context) (string, error) {
	if err := d.verb(ctx, "provide", state.Available, "--yes"); err != nil {
		return "", err
	}
	for _, m := range d.machines {
		n, err := m.holds()
		if err != nil {
			return "", err
		}
		if n > 0 {
			return "", fmt.Errorf("%s is available, but its disks hold the previous tenant's secret %d times", m.name, n)
		}
	}
	return "disks erased and read back, the secret is on none of them: available", nil
}

func (d *demo) upload(ctx context.Context) (string, error) {
	return "the image store has debian.raw.zst and its digests", d.bessemer(ctx, "image", "add", "debian.raw.zst")
}

func (d *demo) deploy(ctx context.Context) (string, error) {
	d.marks = map[string]int{}
	for _, m := range d.machines {
		d.marks[m.name] = d.lab.ConsoleLength(d.lab.Emulator.Machine(m.name))
		if err := d.bessemer(ctx, "node", "deploy", m.name, "--image", "debian.raw.zst", "--hostname", m.host, "--yes"); err != nil {
			return "", err
		}
	}
	return "image written, digest verified, config drive added: active", d.all(ctx, func(ctx context.Context, m machine) error { return d.until(ctx, m, state.Active) })
}

// boot waits for the login banner of each deployed system: only the config drive knows the name in it.
func (d *demo) boot(ctx context.Context) (string, error) {
	var mu sync.Mutex
	err := d.all(ctx, func(ctx context.Context, m machine) error {
		e := d.lab.Emulator.Machine(m.name)
		d.screen.set(m.name, "waits for the login banner on the serial line", "")
		end, err := d.lab.Console(ctx, e, d.marks[m.name], m.host+" login:")
		if err != nil {
			return err
		}
		d.screen.set(m.name, "is up", "")
		raw, err := os.ReadFile(e.Console())
		if err != nil {
			return err
		}
		said := raw[:min(end, len(raw))]
		mu.Lock()
		defer mu.Unlock()
		d.banners = append(d.banners, m.name+" says\n"+banner(said))
		return nil
	})
	return "the deployed systems ask for a login", err
}

// banner is the end of a serial line from the distribution's name on.
func banner(said []byte) string {
	from := max(bytes.LastIndex(said, []byte("Debian GNU/Linux")), 0)
	var b strings.Builder
	for line := range strings.Lines(string(said[from:])) {
		if line = plain(line); strings.TrimSpace(line) != "" {
			b.WriteString("    " + strings.TrimSpace(line) + "\n")
		}
	}
	return b.String()
}

// verb asks it of all machines, and waits until each is in the state where it leads.
func (d *demo) verb(ctx context.Context, name string, want state.State, flags ...string) error {
	for _, m := range d.machines {
		if err := d.bessemer(ctx, append([]string{"node", name, m.name}, flags...)...); err != nil {
			return err
		}
	}
	return d.all(ctx, func(ctx context.Context, m machine) error { return d.until(ctx, m, want) })
}

// all does something with all machines at the same time. The first failure ends the rest.
func (d *demo) all(ctx context.Context, work func(context.Context, machine) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, m := range d.machines {
		wg.Go(func() {
			if err := work(ctx, m); err != nil {
				cancel(err) // the first one stays
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (d *demo) until(ctx context.Context, m machine, want state.State) error {
	_, err := d.lab.Until(ctx, m.name, want, func(s api.StepsAnswer) {
		what, now := d.doing(s)
		d.screen.set(m.name, what, now)
	})
	return err
}

// doing is what a node does now: the step that runs, or what it waits for.
func (d *demo) doing(s api.StepsAnswer) (what, now string) {
	for _, x := range s.Steps {
		if x.Started.IsZero() || !x.Ended.IsZero() {
			continue
		}
		if p := x.Progress; p != nil {
			now = fmt.Sprintf("%.0f%%", p.Percent)
			if p.Rate > 0 && p.Unit == "bytes" {
				now += fmt.Sprintf(", %.0f MB/s", p.Rate/1e6)
			}
			if p.Left > 0 {
				now += ", " + seconds(p.Left) + " left"
			}
			if p.Item != "" {
				now += ", " + p.Item
			}
		}
		return string(s.State) + ", " + x.Step, now
	}
	if w := s.Wait; w != nil {
		now = fmt.Sprintf("%.0f of %.0f s", d.now().Sub(w.Since.Time).Seconds(), w.Deadline.Sub(w.Since.Time).Seconds())
		if w.Evidence != "" {
			now += ", last sign: " + w.Evidence
		}
		return string(s.State) + ", waits for " + w.For, now
	}
	return string(s.State), ""
}

// bessemer runs the operator's command, after showing it.
func (d *demo) bessemer(ctx context.Context, args ...string) error {
	d.screen.print("$ bessemer %s", strings.Join(args, " "))
	out, err := d.silently(ctx, args...)
	if err != nil {
		return fmt.Errorf("bessemer %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (d *demo) silently(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, d.built.Bessemer, append([]string{"--server", d.lab.URL}, args...)...)
	cmd.Dir = d.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the kernel kills it when the thread that made it ends
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	return out, err
}

// latest shows the newest message of a log as what goes on.
type latest struct {
	slog.Handler
	screen *screen
}

func (*latest) Enabled(context.Context, slog.Level) bool { return true }

func (l *latest) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.Key + "=" + a.Value.String()
		return true
	})
	l.screen.set("building", text, "")
	return nil
}

func (l *latest) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *latest) WithGroup(string) slog.Handler      { return l }
