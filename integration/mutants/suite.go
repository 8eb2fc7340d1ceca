package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	longest = 5 * time.Minute // for one test, with or without a mutant
	quick   = time.Second     // tests that take less together are run in one go
)

// drawn are the names of tests that draw what they do at random. Whether a mutant is noticed is not left to luck, so
// they are not asked.
var drawn = regexp.MustCompile(`AnyOrder|AgainstTheModel`)

// suite is one package of tests, built with all mutants in it.
type suite struct {
	pkg, dir, binary string
	tests            []test // the quickest first
}

// test is one test as it is without any mutant.
type test struct {
	name    string
	took    time.Duration
	reaches map[string]bool // by the mutant's id: those whose place it comes to
}

// build compiles the packages of tests over the copies and looks through each.
func (s *set) build(ctx context.Context, root, dir string) (map[string]*suite, error) {
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
	suites := map[string]*suite{}
	for _, m := range s.mutants {
		for _, pkg := range m.tests {
			if suites[pkg] != nil {
				continue
			}
			u := &suite{pkg: pkg, dir: filepath.Join(root, pkg), binary: filepath.Join(dir, strings.ReplaceAll(pkg, "/", "_")+".test")}
			c := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", file, "-o", u.binary, "./"+pkg)
			c.Dir = root
			if said, err := c.CombinedOutput(); err != nil {
				return nil, fmt.Errorf("build the tests of %s: %w\n%s", pkg, err, said)
			}
			if err := u.survey(ctx, s.mutants); err != nil {
				return nil, err
			}
			suites[pkg] = u
		}
	}
	return suites, nil
}

// survey runs each test that some mutant asks for once, alone, with no mutant switched on.
func (u *suite) survey(ctx context.Context, mutants []mutant) error {
	c := exec.CommandContext(ctx, u.binary, "-test.list=^(Test|Fuzz|Example)")
	c.Dir = u.dir
	names, err := c.Output()
	if err != nil {
		return fmt.Errorf("list the tests of %s: %w", u.pkg, err)
	}
	for name := range strings.FieldsSeq(string(names)) {
		asked := func(m mutant) bool { return slices.Contains(m.tests, u.pkg) && m.asks(name) }
		if drawn.MatchString(name) || !slices.ContainsFunc(mutants, asked) {
			continue
		}
		t := test{name: name, reaches: map[string]bool{}}
		file := u.binary + "." + name
		began := time.Now()
		by, err := u.run(ctx, longest, []string{name}, reachedVariable+"="+file)
		if err != nil || by != "" {
			return errors.Join(err, fmt.Errorf("%s fails without any mutant: %s", u.pkg, by))
		}
		t.took = time.Since(began)
		reached, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for id := range strings.FieldsSeq(string(reached)) {
			t.reaches[id] = true
		}
		u.tests = append(u.tests, t)
	}
	slices.SortStableFunc(u.tests, func(a, b test) int { return cmp.Compare(a.took, b.took) })
	return nil
}

// round is one run of tests with a mutant.
type round struct {
	suite *suite
	names []string
	took  time.Duration
}

// try gives the package and the test that fails with the mutant; "" when none does. Quick tests are run first, all of
// one package's together.
func try(ctx context.Context, suites map[string]*suite, m mutant) (string, error) {
	var fast, slow []round
	for _, pkg := range m.tests {
		together := round{suite: suites[pkg]}
		for _, t := range suites[pkg].tests {
			switch {
			case !t.reaches[m.id] || !m.asks(t.name):
			case together.took+t.took <= quick:
				together.names, together.took = append(together.names, t.name), together.took+t.took
			default:
				slow = append(slow, round{suites[pkg], []string{t.name}, t.took})
			}
		}
		if len(together.names) > 0 {
			fast = append(fast, together)
		}
	}
	slices.SortStableFunc(slow, func(a, b round) int { return cmp.Compare(a.took, b.took) })
	for _, r := range append(fast, slow...) {
		by, err := r.suite.run(ctx, min(longest, 10*r.took+10*time.Second), r.names, variable+"="+m.id)
		if err != nil {
			return "", err
		}
		if by != "" {
			return r.suite.pkg + " " + by, nil
		}
	}
	return "", nil
}

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// run runs tests and names the one that failed, "" when all passed. One that takes longer than limit has hung, which
// counts as failed.
func (u *suite) run(ctx context.Context, limit time.Duration, names []string, env string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c := exec.CommandContext(ctx, u.binary, "-test.failfast", "-test.run=^("+strings.Join(names, "|")+")$", "-test.timeout="+longest.String())
	c.Dir = u.dir
	c.Env = append(os.Environ(), env)
	c.WaitDelay = 10 * time.Second
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	err := c.Run()
	if err == nil {
		return "", nil
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return "", ctx.Err()
	}
	if _, ran := errors.AsType[*exec.ExitError](err); !ran && ctx.Err() == nil {
		return "", fmt.Errorf("run the tests of %s: %w", u.pkg, err)
	}
	if m := failed.FindStringSubmatch(said.String()); m != nil {
		return m[1], nil
	}
	return strings.Join(names, " or ") + " (crashed or hung)", nil
}
