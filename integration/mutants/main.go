// Mutants asks whether the tests would notice if a check of a guard were gone. For each guard of the table in guards.go
// it removes every check in turn (a condition that never holds, or always; an operand left out; an error not
// returned; a refusal not made) and runs the tests named beside the guard: one of them must fail. No file of the tree
// is changed: the checks are switched by a variable in copies that the compiler takes by -overlay, so each package of
// tests is built once.
//
//	mutants [-run REGEXP] [-list] [-v]   REGEXP selects mutants by "file:line function change"
//
// A mutant that survives is printed with its place, and the exit code is 1, unless the table of equivalents says why no
// test can tell it from the original. Start at run; mutate.go makes the mutants of one file.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	pattern := flag.String("run", "", "only mutants whose \"file:line function change\" this expression matches")
	list := flag.Bool("list", false, "list the mutants, run nothing")
	verbose := flag.Bool("v", false, "tell of each mutant which test noticed it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	chosen, err := regexp.Compile(*pattern)
	if err == nil {
		err = run(ctx, os.Stdout, chosen, *list, *verbose)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// limit is how long the tests of one package may take with one mutant. A mutant that hangs them is noticed.
const limit = 3 * time.Minute

// result is what came of one mutant.
type result struct {
	mutant
	by string // the package and test that failed; "" when none did
}

func run(ctx context.Context, out io.Writer, chosen *regexp.Regexp, list, verbose bool) error {
	s, err := makeSet(".", guards)
	if err != nil {
		return err
	}
	if err := s.excuse(equivalents); err != nil {
		return err
	}
	s.mutants = slices.DeleteFunc(s.mutants, func(m mutant) bool { return !chosen.MatchString(m.String()) })
	if list {
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
	suites, err := s.build(ctx, ".", dir)
	if err != nil {
		return err
	}
	began := time.Now()
	var survived []result
	var excused, noticed int
	for i, m := range s.mutants {
		if m.excuse != "" {
			excused++
			continue
		}
		r, err := try(ctx, suites, m)
		if err != nil {
			return err
		}
		if r.by == "" {
			survived = append(survived, r)
			fmt.Fprintf(out, "SURVIVED  %s\n", m)
			continue
		}
		noticed++
		if verbose {
			fmt.Fprintf(out, "noticed   %s  by %s\n", m, r.by)
		} else if (i+1)%50 == 0 {
			fmt.Fprintf(out, "%d of %d mutants tried\n", i+1, len(s.mutants))
		}
	}
	fmt.Fprintf(out, "\n%d mutants of %d guards in %s: %d noticed, %d survived, %d equivalent to the original\n",
		len(s.mutants), len(guards), time.Since(began).Round(time.Second), noticed, len(survived), excused)
	if len(survived) > 0 {
		return fmt.Errorf("%d mutants survived: write a test that notices each, or say in equivalents.go why none can", len(survived))
	}
	return nil
}

// suite is one package of tests, built with all mutants in it.
type suite struct{ pkg, dir, binary string }

// build compiles the packages of tests over the copies, and runs each once with no mutant switched on.
func (s *set) build(ctx context.Context, root, dir string) (map[string]suite, error) {
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for i, c := range s.copies {
		at, err := filepath.Abs(filepath.Join(root, c.path))
		if err != nil {
			return nil, err
		}
		copied := filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(copied, c.text, 0o600); err != nil {
			return nil, err
		}
		overlay.Replace[at] = copied
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	suites := map[string]suite{}
	for _, m := range s.mutants {
		for _, pkg := range m.tests {
			if _, done := suites[pkg]; done {
				continue
			}
			u := suite{pkg, filepath.Join(root, pkg), filepath.Join(dir, strings.ReplaceAll(pkg, "/", "_")+".test")}
			c := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", file, "-o", u.binary, "./"+pkg)
			c.Dir = root
			if said, err := c.CombinedOutput(); err != nil {
				return nil, fmt.Errorf("build the tests of %s: %w\n%s", pkg, err, said)
			}
			if by, err := u.run(ctx, mutant{}); err != nil || by != "" {
				return nil, errors.Join(err, fmt.Errorf("the tests of %s fail without any mutant: %s", pkg, by))
			}
			suites[pkg] = u
		}
	}
	return suites, nil
}

func try(ctx context.Context, suites map[string]suite, m mutant) (result, error) {
	for _, pkg := range m.tests {
		by, err := suites[pkg].run(ctx, m)
		if err != nil || by != "" {
			return result{m, pkg + " " + by}, err
		}
	}
	return result{m, ""}, nil
}

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// run runs the tests with one mutant switched on and names the test that failed, "" when all passed.
func (u suite) run(ctx context.Context, m mutant) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c := exec.CommandContext(ctx, absolute(u.binary), "-test.failfast", "-test.run="+m.only, "-test.timeout="+(limit-10*time.Second).String())
	c.Dir = u.dir
	c.Env = append(os.Environ(), variable+"="+m.id)
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	err := c.Run()
	if _, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran {
		return "", fmt.Errorf("run the tests of %s: %w", u.pkg, err)
	}
	if err == nil {
		return "", nil
	}
	if ctx.Err() != nil && context.Cause(ctx) == context.Canceled {
		return "", ctx.Err()
	}
	if m := failed.FindStringSubmatch(said.String()); m != nil {
		return m[1], nil
	}
	return "(crashed or hung)", nil
}

func absolute(path string) string {
	if a, err := filepath.Abs(path); err == nil {
		return a
	}
	return path
}
