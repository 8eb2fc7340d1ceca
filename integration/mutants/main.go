// Mutants asks whether the tests would notice if a check of a guard were gone. For each guard of the table in guards.go
// it removes every check in turn (a condition that never holds, or always; an operand left out; an error not
// returned; a refusal not made) and runs the tests named beside the guard: one of them must fail. No file of the tree
// is changed: the checks are switched by a variable in copies that the compiler takes by -overlay, so each package of
// tests is built once. Each test is run once alone with no mutant, to see which it comes to and how long it takes; a
// mutant is then tried on the tests that come to it, quick ones first.
//
//	mutants [-run REGEXP] [-list] [-v] [-jobs N]   REGEXP selects mutants by "file:line function change"
//
// A mutant that survives is printed with its place, and the exit code is 1, unless the table of equivalents says why no
// test can tell it from the original. Start at run; mutate.go makes the mutants of one file, suite.go runs the tests.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"time"
)

func main() {
	pattern := flag.String("run", "", "only mutants whose \"file:line function change\" this expression matches")
	var o options
	flag.BoolVar(&o.list, "list", false, "list the mutants, run nothing")
	flag.BoolVar(&o.verbose, "v", false, "tell of each mutant which test noticed it")
	flag.IntVar(&o.jobs, "jobs", runtime.NumCPU(), "how many mutants to try at once")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if o.chosen, err = regexp.Compile(*pattern); err == nil {
		err = run(ctx, os.Stdout, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

type options struct {
	chosen        *regexp.Regexp
	list, verbose bool
	jobs          int
}

// result is what came of one mutant.
type result struct {
	mutant
	by  string // the package and test that failed; "" when none did
	err error
}

func run(ctx context.Context, out io.Writer, o options) error {
	s, err := makeSet(".", guards)
	if err != nil {
		return err
	}
	if err := s.excuse(equivalents); err != nil {
		return err
	}
	s.mutants = slices.DeleteFunc(s.mutants, func(m mutant) bool { return !o.chosen.MatchString(m.String()) })
	if o.list {
		for _, m := range s.mutants {
			fmt.Fprintln(out, m)
		}
		return nil
	}
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	began := time.Now()
	suites, err := s.build(ctx, ".", dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d packages of tests are built and looked through after %s\n", len(suites), time.Since(began).Round(time.Second))
	var survived, excused, noticed int
	for r := range tryAll(ctx, suites, s.mutants, o.jobs) {
		switch {
		case r.err != nil:
			return r.err
		case r.excuse != "":
			excused++
		case r.by == "":
			survived++
			fmt.Fprintf(out, "SURVIVED  %s\n", r.mutant)
		default:
			noticed++
			if o.verbose {
				fmt.Fprintf(out, "noticed   %s  by %s\n", r.mutant, r.by)
			} else if noticed%50 == 0 {
				fmt.Fprintf(out, "%d of %d mutants noticed\n", noticed, len(s.mutants))
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%d mutants of %d guards in %s: %d noticed, %d survived, %d equivalent to the original\n",
		len(s.mutants), len(guards), time.Since(began).Round(time.Second), noticed, survived, excused)
	if survived > 0 {
		return fmt.Errorf("%d mutants survived: write a test that notices each, or say in equivalents.go why none can", survived)
	}
	return nil
}

// tryAll tries the mutants, several at once, and gives the results as they come. The goroutines end with the mutants or ctx.
func tryAll(ctx context.Context, suites map[string]*suite, mutants []mutant, jobs int) <-chan result {
	todo, out := make(chan mutant, len(mutants)), make(chan result, len(mutants))
	for _, m := range mutants {
		todo <- m
	}
	close(todo)
	var wg sync.WaitGroup
	for range max(jobs, 1) {
		wg.Go(func() {
			for m := range todo {
				if ctx.Err() != nil {
					return
				}
				r := result{mutant: m}
				if m.excuse == "" {
					r.by, r.err = try(ctx, suites, m)
				}
				out <- r
			}
		})
	}
	go func() { wg.Wait(); close(out) }()
	return out
}
