package main

import (
	"fmt"
	"strings"

	"github.com/bessemer-metal/bessemer/agent/run"
	"github.com/bessemer-metal/bessemer/server/conductor"
)

// protocol is the page of an attempt's life: the server's table and the agent's, each as rows and as a diagram.
func protocol(string) (string, error) {
	var b strings.Builder
	b.WriteString(`# Step protocol

One attempt of one step has an id of its own. The server keeps where it stands in its store, the agent keeps where it
stands in a journal that lasts as long as the boot. Both sides move by a table and by nothing else. Why the rules are
as they are stands in [Why a step cannot run twice](../explanation/at-most-once.md); the messages are those of the
[agent channel](channel.md).

## The server's side

The table is [server/conductor/attempt.go](../../server/conductor/attempt.go). *Who* brings the move about.

| from | event | to | who | |
|---|---|---|---|---|
`)
	for _, r := range conductor.Attempts {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.From, r.Event, r.To, r.Who, r.Doc)
	}
	b.WriteString("\n```mermaid\nstateDiagram-v2\n")
	fmt.Fprintf(&b, "    [*] --> %s\n", conductor.StepPlanned)
	leads := map[conductor.StepState]bool{}
	for _, r := range conductor.Attempts {
		fmt.Fprintf(&b, "    %s --> %s: %s\n", r.From, r.To, r.Event)
		leads[r.From] = true
	}
	done := map[conductor.StepState]bool{}
	for _, r := range conductor.Attempts {
		if !leads[r.To] && !done[r.To] {
			fmt.Fprintf(&b, "    %s --> [*]\n", r.To)
			done[r.To] = true
		}
	}
	b.WriteString("```\n" + `
## The agent's side

The table is [agent/run/memory.go](../../agent/run/memory.go). *Journaled*: a line of the journal is synced before
anything follows from the move.

| from | event | to | journaled | |
|---|---|---|---|---|
`)
	for _, r := range run.Marks {
		durable := ""
		if r.Durable {
			durable = "yes"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.From, r.Event, r.To, durable, r.Doc)
	}
	b.WriteString("\n```mermaid\nstateDiagram-v2\n")
	fmt.Fprintf(&b, "    [*] --> %s\n", run.MarkUnknown)
	for _, r := range run.Marks {
		fmt.Fprintf(&b, "    %s --> %s: %s\n", r.From, r.To, r.Event)
	}
	fmt.Fprintf(&b, "    %s --> [*]\n```\n", run.MarkOver)
	b.WriteString("\n## Together\n\nAn attempt that goes well. Each note is the state that is durable from there on.\n\n```mermaid\nsequenceDiagram\n    participant S as server\n    participant A as agent\n")
	note := func(who, format string, args ...any) {
		fmt.Fprintf(&b, "    Note over %s: %s\n", who, fmt.Sprintf(format, args...))
	}
	arrow := func(from, to, text string) { fmt.Fprintf(&b, "    %s->>%s: %s\n", from, to, text) }
	server, agent := conductor.StepPlanned, run.MarkUnknown
	attempt := func(e conductor.AttemptEvent) error {
		to, ok := conductor.NextAttempt(server, e)
		if !ok {
			return fmt.Errorf("the server's table has no %s from %s", e, server)
		}
		server = to
		note("S", "commit %s", server)
		return nil
	}
	mark := func(e run.MarkEvent) error {
		to, ok := run.NextMark(agent, e)
		if !ok {
			return fmt.Errorf("the agent's table has no %s from %s", e, agent)
		}
		agent = to
		word := "journal"
		if agent == run.MarkAnswered {
			word = "in memory"
		}
		note("A", "%s %s", word, agent)
		return nil
	}
	for _, move := range []func() error{
		func() error { return attempt(conductor.AttemptOffer) },
		func() error { arrow("S", "A", "command (answer to the held heartbeat)"); return mark(run.MarkCommand) },
		func() error { arrow("A", "S", "start: id, nonce"); return attempt(conductor.AttemptClaim) },
		func() error { arrow("S", "A", "the nonce again"); return mark(run.MarkGranted) },
		func() error { arrow("A", "A", "the step runs"); return mark(run.MarkEnd) },
		func() error {
			arrow("A", "S", "result: id, nonce, outcome (repeated until taken)")
			return attempt(conductor.AttemptSucceed)
		},
		func() error { arrow("S", "A", "taken"); return mark(run.MarkTaken) },
	} {
		if err := move(); err != nil {
			return "", err
		}
	}
	b.WriteString("```\n")
	return b.String(), nil
}
