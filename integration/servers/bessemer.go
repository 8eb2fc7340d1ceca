package servers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
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

// cflags are the C compiler's, as the Makefile has them.
const cflags = "CGO_CFLAGS=-O2 -g -DHAVE_FDATASYNC=1"

// Build builds our server from the source tree at root into dir, as make build does.
func Build(ctx context.Context, root, dir string) (program string, err error) {
	program, err = filepath.Abs(filepath.Join(dir, "bessemer"))
	if err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, "./server")
	build.Dir, build.Env = root, append(os.Environ(), cflags)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return program, nil
}

// Bessemer starts our server and waits until it answers.
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
	ports, err := FreePorts(3)
	if err != nil {
		return nil, err
	}
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	s := &Server{URL: "http://" + at(0), Host: host, Dir: cfg.Dir, logged: filepath.Join(cfg.Dir, "bessemer.log")}
	args := append([]string{"serve", "--data-dir", filepath.Join(cfg.Dir, "data"), "--listen", at(0), "--agent-listen", at(1),
		"--boot-listen", at(2), "--base-iso", iso, "--log-level", "warn"}, cfg.Args...)
	began := time.Now()
	if err := s.run(nil, cfg.Program, args...); err != nil {
		return nil, err
	}
	err = s.answers(ctx, time.Millisecond, func(ask *http.Client) bool {
		status, _ := get(ask, s.URL+"/v1", "1.1")
		return status == http.StatusOK
	})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.Start = time.Since(began)
	return s, nil
}
