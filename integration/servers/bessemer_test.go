package servers

import (
	"debug/elf"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A packager's flags for the C compiler are kept, by make and by Build, and ours is with them once: also where make runs
// make, so that nothing is compiled twice.
func TestFlagsOfAPackagerAreKept(t *testing.T) {
	for environment, want := range map[string]string{
		"":                          "-O2 -g -DHAVE_FDATASYNC=1",
		"-O3 -fstack-protector":     "-O3 -fstack-protector -DHAVE_FDATASYNC=1",
		"-O3 -DHAVE_FDATASYNC=1 -g": "-O3 -g -DHAVE_FDATASYNC=1",
		"-DHAVE_FDATASYNC=1":        "-O2 -g -DHAVE_FDATASYNC=1",
	} {
		if got := flags(environment); got != want {
			t.Errorf("Build, CGO_CFLAGS=%q: %q, expected %q", environment, got, want)
		}
		for _, how := range [][]string{{"shown"}, {"shown", "CGO_CFLAGS=" + environment}} {
			make := exec.CommandContext(t.Context(), "make", append([]string{"-s", "-C", "../..", "--eval=shown: ; @echo $$CGO_CFLAGS; [ \"$$MAKELEVEL\" -gt 1 ] || $(MAKE) -s '--eval=again: ; @echo $$$$CGO_CFLAGS' again"}, how...)...)
			make.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "CGO_CFLAGS=") }), "CGO_CFLAGS="+environment)
			if len(how) > 1 {
				make.Env = append(make.Env, "CGO_CFLAGS=-O0")
			}
			said, err := make.CombinedOutput()
			if lines := strings.Split(strings.TrimSpace(string(said)), "\n"); err != nil || len(lines) != 2 || lines[0] != want || lines[1] != want {
				t.Errorf("%v, CGO_CFLAGS=%q: %v\n%s\nexpected %q twice", how, environment, err, said, want)
			}
		}
	}
}

// The server syncs its database's data without the files' times: both ways to build it ask for it, and the program calls it.
func TestTheServerSyncsDataAlone(t *testing.T) {
	const root = "../.."
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

// A server says where it listens, and one that follows it in its directory is asked where it listens itself.
func TestServersChooseTheirPorts(t *testing.T) {
	dir := t.TempDir()
	program, err := Build(t.Context(), "../..", dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s, err := Bessemer(t.Context(), BessemerConfig{Program: program, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		status, _ := get(http.DefaultClient, s.URL+"/v1", "1.1")
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if status != http.StatusOK || s.Start <= 0 || strings.HasSuffix(s.URL, ":0") {
			t.Errorf("%s answers %d after %s", s.URL, status, s.Start)
		}
	}
}
