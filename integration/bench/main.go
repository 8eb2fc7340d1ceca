// Bench measures, and writes pages of docs/benchmarks: Go's benchmarks of packages, the ramdisk's size, its way from power
// on to the lookup beside a bare kernel's, a server under a simulated fleet, and what the demo keeps (package figures):
// its stages and its machines' memory; and the API beside Debian's Ironic. It never compares with an older run: the pages are in version control for that.
// Start at run.
//
//	bench [-time 1s] [-packages=false] [-boot=false] [-load=false] [-demo=false] [-ironic=false]
//	bench -load-part recovery [-in-flight 2000]
//	bench -load-part hour [-hour-nodes 1000 -hour-time 1m]
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bessemer-metal/bessemer/integration/bench/boot"
	"github.com/bessemer-metal/bessemer/integration/bench/load"
	"github.com/bessemer-metal/bessemer/integration/bench/versus"
	"github.com/bessemer-metal/bessemer/integration/figures"
)

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "root of the source tree")
	flag.StringVar(&o.out, "out", "docs/benchmarks", "folder of the pages, below root")
	flag.StringVar(&o.time, "time", "1s", "how long each benchmark of a package runs")
	flag.BoolVar(&o.packages, "packages", true, "run Go's benchmarks of all packages")
	flag.BoolVar(&o.boot, "boot", true, "measure the ramdisk's size and boot; takes about two minutes")
	flag.BoolVar(&o.demo, "demo", true, "run the demo; takes about three minutes. Without it the figures of the last run are used")
	flag.BoolVar(&o.load, "load", true, "run a server under a simulated fleet; takes about eight minutes")
	flag.BoolVar(&o.ironic, "ironic", true, "compare the API with that of Debian's Ironic; takes about fifteen minutes")
	flag.BoolVar(&o.small, "ironic-small", false, "compare with a few requests and nodes only: shows that it works, and writes no page")
	flag.IntVar(&o.scale.Herd, "load-nodes", 5000, "machines of that fleet")
	flag.IntVar(&o.scale.InFlight, "in-flight", 20_000, "steps in flight at a restart, of machines that are records only")
	flag.IntVar(&o.scale.Idle, "idle", 100_000, "nodes at rest")
	flag.StringVar(&o.part, "load-part", "", "of the load run only this part ("+strings.Join(load.Parts(), ", ")+"), print its figures and write no page; "+
		load.HourPart+", which runs only when it is named, writes one when it is as large as by default")
	flag.IntVar(&o.hour.Nodes, "hour-nodes", load.HourNodes, "machines with a step in flight all the time, in the part "+load.HourPart)
	flag.DurationVar(&o.hour.Lasting, "hour-time", load.HourTime, "how long that part looks, once all are at work")
	bare := flag.String("bare", "", "serve the bare handler, with this folder; the program starts itself so")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *bare != "" {
		fmt.Fprintln(os.Stderr, "bench:", load.ServeBare(ctx, *bare))
		os.Exit(1)
	}
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	root, out, time      string
	packages, boot, demo bool
	load                 bool
	ironic, small        bool
	scale                load.Scale
	part                 string
	hour                 load.Hour
}

