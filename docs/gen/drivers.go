package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/drivers"
)

// matrix is the page of the hardware types: which implementations of each interface go with which type, and what of them
// works.
func matrix(string) (string, error) {
	var b strings.Builder
	b.WriteString(`# Hardware types and their interfaces

A node has a hardware type, its ` + "`driver`" + `, and an implementation of each of thirteen interfaces. The tables are those of
[server/drivers](../../server/drivers/drivers.go); ` + "`GET /v1/drivers?detail=true`" + ` shows what a server offers of them. A node that
names none has the default, **bold** here. What a client may name because Ironic has it, and what this server can't carry
out, is marked †: such a node is taken and shown, ` + "`validate`" + ` says why it can't be used, and a verb that needs it is refused
with the same words. ` + "`no-…`" + ` says that the node does without.

The settings ` + "`enabled_hardware_types`, `enabled_interfaces` and `default_interfaces`" + ` narrow what is offered and choose other
defaults.

`)
	types := drivers.All()
	b.WriteString("| interface |")
	for _, t := range types {
		fmt.Fprintf(&b, " %s |", t.Name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(types)) + "\n")
	for _, kind := range drivers.Kinds {
		fmt.Fprintf(&b, "| %s |", kind)
		for _, t := range types {
			first := drivers.Offered(t.Name)[kind][0]
			var cells []string
			for _, name := range t.Supported[kind] {
				cell := name
				if name == first {
					cell = "**" + name + "**"
				}
				if drivers.Why(kind, name) != "" && !drivers.Disabled(name) {
					cell += " †"
				}
				cells = append(cells, cell)
			}
			fmt.Fprintf(&b, " %s |", strings.Join(cells, ", "))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n## The types\n\n| type | for |\n|---|---|\n")
	for _, t := range types {
		fmt.Fprintf(&b, "| %s | %s |\n", t.Name, t.Doc)
	}
	b.WriteString("\n## † What can't be used, and why\n\n| interface | implementation | why |\n|---|---|---|\n")
	for _, kind := range drivers.Kinds {
		names := map[string]bool{}
		for _, t := range types {
			for _, name := range t.Supported[kind] {
				names[name] = !drivers.Disabled(name) && drivers.Why(kind, name) != ""
			}
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			if names[name] {
				fmt.Fprintf(&b, "| %s | %s | %s |\n", kind, name, drivers.Why(kind, name))
			}
		}
	}
	b.WriteString(`
## fake-hardware

There is no machine. With its defaults nothing is booted and no power state changes unless it is asked for: inspection ends
in *manageable* without an inventory, a cleaning runs ` + "`vendor.log_passthrough`" + `, a deployment runs ` + "`deploy.deploy`" + `, and each
step succeeds. Nothing takes time unless the setting ` + "`fake_delays`" + ` says so, for example ` + "`deploy=5-30`" + ` (seconds, mostly near
the first). With the deploy interface ` + "`direct`" + ` and the inspect interface ` + "`agent`" + ` a ramdisk is waited for, which a test or
` + "`bessemer simulate`" + ` plays.
`)
	return b.String(), nil
}
