package initramfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/u-root/gobusybox/src/pkg/golang"
	"github.com/u-root/mkuimage/cpio"
	"github.com/u-root/mkuimage/uimage"
	"github.com/u-root/uio/llog"
)

// rescue are the u-root commands of the rescue layer; rescue_commands.go keeps them resolvable.
var rescue = []string{"cat", "cp", "date", "df", "dmesg", "free", "gosh", "grep", "hexdump", "ip", "kill", "ls", "lsmod",
	"mkdir", "more", "mount", "mv", "ping", "ps", "rm", "shutdown", "tail", "umount", "uname"}

// base is u-root's base archive, with its commands in one busybox if asked for. u-root's builder takes a minute, so
// the layer is kept until the commands, the modules they come from or the toolchain change.
func (o Options) base(ctx context.Context) (layer, error) {
	if !o.Rescue {
		return o.cached(ctx, "base", keyOf("base", "v1"), shipped, func() ([]cpio.Record, error) {
			return cpio.ReadAllRecords(uimage.DefaultRamfs().Reader())
		})
	}
	sum, err := os.ReadFile(filepath.Join(o.Source, "go.sum"))
	if err != nil {
		return layer{}, fmt.Errorf("make rescue layer: %w", err)
	}
	uroot := ""
	for l := range strings.Lines(string(sum)) {
		if strings.Contains(l, "u-root/") || strings.Contains(l, "mvdan.cc/sh") {
			uroot += l
		}
	}
	toolchain, err := run(ctx, o.Source, "go", "env", "GOVERSION", "GOAMD64")
	if err != nil {
		return layer{}, err
	}
	key := keyOf("rescue", "v1", uroot, string(toolchain), strings.Join(rescue, " "))
	return o.cached(ctx, "rescue", key, shipped, func() ([]cpio.Record, error) {
		o.Log.Info("build u-root commands; this takes a minute, once")
		return o.busybox(ctx)
	})
}

// environ is how u-root's commands are built. Where the toolchain is, the toolchain itself is asked: a program that was
// built with -trimpath, as ours are, does not know it.
func (o Options) environ(ctx context.Context) (*golang.Environ, error) {
	goroot, err := run(ctx, o.Source, "go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	// Without line editing the shell needs no terminal library; the commands resolve in the project's own go.mod.
	return golang.Default(golang.DisableCGO(), golang.WithWorkingDir(o.Source), golang.WithGOOS("linux"), golang.WithGOARCH("amd64"),
		golang.WithBuildTag("goshsmall"), golang.WithGOROOT(strings.TrimSpace(string(goroot)))), nil
}

func (o Options) busybox(ctx context.Context) ([]cpio.Record, error) {
	env, err := o.environ(ctx)
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(o.Cache, "u-root")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, "rescue.cpio")
	cmds := make([]string, len(rescue))
	for i, c := range rescue {
		cmds[i] = "github.com/u-root/u-root/cmds/core/" + c
	}
	if err := uimage.Create(llog.New(slog.LevelInfo, func(format string, v ...any) { o.Log.Debug("u-root", "says", fmt.Sprintf(format, v...)) }),
		uimage.WithReplaceEnv(env), uimage.WithBaseArchive(uimage.DefaultRamfs()), uimage.WithBusyboxCommands(cmds...),
		uimage.WithShell("gosh"), uimage.WithInit(""), uimage.WithUinitCommand(""), uimage.WithSkipLDD(),
		uimage.WithCPIOOutput(out), uimage.WithTempDir(tmp)); err != nil {
		return nil, fmt.Errorf("u-root: %w", err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	return cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(b)))
}

