package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/config"
)

// User is a user of --auth basic, as the server's user and roles files have it.
type User struct {
	Name    string `json:"name"`
	Role    string `json:"role"`    // "": no access
	Project string `json:"project"` // "": everything
}

// Users keeps the user and roles files that a server's settings name, on this host. Nil functions: it can't be done here.
type Users struct {
	List func(s config.Server) ([]User, error)
	// Set makes a user or changes one: the password unless it is "", the role and project unless the role is "".
	Set    func(s config.Server, u User, password string) error
	Delete func(s config.Server, name string) error
}

func (c *command) userCommand(l Local) *cobra.Command {
	cmd := group(&cobra.Command{Use: "user", Short: "Who may call a server that runs with --auth basic"})
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
			if l.Users.Set == nil {
				return errors.New("this program keeps no user files")
			}
			given := map[string]any{}
			if dataDir != "" {
				given["data_dir"] = dataDir
			}
			s, _, err := config.Load(file, c.Environment, given)
			if err != nil {
				return usage("%v", err)
			}
			return do(cmd, s, args)
		}
	}
	list := one("list", 0)
	list.Aliases = []string{"ls"}
	list.Short = "List the users with their roles"
	list.RunE = here(func(_ *cobra.Command, s config.Server, _ []string) error {
		users, err := l.Users.List(s)
		if err != nil {
			return err
		}
		return c.emit(append([]User{}, users...), func(w io.Writer) {
			row(w, "NAME", "ROLE", "PROJECT")
			for _, u := range users {
				row(w, u.Name, cmp.Or(u.Role, "none: no access"), dash(u.Project))
			}
		})
	})
	set := one("set NAME", 1)
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
			return usage("--role is %q: leave the colon out for a role over everything", role)
		}
		password := ""
		if secret != "" {
			var err error
			if password, err = c.secret(secret, "--new-password-file"); err != nil {
				return err
			}
		}
		if role == "" && password == "" {
			return usage("give --role, --new-password-file or both")
		}
		if err := l.Users.Set(s, u, password); err != nil {
			return err
		}
		fmt.Fprintf(c.notes(), "user %s is set; a server that runs with these files takes it over within a few seconds\n", u.Name)
		if s.Auth != "basic" {
			fmt.Fprintf(c.notes(), "the setting auth is %s: only bessemer serve --auth basic asks for users\n", s.Auth)
		}
		return nil
	})
	remove := one("delete NAME", 1)
	remove.Short = "Take a user's access away"
	remove.RunE = here(func(_ *cobra.Command, s config.Server, args []string) error {
		if err := l.Users.Delete(s, args[0]); err != nil {
			return err
		}
		fmt.Fprintf(c.notes(), "user %s is deleted; a server that runs with these files takes it over within a few seconds\n", args[0])
		return nil
	})
	cmd.AddCommand(list, set, remove)
	return cmd
}
