package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
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
		"make nonsense": false, "frobnicate": false, "A=b": false, "bessemer frobnicate": false,
	} {
		if err := exists(command); (err == nil) != want {
			t.Errorf("exists(%q) = %v", command, err)
		}
	}
}

// bessemer tells whether the operator's command knows these words.
func bessemer(words []string) error {
	nouns := []string{"node", "port", "image", "register", "ramdisk", "serve", "config", "version", "completion"}
	if len(words) == 0 || !slices.Contains(nouns, words[0]) {
		return fmt.Errorf("bessemer has no command %q", words)
	}
	return nil
}