// agent is the layer that changes with every edit: one static program as init, which also answers as modprobe.
func (o Options) agent(ctx context.Context) (layer, error) {
	file := o.AgentBinary
	if file == "" {
		tmp, err := os.MkdirTemp(o.Cache, "agent")
		if err != nil {
			return layer{}, err
		}
		defer os.RemoveAll(tmp)
		file = filepath.Join(tmp, "init")
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
			"-ldflags=-s -w -buildid= -X main.version="+o.Version, "-o", file, o.Agent)
		cmd.Dir = o.Source
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
		if out, err := cmd.CombinedOutput(); err != nil {
			return layer{}, fmt.Errorf("build the agent %s: %w\n%s", o.Agent, err, bytes.TrimSpace(out))
		}
	}
	init, err := os.ReadFile(file)
	if err != nil {
		return layer{}, fmt.Errorf("make layer agent: %w", err)
	}
	var certs []byte
	if o.CACerts != "" {
		if certs, err = os.ReadFile(o.CACerts); err != nil {
			return layer{}, fmt.Errorf("CA certificates: %w", err)
		}
	}
	level := shipped
	if o.Fast {
		level = light
	}
	h := sha256.New()
	h.Write(init)
	h.Write([]byte{0})
	h.Write(certs)
	return o.cached(ctx, "agent", keyOf("agent", "v1", hex.EncodeToString(h.Sum(nil))), level, func() ([]cpio.Record, error) {
		records := []cpio.Record{
			cpio.StaticFile("init", string(init), 0o755),
			cpio.Symlink("sbin/modprobe", "/init"),
			cpio.StaticFile("etc/resolv.conf", "", 0o644),
			cpio.StaticFile("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n", 0o644),
		}
		for _, d := range []string{"dev", "proc", "sys", "run", "tmp", "mnt", "root", "var"} {
			records = append(records, cpio.Directory(d, 0o755))
		}
		if certs != nil {
			records = append(records, cpio.StaticFile("etc/ssl/certs/ca-certificates.crt", string(certs), 0o644))
		}
		return records, nil
	})
}

// Component is a line of the bill of materials.
type Component struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Licence string `json:"licence"` // SPDX expression of what is shipped
	Source  string `json:"source,omitempty"`
	SHA256  string `json:"sha256,omitempty"` // of the file named or of the package
}

// sbom writes what the ramdisk holds. The agent's own Go modules stand in its build information (go version -m).
func (o Options) sbom(r Result, kernel []pkg, stub pkg, raid []pkg) error {
	list := []Component{
		{"bessemer-agent", o.Version, "Apache-2.0", "", ""},
		{stub.name, stub.version, "LGPL-2.1-or-later", "source package systemd of the distribution", stub.digest},
	}
	for _, k := range kernel {
		list = append(list, Component{k.name, k.version, "GPL-2.0-only WITH Linux-syscall-note", "source package linux of the distribution", k.digest})
	}
	for _, p := range raid {
		list = append(list, Component{p.name, p.version, raidLicences[p.name], "source package of the distribution", p.digest})
	}
	if o.Rescue {
		list = append(list, Component{"u-root commands " + strings.Join(rescue, " "), moduleVersion(o.Source, "github.com/u-root/u-root"),
			"BSD-3-Clause", "https://github.com/u-root/u-root", ""})
	}
	for _, f := range []string{r.Kernel, r.Initramfs, r.UKI, r.ISO} {
		b, err := os.ReadFile(f)
		if err != nil {
			return fmt.Errorf("write bill of materials: %w", err)
		}
		sum := sha256.Sum256(b)
		list = append(list, Component{filepath.Base(f), o.Version, "", "", hex.EncodeToString(sum[:])})
	}
	b, err := json.MarshalIndent(map[string]any{"kernel": r.KernelRelease, "components": list}, "", "  ")
	if err != nil {
		return err
	}
	return write(r.SBOM, func(f *os.File) error { _, err := f.Write(append(b, '\n')); return err })
}

// moduleVersion reads a required module's version from go.mod.
func moduleVersion(source, module string) string {
	b, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		return ""
	}
	for l := range strings.Lines(string(b)) {
		if w := strings.Fields(l); len(w) >= 2 && w[0] == module {
			return w[1]
		}
	}
	return ""
}
