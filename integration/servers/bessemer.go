package servers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/initramfs/media"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// BessemerConfig says how our server is run.
type BessemerConfig struct {
	Program string   // made by Build
	Dir     string   // must exist; data of an earlier server there are taken on
	Args    []string // further arguments of serve
}

// fdatasync is what the C compiler is told beside its own flags, as in the Makefile.
const fdatasync = "-DHAVE_FDATASYNC=1"

// flags are the C compiler's: those of the environment, or else Go's own, and ours once.
func flags(environment string) string {
	given := slices.DeleteFunc(strings.Fields(environment), func(f string) bool { return f == fdatasync })
	if len(given) == 0 {
		given = []string{"-O2", "-g"}
	}
	return strings.Join(append(given, fdatasync), " ")
}

// Build builds our server from the source tree at root into dir, as make build does.
func Build(ctx context.Context, root, dir string) (program string, err error) {
	program, err = filepath.Abs(filepath.Join(dir, "bessemer"))
	if err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, "./server")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_CFLAGS="+flags(os.Getenv("CGO_CFLAGS")))
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return program, nil
}

// serving is what the server says when it listens; the system chose its ports.
var serving = regexp.MustCompile(`msg=serving api=(\S+) `)

// Bessemer starts our server and waits until it answers. It listens on free ports of loopback, others at each start.
func Bessemer(ctx context.Context, cfg BessemerConfig) (*Server, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	iso := filepath.Join(cfg.Dir, "base.iso")
	if _, err := os.Stat(iso); errors.Is(err, os.ErrNotExist) {
		// A medium with the region that a boot's secrets are written into, and nothing else.
		if err := media.RegionISO(iso, make([]byte, api.RegionSize)); err != nil {
			return nil, err
		}
	}
	const free = "127.0.0.1:0"
	s := &Server{Host: host, Dir: cfg.Dir, logged: filepath.Join(cfg.Dir, "bessemer.log")}
	args := append([]string{"serve", "--data-dir", filepath.Join(cfg.Dir, "data"), "--listen", free, "--agent-listen", free,
		"--boot-listen", free, "--base-iso", iso}, cfg.Args...)
	var before int64 // what an earlier server said
	if st, err := os.Stat(s.logged); err == nil {
		before = st.Size()
	}
	began := time.Now()
	if err := s.run(nil, cfg.Program, args...); err != nil {
		return nil, err
	}
	err = s.answers(ctx, time.Millisecond, func(ask *http.Client) bool {
		if said, err := os.ReadFile(s.logged); s.URL == "" && err == nil {
			if m := serving.FindSubmatch(said[before:]); m != nil {
				s.URL = string(m[1])
			}
		}
		if s.URL == "" {
			return false
		}
		status, _ := get(ask, s.URL+"/v1", "1.1")
		return status == http.StatusOK
	})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.Start = time.Since(began)
	return s, nil
}
