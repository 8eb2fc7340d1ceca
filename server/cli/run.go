// Package cli is the operator's command: a tree of subcommands over the REST client. It talks to the server through
// the REST API and nothing else; what runs here instead (the server itself, the ramdisk builder) is handed in as Local.
//
// Start at Run and the tree in root.go. Watching is in watch.go and display.go; every other file is one noun.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/server/cloud"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
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

// Local is what runs in this process.
type Local struct {
	Version      string
	Serve        func(ctx context.Context, s config.Server) error
	BuildRamdisk func(ctx context.Context, r Ramdisk) error
	// Examine looks at the data directory of a server that does not run. It changes nothing; nil: it can't be done here.
	Examine  func(ctx context.Context, s config.Server) []api.Check
	Simulate func(ctx context.Context, s Simulation) error
	Users    Users
}

// Ramdisk is what bessemer ramdisk build is asked for. Empty fields are the builder's defaults.
type Ramdisk struct {
	Output      string
	Source      string
	Cache       string
	Agent       string
	AgentBinary string
	Flavour     string
	Bundles     []string
	Extra       []string
	Cmdline     []string
	CACerts     string
	Rescue      bool
	Refresh     bool
	Fast        bool
}

// HostCertificates is where Debian keeps the certificates that a host trusts: what a ramdisk trusts unless told
// otherwise.
const HostCertificates = "/etc/ssl/certs/ca-certificates.crt"

// The exit codes. LeftOut is of a command that left some of its nodes out, since they had changed or did not fit, and
// failed at none.
const (
	OK      = 0
	Failed  = 1
	Usage   = 2
	LeftOut = 3
)

// Run carries out one command line, without the program's name, and returns the exit code.
func Run(ctx context.Context, args []string, s Streams, l Local) int {
	c := &command{printer: &printer{Out: s.Out, Err: s.Err, Terminal: s.Terminal, Now: s.Now}, reader: &reader{In: s.In},
		Interactive: s.Interactive, Environment: s.Environment}
	root := c.root(l)
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return OK
	}
	if errors.Is(err, errTold) {
		return Failed
	}
	if errors.Is(err, errLeftOut) {
		return LeftOut
	}
	var usage usageError
	if errors.As(err, &usage) || !c.started {
		fmt.Fprintf(s.Err, "bessemer: %v\n  bessemer --help shows the commands, COMMAND --help their flags\n", err)
		return Usage
	}
	c.tell("", err)
	return Failed
}

// errTold ends a command whose failure the operator has already been told of.
var errTold = errors.New("told already")

// usageError is a mistake in the command line that cobra does not see.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usage(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// command is one run.
type command struct {
	*printer
	*reader
	Interactive bool // questions can be asked
	Environment config.Environment
	started     bool // the command line was understood

	server, osCloud, user, passwordFile, ca string
	timeout                                 time.Duration
}

// tell writes a failure: of what, what happened, what to do, and the reason's stable name.
func (c *command) tell(of string, err error) {
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

// client makes the REST client. What names the server names the credentials too: those of another place are not sent
// to it. Flags are before --os-cloud, that before BESSEMER_*, those before OS_*.
func (c *command) client() (*client.Client, error) {
	o, ca, err := c.connection()
	if err != nil {
		return nil, err
	}
	o.Timeout = c.timeout
	if c.passwordFile != "" {
		if o.Password, err = readPassword(c.passwordFile); err != nil {
			return nil, err
		}
	} else if c.user != "" && o.User != "" && c.user != o.User {
		o.Password = "" // that is another user's
	}
	o.User = cmp.Or(c.user, o.User)
	if file := cmp.Or(c.ca, ca); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, usage("read the CA file: %v", err)
		}
		o.CA = text
	}
	return client.New(o)
}

func readPassword(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", usage("read the password file: %v", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// connection is what the environment says of the server, and which file of certificates to trust.
func (c *command) connection() (o client.Options, ca string, err error) {
	e := c.Environment
	if c.server != "" && c.osCloud != "" {
		return o, "", usage("give --server or --os-cloud, not both")
	}
	if c.server == "" && (c.osCloud != "" || e.Get("BESSEMER_SERVER") == "") {
		s, found, err := cloud.Find(c.osCloud, cloud.World{Get: e.Get, Home: e.Home, Read: readYAML})
		if err != nil {
			return o, "", usage("%v", err)
		}
		if found {
			return client.Options{Server: s.URL, User: s.User, Password: s.Password}, s.CA, nil
		}
	}
	ours := e.Get("BESSEMER_SERVER")
	o = client.Options{Server: cmp.Or(c.server, cmp.Or(ours, "http://127.0.0.1:6385"))}
	if c.server != "" && ours != "" && strings.TrimRight(c.server, "/") != strings.TrimRight(ours, "/") {
		return o, e.Get("BESSEMER_CA"), nil // user and password are those of the other server
	}
	o.User, o.Password = e.Get("BESSEMER_USER"), e.Get("BESSEMER_PASSWORD")
	if file := e.Get("BESSEMER_PASSWORD_FILE"); file != "" && c.passwordFile == "" {
		if o.Password, err = readPassword(file); err != nil {
			return o, "", err
		}
	}
	return o, e.Get("BESSEMER_CA"), nil
}

// globals adds the flags that all commands have.
func (c *command) globals(root *cobra.Command) {
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		c.started = true
		if c.Format != "table" && c.Format != "json" && c.Format != "yaml" {
			return usage("--output is %q, expected table, json or yaml", c.Format)
		}
		return nil
	}
	f := root.PersistentFlags()
	f.StringVar(&c.server, "server", "", "URL of the server (BESSEMER_SERVER; default http://127.0.0.1:6385)")
	f.StringVar(&c.osCloud, "os-cloud", "", "server and user by their name in clouds.yaml (OS_CLOUD)")
	f.StringVar(&c.user, "user", "", "user name (BESSEMER_USER); the password comes by BESSEMER_PASSWORD or --password-file")
	f.StringVar(&c.passwordFile, "password-file", "", "file that holds the password (BESSEMER_PASSWORD_FILE)")
	f.StringVar(&c.ca, "ca", "", "file of certificates to trust beside the system's (BESSEMER_CA)")
	f.DurationVar(&c.timeout, "timeout", 30*time.Second, "how long a call to the server may take")
	f.StringVarP(&c.Format, "output", "o", "table", "table, json or yaml")
}

// with wraps a command's body with a client.
func (c *command) with(run func(ctx context.Context, api *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		defer api.Close()
		return run(cmd.Context(), api, args)
	}
}
