package record_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/cli/clitest"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// Each field of a node that the API takes can be given, changed and taken away by the command.
func TestEveryFieldOfANodeHasItsFlag(t *testing.T) {
	flags := map[string]func(flag string) bool{}
	for _, verb := range []string{"create", "set", "unset"} {
		text := clitest.Run(t, "http://127.0.0.1:1", false, "node", verb, "--help")
		flags[verb] = func(flag string) bool { return regexp.MustCompile(`(?m)^ +--` + flag + ` `).MatchString(text) }
	}
	named := map[string]string{"properties": "property", "protected_reason": "protected", "retired_reason": "retired"}
	elsewhere := map[string]bool{
		"maintenance":     true,                                         // node maintenance set
		"console_enabled": true, "boot_mode": true, "secure_boot": true, // given on create they have no effect
	}
	for _, f := range api.NodeFields() {
		flag := named[f.Name]
		switch {
		case elsewhere[f.Name]:
			continue
		case strings.HasSuffix(f.Name, "_interface"):
			flag = "interface"
		case flag == "":
			flag = strings.ReplaceAll(f.Name, "_", "-")
		}
		if f.Create && !flags["create"](flag) && flag != "retired" { // nobody enrols a machine to retire it at once
			t.Errorf("node create has no --%s for %s", flag, f.Name)
		}
		if f.Patch && !flags["set"](flag) {
			t.Errorf("node set has no --%s for %s", flag, f.Name)
		}
		if f.Patch && !f.Need && !flags["unset"](flag) {
			t.Errorf("node unset has no --%s for %s", flag, f.Name)
		}
	}
}
