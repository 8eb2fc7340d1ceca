package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/server/rest/login"
)

// firstAdministrator is who a first start with --auth basic makes when there is no user file.
const firstAdministrator = "admin"

// usersEvery is how often the user and roles files are looked at for changes.
const usersEvery = 5 * time.Second

// authenticator reads who may call the API. On a first start with basic and no user file at its default place it makes
// one administrator, and tells out, this once, in which file the password is.
func authenticator(cfg config.Server, first bool, out io.Writer, now func() time.Time) (login.Authenticator, error) {
	if cfg.Auth != "basic" {
		return login.None{}, nil
	}
	if first && !exists(cfg.Users) && !exists(cfg.Roles) &&
		cfg.Users == filepath.Join(cfg.DataDir, "users") && cfg.Roles == filepath.Join(cfg.DataDir, "roles") {
		if err := makeAdministrator(cfg, out); err != nil {
			return nil, fmt.Errorf("make the first administrator: %w", err)
		}
	}
	users, roles, err := openUsers(cfg)
	if err != nil {
		return nil, err
	}
	defer users.Close()
	defer roles.Close()
	return login.NewBasic(users, roles, now)
}

func openUsers(cfg config.Server) (users, roles *os.File, err error) {
	if users, err = os.Open(cfg.Users); err != nil {
		return nil, nil, fmt.Errorf("open the user file of --auth basic: %w (bessemer user set NAME --role ROLE --new-password-file FILE makes it, and so does htpasswd -nB NAME)", err)
	}
	if roles, err = os.Open(cfg.Roles); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open the roles file of --auth basic: %w (a user without a line USER:admin, USER:operator or USER:observer in it has no access)", err), users.Close())
	}
	return users, roles, nil
}

// passwordFile is where the first administrator's password is left, below the data directory. It is in a file of its own
// and in no log line: logs are kept, copied and read by others.
const passwordFile = "first-password"

// makeAdministrator writes the password, the user and the roles file, for nobody else to read. The password comes first
// and the users last: a start that is cut off in between makes no user without any right, and none whose password nobody
// knows.
func makeAdministrator(cfg config.Server, out io.Writer) error {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return err
	}
	password := rand.Text()
	line, err := login.UserLine(firstAdministrator, password)
	if err != nil {
		return err
	}
	secret := filepath.Join(cfg.DataDir, passwordFile)
	if err := os.Remove(secret); err != nil && !errors.Is(err, os.ErrNotExist) { // of a start that was cut off: it is good for nothing
		return err
	}
	for _, f := range []struct{ name, text string }{
		{secret, password + "\n"}, {cfg.Roles, firstAdministrator + ":" + string(access.Admin) + "\n"}, {cfg.Users, line + "\n"},
	} {
		if err := writeNew(f.name, f.text); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out, "First start: the API's administrator is %q, the password is in %s\nNote it and delete that file; its hash is in %s, the role in %s. bessemer user set %s --new-password-file FILE changes it.\n",
		firstAdministrator, secret, cfg.Users, cfg.Roles, firstAdministrator)
	return err
}

func writeNew(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text)
	return errors.Join(err, f.Close())
}

// followUsers takes over changes of the user and roles files until ctx ends. A file that can't be read, or is wrong,
// leaves the users as they are, and is tried again: it may become readable without a new stamp.
func (s *server) followUsers(ctx context.Context, b *login.Basic) {
	tick := time.NewTicker(usersEvery)
	defer tick.Stop()
	taken, told := s.users, ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := usersStamp(s.cfg)
		if now == taken {
			told = ""
			continue
		}
		if err := s.replaceUsers(b); err != nil {
			if text := fmt.Sprint(now, err); text != told {
				s.log.Error("the changed users are not taken over, and those from before stay: mend the files", "users", s.cfg.Users, "roles", s.cfg.Roles, "err", err)
				told = text
			}
			continue
		}
		taken, told = now, ""
		s.log.Info("users and roles are read anew", "users", s.cfg.Users, "roles", s.cfg.Roles)
	}
}

func (s *server) replaceUsers(b *login.Basic) error {
	users, roles, err := openUsers(s.cfg)
	if err != nil {
		return err
	}
	defer users.Close()
	defer roles.Close()
	return b.Replace(users, roles)
}

// usersStamp changes when one of the files does.
func usersStamp(cfg config.Server) (stamp [2]string) {
	for i, name := range []string{cfg.Users, cfg.Roles} {
		if st, err := os.Stat(name); err == nil {
			stamp[i] = fmt.Sprint(st.ModTime().UnixNano(), st.Size())
		}
	}
	return stamp
}
