package host

import (
	"cmp"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/config"
)

// settingFlags adds a flag for each setting of the server and returns what gives the ones that were set.
func settingFlags(c *command.Run, cmd *cobra.Command) func() map[string]any {
	f := cmd.Flags()
	texts, flags, lists := map[string]*string{}, map[string]*bool{}, map[string]*[]string{}
	table := config.Settings(c.Environment)
	for _, s := range table {
		switch s.Kind {
		case config.Text:
			texts[s.Key] = f.String(s.FlagName(), s.Default, s.Doc)
		case config.Flag:
			flags[s.Key] = f.Bool(s.FlagName(), s.Default == "true", s.Doc)
		case config.List:
			lists[s.Key] = f.StringArray(s.FlagName(), nil, s.Doc+"; may be repeated")
		}
	}
	return func() map[string]any {
		out := map[string]any{}
		for _, s := range table {
			if !f.Changed(s.FlagName()) {
				continue
			}
			switch s.Kind {
			case config.Text:
				out[s.Key] = *texts[s.Key]
			case config.Flag:
				out[s.Key] = *flags[s.Key]
			case config.List:
				out[s.Key] = *lists[s.Key]
			}
		}
		return out
	}
}

// ServeCommand runs the server.
func ServeCommand(c *command.Run, p Programs) *cobra.Command {
	cmd := command.Exactly("serve", 0)
	cmd.Short = "Run the server"
	cmd.Long = `Runs the server. On the first start it makes its data directory with keys, certificate and database, and says what to
type next.

Settings come from a YAML file, from BESSEMER_* and from these flags, the later ones winning; in the file and in
variables a dash is an underscore. bessemer config show --origin says where each value comes from.`
	cmd.Example = `  bessemer serve
  bessemer serve --data-dir /srv/bessemer --listen 192.0.2.1:6385 --auth basic --users /etc/bessemer/users --roles /etc/bessemer/roles
  bessemer serve --allow-origin 192.0.2.0/24`
	var file string
	set := settingFlags(c, cmd)
	cmd.Flags().StringVar(&file, "config", "", "settings file (BESSEMER_CONFIG)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, _, err := config.Load(file, c.Environment, set())
		if err != nil {
			return input.Usage("%v", err)
		}
		return p.Serve(cmd.Context(), s)
	}
	return cmd
}

// SettingsCommand shows the server's settings.
func SettingsCommand(c *command.Run) *cobra.Command {
	show := command.Exactly("show", 0)
	show.Short = "Show the settings that bessemer serve would run with"
	show.Example = "  bessemer config show --origin --config /etc/bessemer/bessemer.yaml"
	var file string
	var origin bool
	set := settingFlags(c, show)
	show.Flags().StringVar(&file, "config", "", "settings file (BESSEMER_CONFIG)")
	show.Flags().BoolVar(&origin, "origin", false, "say where each value comes from")
	show.RunE = func(*cobra.Command, []string) error {
		_, values, err := config.Load(file, c.Environment, set())
		if err != nil {
			return input.Usage("%v", err)
		}
		type line struct {
			Key    string `json:"key"`
			Value  string `json:"value"`
			Origin string `json:"origin"`
		}
		var lines []line
		for _, v := range values {
			lines = append(lines, line{v.Key, v.Value, v.Origin})
		}
		return c.Emit(lines, func(w io.Writer) {
			for _, l := range lines {
				if origin {
					output.Row(w, l.Key, output.Dash(l.Value), l.Origin)
				} else {
					output.Row(w, l.Key, output.Dash(l.Value))
				}
			}
		})
	}
	return show
}

// RamdiskCommand builds the ramdisk.
func RamdiskCommand(c *command.Run, p Programs) *cobra.Command {
	cmd := command.Group(&cobra.Command{Use: "ramdisk", Short: "The ramdisk that machines boot for work"})
	var r Ramdisk
	build := command.Exactly("build", 0)
	build.Short = "Build kernel, initramfs, unified kernel image and boot ISO"
	build.Long = "Builds the ramdisk. The same inputs give the same bytes. A vendor's hardware manager comes in by --agent; what\nit runs, in a further archive by --extra."
	build.Example = `  bessemer ramdisk build --output build/ramdisk
  bessemer ramdisk build --fast                       # edit loop: only the agent's layer changes
  bessemer ramdisk build --flavour cloud-amd64 --cmdline console=ttyS0`
	build.RunE = func(cmd *cobra.Command, _ []string) error { return p.BuildRamdisk(cmd.Context(), r) }
	f := build.Flags()
	f.StringVar(&r.Output, "output", "build/ramdisk", "folder for the results")
	f.StringVar(&r.Source, "source", ".", "root of the source tree")
	f.StringVar(&r.Cache, "cache", "", "folder of downloads and finished layers (default: cache in the output folder)")
	f.StringVar(&r.Agent, "agent", "", "package of the agent program (default ./agent)")
	f.StringVar(&r.AgentBinary, "agent-binary", "", "a finished static agent instead")
	f.StringVar(&r.Flavour, "flavour", "", "of Debian's kernel: amd64 (default) or cloud-amd64")
	f.StringSliceVar(&r.Bundles, "bundle", nil, "driver bundle (default: all); may be repeated")
	f.StringArrayVar(&r.Extra, "extra", nil, "further cpio archive; may be repeated")
	f.StringArrayVar(&r.Cmdline, "cmdline", nil, "further word for the kernel's command line, never a secret; may be repeated")
	f.StringVar(&r.CACerts, "ca-certs", Certificates, "file of CA certificates for image servers over https; \"\" adds none")
	f.BoolVar(&r.Rescue, "rescue", true, "add a shell and commands, reached only with bessemer.rescue on the kernel's command line")
	f.BoolVar(&r.Refresh, "refresh", false, "look for newer packages")
	f.BoolVar(&r.Fast, "fast", false, "compress the agent lightly")
	cmd.AddCommand(build)
	return cmd
}

// VersionCommand tells the version.
func VersionCommand(c *command.Run, p Programs) *cobra.Command {
	cmd := command.Exactly("version", 0)
	cmd.Short = "Show the version"
	cmd.RunE = func(*cobra.Command, []string) error {
		v := cmp.Or(p.Version, "devel")
		return c.Emit(map[string]string{"version": v}, func(w io.Writer) { fmt.Fprintln(w, "bessemer", v) })
	}
	return cmd
}
