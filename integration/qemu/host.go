package qemu

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Binary is the QEMU that machines run on.
const Binary = "qemu-system-x86_64"

const probeTimeout = 20 * time.Second

// Host is what this computer has to run machines with.
type Host struct {
	binary string
	log    *slog.Logger
	cache  string // directory; "" keeps nothing

	mu    sync.Mutex
	accel string // "" until it is known
}

// NewHost finds QEMU. accel is "tcg", "kvm", or "auto": KVM if a guest really boots with it, which is tried once for
// each boot of this computer and remembered in the directory cache.
func NewHost(accel, cache string, log *slog.Logger) (*Host, error) {
	bin, err := exec.LookPath(Binary)
	if err != nil {
		return nil, fmt.Errorf("%s is not installed; `make setup` installs it (Debian: qemu-system-x86, ovmf): %w", Binary, err)
	}
	h := &Host{binary: bin, log: log, cache: cache}
	switch accel {
	case "tcg", "kvm":
		h.accel = accel
	case "auto", "":
	default:
		return nil, fmt.Errorf("accelerator %q is none of auto, tcg, kvm", accel)
	}
	return h, nil
}

// Accelerator is "kvm" or "tcg". The first call may take as long as a guest needs to show life.
func (h *Host) Accelerator(ctx context.Context) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.accel != "" {
		return h.accel
	}
	file := h.cacheFile()
	if b, err := os.ReadFile(file); err == nil && (string(b) == "kvm" || string(b) == "tcg") {
		h.accel = string(b)
		return h.accel
	}
	h.accel = "tcg"
	if err := h.tryKVM(ctx); err != nil {
		h.log.Info("machines run in software (TCG): no guest boots with KVM here", "err", err)
	} else {
		h.accel = "kvm"
	}
	if file != "" && ctx.Err() == nil {
		if err := errors.Join(os.MkdirAll(h.cache, 0o700), os.WriteFile(file, []byte(h.accel), 0o600)); err != nil {
			h.log.Warn("result of the KVM probe is not remembered", "err", err)
		}
	}
	return h.accel
}

// cacheFile is named after what the result depends on: this boot of this computer, and QEMU.
func (h *Host) cacheFile() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	info, err2 := os.Stat(h.binary)
	if h.cache == "" || err != nil || err2 != nil {
		return ""
	}
	key := sha256.Sum256(fmt.Appendf(boot, "%s %d %d", h.binary, info.Size(), os.Geteuid()))
	return filepath.Join(h.cache, fmt.Sprintf("accelerator-%x", key[:8]))
}

// tryKVM boots the firmware, and nothing else, until it looks for something to boot: that a device node opens says little.
func (h *Host) tryKVM(ctx context.Context) error {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	f.Close()
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	cfg := Config{}
	if err := cfg.complete(); err != nil {
		return err
	}
	out := &seen{want: []byte("BdsDxe"), found: cancel}
	cmd := exec.CommandContext(ctx, h.binary, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel", "kvm", "-cpu", "host",
		"-m", "256", "-snapshot", "-serial", "stdio", "-drive", "if=pflash,unit=0,format=raw,readonly=on,file="+cfg.Code, "-drive", "if=pflash,unit=1,format=raw,file="+cfg.Vars)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stdout, cmd.WaitDelay = out, time.Second
	var stderr tail
	cmd.Stderr = &stderr
	err = cmd.Run()
	if out.ok {
		return nil
	}
	return fmt.Errorf("the firmware said nothing within %v: %w: %s", probeTimeout, err, stderr.String())
}

// seen calls found when what is written to it holds want.
type seen struct {
	want  []byte
	found func()
	ok    bool
	buf   []byte
}

func (s *seen) Write(p []byte) (int, error) {
	s.buf = append(s.buf, p...)
	if !s.ok && bytes.Contains(s.buf, s.want) {
		s.ok = true
		s.found()
	}
	return len(p), nil
}