func run(ctx context.Context, o options) error {
	if o.part == load.HourPart {
		return runHour(ctx, o)
	}
	if o.part != "" {
		set, err := load.Run(ctx, o.root, o.scale, o.part)
		if err == nil {
			fmt.Print(set.Table())
		}
		return err
	}
	where, err := place(ctx, o.root)
	if err != nil {
		return err
	}
	pages := map[string]string{}
	if o.packages {
		rows, err := benchmarkPackages(ctx, o)
		if err != nil {
			return err
		}
		pages[packagesPage] = benchmarks(rows, where)
	} else if page, err := os.ReadFile(filepath.Join(o.root, o.out, packagesPage+".md")); err == nil {
		pages[packagesPage] = string(page)
	}
	if o.boot {
		if err := benchmarkRamdisk(ctx, o); err != nil {
			return err
		}
	}
	if o.load {
		set, err := load.Run(ctx, o.root, o.scale, load.Parts()...)
		if err != nil {
			return err
		}
		if err := set.Save(o.root, "load"); err != nil {
			return err
		}
	}
	if o.demo {
		if err := runDemo(ctx, o); err != nil {
			return err
		}
	}
	if o.ironic {
		page, err := versus.Measure(ctx, o.root, where, o.small)
		if err != nil {
			return err
		}
		if pages[versus.Page] = generated + page; o.small {
			fmt.Print(page)
			return nil
		}
	}
	sets, err := figures.Load(o.root)
	if err != nil {
		return err
	}
	for name, s := range sets {
		pages[name] = set(s, where)
	}
	return writePages(o, pages)
}

// runHour measures the hour, prints the figures, and writes their page when nothing failed and there were as many machines
// as by default.
func runHour(ctx context.Context, o options) error {
	where, err := place(ctx, o.root)
	if err != nil {
		return err
	}
	o.hour.Log = os.Stderr
	s, err := load.RunHour(ctx, o.root, o.hour)
	fmt.Print(s.Table())
	if err != nil || o.hour.Nodes < load.HourNodes {
		return err
	}
	return writePages(o, map[string]string{load.HourPage: set(s, where)})
}

// writePages writes these pages and the index of all that are there.
func writePages(o options, pages map[string]string) error {
	names := slices.Sorted(maps.Keys(pages))
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(o.root, o.out, name+".md"), []byte(pages[name]), 0o644); err != nil {
			return err
		}
		fmt.Println(filepath.Join(o.out, name+".md"))
	}
	names, err := others(filepath.Join(o.root, o.out), pages)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.root, o.out, "README.md"), []byte(index(names, pages)), 0o644)
}

// packagesPage is the page of Go's benchmarks.
const packagesPage = "packages"

func benchmarkPackages(ctx context.Context, o options) ([]row, error) {
	packages, err := withBenchmarks(o.root)
	if err != nil {
		return nil, err
	}
	// One after the other: they would measure each other.
	args := append([]string{"test", "-p", "1", "-run", "^$", "-bench", ".", "-benchmem", "-benchtime", o.time}, packages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stderr = o.root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go test -bench: %w\n%s", err, out)
	}
	return parse(string(out)), nil
}

// withBenchmarks finds the packages that have any: building the tests of all others would take minutes.
func withBenchmarks(root string) ([]string, error) {
	var found []string
	tree := os.DirFS(root)
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == "build" || strings.HasPrefix(d.Name(), ".") && path != "."):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := fs.ReadFile(tree, path)
		if dir := "./" + filepath.Dir(path); bytes.Contains(text, []byte("\nfunc Benchmark")) && !slices.Contains(found, dir) {
			found = append(found, dir)
		}
		return err
	})
	return found, err
}

func benchmarkRamdisk(ctx context.Context, o options) error {
	r, err := boot.Build(ctx, o.root)
	if err != nil {
		return err
	}
	return boot.Measure(ctx, o.root, r)
}

// runDemo runs it for the figures that it keeps. It ends its machines itself when we are stopped.
func runDemo(ctx context.Context, o options) error {
	program := filepath.Join(o.root, "build", "tools", "demo")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, "./integration/cmd/demo")
	build.Dir = o.root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the demo: %w\n%s", err, out)
	}
	program, err := filepath.Abs(program)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, "--keep=false")
	cmd.Dir, cmd.Stdout, cmd.Stderr = o.root, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that Ctrl-C reaches it once, from us
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	kept := filepath.Join(o.root, figures.Dir, "demo.json")
	if err := os.Remove(kept); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the demo: %w", err)
	}
	if _, err := os.Stat(kept); err != nil {
		return fmt.Errorf("the demo kept no figures: %w", err)
	}
	return nil
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
