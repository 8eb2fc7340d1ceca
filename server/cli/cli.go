// Package cli is the operator's command: a tree of subcommands over the REST client. It talks to the server through
// the REST API and nothing else; what runs here instead (the server itself, the ramdisk builder) is handed in as
// host.Programs.
//
// It only joins: each package below it is one subject. Start at Run and the tree in root.go.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/host"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/config"
)

// Streams is what the command reads and writes.
type Streams struct {
	In          io.Reader
	Out, Err    io.Writer
	Terminal    bool // Out is a terminal: live bars instead of lines
	Interactive bool // In is a terminal: questions can be asked
	Environment config.Environment
	Now         func() time.Time
}

// The exit codes. LeftOut is of a command that left some of its nodes out, since they had changed or did not fit, and
// failed at none.
const (
	OK      = 0
	Failed  = 1
	Usage   = 2
	LeftOut = 3
)

// Run carries out one command line, without the program's name, and returns the exit code.
func Run(ctx context.Context, args []string, s Streams, p host.Programs) int {
	c := &command.Run{Printer: &output.Printer{Out: s.Out, Err: s.Err, Terminal: s.Terminal, Now: s.Now}, Reader: &input.Reader{In: s.In},
		Interactive: s.Interactive, Environment: s.Environment}
	args = command.Spelled(args)
	root := root(c, p, args)
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return OK
	}
	if errors.Is(err, command.ErrTold) {
		return Failed
	}
	if errors.Is(err, command.ErrLeftOut) {
		return LeftOut
	}
	var usage input.UsageError
	if errors.As(err, &usage) || !c.Started {
		fmt.Fprintf(s.Err, "bessemer: %v\n  bessemer --help shows the commands, COMMAND --help their flags\n", err)
		return Usage
	}
	c.Tell("", err)
	return Failed
}
