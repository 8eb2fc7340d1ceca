package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// known are programs that a page may show without more ado: they are not ours.
var known = []string{"apt-get", "cd", "curl", "git", "less", "openssl", "qemu-system-x86_64", "sha256sum", "zstd"}

// exists tells whether a command shown in a page is one: a make target, a known program, a command of bessemer.
func exists(command string) error {
	words := strings.Fields(command)
	for len(words) > 0 && (words[0] == "sudo" || strings.Contains(words[0], "=")) { // NAME=value before a command
		words = words[1:]
	}
	switch {
	case len(words) == 0:
		return fmt.Errorf("nothing is run")
	case words[0] == "make":
		for _, w := range words[1:] {
			if !strings.Contains(w, "=") && !slices.Contains(targets(), w) {
				return fmt.Errorf("the Makefile has no target %s", w)
			}
		}
		return nil
	case filepath.Base(words[0]) == "bessemer":
		return bessemer(words[1:])
	case slices.Contains(known, words[0]):
		return nil
	}
	return fmt.Errorf("%s is neither ours nor among the known programs", words[0])
}

func targets() []string {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		return nil
	}
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):.* ## `).FindAllStringSubmatch(string(makefile), -1) {
		out = append(out, m[1])
	}
	return out
}

func TestExists(t *testing.T) {
	for command, want := range map[string]bool{
		"make demo": true, "make demo KEEP=1": true, "sudo make setup": true, "KEEP=1 make demo": true, "curl -s http://x": true,
		"make nonsense": false, "frobnicate": false, "A=b": false,
		"bessemer frobnicate": false, "bessemer node frobnicate": false, "bessemer node list": true, "bessemer node list -o json": true,
		"bessemer node add trait n1 CUSTOM_A": true, "bessemer node reboot n1 -f json": true, "bessemer node add frobnicate": false,
		"bessemer node list --frobnicate": false, "build/bessemer node show node-1": true,
	} {
		if err := exists(command); (err == nil) != want {
			t.Errorf("exists(%q) = %v", command, err)
		}
	}
}

// bessemer tells whether the operator's command knows these words and flags.
func bessemer(words []string) error {
	err := inHelp(words)
	if err != nil && taken(words) {
		return nil
	}
	return err
}

// taken tells whether a command takes these words and flags although help does not list them: as Ironic's command has them.
func taken(words []string) bool {
	text, err := help(words)
	if err != nil {
		return false
	}
	_, use, _ := strings.Cut(text, "Usage:\n  bessemer ")
	n := 0
	for _, w := range strings.Fields(use) {
		if n == len(words) || w != words[n] {
			break
		}
		n++
	}
	return n > 1 && len(subcommands(text)) == 0
}

func inHelp(words []string) error {
	text, err := help(nil)
	if err != nil {
		return err
	}
	var path []string
	for len(words) > 0 && slices.Contains(subcommands(text), words[0]) {
		path, words = append(path, words[0]), words[1:]
		if text, err = help(path); err != nil {
			return err
		}
	}
	if len(path) == 0 || len(words) > 0 && len(subcommands(text)) > 0 && !strings.HasPrefix(words[0], "-") && !strings.Contains(text, " [NODE] [flags]") {
		return fmt.Errorf("bessemer %s has no command %q", strings.Join(path, " "), words)
	}
	for _, w := range words {
		flag, _, _ := strings.Cut(w, "=")
		if strings.HasPrefix(flag, "-") && !regexp.MustCompile(`(?m)(^|[ ,])`+regexp.QuoteMeta(flag)+`([ ,]|$)`).MatchString(text) {
			return fmt.Errorf("bessemer %s has no flag %s", strings.Join(path, " "), flag)
		}
	}
	return nil
}

// Prose and hints name commands, too: those must exist as well.
func TestCommandsNamedInProseAndHints(t *testing.T) {
	m, texts := newTerminal(t), documents(t)
	for _, r := range fault.Reasons {
		texts["the reason "+string(r.Reason)] = r.Doc + " " + r.Hint
	}
	for name, text := range texts {
		if strings.HasPrefix(name, "docs/reference/cli.md") {
			continue // its text is the commands' own
		}
		for _, line := range commandLines(text) {
			if err := m.check(line); err != nil && !taken(strings.Fields(line)) {
				t.Errorf("%s names %q: %v", name, "bessemer "+line, err)
			}
		}
	}
}
