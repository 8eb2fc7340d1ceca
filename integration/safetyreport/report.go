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

// required are the numbers that a release needs a passing test of. The list grows with the work; it never shrinks.
var required = []string{
	"F1", "F2", "F3", "F5", "F6", "F7", "F8", "F9", "F10", "F12", "F13", "F14", "F15", "F16", "F21", "F22", "F23", "F24", "F25",
	"F27", "F28", "F29", "F30", "F40",
	"I8", "I9", "I10", "I11", "I12", "I13", "I14", "I15", "I16", "I17", "I18", "I28", "I29", "I30",
}

// lack says which required numbers are not proven.
type lack struct{ numbers []string }

func (l lack) Error() string {
	return "these numbers need a passing test and have none: " + strings.Join(l.numbers, " ")
}

// report prints a line for every number: the number, how many tests carry it, and pass, fail or none. A number passes
// when all its tests that ran passed and at least one ran. With verbose each test stands below its number. It ends with
// lack when a required number does not pass.
func report(out io.Writer, tests []numbered, results map[string]string, verbose bool) error {
	by := map[string][]numbered{}
	for _, t := range tests {
		by[t.number] = append(by[t.number], t)
	}
	known := map[string]bool{}
	count := map[string]int{}
	var missing []string
	for _, s := range numbers {
		for i := 1; i <= s.count; i++ {
			n := s.series + strconv.Itoa(i)
			known[n] = true
			slices.SortFunc(by[n], func(a, b numbered) int { return cmp.Or(cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.name, b.name)) })
			verdict := judge(by[n], results)
			count[verdict]++
			mark := ""
			if slices.Contains(required, n) {
				mark = "  required"
				if verdict != "pass" {
					missing = append(missing, n)
				}
			}
			fmt.Fprintf(out, "%-4s %-12s %3d tests  %-4s%s\n", n, s.what, len(by[n]), verdict, mark)
			for _, t := range by[n] {
				if verbose {
					fmt.Fprintf(out, "       %-7s %s %s\n", resultOf(t, results), t.pkg, t.name)
				}
			}
		}
	}
	for _, t := range tests {
		if !known[t.number] {
			return fmt.Errorf("%s in %s carries the number %s, which does not exist", t.name, t.pkg, t.number)
		}
	}
	if _, err := fmt.Fprintf(out, "\n%d numbers pass, %d fail, %d have none\n", count["pass"], count["fail"], count["none"]); err != nil {
		return err
	}
	if len(missing) > 0 {
		return lack{missing}
	}
	return nil
}

func resultOf(t numbered, results map[string]string) string {
	return cmp.Or(results[module+"/"+t.pkg+" "+t.name], "not run")
}

// judge gives a number's verdict from its tests. A test that was skipped or not run proves nothing.
func judge(tests []numbered, results map[string]string) string {
	verdict := "none"
	for _, t := range tests {
		switch resultOf(t, results) {
		case "fail":
			return "fail"
		case "pass":
			verdict = "pass"
		}
	}
	return verdict
}
