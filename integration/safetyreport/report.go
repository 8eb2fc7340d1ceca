package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/bessemer-metal/bessemer"

// numbers are how many numbers each series of the safety page has.
var numbers = []struct {
	series string
	what   string
	count  int
}{
	{"T", "threat", 18}, {"I", "invariant", 30}, {"F", "fault", 40}, {"Z", "fuzz target", 11}, {"L", "load target", 7},
}

// carries finds the numbers at the front of a test's name: TestI03_I05_Name carries two.
var carries = regexp.MustCompile(`^(?:Test|Fuzz|Benchmark)((?:[TIFZL][0-9]+_)+)`)

// numbered is a test that carries a number.
type numbered struct {
	number string // "I3"
	pkg    string // below the module
	name   string
}

// scan finds all tests of the tree that carry numbers.
func scan(root string) ([]numbered, error) {
	var out []numbered
	tree := os.DirFS(root)
	err := fs.WalkDir(tree, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || p == "build"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(p, "_test.go"):
			return nil
		}
		text, err := fs.ReadFile(tree, p)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), p, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil {
				for _, n := range numbersOf(fn.Name.Name) {
					out = append(out, numbered{n, path.Dir(p), fn.Name.Name})
				}
			}
		}
		return nil
	})
	return out, err
}

func numbersOf(test string) []string {
	m := carries.FindStringSubmatch(test)
	if m == nil {
		return nil
	}
	var out []string
	for _, n := range strings.Split(strings.TrimSuffix(m[1], "_"), "_") {
		i, err := strconv.Atoi(n[1:])
		if err == nil {
			out = append(out, n[:1]+strconv.Itoa(i))
		}
	}
	return out
}

// report prints every number with its tests and their last results; numbers without a test are summed up.
func report(out io.Writer, tests []numbered, results map[string]string) error {
	by := map[string][]numbered{}
	for _, t := range tests {
		by[t.number] = append(by[t.number], t)
	}
	known := map[string]bool{}
	var bare []string
	var failed, unrun int
	for _, s := range numbers {
		for i := 1; i <= s.count; i++ {
			n := s.series + strconv.Itoa(i)
			known[n] = true
			if len(by[n]) == 0 {
				bare = append(bare, n)
				continue
			}
			fmt.Fprintf(out, "%s (%s)\n", n, s.what)
			slices.SortFunc(by[n], func(a, b numbered) int { return cmp.Or(cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.name, b.name)) })
			for _, t := range by[n] {
				result := cmp.Or(results[module+"/"+t.pkg+" "+t.name], "not run")
				switch result {
				case "fail":
					failed++
				case "not run":
					unrun++
				}
				fmt.Fprintf(out, "  %-8s %s %s\n", result, t.pkg, t.name)
			}
		}
	}
	for _, t := range tests {
		if !known[t.number] {
			return fmt.Errorf("%s in %s carries the number %s, which does not exist", t.name, t.pkg, t.number)
		}
	}
	_, err := fmt.Fprintf(out, "\n%d numbers with tests, %d without: %s\n%d tests failed, %d were not run\n",
		len(known)-len(bare), len(bare), strings.Join(bare, " "), failed, unrun)
	return err
}
