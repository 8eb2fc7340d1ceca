package resources

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// ImageCommand keeps the image store.
func ImageCommand(c *command.Run) *cobra.Command {
	cmd := command.Group(&cobra.Command{Use: "image", Aliases: []string{"images"}, Short: "The server's own image store",
		Long: "Whole-disk images, raw, raw compressed with zstd, gzip or xz, or qcow2, kept by the server and served to machines.\nAn image elsewhere is deployed by its URL, without this store."})

	var name string
	add := command.Exactly("add FILE", 1)
	add.Short = "Upload an image"
	add.Long = "Uploads an image. The server makes its digests; the name is that of the file unless --name is given."
	add.Example = "  bessemer image add debian.raw.zst\n  bessemer image add --name debian.raw - < disk.img"
	add.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		i, err := upload(ctx, c, a, args[0], name)
		if err != nil {
			return err
		}
		return c.Emit(i, func(w io.Writer) { showImage(w, i) })
	})
	add.Flags().StringVar(&name, "name", "", "name in the store")

	list := command.Exactly("list", 0)
	list.Aliases = []string{"ls"}
	list.Short = "List the stored images"
	list.RunE = c.With(func(ctx context.Context, a *client.Client, _ []string) error {
		images, err := a.Images(ctx)
		if err != nil {
			return err
		}
		return c.Emit(images, func(w io.Writer) {
			output.Row(w, "NAME", "FORMAT", "SIZE", "CREATED", "SHA256")
			for _, i := range images {
				output.Row(w, i.Name, i.Format, output.Size(float64(i.Size)), c.Clock(api.Time{Time: i.Created}), i.SHA256)
			}
		})
	})

	show := command.Exactly("show NAME", 1)
	show.Short = "Show a stored image"
	show.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		i, err := a.Image(ctx, args[0])
		if err != nil {
			return err
		}
		return c.Emit(i, func(w io.Writer) { showImage(w, i) })
	})

	remove := command.Exactly("delete NAME", 1)
	remove.Short = "Remove a stored image"
	remove.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		if err := a.DeleteImage(ctx, args[0]); err != nil {
			return err
		}
		fmt.Fprintf(c.Out, "image %s is deleted\n", args[0])
		return nil
	})
	cmd.AddCommand(add, list, show, remove)
	return cmd
}

func showImage(w io.Writer, i api.Image) {
	output.Pair(w, "name", i.Name)
	output.Pair(w, "format", i.Format)
	output.Pair(w, "size", fmt.Sprintf("%s (%d bytes)", output.Size(float64(i.Size)), i.Size))
	output.Pair(w, "sha256", i.SHA256)
	output.Pair(w, "sha512", i.SHA512)
	output.Pair(w, "url", i.URL)
}

// upload sends a file, "-" being the standard input, with a bar on a terminal.
func upload(ctx context.Context, c *command.Run, a *client.Client, file, name string) (api.Image, error) {
	in, length := c.In, int64(-1)
	if file == "-" {
		if name == "" {
			return api.Image{}, input.Usage("give --name together with -")
		}
	} else {
		f, err := os.Open(file)
		if err != nil {
			return api.Image{}, input.Usage("open the image: %v", err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return api.Image{}, fmt.Errorf("open the image: %w", err)
		}
		if info.Mode().IsRegular() {
			length = info.Size()
		}
		in, name = f, cmp.Or(name, filepath.Base(file))
	}
	sent, end := c.Transfer(name, length)
	defer end()
	return a.PutImage(ctx, name, in, length, sent)
}
