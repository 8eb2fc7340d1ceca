package host

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/config"
)

// UserCommand keeps the user and roles files.
func UserCommand(c *command.Run, p Programs) *cobra.Command {
	cmd := command.Group(&cobra.Command{Use: "user", Short: "Who may call a server that runs with --auth basic"})
	cmd.Long = `Keeps the user and roles files of a server on this host: those of its settings file and BESSEMER_*, or of the data
directory. A server that runs takes them over within a few seconds.

A user has one role: admin, operator or observer; over everything, or within a project, whose machines name it as owner
or lessee. A user without a role has no access.`
	var file, dataDir string
	flags := cmd.PersistentFlags()
	flags.StringVar(&file, "config", "", "settings file of the server (BESSEMER_CONFIG)")
	flags.StringVar(&dataDir, "data-dir", "", "data directory of the server")
	// here runs what changes the files of the settings.
	here := func(do func(cmd *cobra.Command, s config.Server, args []string) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			if p.Users.Set == nil {
				return errors.New("this program keeps no user files")
			}
			s, err := c.Settings(file, dataDir)
			if err != nil {
				return err
			}
			return do(cmd, s, args)
		}
	}
	list := command.Exactly("list", 0)
	list.Aliases = []string{"ls"}
	list.Short = "List the users with their roles"
	list.RunE = here(func(_ *cobra.Command, s config.Server, _ []string) error {
		users, err := p.Users.List(s)
		if err != nil {
			return err
		}
		return c.Emit(append([]User{}, users...), func(w io.Writer) {
			output.Row(w, "NAME", "ROLE", "PROJECT")
			for _, u := range users {
				output.Row(w, u.Name, cmp.Or(u.Role, "none: no access"), output.Dash(u.Project))
			}
		})
	})
	set := command.Exactly("set NAME", 1)
	set.Short = "Make a user, or change the password or the role of one"
	set.Example = `  bessemer user set ann --role operator --new-password-file secret.txt
  bessemer user set bob --role observer:lab --new-password-file -
  bessemer user set ann --role admin`
	var secret, role string
	set.Flags().StringVar(&secret, "new-password-file", "", "file that holds the user's password, of at most 72 bytes; - is the standard input")
	set.Flags().StringVar(&role, "role", "", "ROLE or ROLE:PROJECT: admin, operator or observer")
	set.RunE = here(func(cmd *cobra.Command, s config.Server, args []string) error {
		u := User{Name: args[0]}
		within := false
		if u.Role, u.Project, within = strings.Cut(role, ":"); within && u.Project == "" {
			return input.Usage("--role is %q: leave the colon out for a role over everything", role)
		}
		password := ""
		if secret != "" {
			var err error
			if password, err = c.Secret(secret, "--new-password-file"); err != nil {
				return err
			}
		}
		if role == "" && password == "" {
			return input.Usage("give --role, --new-password-file or both")
		}
		if err := p.Users.Set(s, u, password); err != nil {
			return err
		}
		fmt.Fprintf(c.Notes(), "user %s is set; a server that runs with these files takes it over within a few seconds\n", u.Name)
		if s.Auth != "basic" {
			fmt.Fprintf(c.Notes(), "the setting auth is %s: only bessemer serve --auth basic asks for users\n", s.Auth)
		}
		return nil
	})
	remove := command.Exactly("delete NAME", 1)
	remove.Short = "Take a user's access away"
	remove.Example = "  bessemer user delete alice"
	remove.RunE = here(func(_ *cobra.Command, s config.Server, args []string) error {
		if err := p.Users.Delete(s, args[0]); err != nil {
			return err
		}
		fmt.Fprintf(c.Notes(), "user %s is deleted; a server that runs with these files takes it over within a few seconds\n", args[0])
		return nil
	})
	cmd.AddCommand(list, set, remove)
	return cmd
}
