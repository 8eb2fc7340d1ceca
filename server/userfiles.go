package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/cli/host"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/server/rest/login"
)

// userFiles keeps the user and roles files for bessemer user. What the files hold beside the lines that are changed stays
// as it is, and what a server would refuse is not written.
func userFiles() host.Users {
	return host.Users{List: listUsers, Set: setUser, Delete: deleteUser}
}

// userLines are the lines of both files; a file that is not there has none.
type userLines struct{ users, roles []string }

func readUserLines(cfg config.Server) (l userLines, err error) {
	for _, f := range []struct {
		name string
		to   *[]string
	}{{cfg.Users, &l.users}, {cfg.Roles, &l.roles}} {
		text, err := os.ReadFile(f.name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return l, err
		}
		if s := strings.TrimRight(string(text), "\n"); s != "" {
			*f.to = strings.Split(s, "\n")
		}
	}
	return l, nil
}

func joined(lines []string) string { return strings.Join(append(slices.Clone(lines), ""), "\n") }

// nameIn is the user that a line is of, "" for a remark.
func nameIn(line string) string {
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "#") {
		return ""
	}
	name, _, _ := strings.Cut(line, ":")
	return name
}

// put replaces a user's line, or adds it.
func put(lines []string, name, line string) []string {
	if i := slices.IndexFunc(lines, func(l string) bool { return nameIn(l) == name }); i >= 0 {
		lines[i] = line
		return lines
	}
	return append(lines, line)
}

func has(lines []string, name string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return nameIn(l) == name })
}

// write checks both files as the server reads them, then writes those that have changed, for nobody else to read. What
// gives less comes first: a user without a role has no access, and neither has a role without a user.
func (l userLines) write(cfg config.Server, was userLines) error {
	if _, err := login.NewBasic(strings.NewReader(joined(l.users)), strings.NewReader(joined(l.roles)), time.Now); err != nil {
		return fmt.Errorf("nothing was written: %w", err)
	}
	for _, f := range []struct {
		name     string
		now, was []string
	}{{cfg.Roles, l.roles, was.roles}, {cfg.Users, l.users, was.users}} {
		if slices.Equal(f.now, f.was) {
			continue
		}
		if err := replaceFile(f.name, []byte(joined(f.now))); err != nil {
			return err
		}
	}
	return nil
}

// replaceFile writes a file whole or not at all. One that is there keeps its mode and its owner, who of a new one is that
// of the folder: root writes for a server that runs as somebody else.
func replaceFile(name string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	st, statErr := os.Stat(name)
	if statErr == nil {
		err = errors.Join(err, f.Chmod(st.Mode().Perm()))
	} else if st, statErr = os.Stat(filepath.Dir(name)); statErr != nil {
		return statErr
	}
	if owner, ok := st.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		err = errors.Join(err, f.Chown(int(owner.Uid), int(owner.Gid)))
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return os.Rename(f.Name(), name)
}

func listUsers(cfg config.Server) ([]host.User, error) {
	l, err := readUserLines(cfg)
	if err != nil {
		return nil, err
	}
	grants, err := access.ParseRoles(strings.NewReader(joined(l.roles)))
	if err != nil {
		return nil, err
	}
	var out []host.User
	for _, line := range l.users {
		if name := nameIn(line); name != "" {
			out = append(out, host.User{Name: name, Role: string(grants[name].Role), Project: grants[name].Project})
		}
	}
	return out, nil
}

func setUser(cfg config.Server, u host.User, password string) error {
	if u.Name == "" || strings.HasPrefix(u.Name, "#") || strings.ContainsAny(u.Name, ": \t\r\n") {
		return fmt.Errorf("%q is no name of a user: it has no colon and no blank, and does not begin with #", u.Name)
	}
	was, err := readUserLines(cfg)
	if err != nil {
		return err
	}
	l := userLines{slices.Clone(was.users), slices.Clone(was.roles)}
	switch {
	case password != "":
		line, err := login.UserLine(u.Name, password)
		if err != nil {
			return fmt.Errorf("make the password's hash: %w", err)
		}
		l.users = put(l.users, u.Name, line)
	case !has(l.users, u.Name):
		return fmt.Errorf("there is no user %s in %s: a new one needs a password, give --new-password-file", u.Name, cfg.Users)
	}
	if u.Role != "" {
		line := u.Name + ":" + u.Role
		if u.Project != "" {
			line += ":" + u.Project
		}
		l.roles = put(l.roles, u.Name, line)
	} else if !has(l.roles, u.Name) {
		return fmt.Errorf("user %s would have no access: give --role", u.Name)
	}
	return l.write(cfg, was)
}

func deleteUser(cfg config.Server, name string) error {
	was, err := readUserLines(cfg)
	if err != nil {
		return err
	}
	l := userLines{slices.Clone(was.users), slices.Clone(was.roles)}
	mine := func(line string) bool { return nameIn(line) == name }
	if name == "" || !has(l.users, name) && !has(l.roles, name) {
		return fmt.Errorf("there is no user %q in %s", name, cfg.Users)
	}
	l.users, l.roles = slices.DeleteFunc(l.users, mine), slices.DeleteFunc(l.roles, mine)
	return l.write(cfg, was)
}
