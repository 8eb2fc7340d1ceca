package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// steps is the page of the steps Bessemer itself offers, with the plan that each automated flow makes of them.
func steps(string) (string, error) {
	var b strings.Builder
	b.WriteString(`# Steps

Every step that Bessemer itself offers. They are rows of [shared/catalog/catalog.go](../../shared/catalog/catalog.go), of the
type in [shared/step/step.go](../../shared/step/step.go); ordering and plans are in
[shared/step/registry.go](../../shared/step/registry.go) and [server/conductor/plan](../../server/conductor/plan/plan.go). A vendor's
steps come with the ramdisk that holds its manager.

A flow runs by itself the steps with a priority above 0: all out-of-band steps first, then the ramdisk is booted once for
the in-band ones; within each, the highest priority first. A step with priority 0 runs only on request.

`)
	registry, err := step.NewRegistry(catalog.With(catalog.Redfish)...)
	if err != nil {
		return "", err
	}
	b.WriteString("## What flows run by themselves\n\n| flow | steps, in order |\n|---|---|\n")
	for _, f := range state.Flows {
		var names []string
		for _, s := range registry.Automated(f.Flow) {
			names = append(names, fmt.Sprintf("%s (%d)", link(s.Name), s.Priority[f.Flow]))
		}
		if names != nil {
			fmt.Fprintf(&b, "| %s | %s |\n", f.Flow, strings.Join(names, ", "))
		}
	}
	for _, part := range []struct {
		title string
		steps []step.Step
	}{{"In band: run by the agent in the ramdisk", catalog.InBand}, {"Out of band: run through the BMC by Redfish", catalog.Redfish}} {
		fmt.Fprintf(&b, "\n## %s\n", part.title)
		for _, s := range part.steps {
			if err := describe(&b, s); err != nil {
				return "", err
			}
		}
	}
	b.WriteString(`
## Reserved: run by the server itself

They stand in an operator's list under any interface ("deploy.hold", "power.reboot") and run at their place in it. A
deployment orders them by priority like its other steps. The API takes them from version 1.85 on.
`)
	for _, s := range catalog.Reserved {
		if err := describe(&b, s); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

func describe(b *strings.Builder, s step.Step) error {
	fmt.Fprintf(b, "\n### %s\n\n%s\n\n| | |\n|---|---|\n", s.Name, s.Doc)
	var offered []string
	for _, f := range state.Flows {
		if p, ok := s.Priority[f.Flow]; ok {
			when := fmt.Sprintf("%s (priority %d)", f.Flow, p)
			if p == 0 {
				when = fmt.Sprintf("%s (on request)", f.Flow)
			}
			offered = append(offered, when)
		}
	}
	touches := map[step.Touch]string{step.Nothing: "no disk", step.AllDisks: "every disk that is not skipped", step.RootDisk: "the root disk",
		step.Volumes: "RAID volumes that are not skipped, and the drives of new ones"}[s.Touches]
	repeat := map[step.Repeat]string{step.Again: "a new attempt is made", step.Never: "the flow fails and asks the operator"}[s.Repeat]
	for _, row := range [][2]string{{"offered for", strings.Join(offered, ", ")}, {"writes to", touches}, {"can be aborted", yes(s.Abortable)},
		{"after an interruption", repeat}, {"deadline", short(s.Timeout.String())}} {
		fmt.Fprintf(b, "| %s | %s |\n", row[0], row[1])
	}
	if len(s.Args) == 0 {
		b.WriteString("\nIt takes no arguments.\n")
		return nil
	}
	b.WriteString("\n| argument | type | default | |\n|---|---|---|---|\n")
	for _, a := range s.Args {
		kind, def := string(a.Type), ""
		if len(a.Enum) > 0 {
			kind = strings.Join(a.Enum, ", ")
		}
		switch {
		case a.Required:
			def = "*required*"
		case a.Default != nil:
			text, err := json.Marshal(a.Default)
			if err != nil {
				return err
			}
			def = "`" + string(text) + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", a.Name, kind, def, a.Doc)
	}
	return nil
}

// link leads to a heading of the same page: a heading's anchor has no dots.
func link(name string) string { return "[" + name + "](#" + anchor(name) + ")" }

func anchor(heading string) string {
	return strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(heading), ".", ""), " ", "-")
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// short writes a duration without its empty parts: 72h0m0s is 72h.
func short(d string) string {
	if m, ok := strings.CutSuffix(d, "m0s"); ok {
		d = m + "m"
	}
	if h, ok := strings.CutSuffix(d, "h0m"); ok {
		d = h + "h"
	}
	return d
}
