package image

import (
	"context"
	_ "embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// What makes the Debian image. Its content is the key of the cache, so a change of it makes a new image.
const (
	suite = "bookworm"
	// The boot needs no initrd: the cloud kernel has NVMe and ext4 built in. quiet keeps the serial line readable.
	debianCmdline = "root=PARTLABEL=root rootwait rw console=ttyS0 quiet no_timer_check"
	debianRelease = "NAME=\"Debian GNU/Linux\"\nID=debian\nVERSION_ID=\"12\"\n"
)

var packages = []string{"systemd-sysv", "udev", "linux-image-cloud-amd64", "zstd", "login", "passwd", "dbus", "kmod"}

// left out of the tree: what nobody reads on a serial console, and the modules of hardware that no demo machine has.
var leftOut = []string{
	"path-exclude=/usr/share/doc/*", "path-exclude=/usr/share/man/*", "path-exclude=/usr/share/locale/*",
	"path-exclude=/usr/share/info/*", "path-exclude=/usr/share/i18n/*", "path-exclude=/usr/lib/udev/hwdb.d/*",
	"path-exclude=/lib/udev/hwdb.d/*", "path-exclude=/lib/modules/*/kernel/*",
	"path-include=/lib/modules/*/kernel/fs/isofs/*", "path-include=/lib/modules/*/kernel/fs/fat/*",
	"path-include=/lib/modules/*/kernel/fs/nls/*", "path-include=/lib/modules/*/kernel/fs/efivarfs/*",
	"path-include=/lib/modules/*/kernel/fs/autofs/*", "path-include=/lib/modules/*/kernel/drivers/virtio/*",
	"path-include=/lib/modules/*/kernel/drivers/block/virtio_blk.ko", "path-include=/lib/modules/*/kernel/drivers/net/virtio_net.ko",
	"path-include=/lib/modules/*/kernel/drivers/net/net_failover.ko", "path-include=/lib/modules/*/kernel/net/core/*",
	"path-include=/lib/modules/*/kernel/drivers/char/*", "path-include=/lib/modules/*/kernel/drivers/cdrom/*",
	"path-include=/lib/modules/*/kernel/drivers/scsi/*", "path-include=/lib/modules/*/kernel/crypto/*",
}

// Units that only cost time in a machine that lives for minutes.
var masked = []string{"systemd-timesyncd.service", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
	"e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer", "getty@tty1.service", "systemd-random-seed.service"}

var (
	//go:embed debian/config-drive
	configDrive string
	//go:embed debian/config-drive.service
	configDriveUnit string
)

// Debian gives a real Debian: it boots by UEFI from an NVMe disk, takes its host name from a config drive, if there
// is one, and ends at the banner of a serial console, where root logs in without a password. dir keeps the image.
// The first call takes about half a minute and needs a Debian archive.
func Debian(ctx context.Context, dir string) (Image, error) {
	key := strings.Join([]string{"debian v1", suite, debianCmdline, debianRelease, strings.Join(packages, " "),
		strings.Join(leftOut, " "), strings.Join(masked, " "), configDrive, configDriveUnit}, "\n")
	return cached(ctx, dir, "debian", key, func(work, raw string) error {
		tree := filepath.Join(work, "tree")
		args := []string{"--quiet", "--variant=essential", "--format=directory", "--include=" + strings.Join(packages, ",")}
		for _, o := range leftOut {
			args = append(args, "--dpkgopt="+o)
		}
		if os.Geteuid() != 0 {
			return fmt.Errorf("mmdebstrap needs root to make a tree of files with their owners: run this as root or with sudo")
		}
		if _, err := run(ctx, "mmdebstrap", append(args, "--mode=root", suite, tree)...); err != nil {
			return err
		}
		kernels, err := filepath.Glob(filepath.Join(tree, "boot/vmlinuz-*"))
		if err != nil || len(kernels) != 1 {
			return fmt.Errorf("find the kernel in the tree: found %q, expected one; %w", kernels, err)
		}
		boot := filepath.Join(work, "esp")
		if err := esp(ctx, boot, kernels[0], debianCmdline, debianRelease, nil); err != nil {
			return err
		}
		if err := finish(tree); err != nil {
			return fmt.Errorf("finish the tree: %w", err)
		}
		root := filepath.Join(work, "root")
		if err := rootFS(ctx, tree, root); err != nil {
			return err
		}
		return assemble(ctx, raw, partition{"esp", "U", boot}, partition{"root", "L", root})
	})
}

// finish makes the tree of packages a machine's root.
func finish(tree string) error {
	for path, text := range map[string]string{
		"etc/hostname": "debian\n",
		"etc/hosts":    "127.0.0.1 localhost\n::1 localhost\n",
		"etc/fstab":    "PARTLABEL=root / ext4 rw 0 1\n",
		// An empty machine id lets systemd make one at the first boot.
		"etc/machine-id": "",
		"etc/systemd/system/config-drive.service":  configDriveUnit,
		"etc/systemd/system.conf.d/10-serial.conf": "[Manager]\nShowStatus=no\n",
		"usr/local/sbin/config-drive":              configDrive,
	} {
		if err := put(tree, path, text); err != nil {
			return err
		}
	}
	links := map[string]string{"etc/systemd/system/multi-user.target.wants/config-drive.service": "../config-drive.service"}
	for _, unit := range masked {
		links["etc/systemd/system/"+unit] = "/dev/null"
	}
	for path, to := range links {
		at := filepath.Join(tree, path)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.Remove(at); err != nil && !os.IsNotExist(err) {
			return err
		}
		if err := os.Symlink(to, at); err != nil {
			return err
		}
	}
	if err := noRootPassword(filepath.Join(tree, "etc/shadow")); err != nil {
		return err
	}
	// The kernel is in the ESP and needs no initrd; the hardware database is for hardware that is not here.
	for _, pattern := range []string{"boot/*", "var/cache/apt/*", "var/lib/apt/lists/*", "usr/lib/udev/hwdb.bin", "vmlinuz*", "initrd.img*"} {
		found, err := filepath.Glob(filepath.Join(tree, pattern))
		if err != nil {
			return err
		}
		for _, f := range found {
			if err := os.RemoveAll(f); err != nil {
				return err
			}
		}
	}
	return nil
}

func put(tree, path, text string) error {
	at := filepath.Join(tree, path)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if strings.Contains(path, "/sbin/") {
		mode = 0o755
	}
	if err := os.Remove(at); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.WriteFile(at, []byte(text), mode)
}

// noRootPassword lets root in at the console, the image's only way in.
func noRootPassword(shadow string) error {
	b, err := os.ReadFile(shadow)
	if err != nil {
		return err
	}
	lines := strings.Split(string(b), "\n")
	for i, l := range lines {
		if f := strings.Split(l, ":"); f[0] == "root" && len(f) > 1 {
			f[1] = ""
			lines[i] = strings.Join(f, ":")
			return os.WriteFile(shadow, []byte(strings.Join(lines, "\n")), 0o640)
		}
	}
	return fmt.Errorf("%s has no line for root", shadow)
}

// rootFS makes an ext4 file system of the tree, with an eighth more than it needs. It has no journal: the demo's
// machine is thrown away, and is faster so.
func rootFS(ctx context.Context, tree, file string) error {
	var used, files int64
	err := filepath.WalkDir(tree, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files++
		used += (info.Size() + 4095) / 4096 * 4096
		return nil
	})
	if err != nil {
		return err
	}
	if err := blank(file, used+used/8+files*256+16*mib); err != nil {
		return err
	}
	_, err = run(ctx, "mke2fs", "-q", "-t", "ext4", "-L", "root", "-m", "0", "-O", "^has_journal,^resize_inode",
		"-E", "root_owner=0:0", "-I", "256", "-N", fmt.Sprint(files+files/4+1024), "-d", tree, file)
	return err
}
