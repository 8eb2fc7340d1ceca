package command

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// What operators of Ironic type by habit is understood too (ADR 0328). Such flags and commands are hidden: help shows one
// way for each thing. docs/howto/from-baremetal.md lists them.

// Also gives a flag that is there already a second name.
func Also(cmd *cobra.Command, name, second string) {
	f := *cmd.Flags().Lookup(name)
	f.Name, f.Shorthand, f.Hidden = second, "", true
	cmd.Flags().AddFlag(&f)
}

// Hide hides flags.
func Hide(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		cmd.Flags().Lookup(name).Hidden = true
	}
}

// Given tells whether a flag without a value was given; with =false it was not.
func Given(cmd *cobra.Command, name string) bool {
	f := cmd.Flags().Lookup(name)
	return f != nil && f.Changed && f.Value.String() != "false"
}

// Finish completes a tree of commands: each that does something takes -f and --format for -o and --output where -f is not
// its own, and shows an example.
func (c *Run) Finish(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		c.Finish(sub)
	}
	if !cmd.HasParent() {
		return
	}
	f := cmd.Flags()
	if f.ShorthandLookup("f") == nil && f.Lookup("format") == nil {
		f.StringVarP(&c.Format, "format", "f", "table", "the same as --output")
		Hide(cmd, "format")
	}
	if cmd.Example == "" && !cmd.HasSubCommands() {
		cmd.Example = example(cmd)
	}
}

// samples are what stands for the operands in an example.
var samples = map[string]string{"NODE": "n1", "MODE": "uefi", "VIF": "9f7a1e4c-8d5e-4b6f-a1d2-3c4b5a697887", "SETTING": "BootMode", "DRIVER": "redfish", "PORT": "52:54:00:12:34:56",
	"ID": "7d0c5a0e-6a3f-4a52-9b0f-2f1b7d3c9a11", "INDICATOR": "led@chassis", "TRAIT": "CUSTOM_GPU", "DEVICE": "cdrom", "EVENT": "7d0c5a0e-6a3f-4a52-9b0f-2f1b7d3c9a11", "NAME": "debian.raw.zst"}

// example is the command with samples for its operands; "" when there is none for one of them.
func example(cmd *cobra.Command) string {
	line := "  " + cmd.CommandPath()
	for _, word := range strings.Fields(cmd.Use)[1:] {
		word = strings.Trim(word, "[]")
		if word == "..." || word == "flags" {
			continue
		}
		if samples[word] == "" {
			return ""
		}
		line += " " + samples[word]
	}
	return line
}

// bare are flags that need a value here and none in baremetal, with what they mean without one; of unset they need none.
var bare = map[string]string{"--wait": "--watch", "--automated-clean": "--automated-clean=true", "--protected": "--protected=", "--retired": "--retired=", "--maintenance": "--maintenance=true",
	"--associated": "--associated=true", "--pxe-enabled": "--pxe-enabled=true", "--is-smartnic": "--is-smartnic=true", "--public": "--public=true", "--sharded": "--sharded=true"}

// Spelled gives each flag that stands without a value, as baremetal has it, the one that it means: one that is the last
// word, or that another flag follows.
func Spelled(args []string) []string {
	if slices.Contains(args, "unset") {
		return args
	}
	out := slices.Clone(args)
	for i, arg := range out {
		if arg == "--" {
			break
		}
		meant, is := bare[arg]
		if is && slices.Contains(args, "list") && arg == "--retired" {
			meant = "--retired=true"
		}
		if is && (i == len(out)-1 || strings.HasPrefix(out[i+1], "-")) {
			out[i] = meant
		}
	}
	return out
}
