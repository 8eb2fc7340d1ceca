package lint

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
)

const root = "../.."

// files parses every Go file of the module; folders with a go.mod of their own, testdata and what was built are not
// part of it.
func files(t *testing.T) []*File {
	t.Helper()
	fset := token.NewFileSet()
	var out []*File
	tree := os.DirFS(root)
	err := fs.WalkDir(tree, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != "." {
			_, nested := fs.Stat(tree, path.Join(p, "go.mod"))
			if strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || p == "build" || nested == nil {
				return fs.SkipDir
			}
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") {
			return nil
		}
		text, err := fs.ReadFile(tree, p)
		if err != nil {
			return err
		}
		f, err := parse(fset, p, string(text))
		if err != nil {
			return err
		}
		out = append(out, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func parse(fset *token.FileSet, name, text string) (*File, error) {
	syntax, err := parser.ParseFile(fset, name, text, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	return &File{Path: name, Package: path.Dir(name), Main: syntax.Name.Name == "main",
		Test: strings.HasSuffix(name, "_test.go"), Fset: fset, Syntax: syntax}, nil
}

// The rules "shell" and "sql" are I21's: no string becomes a command line or the text of a query.
func TestI21_ModuleKeepsTheRules(t *testing.T) {
	for _, f := range files(t) {
		for _, finding := range Check(f) {
			t.Error(finding)
		}
	}
}

// An allowance for a package that does not use it, or is gone, is removed.
func TestAllowancesAreUsed(t *testing.T) {
	all := files(t)
	for _, r := range Rules() {
		for pkg, why := range r.Allow {
			used := false
			for _, f := range all {
				if f.Package == pkg {
					used = used || breaks(r, f)
				}
			}
			if !used || why == "" {
				t.Errorf("rule %s allows %s (%s), which does not need it", r.Name, pkg, why)
			}
		}
	}
}

func breaks(r Rule, f *File) bool {
	found := 0
	r.Find(f, counter(&found))
	return found > 0
}

func TestPackagesHaveComments(t *testing.T) {
	commented := map[string]bool{}
	for _, f := range files(t) {
		if f.Test && !strings.HasPrefix(f.Package, "integration") {
			continue
		}
		commented[f.Package] = commented[f.Package] || f.Syntax.Doc != nil
	}
	for p, ok := range commented {
		if !ok {
			t.Errorf("package %s has no comment: say its one job, what it never does, and where to start reading", p)
		}
	}
}
