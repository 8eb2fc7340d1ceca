package lab

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bessemer-metal/bessemer/initramfs"
)

// Built is what a lab runs.
type Built struct {
	Root     string // of the source tree
	Dir      string // Root/build
	Bessemer string
	Ramdisk  initramfs.Result
}

// Root finds the source tree's root above the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no go.mod above the working directory: run this inside the source tree")
		}
		dir = up
	}
}

// BuildServer builds the server; Go's cache makes a repeat cheap.
func BuildServer(ctx context.Context, root string) (string, error) {
	out := filepath.Join(root, "build", "bessemer")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", out, "./server")
	cmd.Dir = root
	if msg, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server: %w\n%s", err, msg)
	}
	return out, nil
}

// BuildRamdisk builds the stock ramdisk, with a word for the kernel that hypervisors' guests have: without KVM on a busy computer a
// machine gets its first ticks late, and the kernel would take its timer for broken and panic. Layers are cached below build/cache.
func BuildRamdisk(ctx context.Context, root string, log *slog.Logger) (initramfs.Result, error) {
	return initramfs.Build(ctx, initramfs.Options{
		Out: filepath.Join(root, "build", "ramdisk"), Source: root, Cache: filepath.Join(root, "build", "cache", "ramdisk"), Log: log,
		Cmdline: []string{"no_timer_check"},
	})
}

// Build makes everything a lab needs.
func Build(ctx context.Context, log *slog.Logger) (b Built, err error) {
	if b.Root, err = Root(); err != nil {
		return b, err
	}
	b.Dir = filepath.Join(b.Root, "build")
	if b.Bessemer, err = BuildServer(ctx, b.Root); err != nil {
		return b, err
	}
	b.Ramdisk, err = BuildRamdisk(ctx, b.Root, log)
	return b, err
}
