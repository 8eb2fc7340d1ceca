package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

const root = "../.."

func TestPagesAreCurrent(t *testing.T) {
	for _, p := range pages {
		want, err := p.make(root)
		if err != nil {
			t.Errorf("%s: %v", p.file, err)
			continue
		}
		got, err := os.ReadFile(filepath.Join(root, "docs", p.file))
		if err != nil {
			t.Error(err)
		} else if string(got) != p.head()+want {
			t.Errorf("docs/%s is not what the code says: make docs writes it anew", p.file)
		}
	}
}

// Each reason has a page with all its parts, and no page is left of a reason that is gone.
func TestEveryReasonHasAPage(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "docs/reference/faults/*.md"))
	if err != nil || len(files) != len(fault.Reasons) {
		t.Errorf("%d pages for %d reasons (%v)", len(files), len(fault.Reasons), err)
	}
	for _, r := range fault.Reasons {
		text, err := os.ReadFile(filepath.Join(root, "docs/reference/faults", string(r.Reason)+".md"))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, part := range []string{"# " + string(r.Reason) + "\n", "\n## What was found\n\n" + r.Doc, "\n## What was expected\n\n" + fault.Expected(r.Reason), "\n## What to do\n\n"} {
			if !strings.Contains(string(text), part) {
				t.Errorf("the page of %s lacks %q", r.Reason, strings.TrimSpace(part))
			}
		}
		if _, err := os.Stat(filepath.Join(root, "docs/howto", string(r.Reason)+".md")); err == nil && !strings.Contains(string(text), "(../../howto/"+string(r.Reason)+".md)") {
			t.Errorf("the page of %s does not link to its runbook", r.Reason)
		}
	}
}

// documents reads README.md and all of docs, by path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	tree := os.DirFS(root)
	read := func(p string) {
		b, err := fs.ReadFile(tree, p)
		if err != nil {
			t.Fatal(err)
		}
		out[p] = string(b)
	}
	read("README.md")
	err := fs.WalkDir(tree, "docs", func(p string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(p, ".md") {
			read(p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var (
	links    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headings = regexp.MustCompile(`(?m)^#+ (.*)$`)
	unslug   = regexp.MustCompile(`[^a-z0-9 _-]`)
)

func TestLinksLeadSomewhere(t *testing.T) {
	docs := documents(t)
	anchors := map[string][]string{}
	for name, text := range docs {
		for _, h := range headings.FindAllStringSubmatch(text, -1) {
			slug := strings.ReplaceAll(unslug.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")
			anchors[name] = append(anchors[name], slug)
		}
	}
	for name, text := range docs {
		for _, m := range links.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, at, _ := strings.Cut(m[1], "#")
			to := filepath.Join(filepath.Dir(name), file)
			if file == "" {
				to = name
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s links to %s, which does not exist", name, m[1])
			} else if at != "" && !slices.Contains(anchors[to], at) {
				t.Errorf("%s links to %s, which has no such heading", name, m[1])
			}
		}
	}
}

// A person who never saw the project finds the state table, the step registry and Decide from the README, within
// three clicks.
func TestTheHeartIsThreeClicksAway(t *testing.T) {
	docs := documents(t)
	reached := map[string]int{"README.md": 0}
	for todo := []string{"README.md"}; len(todo) > 0; todo = todo[1:] {
		for _, m := range links.FindAllStringSubmatch(docs[todo[0]], -1) {
			file, _, _ := strings.Cut(m[1], "#")
			to := filepath.Join(filepath.Dir(todo[0]), file)
			if _, seen := reached[to]; !seen && file != "" {
				reached[to] = reached[todo[0]] + 1
				todo = append(todo, to)
			}
		}
	}
	for _, want := range []string{"shared/state/state.go", "shared/step/registry.go", "shared/catalog/catalog.go", "server/conductor/decide/decide.go"} {
		if n, ok := reached[want]; !ok || n > 3 {
			t.Errorf("%s is not within three clicks of the README (%d)", want, n)
		}
	}
	for name := range docs {
		if _, ok := reached[name]; !ok {
			t.Errorf("no link leads from the README to %s", name)
		}
	}
}

func TestRunbooksAreOfReasons(t *testing.T) {
	books, err := filepath.Glob(filepath.Join(root, "docs/howto/*.*.md"))
	if err != nil || len(books) == 0 {
		t.Fatalf("no runbooks found: %v", err)
	}
	for _, b := range books {
		name := strings.TrimSuffix(filepath.Base(b), ".md")
		if _, ok := fault.Lookup(fault.Reason(name)); !ok {
			t.Errorf("%s is a runbook of no reason", b)
		}
		text, err := os.ReadFile(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"# " + name + "\n", "\n## What you see\n", "\n## What it means\n", "\n## What to do\n"} {
			if !strings.Contains("\n"+string(text), part) {
				t.Errorf("%s lacks the heading %q", b, strings.TrimSpace(part))
			}
		}
	}
}

var fences = regexp.MustCompile("(?ms)^```console( run)?\n(.*?)^```")

// Every command that a page shows is checked. A block marked "console run" is run, and its other lines must be in
// what it prints; of any other block the commands must at least exist.
func TestCommandsShownInPages(t *testing.T) {
	found := 0
	for name, text := range documents(t) {
		for _, m := range fences.FindAllStringSubmatch(text, -1) {
			var printed string
			for line := range strings.Lines(m[2]) {
				line = strings.TrimSpace(line)
				command, ok := strings.CutPrefix(line, "$ ")
				switch {
				case ok && m[1] != "":
					found++
					printed = execute(t, name, command)
				case ok:
					found++
					if err := exists(command); err != nil {
						t.Errorf("%s shows %q: %v", name, command, err)
					}
				case m[1] != "" && line != "" && line != "…" && !strings.Contains(printed, line):
					t.Errorf("%s shows %q as output, and the command does not print it:\n%s", name, line, printed)
				}
			}
		}
	}
	if found == 0 {
		t.Error("no page shows any command: the blocks were misread")
	}
}

func execute(t *testing.T, page, command string) string {
	t.Helper()
	words := strings.Fields(command)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s shows %q as runnable: %v\n%s", page, command, err, out)
	}
	return string(out)
}
