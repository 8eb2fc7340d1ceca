// Bench runs the benchmarks and writes what they measured, and the figures that the demo and the virtual machine tests
// kept (package figures), as pages of docs/benchmarks. It never compares with an older run: the pages are in version
// control for that. Start at run.
//
//	bench [-packages PATTERN…] [-time 1s] [-vm=false]
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/integration/figures"
)

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "root of the source tree")
	flag.StringVar(&o.out, "out", "docs/benchmarks", "folder of the pages, below root")
	flag.StringVar(&o.time, "time", "1s", "how long each benchmark of a package runs")
	flag.BoolVar(&o.vm, "vm", true, "run the benchmarks that start virtual machines, too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	root, out, time string
	vm              bool
}

func run(ctx context.Context, o options) error {
	where, err := place(ctx, o.root)
	if err != nil {
		return err
	}
	runs := [][]string{{"-benchtime", o.time, "./..."}}
	if o.vm {
		runs = append(runs, []string{"-tags", "vm", "-benchtime", "1x", "-timeout", "60m", "./integration/..."})
	}
	var rows []row
	for _, args := range runs {
		cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-run", "^$", "-bench", ".", "-benchmem"}, args...)...)
		cmd.Dir, cmd.Stderr = o.root, os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("go test -bench: %w\n%s", err, out)
		}
		rows = merge(rows, parse(string(out)))
	}
	// Read after the runs: benchmarks with virtual machines keep figures.
	sets, err := figures.Load(o.root)
	if err != nil {
		return err
	}
	pages := map[string]string{}
	if len(rows) > 0 {
		pages["go"] = benchmarks(rows, where)
	}
	for name, s := range sets {
		pages[name] = set(s, where)
	}
	names := slices.Sorted(maps.Keys(pages))
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(o.root, o.out, name+".md"), []byte(pages[name]), 0o644); err != nil {
			return err
		}
		fmt.Println(filepath.Join(o.out, name+".md"))
	}
	return os.WriteFile(filepath.Join(o.root, o.out, "README.md"), []byte(index(names, pages)), 0o644)
}

// place says where and when it was measured.
func place(ctx context.Context, root string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty")
	cmd.Dir = root
	commit, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("which commit is measured: %w", err)
	}
	cpu := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		cpu = processor(string(b))
	}
	return fmt.Sprintf("Commit %s, %s, %s.", strings.TrimSpace(string(commit)), time.Now().UTC().Format(time.DateOnly), cpu), nil
}

// processor is the model in /proc/cpuinfo and how many of it there are.
func processor(cpuinfo string) string {
	model, n := "unknown processor", 0
	for line := range strings.Lines(cpuinfo) {
		key, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(key) == "model name" {
			model = strings.TrimSpace(value)
			n++
		}
	}
	return fmt.Sprintf("%d × %s", n, model)
}
