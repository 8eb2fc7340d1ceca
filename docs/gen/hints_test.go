package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/cli"
	"github.com/bessemer-metal/bessemer/server/cli/host"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/doctor"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// unknown stands in a text for what only the running program knows.
const unknown = "\x00"

// prose are literals in which the word bessemer does not begin a command line.
var prose = []string{
	"bessemer agent", "bessemer agent listener", // names in certificates
	"bessemer fleet " + unknown + " 1", // a seed
	"bessemer does not notice a second server that does.",
}

// says is what a string expression says, with unknown for its parts that are no literals; ok is false when it is no text.
func says(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			s, err := strconv.Unquote(e.Value)
			return formatted.ReplaceAllString(strings.ReplaceAll(s, "%d", "1"), unknown), err == nil
		}
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			x, isText := says(e.X)
			y, alsoText := says(e.Y)
			if !isText {
				x = unknown
			}
			if !alsoText {
				y = unknown
			}
			return x + y, isText || alsoText
		}
	case *ast.ParenExpr:
		return says(e.X)
	}
	return "", false
}

var formatted = regexp.MustCompile(`%(\[\d\])?[svq]`)

// literals gives every text in the Go code of the tree that is no test, by where it stands.
func literals(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	tree := os.DirFS(root)
	err := fs.WalkDir(tree, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "build"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go"):
			return nil
		}
		code, err := fs.ReadFile(tree, p)
		if err != nil {
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, p, code, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if e, ok := n.(ast.Expr); ok {
				if s, ok := says(e); ok {
					out[files.Position(e.Pos()).String()] = s
					return false
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var (
	// begins is where a command line begins in a text.
	begins = regexp.MustCompile("(^|[\\s(`\"$]|build/)bessemer ")
	// operand is a word that an operator puts in: NODE, KEY=VALUE, or what only the program knows.
	operand = regexp.MustCompile(`^(` + unknown + `\S*|[A-Z][A-Z_]*(=[A-Z]+)?)$`)
)

// commandLines cuts the command lines out of a text: each goes on to the next one, or to the end of the line or bracket.
func commandLines(s string) (out []string) {
	for l := range strings.SplitSeq(strings.ReplaceAll(s, "\\\n", " "), "\n") {
		at := begins.FindAllStringIndex(l, -1)
		for i, a := range at {
			rest := l[a[1]:]
			if i+1 < len(at) {
				rest = l[a[1]:at[i+1][0]]
			}
			if end := strings.IndexAny(rest, "`;()<"); end >= 0 {
				rest = rest[:end]
			}
			out = append(out, strings.TrimSpace(rest))
		}
	}
	return out
}

const aStep = "management.reset_bmc"

// terminal is where lines are typed: the command, against a server that refuses everything.
type terminal struct{ server, dir, file string }

func newTerminal(t *testing.T) terminal {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"error_message": "{\"faultcode\": \"Client\", \"faultstring\": \"no\"}"}`, http.StatusBadRequest)
	}))
	t.Cleanup(s.Close)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("[{interface: management, step: reset_bmc}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	return terminal{s.URL, dir, file}
}

// refuses is what the command says about words that it does not take, "" when it takes them.
func (m terminal) refuses(words []string) string {
	filled := strings.NewReplacer("FILE", m.file, "steps.yaml", m.file, "STEP", aStep, unknown, "x")
	args := []string{"--server", m.server}
	for i, w := range words {
		if i > 0 && words[i-1] == "--step" {
			w = strings.Replace(w, unknown, aStep, 1)
		}
		args = append(args, filled.Replace(w))
	}
	var said strings.Builder
	code := cli.Run(context.Background(), args, cli.Streams{In: strings.NewReader("x"), Out: io.Discard, Err: &said, Now: time.Now,
		Interactive: true, Environment: config.Environment{Home: m.dir}}, host.Programs{})
	if code != cli.Usage {
		return ""
	}
	return said.String()
}

// here are the commands that do something on this machine: their words and flags are checked, and nothing is run.
var here = []string{"serve", "simulate", "ramdisk", "user", "config", "import", "register", "image"}

// check says what is wrong with a command line; prose may follow it. Its nouns, verbs and flags must be there, and with
// the operands that it names it must be what the command takes.
func (m terminal) check(line string) error {
	line, _, _ = strings.Cut(line, ", ")
	words := strings.Fields(line)
	for i, w := range words {
		words[i] = strings.TrimRight(w, `,.:?"'`)
	}
	for len(words) > 1 && strings.HasPrefix(words[0], "--") && operand.MatchString(words[1]) { // --server URL before the command
		words = words[2:]
	}
	var path []string
	text, err := help(nil)
	for err == nil && len(words) > 0 && slices.Contains(subcommands(text), words[0]) {
		path, words = append(path, words[0]), words[1:]
		text, err = help(path)
	}
	if err != nil {
		return err
	}
	verbless := len(subcommands(text)) > 0 && !strings.Contains(text, " [NODE] [flags]")
	switch {
	case verbless && len(words) > 0 && operand.MatchString(words[0]):
		return nil // which command it is only the program knows, or the reader
	case verbless && len(words) > 0 && !strings.HasPrefix(words[0], "-"), len(path)+len(words) == 0:
		return errors.New("there is no such command")
	}
	for _, w := range words {
		flag, _, _ := strings.Cut(w, "=")
		if strings.HasPrefix(flag, "-") && len(flag) > 1 && !regexp.MustCompile(`(?m)(^|[ ,])`+regexp.QuoteMeta(flag)+`([ ,]|$)`).MatchString(text) {
			return fmt.Errorf("bessemer %s has no flag %s", strings.Join(path, " "), flag)
		}
	}
	return m.typable(path, words)
}

// typable says why words of a line are not taken as they stand. A line that names no operand only mentions its command.
func (m terminal) typable(path, words []string) error {
	n := 0
	for n < len(words) && (strings.HasPrefix(words[n], "-") || operand.MatchString(words[n])) {
		n++
	}
	if len(path) == 0 || slices.Contains(here, path[0]) || !slices.ContainsFunc(words[:n], operand.MatchString) {
		return nil
	}
	said := m.refuses(slices.Concat(path, words[:n]))
	if said != "" && n < len(words) && m.refuses(slices.Concat(path, words[:n+1])) == "" { // a word of the command's, no prose
		said = ""
	}
	if said != "" {
		return fmt.Errorf("it can't be typed: %s", said)
	}
	return nil
}

func TestCheckOfCommandLines(t *testing.T) {
	m := newTerminal(t)
	for line, right := range map[string]bool{
		"node undeploy NODE": true, "node power NODE shows what the BMC says": true, "node unset NODE --protected": true,
		"node clean NODE --step STEP": true, "node passthru call NODE get_all_subscriptions lists them": true,
		"node logs " + unknown + " --boot 1": true, "image add": true, "node " + unknown + " n1": true,
		"--server " + unknown + " node list": true, "--help shows the commands": true, "COMMAND --help": true,
		"node vmedia detach NODE " + unknown + ", or take it out at the BMC itself": true,

		"node deleted NODE": false, "does it": false, "node unset NODE --protect": false, "node clean NODE": false,
		"node rescue NODE": false, "node list NODE": false,
		"node show NODE --format": false, "serve --fast": false,
	} {
		if err := m.check(line); (err == nil) != right {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// Every command line that a text of the program names is one that can be typed: hints, ways out, examples.
func TestCommandsNamedInTheProgramsTexts(t *testing.T) {
	m, found := newTerminal(t), 0
	for at, s := range literals(t) {
		for _, line := range commandLines(s) {
			if slices.Contains(prose, "bessemer "+line) {
				continue
			}
			found++
			if err := m.check(line); err != nil {
				t.Errorf("%s names %q: %v", at, "bessemer "+strings.ReplaceAll(line, unknown, "…"), err)
			}
		}
	}
	if found < 150 {
		t.Errorf("only %d command lines were found", found)
	}
}

// Every way out that the doctor can name is a line that can be typed, and leads by the verb that it says.
func TestTheDoctorsWaysOutCanBeTyped(t *testing.T) {
	m, verbs := newTerminal(t), map[string]bool{}
	for _, s := range state.All() {
		for _, n := range []conductor.Node{
			{UUID: "u", Name: "n1", State: s},
			{UUID: "u", Name: "n1", State: s, InstanceInfo: map[string]any{"image_source": "http://192.0.2.1/d.raw"}},
			{UUID: "u", Name: "n1", State: s, Fault: "power failure", Unverified: &conductor.Unverified{}, Boot: &conductor.Boot{Contested: true}},
		} {
			for _, e := range doctor.Diagnose(doctor.Case{Node: n}, time.Now()).Exits {
				line, _ := strings.CutPrefix(e.Command, "bessemer ")
				verbs[strings.Fields(line)[1]] = true
				if err := m.check(strings.Replace(line, " n1", " NODE", 1)); err != nil {
					t.Errorf("in %s: %s: %v", s, e.Command, err)
				}
			}
		}
	}
	for _, e := range state.Transitions() {
		if _, ok := map[state.Event]bool{state.Wait: true, state.Resume: true, state.Hold: true, state.Fail: true, state.Done: true}[e.Event]; !ok && !verbs[e.Event.Command()] {
			t.Errorf("no way out names the verb %s", e.Event.Command())
		}
	}
}
