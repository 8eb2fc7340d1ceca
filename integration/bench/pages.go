package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/integration/figures"
)

// row is one line of a benchmark: its package, its name without processors, and its values by unit, in the order told.
type row struct {
	pkg, name string
	values    []value
}

type value struct {
	number float64
	unit   string
}

// parse reads what go test -bench prints.
func parse(out string) []row {
	var rows []row
	pkg := ""
	for line := range strings.Lines(out) {
		if p, ok := strings.CutPrefix(line, "pkg: "); ok {
			pkg = strings.TrimPrefix(strings.TrimSpace(p), "github.com/bessemer-metal/bessemer/")
		}
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") || len(f)%2 != 0 {
			continue
		}
		name := strings.TrimPrefix(f[0], "Benchmark")
		if i := strings.LastIndex(name, "-"); i > 0 {
			name = name[:i]
		}
		r := row{pkg: pkg, name: name}
		for i := 2; i+1 < len(f); i += 2 {
			n, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				break
			}
			r.values = append(r.values, value{n, f[i+1]})
		}
		rows = append(rows, r)
	}
	return rows
}

const generated = "<!-- Written by make bench. -->\n\n"

// benchmarks is the page of Go's benchmarks.
func benchmarks(rows []row, where string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s# Benchmarks of packages\n\n%s Method: `go test -bench . -benchmem`, one run.\n\n| package | benchmark | results |\n|---|---|---|\n", generated, where)
	for _, r := range rows {
		var told []string
		for _, v := range r.values {
			told = append(told, figures.Number(v.number)+" "+v.unit)
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r.pkg, r.name, strings.Join(told, ", "))
	}
	var told []string
	for _, r := range references {
		if x, ok := ratio(rows, r); ok {
			told = append(told, fmt.Sprintf("| %s | %s | %s |\n", r.pkg, r.what, figures.Number(x)))
		}
	}
	if len(told) > 0 {
		fmt.Fprintf(&b, "\n## Beside a reference\n\nTime of ours divided by that of the reference, both from the run above.\n\n| package | compared | ratio |\n|---|---|---:|\n%s", strings.Join(told, ""))
	}
	return b.String()
}

// reference is a pair of benchmarks that do the same work, ours with all checks.
type reference struct{ pkg, ours, plain, what string }

var references = []reference{
	{"agent/image", "WriteImage/raw", "PlainCopy", "image write with verification and boot protection ÷ fetch, hash and write in turn"},
	{"agent/image", "WriteImage/zst", "PlainCopy", "the same from zstd ÷ fetch, hash and write the raw image in turn"},
	{"agent/image", "WriteImage/gz", "PlainCopy", "the same from gzip ÷ fetch, hash and write the raw image in turn"},
	{"agent/image", "WriteImage/qcow2", "FetchAndConvert/qcow2", "qcow2 written from the stream, with verification and boot protection ÷ fetch to a file, hash, qemu-img convert"},
	{"agent/image", "WriteImage/deflate.qcow2", "FetchAndConvert/deflate.qcow2", "the same with clusters packed by deflate"},
	{"agent/image", "WriteImage/zstd.qcow2", "FetchAndConvert/zstd.qcow2", "the same with clusters packed by zstd"},
	{"agent/disk/erase", "Erase", "PlainZeros", "erase with verification and syncing ÷ writing zeros without"},
}

// ratio is how many times as long ours took as its reference.
func ratio(rows []row, r reference) (float64, bool) {
	time := func(name string) float64 {
		for _, x := range rows {
			if x.pkg == r.pkg && x.name == name && len(x.values) > 0 && x.values[0].unit == "ns/op" {
				return x.values[0].number
			}
		}
		return 0
	}
	ours, plain := time(r.ours), time(r.plain)
	if ours == 0 || plain == 0 {
		return 0, false
	}
	return ours / plain, true
}

// set is the page of one set of figures.
func set(s figures.Set, where string) string {
	return fmt.Sprintf("%s# %s\n\n%s %s\n\n%s", generated, s.Title, where, s.Method, s.Table())
}

// others takes into pages those of the directory that runs of another kind have left, for the index, and gives all names.
func others(dir string, pages map[string]string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".md")
		if _, ours := pages[name]; ours || name == "README" {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		pages[name] = "\n" + string(text)
	}
	return slices.Sorted(maps.Keys(pages)), nil
}

// index is the page that leads to the others.
func index(names []string, pages map[string]string) string {
	var b strings.Builder
	b.WriteString(generated + "# Figures\n\n`make bench` measures and writes most of the pages beside this one; ratios are taken side by side, in one run, on one machine. " +
		"Times depend on what else that machine did meanwhile; the ratios are what to compare.\n\n")
	for _, n := range names {
		_, rest, _ := strings.Cut(pages[n], "\n# ")
		title, _, _ := strings.Cut(rest, "\n")
		fmt.Fprintf(&b, "- [%s](%s.md)\n", title, n)
	}
	return b.String()
}
