package servers

import (
	"debug/elf"
	"os"
	"slices"
	"strings"
	"testing"
)

// The server syncs its database's data without the files' times: both ways to build it ask for it, and the program calls it.
func TestTheServerSyncsDataAlone(t *testing.T) {
	const root = "../.."
	rules, err := os.ReadFile(root + "/Makefile")
	if err != nil {
		t.Fatal(err)
	}
	if name, value, _ := strings.Cut(cflags, "="); !strings.Contains(string(rules), "\nexport "+name+" := "+value+"\n") {
		t.Errorf("the Makefile exports no %s", cflags)
	}
	program, err := Build(t.Context(), root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	calls, err := f.ImportedSymbols()
	if err != nil {
		t.Fatal(err)
	}
	has := func(name string) bool {
		return slices.ContainsFunc(calls, func(s elf.ImportedSymbol) bool { return s.Name == name })
	}
	if !has("fdatasync") || has("fsync") {
		t.Errorf("the program calls fdatasync: %t, fsync: %t; want the first alone", has("fdatasync"), has("fsync"))
	}
}
