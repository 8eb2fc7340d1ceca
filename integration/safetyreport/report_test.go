package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestNumbersOf(t *testing.T) {
	for name, want := range map[string][]string{
		"TestI03_Name":          {"I3"},
		"TestI08_I09_Repeat":    {"I8", "I9"},
		"FuzzZ1_Decode":         {"Z1"},
		"TestF31_F32_T9_Stream": {"F31", "F32", "T9"},
		"TestInventory":         nil,
		"TestI03":               nil,
		"TestIt_I03_":           nil,
		"Example":               nil,
	} {
		if got := numbersOf(name); !slices.Equal(got, want) {
			t.Errorf("%s carries %v, want %v", name, got, want)
		}
	}
}

func TestReport(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "agent/disk"), 0o755); err != nil {
		t.Fatal(err)
	}
	src := "package disk\nfunc TestI03_A() {}\nfunc TestI3_B() {}\nfunc TestI04_C() {}\nfunc helper() {}\nfunc TestD() {}\n"
	if err := os.WriteFile(filepath.Join(dir, "agent/disk/x_test.go"), []byte(src), 0o644); err != nil {
		t.Fatal(err)
	}
	tests, err := scan(dir)
	if err != nil || len(tests) != 3 {
		t.Fatalf("found %v, %v; want three tests", tests, err)
	}
	events := `{"Action":"pass","Package":"` + module + `/agent/disk","Test":"TestI03_A"}
{"Action":"fail","Package":"` + module + `/agent/disk","Test":"TestI3_B"}
{"Action":"pass","Package":"` + module + `/agent/disk"}
`
	results := map[string]string{}
	if err := readResults(strings.NewReader(events), results); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err = report(&out, tests, results, false)
	var l lack
	if !errors.As(err, &l) || !slices.Equal(slices.Sorted(slices.Values(l.numbers)), slices.Sorted(slices.Values(required))) {
		t.Errorf("the report of three tests of I3 and I4 ends with %v, want all required numbers", err)
	}
	for _, line := range []string{
		"\nI3   invariant      2 tests  fail\n",
		"\nI4   invariant      1 tests  none\n",
		"\nI8   invariant      0 tests  none  required\n",
		"\n0 numbers pass, 1 fail, 105 have none\n",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("the report lacks %q:\n%s", line, out.String())
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 106+2 {
		t.Errorf("the report has %d lines, want one per number and two", n)
	}
	out.Reset()
	if err := report(&out, tests, results, true); err == nil {
		t.Error("want what is lacking also in the long report")
	}
	for _, line := range []string{"pass    agent/disk TestI03_A\n", "fail    agent/disk TestI3_B\n", "not run agent/disk TestI04_C\n"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("the long report lacks %q:\n%s", line, out.String())
		}
	}
	if err := report(&out, []numbered{{"I99", "x", "TestI99_X"}}, nil, false); err == nil || errors.As(err, &l) {
		t.Errorf("a number that does not exist gives %v", err)
	}
}

// A number passes only when something ran and nothing failed.
func TestJudge(t *testing.T) {
	tests := []numbered{{"I8", "p", "TestI08_A"}, {"I8", "p", "TestI08_B"}}
	for _, c := range []struct{ a, b, want string }{
		{"pass", "pass", "pass"}, {"pass", "", "pass"}, {"pass", "fail", "fail"}, {"fail", "pass", "fail"}, {"skip", "", "none"}, {"", "", "none"},
	} {
		results := map[string]string{module + "/p TestI08_A": c.a, module + "/p TestI08_B": c.b}
		if got := judge(tests, results); got != c.want {
			t.Errorf("results %q and %q give %s, want %s", c.a, c.b, got, c.want)
		}
	}
	all := map[string]string{}
	var proven []numbered
	for _, n := range required {
		proven = append(proven, numbered{n, "p", "Test" + n})
		all[module+"/p Test"+n] = "pass"
	}
	if err := report(io.Discard, proven, all, false); err != nil {
		t.Errorf("all required numbers pass, and yet: %v", err)
	}
}

// What is shown is what go test prints without -v: lines of packages, all of failed tests, nothing of others.
func TestShow(t *testing.T) {
	events := `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"quiet\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:3: wrong\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- FAIL: TestB (0.00s)\n"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestC","Output":"panic: gone\n"}
{"Action":"output","Package":"p","Output":"FAIL\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}
{"ImportPath":"q","Action":"build-output","Output":"q.go:1: no such thing\n"}
not json
{"Action":"output","Package":"r","Output":"PASS\n"}
{"Action":"output","Package":"r","Output":"ok  \tr\t0.1s\n"}
{"Action":"pass","Package":"r"}
`
	want := "    b_test.go:3: wrong\n--- FAIL: TestB (0.00s)\nFAIL\nFAIL\tp\t0.1s\npanic: gone\nq.go:1: no such thing\nnot json\nok  \tr\t0.1s\n"
	var out strings.Builder
	if err := show(strings.NewReader(events), &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != want {
		t.Errorf("shown\n%s\nwant\n%s", out.String(), want)
	}
}
