package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// faults is the list of reasons; each has a page of its own.
func faults(string) (string, error) {
	var b strings.Builder
	b.WriteString(`# Reasons of failures

Every failure has a *code*, which says what kind it is, and a *reason*, the stable name that ` + "`last_error`" + `, a node's
history and these pages share. ` + "`last_error`" + ` begins with it. Each has a page: what was found, what was expected, what to do. The
reasons are rows of [shared/fault/reasons.go](../../shared/fault/reasons.go).

| code | HTTP status | worth trying again |
|---|---|---|
`)
	for _, c := range codes {
		fmt.Fprintf(&b, "| %s | %d | %s |\n", c, c.Status(), yes(c.Retriable()))
	}
	area := ""
	for _, r := range fault.Reasons {
		if a, _, _ := strings.Cut(string(r.Reason), "."); a != area {
			area = a
			fmt.Fprintf(&b, "\n## %s\n\n| reason | code | meaning |\n|---|---|---|\n", area)
		}
		fmt.Fprintf(&b, "| [%s](faults/%s.md) | %s | %s |\n", r.Reason, r.Reason, r.Code, r.Doc)
	}
	return b.String(), nil
}

// faultPages are the pages of the single reasons.
func faultPages() []page {
	var out []page
	for _, r := range fault.Reasons {
		out = append(out, page{"reference/faults/" + string(r.Reason) + ".md", func(root string) (string, error) { return faultPage(root, r) }})
	}
	return out
}

func faultPage(root string, r fault.Row) (string, error) {
	again := "Trying the same again does not help."
	if r.Code.Retriable() {
		again = "The same request may succeed later; programs try again with growing pauses."
	}
	text := fmt.Sprintf("# %s\n\n## What was found\n\n%s\n\n## What was expected\n\n%s\n\n## What to do\n\n%s.\n",
		r.Reason, r.Doc, fault.Expected(r.Reason), strings.ToUpper(r.Hint[:1])+r.Hint[1:])
	_, err := os.Stat(filepath.Join(root, "docs/howto", string(r.Reason)+".md"))
	switch {
	case err == nil:
		text += fmt.Sprintf("\nThe [runbook](../../howto/%s.md) goes through it step by step.\n", r.Reason)
	case !os.IsNotExist(err):
		return "", err
	}
	text += fmt.Sprintf(`
## For programs

Code %s, HTTP status %d. %s A node that failed by it has a `+"`last_error`"+` that begins with `+"`%s:`"+`; the entry of
its history carries the reason, the step and the request.

[All reasons](../faults.md)
`, r.Code, r.Code.Status(), again, r.Reason)
	return text, nil
}

var codes = []fault.Code{fault.Invalid, fault.Unauthenticated, fault.Forbidden, fault.NotFound, fault.Conflict, fault.Busy,
	fault.Unsupported, fault.Unavailable, fault.Timeout, fault.Internal}
