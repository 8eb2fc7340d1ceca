// Package initramfs builds the ramdisk behind "bessemer ramdisk build": kernel, initramfs, unified kernel image and
// boot ISO, out of u-root's base, Debian's kernel package and the agent. It knows nothing of nodes or servers: what
// differs from boot to boot is spliced in elsewhere (shared/api, FindRegion).
//
// An initramfs is a row of layers, each a compressed cpio archive of its own; the kernel unpacks them one over the
// other. Layers that rarely change are kept under a key of their inputs, so that the edit loop makes only the
// agent's. Start at Build.
package initramfs

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/initramfs/media"
)

// Options say what to build. Out and Source are required, the rest has working zero values.
type Options struct {
	Out    string // folder for the results; made if missing
	Source string // root of the source tree, where go.mod lies
	Cache  string // downloads and finished layers, may be deleted at any time; default Out/cache

	Agent       string // package of the agent program, default "./agent"; a vendor names its own
	AgentBinary string // a finished static agent instead of building one
	Version     string // stamped into the agent as main.version; default "devel"

	Flavour string   // of Debian's kernel: "amd64" (default; any machine) or "cloud-amd64" (virtual machines; starts faster); "generic" on Ubuntu
	Bundles []string // driver bundles by name (see Bundles); default all
	Refresh bool     // ask the package archive for newer packages instead of taking those in Cache

	Rescue  bool     // add u-root commands and their shell; reached only with bessemer.rescue on the command line
	CACerts string   // file of CA certificates for image servers; "" adds none
	Extra   []string // further cpio archives (newc, uncompressed), unpacked last in this order
	Cmdline []string // further words for the kernel command line; never a secret

	Fast bool // the edit loop: compress the agent lightly
	Log  *slog.Logger
}

// Layer is one archive of the initramfs: bytes unpacked and as shipped.
type Layer struct {
	Name   string
	Raw    int64
	Size   int64
	Cached bool
}

// Result names the files made, all below Options.Out.
type Result struct {
	Kernel        string // bzImage, for booting with kernel and initramfs apart
	Initramfs     string
	UKI           string // EFI program: kernel, initramfs with an empty boot region, and command line in one
	ISO           string // boot medium with an empty boot region
	SBOM          string // what is inside: names, versions, licences, digests
	KernelRelease string // "6.1.0-56-amd64"
	Cmdline       string
	Layers        []Layer
}

// cmdline is for every boot. Both consoles show the agent's messages; the last one named is where a rescue shell
// runs. A panicking kernel restarts the machine after a minute, so that the BMC's boot order decides again.
var cmdline = []string{"console=tty0", "console=ttyS0,115200n8", "quiet", "loglevel=4", "panic=60", "rdinit=/init"}

// Build makes the ramdisk. The same inputs give the same bytes. It needs the Go toolchain and, on a machine where
// Cache is empty, Debian's apt, dpkg, kmod and zstd; what is missing is named. It may be called again at any time;
// builds that share a cache wait for each other.
func Build(ctx context.Context, o Options) (Result, error) {
	o, err := o.defaults()
	if err != nil {
		return Result{}, err
	}
	if err := need("go", "dpkg-deb", "depmod", "zstd"); err != nil {
		return Result{}, err
	}
	unlock, err := lock(filepath.Join(o.Cache, "lock"))
	if err != nil {
		return Result{}, err
	}
	defer unlock()
	kernelDebs, err := o.kernelPackages(ctx)
	if err != nil {
		return Result{}, err
	}
	stubDeb, err := o.fetch(ctx, stubPackage)
	if err != nil {
		return Result{}, err
	}
	raidDebs, err := o.raid(ctx)
	if err != nil {
		return Result{}, err
	}
	k, err := o.kernel(ctx, kernelDebs)
	if err != nil {
		return Result{}, err
	}
	r := Result{KernelRelease: k.release, Cmdline: strings.Join(append(slices.Clone(cmdline), o.Cmdline...), " ")}
	layers, err := o.layers(ctx, k, raidDebs)
	if err != nil {
		return Result{}, err
	}
	for _, l := range layers {
		r.Layers = append(r.Layers, l.Layer)
		o.Log.Info("layer", "name", l.Name, "raw", l.Raw, "size", l.Size, "cached", l.Cached)
	}

	r.Initramfs = filepath.Join(o.Out, "initramfs.zst")
	if err := concatenate(r.Initramfs, layers); err != nil {
		return Result{}, err
	}
	r.Kernel = filepath.Join(o.Out, "vmlinuz")
	if err := replace(r.Kernel, k.image); err != nil {
		return Result{}, err
	}
	r.UKI = filepath.Join(o.Out, "bessemer.efi")
	if err := o.uki(ctx, r, k, stubDeb); err != nil {
		return Result{}, err
	}
	r.ISO = filepath.Join(o.Out, "bessemer.iso")
	if err := media.BootISO(r.ISO, r.UKI); err != nil {
		return Result{}, err
	}
	r.SBOM = filepath.Join(o.Out, "sbom.json")
	return r, o.sbom(r, kernelDebs, stubDeb, raidDebs)
}

