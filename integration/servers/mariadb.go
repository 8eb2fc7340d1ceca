package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"time"
)

// makeDatabase is what MariaDB does before it lets anybody in. The character set is the one that Ironic's manual names.
const makeDatabase = "CREATE DATABASE IF NOT EXISTS ironic CHARACTER SET utf8mb3;\n"

// MariaDB starts Debian's MariaDB with an empty database for Ironic; url is SQLAlchemy's to it. It listens on a socket
// below dir, which must exist and let only its owner in, and nowhere else. Its settings are its defaults: what is
// committed is on the disk.
func MariaDB(ctx context.Context, dir string) (s *Server, url string, err error) {
	me, err := user.Current()
	if err != nil {
		return nil, "", err
	}
	data, socket, first := filepath.Join(dir, "data"), filepath.Join(dir, "socket"), filepath.Join(dir, "first.sql")
	if err := os.WriteFile(first, []byte(makeDatabase), 0o600); err != nil {
		return nil, "", err
	}
	// --no-defaults comes first: nothing of /etc is read.
	install := exec.CommandContext(ctx, "mariadb-install-db", "--no-defaults", "--datadir="+data, "--user="+me.Username,
		"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
	if out, err := install.CombinedOutput(); err != nil {
		return nil, "", fmt.Errorf("make MariaDB's directory (integration/scripts/setup bench installs it): %w\n%s", err, out)
	}
	program, err := exec.LookPath("mariadbd")
	if err != nil {
		return nil, "", err
	}
	s = &Server{Dir: dir, logged: filepath.Join(dir, "mariadb.log")}
	began := time.Now()
	if err := s.run(nil, program, "--no-defaults", "--user="+me.Username, "--datadir="+data, "--socket="+socket, "--skip-networking",
		"--pid-file="+filepath.Join(dir, "pid"), "--init-file="+first); err != nil {
		return nil, "", err
	}
	err = s.answers(ctx, 20*time.Millisecond, func(*http.Client) bool {
		c, err := net.Dial("unix", socket)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	if err != nil {
		return nil, "", errors.Join(err, s.Close())
	}
	s.Start = time.Since(began)
	return s, "mysql+pymysql://root@localhost/ironic?unix_socket=" + socket, nil
}
