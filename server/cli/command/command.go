package command

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/input"
)

// Group makes a command that only holds others show its help, and say so when it is given a name that is none of them.
func Group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		text := fmt.Sprintf("%s has no command %q", cmd.CommandPath(), args[0])
		if len(args) > 1 && slices.ContainsFunc(cmd.Commands(), func(sub *cobra.Command) bool { return sub.Name() == args[1] }) {
			text += fmt.Sprintf("; did you mean %s %s %s?", cmd.CommandPath(), args[1], args[0]) // what first, then to which
		} else if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			text += "; did you mean " + strings.Join(near, " or ") + "?"
		}
		return input.Usage("%s", text)
	}
	return cmd
}

// Exactly is a command that takes exactly the named arguments.
func Exactly(use string, n int) *cobra.Command {
	return &cobra.Command{Use: use, Args: func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		takes, given := map[int]string{0: "no arguments", 1: "1 argument"}[n], "are"
		if takes == "" {
			takes = fmt.Sprintf("%d arguments", n)
		}
		if len(args) == 1 {
			given = "is"
		}
		return input.Usage("%s takes %s, %d %s given: %s", cmd.CommandPath(), takes, len(args), given, cmd.UseLine())
	}}
}
