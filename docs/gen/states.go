package main

import (
	"fmt"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/state"
)

// states is the page of provision states: the flows, each state with what leads out of it, and the diagram.
func states(string) (string, error) {
	var b strings.Builder
	b.WriteString(`# Provision states

A node is always in one provision state. A *flow* leads from one stable state to the next; a *verb* is what an operator
asks for. The table is [shared/state/state.go](../../shared/state/state.go); its moves are those of Ironic's machine.

## Flows

| flow | doing | waiting | held | failed | done |
|---|---|---|---|---|---|
`)
	for _, f := range state.Flows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", f.Flow, f.Doing, f.Waiting, f.Held, f.Failed, f.End)
	}
	b.WriteString(`
While a flow works, the node is in its *doing* state; while a ramdisk is awaited or runs a step, in *waiting*; *held* waits
for an operator's ` + "`unhold`" + `. An undeploy goes on to clean.

## What leads where

| state | event | leads to |
|---|---|---|
`)
	verbs := map[state.Event]bool{}
	for _, e := range []state.Event{state.VerbManage, state.VerbProvide, state.VerbClean, state.VerbInspect, state.VerbAdopt,
		state.VerbDeploy, state.VerbRebuild, state.VerbRescue, state.VerbUnrescue, state.VerbService, state.VerbDelete,
		state.VerbAbort, state.VerbUnhold} {
		verbs[e] = true
	}
	for _, s := range state.All() {
		name := string(s)
		for _, t := range state.Transitions() {
			if t.From != s {
				continue
			}
			event := t.Event.Command()
			if verbs[t.Event] {
				event = "**" + event + "**"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", name, event, t.To)
			name = ""
		}
	}
	b.WriteString("\n**Bold** is a verb an operator may ask for; the others happen inside a flow.\n\n## Diagram\n\n```mermaid\nstateDiagram-v2\n")
	for _, s := range state.All() {
		fmt.Fprintf(&b, "    state \"%s\" as %s\n", s, id(s))
	}
	fmt.Fprintf(&b, "    [*] --> %s\n", id(state.Enroll))
	for _, t := range state.Transitions() {
		fmt.Fprintf(&b, "    %s --> %s: %s\n", id(t.From), id(t.To), t.Event.Command())
	}
	b.WriteString("```\n")
	return b.String(), nil
}

// id is a state's name as a diagram takes it.
func id(s state.State) string { return strings.NewReplacer(" ", "_", "-", "_").Replace(string(s)) }
