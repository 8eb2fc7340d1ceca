// Package floors holds the project's layers as a table and tests that the code keeps to it. It has no code but its
// test. A package imports only packages of a lower floor; packages on one floor never import each other; an outside
// module has one importing package in a program. Start at the table in table_test.go.
package floors

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

const ourModule = "github.com/bessemer-metal/bessemer"

// pkg is what go list says of a package.
type pkg struct {
	ImportPath                string
	Name                      string
	Standard                  bool
	DepOnly                   bool
	Imports                   []string
	TestImports, XTestImports []string
	Deps                      []string
	Module                    *struct{ Path string }
}

func (p pkg) ours() bool { return p.Module != nil && p.Module.Path == ourModule }

// short is the path of one of our packages below the module's root.
func short(path string) string { return strings.TrimPrefix(strings.TrimPrefix(path, ourModule), "/") }

// list runs go list over the whole module, dependencies included.
func list(t *testing.T, env ...string) map[string]pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-tags", "vm",
		"-json=ImportPath,Name,Standard,DepOnly,Imports,TestImports,XTestImports,Deps,Module", ourModule+"/...")
	cmd.Env = append(os.Environ(), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	all := map[string]pkg{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all[p.ImportPath] = p
	}
}

// sorted gives the packages of ours among all, by path.
func sorted(all map[string]pkg) []pkg {
	var out []pkg
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if all[path].ours() {
			out = append(out, all[path])
		}
	}
	return out
}

func TestTableAndCodeNameTheSamePackages(t *testing.T) {
	all := list(t)
	for _, p := range sorted(all) {
		if _, ok := floors[short(p.ImportPath)]; !ok {
			t.Errorf("package %s is not in the table of floors: give it one", short(p.ImportPath))
		}
	}
	for name := range floors {
		if _, ok := all[ourModule+"/"+name]; !ok {
			t.Errorf("the table of floors names %s, which does not exist", name)
		}
	}
}

func TestPackagesImportOnlyLowerFloors(t *testing.T) {
	for _, p := range sorted(list(t)) {
		from := short(p.ImportPath)
		for _, i := range p.Imports {
			if i != ourModule && !strings.HasPrefix(i, ourModule+"/") {
				continue
			}
			if to := short(i); floors[to] >= floors[from] {
				t.Errorf("%s (floor %d) imports %s (floor %d): only lower floors may be imported",
					from, floors[from], to, floors[to])
			}
		}
	}
}

func TestSharedIsStandardLibraryOnly(t *testing.T) {
	all := list(t)
	for _, p := range sorted(all) {
		if !strings.HasPrefix(short(p.ImportPath), "shared/") {
			continue
		}
		for _, d := range p.Deps {
			if q := all[d]; !q.Standard && !q.ours() {
				t.Errorf("%s reaches %s: shared is words only, made of the standard library alone", short(p.ImportPath), d)
			}
		}
	}
}

// TestAgentStaysSmall looks at the agent as it is built: without cgo.
func TestAgentStaysSmall(t *testing.T) {
	all := list(t, "CGO_ENABLED=0")
	agent, ok := all[ourModule+"/agent"]
	if !ok {
		t.Fatal("there is no package agent")
	}
	for _, d := range agent.Deps {
		if m := all[d].Module; m != nil && neverInAgent[m.Path] != "" {
			t.Errorf("the agent reaches %s of module %s: %s", d, m.Path, neverInAgent[m.Path])
		}
		if all[d].ours() && strings.HasPrefix(short(d), "server/") {
			t.Errorf("the agent reaches %s: the agent holds nothing of the server", short(d))
		}
	}
}

// TestOneImporterOfEachModule looks at each program: in it, an outside module is imported by one package of ours, or
// by those that the table of exceptions lists. An exception that is not needed any more is an error as well.
func TestOneImporterOfEachModule(t *testing.T) {
	all := list(t)
	needed := map[string][]string{} // module to importers, the largest set over all programs
	for _, main := range sorted(all) {
		if main.Name != "main" {
			continue
		}
		importers := map[string][]string{}
		for _, path := range append([]string{main.ImportPath}, main.Deps...) {
			p := all[path]
			if !p.ours() {
				continue
			}
			seen := map[string]bool{}
			for _, i := range p.Imports {
				if m := all[i].Module; m != nil && m.Path != ourModule && !seen[m.Path] {
					seen[m.Path] = true
					importers[m.Path] = append(importers[m.Path], short(path))
				}
			}
		}
		for m, by := range importers {
			if len(by) == 1 {
				continue
			}
			e, listed := exceptions[m]
			for _, b := range by {
				if !listed || !slices.Contains(e.by, b) {
					slices.Sort(by)
					t.Errorf("in program %s, module %s is imported by %s: one package may, or list it with a reason",
						short(main.ImportPath), m, strings.Join(by, ", "))
					break
				}
				if !slices.Contains(needed[m], b) {
					needed[m] = append(needed[m], b)
				}
			}
		}
	}
	for m, e := range exceptions {
		for _, b := range e.by {
			if !slices.Contains(needed[m], b) {
				t.Errorf("the exception of module %s for %s is not needed: remove it", m, b)
			}
		}
		if e.why == "" {
			t.Errorf("the exception of module %s gives no reason", m)
		}
	}
}

// TestModulesHaveADecision: whoever adds a module writes a line in docs/adr that says what it is for. Modules that only
// tests use count as well.
func TestModulesHaveADecision(t *testing.T) {
	pages, err := filepath.Glob("../../docs/adr/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("there are no decisions to read: %v", err)
	}
	var text strings.Builder
	for _, p := range pages {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(b)
	}
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	file, err := modfile.Parse("go.mod", mod, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := list(t)
	direct := map[string]bool{}
	for _, p := range sorted(all) {
		for _, i := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			for _, r := range file.Require {
				if i == r.Mod.Path || strings.HasPrefix(i, r.Mod.Path+"/") {
					direct[r.Mod.Path] = true
				}
			}
		}
	}
	if len(direct) < 10 {
		t.Fatalf("only %d modules are imported: go list was misread", len(direct))
	}
	for m := range direct {
		path, _, _ := module.SplitPathVersion(m)
		name := strings.TrimPrefix(strings.TrimPrefix(path, "github.com/"), "golang.org/")
		if !strings.Contains(text.String(), name) {
			t.Errorf("module %s is imported, and no page of docs/adr says what for: add a line to 0008 (%s)", m, name)
		}
	}
}
