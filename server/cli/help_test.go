package cli_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/cli/clitest"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

func TestGoldenHelp(t *testing.T) {
	for name, args := range map[string][]string{
		"help.txt": {"--help"}, "help-node.txt": {"node", "--help"}, "help-deploy.txt": {"node", "deploy", "--help"},
		"help-register.txt": {"register", "--help"}, "help-serve.txt": {"serve", "--help"},
	} {
		t.Run(name, func(t *testing.T) { clitest.Golden(t, name, clitest.Run(t, "http://127.0.0.1:1", false, args...)) })
	}
}

// Every hint that names a command names one that is there.
func TestHintsNameRealCommands(t *testing.T) {
	command := regexp.MustCompile(`bessemer ((?:[a-z]+ ?)+)`)
	n := 0
	for _, row := range fault.Reasons {
		for _, m := range command.FindAllStringSubmatch(row.Hint, -1) {
			words := strings.Fields(m[1])
			if words[0] == "node" && len(words) > 1 {
				words = words[:2]
			} else {
				words = words[:1]
			}
			n++
			if got := clitest.Run(t, "http://127.0.0.1:1", false, append(words, "--help")...); !strings.Contains(got, "Usage:\n  bessemer "+strings.Join(words, " ")) {
				t.Errorf("%s: the hint %q names no command: %s", row.Reason, row.Hint, got)
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d hints name a command", n)
	}
}

// serve is made without the other commands (see root): nobody may notice.
func TestServeAloneIsTheSame(t *testing.T) {
	alone := clitest.Run(t, "http://127.0.0.1:1", false, "serve", "--help")
	for _, args := range [][]string{{"help", "serve"}, {"--server", "http://127.0.0.1:1", "serve", "--help"}} {
		if got := clitest.Run(t, "http://127.0.0.1:1", false, args...); got != alone {
			t.Errorf("%q writes\n%s\nand serve --help\n%s", args, got, alone)
		}
	}
	if got := clitest.Run(t, "http://127.0.0.1:1", false, "serve", "--no-such-flag"); !strings.Contains(got, "unknown flag: --no-such-flag") || !strings.HasSuffix(got, "exit 2\n") {
		t.Errorf("a flag that is none: %s", got)
	}
}
