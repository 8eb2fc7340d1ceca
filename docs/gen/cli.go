package main

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/cli"
	"github.com/bessemer-metal/bessemer/server/cli/host"
)

// commands is the page of the operator's command: the help of every command, as it prints it itself.
func commands(string) (string, error) {
	var b strings.Builder
	b.WriteString("# The command\n\nWhat `bessemer COMMAND --help` prints, for every command.\n")
	err := walk(nil, func(words []string, help string) error {
		fmt.Fprintf(&b, "\n## %s\n\n```text\n%s\n```\n", strings.Join(append([]string{"bessemer"}, words...), " "), strings.TrimSpace(help))
		return nil
	})
	return b.String(), err
}

// walk hands each command's words and help to fn, in the order the help lists them.
func walk(words []string, fn func(words []string, help string) error) error {
	text, err := help(words)
	if err != nil {
		return err
	}
	if err := fn(words, text); err != nil {
		return err
	}
	for _, sub := range subcommands(text) {
		if err := walk(append(words[:len(words):len(words)], sub), fn); err != nil {
			return err
		}
	}
	return nil
}

func help(words []string) (string, error) {
	var out bytes.Buffer
	code := cli.Run(context.Background(), append(words[:len(words):len(words)], "--help"),
		cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out, Now: time.Now}, host.Programs{Version: "VERSION"})
	if code != cli.OK {
		return "", fmt.Errorf("bessemer %s --help ends with %d: %s", strings.Join(words, " "), code, out.String())
	}
	return out.String(), nil
}

var listed = regexp.MustCompile(`(?m)^  ([a-z-]+) `)

// subcommands reads which commands a help text lists. Those that every cobra program has are left out.
func subcommands(help string) []string {
	_, list, ok := strings.Cut(help, "Available Commands:\n")
	if !ok {
		return nil
	}
	list, _, _ = strings.Cut(list, "\n\n")
	var out []string
	for _, m := range listed.FindAllStringSubmatch(list, -1) {
		if m[1] != "help" && m[1] != "completion" {
			out = append(out, m[1])
		}
	}
	return out
}
