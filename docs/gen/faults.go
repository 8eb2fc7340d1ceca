package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// faults is the page of reasons: what each means and what to do, with a link to its runbook where there is one.
func faults(root string) (string, error) {
	var b strings.Builder
	b.WriteString(`# Reasons of failures

Every failure has a *code*, which says what kind it is, and a *reason*, the stable name that ` + "`last_error`" + `, a node's
history and these pages share. They are rows of [shared/fault/reasons.go](../../shared/fault/reasons.go).

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
			fmt.Fprintf(&b, "\n## %s\n", area)
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\nCode %s. What to do: %s.\n", r.Reason, r.Doc, r.Code, r.Hint)
		if _, err := os.Stat(filepath.Join(root, "docs/howto", string(r.Reason)+".md")); err == nil {
			fmt.Fprintf(&b, "\n→ [Runbook](../howto/%s.md)\n", r.Reason)
		}
	}
	return b.String(), nil
}

var codes = []fault.Code{fault.Invalid, fault.Unauthenticated, fault.Forbidden, fault.NotFound, fault.Conflict, fault.Busy,
	fault.Unsupported, fault.Unavailable, fault.Timeout, fault.Internal}
