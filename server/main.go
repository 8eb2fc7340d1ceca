// The server and the operator's command in one program: "bessemer serve" runs the server (serve.go), every other
// command is a client of its REST API (server/cli) or builds the ramdisk. It only wires; start at serve.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/bessemer-metal/bessemer/initramfs"
	"github.com/bessemer-metal/bessemer/integration/fleet"
	"github.com/bessemer-metal/bessemer/server/cli"
	"github.com/bessemer-metal/bessemer/server/cli/host"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// version is set when a release is built.
var version = "devel"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	home, err := os.UserHomeDir()
	if err != nil {
		home = "" // a service may have none; the settings that want one say so
	}
	code := cli.Run(ctx, os.Args[1:], cli.Streams{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Terminal: terminal(os.Stdout), Interactive: terminal(os.Stdin), Now: time.Now,
		Environment: config.Environment{Variables: os.Environ(), Home: home, Root: os.Geteuid() == 0},
	}, host.Programs{
		Version:      version,
		Serve:        func(ctx context.Context, cfg config.Server) error { return serve(ctx, cfg, os.Stderr, time.Now) },
		BuildRamdisk: buildRamdisk,
		Examine:      func(ctx context.Context, cfg config.Server) []api.Check { return examine(ctx, cfg, time.Now) },
		Simulate:     simulate,
		Users:        userFiles(),
	})
	stop()
	os.Exit(code)
}

// terminal tells whether somebody may be at the other end: a character device that is not the null device, which cron and
// service managers give.
func terminal(f *os.File) bool {
	st, err := f.Stat()
	if err != nil || st.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(st, null)
}

// buildRamdisk builds and tells what came of it.
func buildRamdisk(ctx context.Context, r host.Ramdisk) error {
	if r.CACerts == host.Certificates && !exists(r.CACerts) {
		r.CACerts = "" // a host without any; an operator's own file must be there
	}
	res, err := initramfs.Build(ctx, initramfs.Options{
		Out: r.Output, Source: r.Source, Cache: r.Cache, Agent: r.Agent, AgentBinary: r.AgentBinary, Version: version, Flavour: r.Flavour,
		Bundles: r.Bundles, Extra: r.Extra, Cmdline: r.Cmdline, CACerts: r.CACerts, Rescue: r.Rescue, Refresh: r.Refresh, Fast: r.Fast,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	for _, l := range res.Layers {
		fmt.Fprintf(os.Stdout, "layer %-10s %9d bytes (%d unpacked)\n", l.Name, l.Size, l.Raw)
	}
	fmt.Fprintf(os.Stdout, "kernel    %s (%s)\ninitramfs %s\nUKI       %s\nISO       %s\n", res.Kernel, res.KernelRelease, res.Initramfs, res.UKI, res.ISO)
	return nil
}

// simulate plays a fleet against the server that s.API calls.
func simulate(ctx context.Context, s host.Simulation) error {
	return fleet.Run(ctx, fleet.Options{
		API: s.API, Socket: s.Socket, Nodes: s.Nodes, Prefix: s.Prefix, Gather: s.Gather, Spread: s.Spread, StepTime: s.StepTime,
		Inventory: s.Inventory << 10, Quiet: s.Beats > 0, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}, s.Beats, s.For, os.Stdout)
}
