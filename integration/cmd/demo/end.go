package main

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/bessemer-metal/bessemer/integration/lab"
)

// goOn shows what came of it, and what to try next.
func (d *demo) goOn(keep bool) {
	d.screen.print("")
	for _, b := range d.banners {
		d.screen.print("%s", b)
	}
	if !keep {
		d.screen.print(`Done. Logs are in %s until the next run. How to go on:

  make demo KEEP=1                  leave server and machines running, and try commands on them
  build/bessemer --help             the operator's command
  docs/tutorial/first-machine.md    what the demo did, and how to do it by hand
  README.md                         the parts, and where to read on`, d.below(d.dir))
		return
	}
	bessemer := d.below(d.built.Bessemer)
	first := d.machines[0]
	d.screen.print(`Server and machines run until Ctrl-C. In another terminal, here:

  export BESSEMER_SERVER=%[1]s
  %[2]s node list
  %[2]s node show %[3]s
  %[2]s node history %[3]s
  %[2]s node logs %[3]s
  %[2]s node inventory %[3]s
  %[2]s node undeploy %[3]s --watch
  %[2]s node deploy %[3]s --image debian.raw.zst --hostname web2 --watch

The serial line of %[3]s: %[4]s
docs/tutorial/first-machine.md tells what each does.`, d.lab.URL, bessemer, first.name, d.below(d.lab.Emulator.Machine(first.name).Console()))
}

// explain shows what a person would look at after a failure.
func (d *demo) explain(ctx context.Context) {
	if d.lab == nil {
		return
	}
	d.end("the server's log, "+d.below(d.lab.ServerLog()), lab.Tail(d.lab.ServerLog(), 12))
	for _, m := range d.machines {
		if out, err := d.silently(ctx, "node", "logs", m.name); err == nil {
			d.end("the agent's log on "+m.name, last(string(out), 12))
		}
		file := d.lab.Emulator.Machine(m.name).Console()
		d.end("the serial line of "+m.name+", "+d.below(file), lab.Tail(file, 12))
	}
	d.screen.print("Everything is kept in %s until the next run.", d.below(d.dir))
}

func (d *demo) end(of, text string) {
	d.screen.print("\nThe end of %s:", of)
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(plain(line)); line != "" {
			d.screen.print("  %s", line)
		}
	}
}

func last(text string, n int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-n):], "\n")
}

// below is a path as seen from the source tree.
func (d *demo) below(path string) string {
	if r, err := filepath.Rel(d.root, path); err == nil {
		return r
	}
	return path
}
