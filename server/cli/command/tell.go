package command

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// ErrTold ends a command whose failure the operator has already been told of.
var ErrTold = errors.New("told already")

// ErrLeftOut ends a command that left nodes out and failed at none.
var ErrLeftOut = errors.New("some nodes were left out")

// Tell writes a failure: of what, what happened, what to do, and the reason's stable name.
func (c *Run) Tell(of string, err error) {
	var f *fault.Fault
	if !errors.As(err, &f) {
		if errors.Is(err, context.Canceled) {
			fmt.Fprintln(c.Err, "bessemer: stopped")
			return
		}
		fmt.Fprintf(c.Err, "bessemer: %s%v\n", of, err)
		return
	}
	text := f.Message
	if f.Step != "" && !strings.HasPrefix(text, f.Step) {
		text = f.Step + ": " + text
	}
	fmt.Fprintf(c.Err, "bessemer: %s%s\n", of, text)
	if f.Hint != "" {
		fmt.Fprintf(c.Err, "  what to do: %s\n", f.Hint)
	}
	if f.Reason != "" {
		fmt.Fprintf(c.Err, "  reason: %s\n", f.Reason)
	}
}
