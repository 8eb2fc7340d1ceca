package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/integration/figures"
)

const printed = `goos: linux
pkg: github.com/bessemer-metal/bessemer/server/sqlite
cpu: some
BenchmarkUpdate-2   	    1200	    987654 ns/op	        12.50 commits/s	    4096 B/op	      10 allocs/op
BenchmarkRead/one-node-2         	 1000000	      1042 ns/op
PASS
ok  	github.com/bessemer-metal/bessemer/server/sqlite	3.1s
`

func TestParse(t *testing.T) {
	want := []row{
		{"server/sqlite", "Update", []value{{987654, "ns/op"}, {12.5, "commits/s"}, {4096, "B/op"}, {10, "allocs/op"}}},
		{"server/sqlite", "Read/one-node", []value{{1042, "ns/op"}}},
	}
	got := parse(printed)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v", got)
	}
}

func TestPages(t *testing.T) {
	root := t.TempDir()
	kept := figures.Set{Title: "The demo", Method: "One run.", Rows: []figures.Figure{
		{What: "initramfs", Value: 14.72, Unit: "MB", Target: "≤ 20"}, {What: "deploy", Value: 1234.5, Unit: "s"}}}
	if err := kept.Save(root, "demo"); err != nil {
		t.Fatal(err)
	}
	sets, err := figures.Load(root)
	if err != nil || !reflect.DeepEqual(sets, map[string]figures.Set{"demo": kept}) {
		t.Fatalf("kept %+v, %v", sets, err)
	}
	page := set(sets["demo"], "Commit x.")
	for _, line := range []string{"# The demo\n", "Commit x. One run.", "| initramfs | 14.7 | MB | ≤ 20 |", "| deploy | 1234 | s |  |"} {
		if !strings.Contains(page, line) {
			t.Errorf("the page lacks %q:\n%s", line, page)
		}
	}
	if page := benchmarks(parse(printed), "x"); !strings.Contains(page, "| server/sqlite | Update | 987654 ns/op, 12.5 commits/s, 4096 B/op, 10 allocs/op |") {
		t.Errorf("%s", page)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"crash.md": "# The harness\n\nWords.\n", "demo.md": "# Old\n", "README.md": "# Figures\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all := map[string]string{"demo": page}
	if names, err := others(dir, all); err != nil || len(names) != 2 || !strings.Contains(index(names, all), "- [The harness](crash.md)\n- [The demo](demo.md)\n") {
		t.Errorf("%v, %v: %s", names, err, index(names, all))
	}
	if page := index([]string{"demo"}, map[string]string{"demo": page}); !strings.Contains(page, "- [The demo](demo.md)") {
		t.Errorf("%s", page)
	}
	if err := os.WriteFile(root+"/"+figures.Dir+"/broken.json", []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := figures.Load(root); err == nil {
		t.Error("a broken file is read")
	}
}

func TestProcessor(t *testing.T) {
	if got := processor("processor : 0\nmodel name\t: Fast One\nprocessor : 1\nmodel name\t: Fast One\n"); got != "2 × Fast One" {
		t.Error(got)
	}
}

func TestBesideAReference(t *testing.T) {
	rows := parse(`pkg: github.com/bessemer-metal/bessemer/agent/disk/erase
BenchmarkErase-2    	       3	 300000000 ns/op	 894.78 MB/s
BenchmarkPlainZeros-2   	       6	 200000000 ns/op	1342.18 MB/s
`)
	page := benchmarks(rows, "x")
	if !strings.Contains(page, "| agent/disk/erase | erase with verification and syncing ÷ writing zeros without | 1.5 |") || strings.Contains(page, "agent/image") {
		t.Errorf("%s", page)
	}
}

func TestPackagesWithBenchmarks(t *testing.T) {
	got, err := withBenchmarks("../..")
	if err != nil || !slices.Contains(got, "./server/sqlite") || slices.Contains(got, "./shared/fault") || slices.Contains(got, "./integration/bench") {
		t.Errorf("%q %v", got, err)
	}
}
