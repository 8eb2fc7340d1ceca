package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// decisions is the list of docs/adr, by the first line of each page.
func decisions(root string) (string, error) {
	var b strings.Builder
	b.WriteString(`# Decisions

One page for each decision that is hard to change or that a reader would ask about: what was decided, why, and what follows. A page is
not rewritten when a decision changes; a new page says so and the old one links to it.

| | decided |
|---|---|
`)
	files, err := filepath.Glob(filepath.Join(root, "docs/adr/[0-9]*.md"))
	if err != nil {
		return "", err
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		title, _, _ := strings.Cut(string(text), "\n")
		number, what, ok := strings.Cut(strings.TrimPrefix(title, "# "), ": ")
		if !ok || !strings.HasPrefix(filepath.Base(f), number+"-") {
			return "", fmt.Errorf("%s begins with %q, expected \"# NUMBER: what was decided\"", f, title)
		}
		fmt.Fprintf(&b, "| [%s](%s) | %s |\n", number, filepath.Base(f), what)
	}
	return b.String(), nil
}

// runbooks is the list of docs/howto, in the order of the reasons.
func runbooks(root string) (string, error) {
	var b strings.Builder
	b.WriteString("# Runbooks\n\n`bessemer node show NODE` names the *reason* of a failure; [every reason](../reference/faults.md) has a page. Those that\nneed a way gone step by step have a runbook. [What is wrong with a machine or the server](doctor.md) says `bessemer doctor`.\n\n| reason | in short |\n|---|---|\n")
	for _, r := range fault.Reasons {
		name := string(r.Reason) + ".md"
		text, err := os.ReadFile(filepath.Join(root, "docs/howto", name))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return "", err
		}
		lines := strings.SplitN(string(text), "\n", 4)
		if len(lines) < 4 || lines[1] != "" {
			return "", fmt.Errorf("%s: expected a title, an empty line and a sentence", name)
		}
		fmt.Fprintf(&b, "| [%s](%s) | %s |\n", r.Reason, name, lines[2])
	}
	return b.String(), nil
}
