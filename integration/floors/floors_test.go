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
	"slices"
	"strings"
	"testing"
)

const module = "github.com/bessemer-metal/bessemer"

// pkg is what go list says of a package.
type pkg struct {
	ImportPath string
	Name       string
	Standard   bool
	DepOnly    bool
	Imports    []string
	Deps       []string
	Module     *struct{ Path string }
}

func (p pkg) ours() bool { return p.Module != nil && p.Module.Path == module }

// short is the path of one of our packages below the module's root.
func short(path string) string { return strings.TrimPrefix(strings.TrimPrefix(path, module), "/") }

// list runs go list over the whole module, dependencies included.
func list(t *testing.T, env ...string) map[string]pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-tags", "vm",
		"-json=ImportPath,Name,Standard,DepOnly,Imports,Deps,Module", module+"/...")
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
		if _, ok := all[module+"/"+name]; !ok {
			t.Errorf("the table of floors names %s, which does not exist", name)
		}
	}
}

func TestPackagesImportOnlyLowerFloors(t *testing.T) {
	for _, p := range sorted(list(t)) {
		from := short(p.ImportPath)
		for _, i := range p.Imports {
			if i != module && !strings.HasPrefix(i, module+"/") {
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
	agent, ok := all[module+"/agent"]
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
				if m := all[i].Module; m != nil && m.Path != module && !seen[m.Path] {
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
