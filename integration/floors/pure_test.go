package floors

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// core are the pure packages: they decide about nodes, and do nothing. Store, BMC and agents are reached by others.
var core = []string{
	"server/conductor",
	"server/conductor/decide",
	"server/conductor/defaults",
	"server/conductor/disks",
	"server/conductor/doctor",
	"server/conductor/fit",
	"server/conductor/plan",
	"server/conductor/profile",
}

// words are the packages of the server that the core speaks with: data and no act.
var words = []string{"server/access", "server/drivers", "server/raid"}

// pure are the standard library's packages that the core may import: none does I/O by itself, waits or draws by chance. Of
// package time the lint rule wall-time keeps the clock away; context and io are for the seams' signatures.
var pure = []string{
	"cmp", "context", "crypto/sha256", "crypto/subtle", "encoding/json", "fmt", "io", "maps", "net/netip", "net/url", "reflect", "slices",
	"strconv", "strings", "time",
}

// TestTheCoreIsPure: what decides about nodes can be run by a simulator, a fuzzer and a model as it is. Whatever is parted
// off the conductor is either in the list above or names itself a test's package.
func TestTheCoreIsPure(t *testing.T) {
	all := list(t)
	needed := map[string]bool{}
	for _, name := range core {
		p, ok := all[ourModule+"/"+name]
		if !ok {
			t.Errorf("the list of the core names %s, which does not exist", name)
		}
		for _, i := range p.Imports {
			switch q := all[i]; {
			case q.ours():
				if to := short(i); !strings.HasPrefix(to, "shared/") && !slices.Contains(words, to) && !slices.Contains(core, to) {
					t.Errorf("%s imports %s, which is not of the core", name, to)
				}
			case !slices.Contains(pure, i):
				t.Errorf("%s imports %s: the core has no clock, no I/O and no locks", name, i)
			default:
				needed[i] = true
			}
		}
	}
	for _, i := range pure {
		if !needed[i] {
			t.Errorf("the core does not need %s any more: take it off the list", i)
		}
	}
	for _, p := range sorted(all) {
		name := short(p.ImportPath)
		if strings.HasPrefix(name, "server/conductor/") && !strings.HasSuffix(name, "test") && !slices.Contains(core, name) {
			t.Errorf("%s is not in the list of the core", name)
		}
	}
}

// TestTheCoreStartsNothing: a history of events has one outcome only if nothing in the core runs beside it or waits.
func TestTheCoreStartsNothing(t *testing.T) {
	for _, name := range core {
		dir := filepath.Join("..", "..", filepath.FromSlash(name))
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
				continue
			}
			files := token.NewFileSet()
			f, err := parser.ParseFile(files, filepath.Join(dir, e.Name()), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n.(type) {
				case *ast.GoStmt, *ast.SelectStmt, *ast.SendStmt, *ast.ChanType:
					t.Errorf("%s: the core has no goroutines and no channels", files.Position(n.Pos()))
				}
				return true
			})
		}
	}
}
