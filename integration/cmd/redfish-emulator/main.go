// Command redfish-emulator serves emulated machines, real ones in QEMU and fake ones, behind Redfish BMCs.
// docs/reference/emulator.md is its manual; package emulator does the work.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/integration/qemu"
)

const usage = `redfish-emulator: emulated servers behind Redfish BMCs

  redfish-emulator --config machines.json        machines as the file says
  redfish-emulator --qemu 2 --fake 100           two virtual machines with an 8 GB NVMe disk, and a hundred fake ones

It runs until it gets SIGINT or SIGTERM, then powers everything off. What a machine keeps (disks, NVRAM, console) is in
the state directory. Without --username and --password the BMCs take admin, password. The configuration file:

  {"dir": "state", "listen": "127.0.0.1:8000", "control": "127.0.0.1:8001",
   "machines": [
     {"name": "node-1", "macs": ["52:54:00:00:00:01"],
      "qemu": {"cpus": 2, "memory_mb": 1024, "disks": [{"path": "node-1.img", "size_mb": 8192, "bus": "nvme", "serial": "D1"}]}},
     {"name": "node-2"}]}

docs/reference/emulator.md has every field, the control API and the faults that can be put into a BMC.

Flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "redfish-emulator:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, out, errs io.Writer) (err error) {
	f := flag.NewFlagSet("redfish-emulator", flag.ContinueOnError)
	f.SetOutput(errs)
	f.Usage = func() {
		fmt.Fprint(errs, usage)
		f.PrintDefaults()
	}
	file := f.String("config", "", "configuration file (JSON)")
	f.String("dir", "emulator-state", "state `directory`")
	f.String("listen", "127.0.0.1:8000", "`address` of the Redfish service")
	f.String("control", "127.0.0.1:8001", "`address` of the control API, loopback only")
	tls := f.Bool("tls", false, "serve Redfish over TLS with a certificate made now")
	f.String("username", "", "user name of the BMCs")
	f.String("password", "", "password of the BMCs")
	f.String("accelerator", "auto", "auto, tcg or kvm; auto takes KVM if a guest really boots with it")
	virtual := f.Int("qemu", 0, "`number` of QEMU machines to make, vm-1 and so on")
	fake := f.Int("fake", 0, "`number` of fake machines to make, fake-1 and so on")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; --help shows what is understood", f.Arg(0))
	}
	var cfg emulator.Config
	if *file != "" {
		if cfg, err = read(*file); err != nil {
			return err
		}
	}
	given := map[string]bool{}
	f.Visit(func(x *flag.Flag) { given[x.Name] = true })
	for name, to := range map[string]*string{"dir": &cfg.Dir, "listen": &cfg.Listen, "control": &cfg.Control, "username": &cfg.Username, "password": &cfg.Password, "accelerator": &cfg.Accelerator} {
		if from := f.Lookup(name).Value.String(); given[name] || *to == "" {
			*to = from
		}
	}
	cfg.TLS = cfg.TLS || *tls
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return err
	}
	if cache, err := os.UserCacheDir(); err == nil && cfg.Cache == "" {
		cfg.Cache = filepath.Join(cache, "bessemer")
	}
	for i := range *virtual {
		name := fmt.Sprintf("vm-%d", i+1)
		cfg.Machines = append(cfg.Machines, emulator.MachineConfig{Name: name, QEMU: &qemu.Config{CPUs: 2,
			Disks: []qemu.Disk{{Path: filepath.Join(cfg.Dir, name+".img"), SizeMB: 8192}}}})
	}
	for i := range *fake {
		cfg.Machines = append(cfg.Machines, emulator.MachineConfig{Name: fmt.Sprintf("fake-%d", i+1)})
	}
	if len(cfg.Machines) == 0 {
		fmt.Fprintln(errs, "no machines yet: POST /control/v1/machines adds one, as do --config, --qemu and --fake")
	}
	cfg.Log = slog.New(slog.NewTextHandler(errs, nil))
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return err
	}
	e, err := emulator.New(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	fmt.Fprintf(out, "Redfish  %s/redfish/v1\ncontrol  %s/control/v1/machines\n", e.URL(), e.ControlURL())
	for _, m := range e.Machines() {
		fmt.Fprintf(out, "machine  %s %s%s %s\n", m.Name(), m.URL(), m.SystemPath(), m.Console())
	}
	<-ctx.Done()
	return nil
}

func read(path string) (cfg emulator.Config, err error) {
	file, err := os.Open(path)
	if err != nil {
		return cfg, err
	}
	defer file.Close()
	d := json.NewDecoder(file)
	d.DisallowUnknownFields()
	if err := d.Decode(&cfg); err != nil {
		return cfg, fmt.Errorf("%s: %w", path, err)
	}
	return cfg, nil
}
