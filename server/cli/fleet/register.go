package fleet

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/acts"
	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/cli/work"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/server/register"
	"github.com/bessemer-metal/bessemer/server/selection"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// beside is a path as the file that names it means it.
func beside(file, name string) string {
	if filepath.IsAbs(name) || file == "-" {
		return name
	}
	return filepath.Join(filepath.Dir(file), name)
}

// RegisterCommand makes the machines of a file, or brings them up to date.
func RegisterCommand(c *command.Run) *cobra.Command {
	var manage, inspect, provide, watch, secrets bool
	var file string
	cmd := &cobra.Command{Use: "register FILE", Args: func(_ *cobra.Command, args []string) error {
		if named := file != ""; named && len(args) > 0 {
			return input.Usage("the file is named twice: %s and --file %s", args[0], file)
		} else if !named && len(args) != 1 {
			return input.Usage("name one file of machines: bessemer register FILE, or --file FILE; %d are given", len(args))
		}
		return nil
	}}
	cmd.Short = "Create or update machines from a YAML file"
	cmd.Long = `Creates the machines of a file, or brings those that exist up to date, and shows what it changes; running it again changes
nothing. Keys that the file does not name stay as they are. A MAC or a BMC address that another machine has is a
conflict. One machine's failure does not stop the others; the exit code is the worst result.

  nodes:
  - name: n1
    driver: redfish
    driver_info:
      redfish_address: https://192.0.2.10
      redfish_username: admin
      redfish_password: "@secret.txt"      # read from a file beside this one
    properties:
      root_device: {serial: S1}
    traits: [CUSTOM_RACK7]
    ports: [52:54:00:12:34:56]

Passwords that are set can't be compared and are kept; --set-secrets sets them again.`
	cmd.Example = "  bessemer register nodes.yaml --dry-run\n  bessemer register nodes.yaml --manage --inspect --provide --watch"
	m := acts.On(c, cmd)
	cmd.Flags().Lookup("where").Hidden = true // the file says which
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		entries, err := readEntries(c, append(args, file)[0])
		if err != nil {
			return err
		}
		var want []work.Verb
		var names []string
		destroys := ""
		for _, v := range work.Verbs {
			if v.Name == "manage" && (manage || inspect || provide) || v.Name == "inspect" && inspect || v.Name == "provide" && provide {
				want, names = append(want, v), append(names, v.Name)
				destroys = v.Destroys
			}
		}
		if len(want) > 0 {
			nodes := make([]string, len(entries))
			for i, e := range entries {
				nodes[i] = e.Name
			}
			fmt.Fprintf(c.Notes(), "for each node: %s\n%s: %s\n", strings.Join(names, ", "), acts.Count(len(nodes)), list(nodes))
			if !m.Dry {
				if err := m.Consent(strings.Join(names, ", ")+" of "+acts.Count(len(nodes)), destroys, len(nodes)); err != nil {
					return err
				}
			}
		}
		ready, ok, err := reconcile(ctx, c, a, m, entries, secrets)
		switch {
		case err != nil:
			return err
		case m.Dry:
		case len(want) == 1 && !watch:
			for _, n := range ready {
				if err := advance(ctx, c, a, nil, n, want); err != nil {
					ok = false
					c.Tell("node "+n.Name+": ", err)
				}
			}
		case len(want) > 0 && !advanceAll(ctx, c, a, m.Parallel, ready, want):
			ok = false
		}
		if !ok {
			return command.ErrTold
		}
		return nil
	})
	f := cmd.Flags()
	f.StringVarP(&file, "file", "f", "", "the FILE, given as a flag")
	f.BoolVar(&manage, "manage", false, "then manage those that are enrolled")
	f.BoolVar(&inspect, "inspect", false, "then inspect those that are manageable; manages them first")
	f.BoolVar(&provide, "provide", false, "then provide those that are manageable: ERASES their disks; manages them first")
	f.BoolVar(&secrets, "set-secrets", false, "set passwords again that are set already")
	f.BoolVarP(&watch, "watch", "w", false, "show the work and stay until it ends; two verbs or more do so anyway")
	return cmd
}

