package raid

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/hardware"
)

// mdadm is the one program that builds, assembles and stops arrays: its arguments are made here and nowhere else. No shell
// reads them, and every name in them was made or checked by this program.
type mdadm struct{ run hardware.Runner }

const program = "mdadm"

// there refuses to begin without the program and the kernel's modules.
func (m mdadm) there(ctx context.Context) error {
	if m.run == nil {
		return fault.New(fault.StepVersion, "this agent can't run programs")
	}
	if _, err := m.run.Run(ctx, program, "--version"); err != nil {
		return fault.New(fault.StepVersion, "this ramdisk can't build arrays: %v", err).
			WithHint("build it with the software RAID layer: bessemer ramdisk build").Because(err)
	}
	return nil
}

// modules loads what the kernel needs for a level. Without it the kernel would ask for it by itself, too late for the
// first array: /dev/md0 needs md_mod before it can be opened.
func (m mdadm) modules(ctx context.Context, level int) error {
	name, ok := map[int]string{0: "raid0", 1: "raid1", 5: "raid456", 6: "raid456", 10: "raid10"}[level]
	if !ok {
		return fault.New(fault.RequestInvalid, "RAID level %d is not known", level)
	}
	if _, err := m.run.Run(ctx, "modprobe", "-q", "--", name); err != nil {
		return fault.New(fault.StepVersion, "this ramdisk's kernel can't run arrays of level %d: %v", level, err).
			WithHint("build it with the driver bundle storage").Because(err)
	}
	return nil
}

// create makes an array of parts and leaves it running as /dev/KERNEL. The superblock lies at each part's end (format
// 1.0), so that who does not know of it sees what the array holds: firmware reads a mirrored EFI system partition. A level
// with redundancy gets a bitmap, so that after a crash not all of it is synchronised again.
func (m mdadm) create(ctx context.Context, kernel, name string, level int, parts []string) error {
	args := []string{"--create", dev(kernel), "--run", "--force", "--metadata=1.0", "--homehost=any", "--name=" + name,
		"--level=" + strconv.Itoa(level), "--raid-devices=" + strconv.Itoa(len(parts))}
	if level != 0 {
		args = append(args, "--bitmap=internal")
	}
	return m.do(ctx, append(args, devs(parts)...)...)
}

// assemble runs an array of these parts as /dev/KERNEL. Whether it took all of them is for its caller to see.
func (m mdadm) assemble(ctx context.Context, kernel, uuid string, parts []string) error {
	return m.do(ctx, append([]string{"--assemble", dev(kernel), "--uuid=" + uuid}, devs(parts)...)...)
}

// stop lets an array's parts go.
func (m mdadm) stop(ctx context.Context, kernel string) error {
	return m.do(ctx, "--stop", dev(kernel))
}

// patience is how long one command may take: none of them waits for a synchronisation. An array is stopped even though its
// step was told to end, and that ends, too.
const patience = 5 * time.Minute

func (m mdadm) do(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := m.run.Run(ctx, program, args...); err != nil {
		return fmt.Errorf("mdadm %s: %w", args[0], err)
	}
	return nil
}

func dev(kernel string) string { return "/dev/" + kernel }

func devs(kernels []string) []string {
	out := make([]string, len(kernels))
	for i, k := range kernels {
		out[i] = dev(k)
	}
	return out
}
