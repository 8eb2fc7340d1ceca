package boot

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/bessemer-metal/bessemer/initramfs"
	"github.com/bessemer-metal/bessemer/integration/figures"
	"github.com/bessemer-metal/bessemer/integration/lab"
)

// Build builds the stock ramdisk and keeps what its parts weigh.
func Build(ctx context.Context, root string) (initramfs.Result, error) {
	r, err := lab.BuildRamdisk(ctx, root, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		return r, fmt.Errorf("build the ramdisk: %w", err)
	}
	set := figures.Set{
		Title: "The ramdisk's size",
		Method: "Files as `make ramdisk` writes them; a layer is one archive of the initramfs, compressed by zstd. kB and MB are a thousand and a million bytes. " +
			"For comparison, not measured here: the CentOS 9 ramdisk that the upstream project publishes has an initramfs of 418 MiB.",
	}
	for _, l := range r.Layers {
		set.Rows = append(set.Rows, figures.Figure{What: "layer " + l.Name, Value: float64(l.Size) / 1e3, Unit: "kB"},
			figures.Figure{What: "layer " + l.Name + ", unpacked", Value: float64(l.Raw) / 1e3, Unit: "kB"})
	}
	for _, f := range []figures.Figure{
		{What: "initramfs, all layers", Value: size(r.Initramfs), Target: "≤ 20"},
		{What: "kernel " + r.KernelRelease, Value: size(r.Kernel)},
		{What: "unified kernel image", Value: size(r.UKI)},
		{What: "boot ISO", Value: size(r.ISO)},
	} {
		f.Value, f.Unit = f.Value/1e6, "MB"
		set.Rows = append(set.Rows, f)
	}
	return r, set.Save(root, "ramdisk")
}
