// Demo takes two emulated servers from enroll to a booted Debian: the built server, machines in QEMU behind Redfish BMCs
// (integration/lab), and the commands that an operator would type. docs/tutorial/first-machine.md tells what happens.
//
// It ends everything that it started: at its end, on Ctrl-C, and when it is killed. Start reading at story in story.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/bessemer-metal/bessemer/integration/lab"
)

const usage = `Takes two emulated servers from enroll to a booted Debian, in build/demo.

  make demo            run it
  make demo KEEP=1     run it, and leave server and machines running until Ctrl-C

Flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends us at once, and the kernel ends our children
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "\ndemo: stopped; nothing that it started is left running")
	default:
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
	}
	os.Exit(1)
}

func run(ctx context.Context, args []string, out *os.File) (err error) {
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprint(f.Output(), usage)
		f.PrintDefaults()
	}
	keep := f.Bool("keep", os.Getenv("KEEP") != "" && os.Getenv("KEEP") != "0", "leave server and machines running until Ctrl-C (KEEP=1)")
	accel := f.String("accel", envOr("DEMO_ACCEL", "auto"), "auto, tcg or kvm (DEMO_ACCEL); auto takes KVM if a guest really boots with it")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; --help shows what is understood", f.Arg(0))
	}
	root, err := lab.Root()
	if err != nil {
		return err
	}
	unlock, err := lock(filepath.Join(root, "build", "demo.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	dir := filepath.Join(root, "build", "demo")
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return fmt.Errorf("empty %s for a new run: %w", dir, err)
	}
	d := &demo{root: root, dir: dir, accel: *accel, screen: newScreen(out, terminal(out)), now: time.Now}
	defer func() {
		if d.lab != nil {
			err = errors.Join(err, d.lab.Close())
		}
	}()
	if err := d.story(ctx); err != nil {
		if ctx.Err() == nil {
			d.explain(ctx)
		}
		return err
	}
	d.goOn(*keep)
	if *keep {
		<-ctx.Done()
		d.screen.print("\nEnding the server and the machines.")
	}
	return nil
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// lock makes sure that one demo runs in this source tree.
func lock(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		held, _ := io.ReadAll(f)
		return nil, errors.Join(fmt.Errorf("another demo is running in this source tree, process %s: end it first", held), f.Close())
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	_, err = fmt.Fprintf(f, "%d", os.Getpid())
	return func() { f.Close() }, err
}

func terminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
