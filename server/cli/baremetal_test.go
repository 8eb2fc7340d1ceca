package cli_test

import (
	"net/http"
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

// An example shows an operand of the kind that the command takes.
func TestExamplesAreOfTheKind(t *testing.T) {
	for command, want := range map[string]string{"user delete": "alice", "image delete": "debian.raw.zst", "driver show": "redfish", "conductor show": "bessemer.example.org",
		"allocation delete": "7d0c5a0e-6a3f-4a52-9b0f-2f1b7d3c9a11"} {
		if help := clitest.Run(t, "http://127.0.0.1:1", false, append(strings.Fields(command), "--help")...); !strings.Contains(help, "\n  bessemer "+command+" "+want+"\n") {
			t.Errorf("the help of bessemer %s shows no %s:\n%s", command, want, help)
		}
	}
}

// A flag that baremetal has bare takes the node that follows for its reason; where other nodes follow that is told, not
// done to them alone: the one that the operator means to protect would not be.
func TestAReasonThatIsANodeIsRefused(t *testing.T) {
	var seen []string
	server := clitest.Recording(t, func(r *http.Request, _ string) { seen = append(seen, r.Method+" "+r.URL.Path) }, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/nodes/n1" && r.URL.Path != "/v1/nodes/n2" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte(`{"uuid": "u1", "name": "n1", "driver": "redfish"}`))
	})
	for _, flag := range []string{"--protected", "--retired"} {
		seen = nil
		got := clitest.Run(t, server.URL, false, "node", "set", flag, "n1", "n2")
		if !strings.Contains(got, "n1 is a node") || !strings.HasSuffix(got, "exit 2\n") || slices.ContainsFunc(seen, func(s string) bool { return strings.HasPrefix(s, "PATCH") }) {
			t.Errorf("%s n1 n2 asks %v and says %q, expected a refusal", flag, seen, got)
		}
		if got := clitest.Run(t, server.URL, false, "node", "set", flag, "payroll", "n2"); strings.Contains(got, "exit") {
			t.Errorf("%s payroll n2 says %q", flag, got)
		}
	}
}
