// The agent of the ramdisk: one static program in four parts. As /init it is PID 1 and looks after the machine and
// the agent (supervisor.go); as /sbin/modprobe it loads what the kernel asks for; as "init agent" it finds its server
// and runs steps (run_agent.go); as "init login" it lets the person in who rescues the machine. Start at main.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"log/slog"

	"github.com/bessemer-metal/bessemer/agent/drivers"
	"github.com/bessemer-metal/bessemer/agent/system"
)

// version is set when the ramdisk is built.
var version = "devel"

func main() {
	switch {
	case filepath.Base(os.Args[0]) == "modprobe":
		os.Exit(modprobe(os.Args[1:]))
	case os.Getpid() == 1:
		supervise()
	case len(os.Args) == 2 && os.Args[1] == "agent":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		if err := runAgent(ctx, "/"); err != nil {
			fmt.Fprintln(os.Stderr, "agent:", err)
			os.Exit(1)
		}
	case len(os.Args) == 2 && os.Args[1] == "login":
		fmt.Fprintln(os.Stderr, "login:", system.Login("/", os.Stdin, os.Stdout, time.Sleep))
		os.Exit(1)
	default:
		fmt.Fprintf(os.Stderr, "bessemer-agent %s is the init of a ramdisk; it does nothing on a running system\n", version)
		os.Exit(2)
	}
}

// modprobe answers the kernel's "modprobe -q -- NAME". It is quiet: the kernel reads only the exit status.
func modprobe(args []string) int {
	var names []string
	for i, a := range args {
		if a == "--" {
			names = append(names, args[i+1:]...)
			break
		}
		if len(a) > 0 && a[0] != '-' {
			names = append(names, a)
		}
	}
	if len(names) == 0 {
		return 1
	}
	release, err := system.KernelRelease()
	if err != nil {
		return 1
	}
	m, err := drivers.Open("/", release, slog.New(slog.DiscardHandler))
	if err != nil {
		return 1
	}
	if err := m.Load(names[0]); err != nil {
		return 1
	}
	return 0
}