func (o Options) defaults() (Options, error) {
	if o.Out == "" || o.Source == "" {
		return o, fmt.Errorf("build ramdisk: the output folder and the source tree must be given")
	}
	for _, p := range []*string{&o.Out, &o.Source, &o.Cache, &o.AgentBinary, &o.CACerts} {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return o, fmt.Errorf("build ramdisk: %w", err)
		}
		*p = abs
	}
	set := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	set(&o.Cache, filepath.Join(o.Out, "cache"))
	set(&o.Agent, "./agent")
	set(&o.Version, "devel")
	set(&o.Flavour, hostFlavour())
	if o.Bundles == nil {
		for _, b := range Bundles {
			o.Bundles = append(o.Bundles, b.Name)
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for _, dir := range []string{o.Out, o.Cache, filepath.Join(o.Cache, "packages"), filepath.Join(o.Cache, "layers")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return o, fmt.Errorf("build ramdisk: %w", err)
		}
	}
	return o, nil
}

// layers makes or finds every layer, in the order the kernel unpacks them.
func (o Options) layers(ctx context.Context, k kernel, raidDebs []pkg) ([]layer, error) {
	makers := []func(context.Context) (layer, error){o.base, k.modules}
	if len(raidDebs) > 0 {
		makers = append(makers, func(ctx context.Context) (layer, error) { return o.mdadm(ctx, raidDebs) })
	}
	makers = append(makers, o.agent)
	out := make([]layer, 0, len(makers)+len(o.Extra))
	for _, m := range makers {
		l, err := m(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	for _, file := range o.Extra {
		l, err := o.extra(ctx, file)
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

func (o Options) uki(ctx context.Context, r Result, k kernel, stubDeb pkg) error {
	stub, err := stubDeb.file(ctx, stubFile)
	if err != nil {
		return err
	}
	linux, err := os.ReadFile(k.image)
	if err != nil {
		return fmt.Errorf("make unified kernel image: %w", err)
	}
	initrd, err := os.ReadFile(r.Initramfs)
	if err != nil {
		return fmt.Errorf("make unified kernel image: %w", err)
	}
	if initrd, err = withRegion(initrd); err != nil {
		return fmt.Errorf("make unified kernel image: %w", err)
	}
	osrel := fmt.Sprintf("ID=bessemer\nNAME=Bessemer\nVERSION_ID=%s\nPRETTY_NAME=\"Bessemer ramdisk %s\"\n", o.Version, o.Version)
	return write(r.UKI, func(f *os.File) error {
		err := media.UKI(f, stub, []media.Section{
			{Name: ".osrel", Data: []byte(osrel)},
			{Name: ".cmdline", Data: []byte(r.Cmdline + "\x00")},
			{Name: ".uname", Data: []byte(k.release)},
			{Name: ".linux", Data: linux},
			{Name: ".initrd", Data: initrd},
		})
		if err != nil {
			return fmt.Errorf("make unified kernel image: %w", err)
		}
		return nil
	})
}