// readEntries reads a register file. A text value @FILE is the content of a file beside it.
func readEntries(c *command.Run, file string) ([]register.Entry, error) {
	doc, err := c.Document(file, "FILE")
	if err != nil {
		return nil, err
	}
	entries, err := register.Parse(doc, func(name string) (string, error) {
		content, err := c.Read(beside(file, name), "a value in FILE")
		return strings.TrimRight(string(content), "\r\n"), err
	})
	if err != nil {
		return nil, input.Usage("%s: %v", file, err)
	}
	return entries, nil
}

// reconcile makes the server agree with the entries, and gives the nodes that do. ok is false when some failed.
func reconcile(ctx context.Context, c *command.Run, a *client.Client, m *acts.Nodes, entries []register.Entry, secrets bool) (ready []selection.Node, ok bool, err error) {
	there, err := register.Look(ctx, a)
	if err != nil {
		return nil, false, err
	}
	w := c.Notes()
	changes, failed := []register.Change{}, 0
	for _, e := range entries {
		change, err := there.Compare(ctx, e, secrets)
		if err == nil && !change.Same() && !m.Dry {
			err = change.Apply(ctx, a)
		}
		if err != nil {
			failed++
			c.Tell("node "+e.Name+": ", err)
			continue
		}
		changes, ready = append(changes, change), append(ready, selection.Node{UUID: change.UUID(), Name: e.Name})
		what := "as it should be"
		if !change.Same() {
			what = strings.Join(change.Diff, ", ")
			if !change.New {
				what = "changed " + what
			}
		}
		if len(change.Kept) > 0 {
			what += "; kept " + strings.Join(change.Kept, ", ") + " (--set-secrets sets it again)"
		}
		fmt.Fprintf(w, "node %s: %s\n", e.Name, what)
	}
	if failed > 0 {
		fmt.Fprintf(w, "register: %d done, %d failed\n", len(ready), failed)
	}
	if m.Dry {
		fmt.Fprintln(w, "nothing was done")
	}
	return ready, failed == 0, c.EmitOnly(changes)
}

// advanceAll takes the nodes through the verbs, all at once, and shows it.
func advanceAll(ctx context.Context, c *command.Run, a *client.Client, parallel int, nodes []selection.Node, want []work.Verb) bool {
	d := output.NewDisplay(c.Printer)
	errs := make([]error, len(nodes)) // one node's failure does not stop the others
	slots := make(chan struct{}, parallel)
	var all sync.WaitGroup
	for i, n := range nodes {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			errs[i] = advance(ctx, c, a, d, n, want)
		})
	}
	all.Wait()
	d.Close()
	ok := true
	for i, err := range errs {
		if err != nil {
			ok = false
			c.Tell("node "+nodes[i].Name+": ", err)
		}
	}
	return ok
}

// advance takes a node through the verbs that its state allows; a node that is further on already is left alone. It is
// the node of the UUID that is acted on: the name may be another's by the time of the next verb.
func advance(ctx context.Context, c *command.Run, a *client.Client, d *output.Display, node selection.Node, want []work.Verb) error {
	for _, v := range want {
		n, err := a.Node(ctx, node.UUID)
		if err != nil {
			return err
		}
		from := map[string]state.State{"manage": state.Enroll, "inspect": state.Manageable, "provide": state.Manageable}[v.Name]
		if output.Text(n.ProvisionState) != string(from) {
			line := fmt.Sprintf("node %s: is %s, no need to %s", node.Name, output.Text(n.ProvisionState), v.Name)
			if d != nil {
				d.Line(line)
			} else {
				fmt.Fprintln(c.Notes(), line)
			}
			continue
		}
		if err := a.Provision(ctx, node.UUID, api.Provision{Target: v.Target}); err != nil {
			return err
		}
		if d == nil {
			fmt.Fprintf(c.Notes(), "node %s: %s has begun\n", node.Name, v.Name)
			continue
		}
		if err := work.Follow(ctx, c.Printer, a, d, node.UUID, v); err != nil {
			return err
		}
	}
	return nil
}
