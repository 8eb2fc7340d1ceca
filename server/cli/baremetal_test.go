package cli_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/cli/clitest"
)

// notOurs are commands and flags of baremetal that ours has not, each with its reason.
var notOurs = map[string]string{
	"create":                      "bessemer register reads a file of machines; resources of other kinds have their own create",
	"port set --node":             "a card that moves is deleted and made again, so that nothing of the old machine stays with it",
	"port group set --node":       "the same",
	"volume connector set --node": "the same",
	"volume target set --node":    "the same",
}

// An operator who knows baremetal finds each of its commands and flags here, under the same words.
func TestEveryCommandOfBaremetalIsHere(t *testing.T) {
	text, err := os.ReadFile("testdata/baremetal.txt")
	if err != nil {
		t.Fatal(err)
	}
	used := regexp.MustCompile(`(?m)^  bessemer (.*)$`)
	commands, flags := 0, 0
	for line := range strings.Lines(string(text)) {
		words, rest, found := strings.Cut(strings.TrimSpace(line), ":")
		if !found || strings.HasPrefix(line, "#") {
			continue
		}
		commands++
		// A flag that is unknown is told before anything that a known one lacks.
		help := clitest.Run(t, "http://127.0.0.1:1", false, append(strings.Fields(words), "--help")...)
		if m := used.FindStringSubmatch(help); m == nil || !strings.HasPrefix(m[1], words+" ") {
			if notOurs[words] == "" {
				t.Errorf("bessemer has no command %s", words)
			}
			continue
		}
		if !strings.Contains(help, "\nExamples:\n") {
			t.Errorf("the help of bessemer %s has no example", words)
		}
		for _, flag := range strings.Fields(rest) {
			flags++
			said := clitest.Run(t, "http://127.0.0.1:1", false, append(strings.Fields(words), flag+"=true", "--help")...)
			if missing := strings.Contains(said, "unknown flag: "+flag); missing != (notOurs[words+" "+flag] != "") {
				t.Errorf("bessemer %s %s: missing is %t, and notOurs says %q", words, flag, missing, notOurs[words+" "+flag])
			}
		}
	}
	if commands < 109 || flags < 370 {
		t.Errorf("only %d commands with %d flags were looked for", commands, flags)
	}
	for name := range notOurs {
		if words, flag, is := strings.Cut(name, " --"); !slices.ContainsFunc(strings.Split(string(text), "\n"), func(l string) bool {
			have, rest, _ := strings.Cut(l, ":")
			return have == words && (!is || slices.Contains(strings.Fields(rest), "--"+flag))
		}) {
			t.Errorf("notOurs names %s, which baremetal has not", name)
		}
	}
}
