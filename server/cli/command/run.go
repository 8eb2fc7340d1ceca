// Package command is one run of the program: what all its commands share. It has the flags that all of them take, the
// client of the server that these name, and how a failure is told.
package command

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/server/cloud"
	"github.com/bessemer-metal/bessemer/server/config"
)

// Run is one run of the program.
type Run struct {
	*output.Printer
	*input.Reader
	Interactive bool // questions can be asked
	Environment config.Environment
	Started     bool // the command line was understood

	server, osCloud, user, passwordFile, ca string
	Timeout                                 time.Duration
}

// client makes the REST client. What names the server names the credentials too: those of another place are not sent
// to it. Flags are before --os-cloud, that before BESSEMER_*, those before OS_*.
func (c *Run) client() (*client.Client, error) {
	o, ca, err := c.connection()
	if err != nil {
		return nil, err
	}
	o.Timeout = c.Timeout
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
			return nil, input.Usage("read the CA file: %v", err)
		}
		o.CA = text
	}
	return client.New(o)
}

func readPassword(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", input.Usage("read the password file: %v", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// connection is what the environment says of the server, and which file of certificates to trust.
func (c *Run) connection() (o client.Options, ca string, err error) {
	e := c.Environment
	if c.server != "" && c.osCloud != "" {
		return o, "", input.Usage("give --server or --os-cloud, not both")
	}
	if c.server == "" && (c.osCloud != "" || e.Get("BESSEMER_SERVER") == "") {
		s, found, err := cloud.Find(c.osCloud, cloud.World{Get: e.Get, Home: e.Home, Read: input.ReadYAML})
		if err != nil {
			return o, "", input.Usage("%v", err)
		}
		if found {
			return client.Options{Server: s.URL, User: s.User, Password: s.Password}, s.CA, nil
		}
	}
	ours := e.Get("BESSEMER_SERVER")
	o = client.Options{Server: cmp.Or(c.server, ours, "http://127.0.0.1:6385")}
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

// Globals adds the flags that all commands have.
func (c *Run) Globals(root *cobra.Command) {
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		c.Started = true
		if !slices.Contains([]string{"table", "json", "yaml", "value", "csv"}, c.Format) {
			return input.Usage("--output is %q, expected table, json, yaml, value or csv", c.Format)
		}
		return nil
	}
	f := root.PersistentFlags()
	f.StringVar(&c.server, "server", "", "URL of the server (BESSEMER_SERVER; default http://127.0.0.1:6385)")
	f.StringVar(&c.osCloud, "os-cloud", "", "server and user by their name in clouds.yaml (OS_CLOUD)")
	f.StringVar(&c.user, "user", "", "user name (BESSEMER_USER); the password comes by BESSEMER_PASSWORD or --password-file")
	f.StringVar(&c.passwordFile, "password-file", "", "file that holds the password (BESSEMER_PASSWORD_FILE)")
	f.StringVar(&c.ca, "ca", "", "file of certificates to trust beside the system's (BESSEMER_CA)")
	f.DurationVar(&c.Timeout, "timeout", 30*time.Second, "how long a call to the server may take")
	f.StringVarP(&c.Format, "output", "o", "table", "table, json or yaml; value or csv for scripts")
	f.StringArrayVarP(&c.Columns, "column", "c", nil, "only this column or field of what is shown; may be repeated")
}

// Settings are those of a server on this host, by its settings file and data directory; "" is where they are by default.
func (c *Run) Settings(file, dataDir string) (config.Server, error) {
	given := map[string]any{}
	if dataDir != "" {
		given["data_dir"] = dataDir
	}
	s, _, err := config.Load(file, c.Environment, given)
	if err != nil {
		return s, input.Usage("%v", err)
	}
	return s, nil
}

// With wraps a command's body with a client.
func (c *Run) With(run func(ctx context.Context, api *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		defer api.Close()
		return run(cmd.Context(), api, args)
	}
}
