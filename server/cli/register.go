package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// entry is a machine in a register file: the fields of a node, and its ports.
type entry struct {
	name   string
	fields map[string]any
	ports  []map[string]any
}

func (c *command) registerCommand() *cobra.Command {
	var manage, inspect, provide, watch bool
	cmd := one("register FILE", 1)
	cmd.Short = "Create or update machines from a YAML file"
	cmd.Long = `Creates the machines of a file, or brings those that exist up to date; running it again changes nothing. Keys that the
file does not name stay as they are.

  nodes:
  - name: n1
    driver: redfish
    driver_info:
      redfish_address: https://192.0.2.10
      redfish_username: admin
      redfish_password: "@secret.txt"      # read from a file beside this one
    properties:
      root_device: {serial: S1}
    ports: [52:54:00:12:34:56]`
	cmd.Example = "  bessemer register nodes.yaml\n  bessemer register nodes.yaml --manage --inspect --provide --watch"
	cmd.RunE = c.with(func(ctx context.Context, a *client.Client, args []string) error {
		entries, err := c.readEntries(args[0])
		if err != nil {
			return err
		}
		var ready []string
		failed := false
		for _, e := range entries {
			what, err := c.register(ctx, a, e)
			if err != nil {
				failed = true
				c.tell("node "+e.name+": ", err)
				continue
			}
			fmt.Fprintf(c.Out, "node %s: %s\n", e.name, what)
			ready = append(ready, e.name)
		}
		var want []verb
		for _, v := range verbs {
			if v.name == "manage" && manage || v.name == "inspect" && inspect || v.name == "provide" && provide {
				want = append(want, v)
			}
		}
		if len(want) == 1 && !watch {
			for _, name := range ready {
				if err := c.advance(ctx, a, nil, name, want); err != nil {
					failed = true
					c.tell("node "+name+": ", err)
				}
			}
		} else if len(want) > 0 && !c.advanceAll(ctx, a, ready, want) {
			failed = true
		}
		if failed {
			return errTold
		}
		return nil
	})
	f := cmd.Flags()
	f.BoolVar(&manage, "manage", false, "then manage those that are enrolled")
	f.BoolVar(&inspect, "inspect", false, "then inspect those that are manageable")
	f.BoolVar(&provide, "provide", false, "then provide those that are manageable: ERASES their disks")
	f.BoolVarP(&watch, "watch", "w", false, "show the work and stay until it ends; two verbs or more do so anyway")
	return cmd
}

// readEntries reads a register file. A text value @FILE is the content of a file beside it.
func (c *command) readEntries(file string) ([]entry, error) {
	content, err := c.read(file)
	if err != nil {
		return nil, err
	}
	var doc struct {
		Nodes []map[string]any `yaml:"nodes"`
	}
	d := yaml.NewDecoder(bytes.NewReader(content))
	d.KnownFields(true)
	if err := d.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, usage("%s: %v", file, err)
	}
	if len(doc.Nodes) == 0 {
		return nil, usage("%s names no nodes; bessemer register --help shows the form", file)
	}
	var out []entry
	for i, fields := range doc.Nodes {
		e := entry{fields: fields}
		e.name, _ = fields["name"].(string)
		if e.name == "" {
			return nil, usage("%s: node %d has no name", file, i+1)
		}
		if slices.ContainsFunc(out, func(o entry) bool { return o.name == e.name }) {
			return nil, usage("%s: node %s is there twice", file, e.name)
		}
		ports, ok := fields["ports"].([]any)
		if fields["ports"] != nil && !ok {
			return nil, usage("%s: node %s: ports must be a list", file, e.name)
		}
		delete(fields, "ports")
		for _, p := range ports {
			switch t := p.(type) {
			case string:
				e.ports = append(e.ports, map[string]any{"address": t})
			case map[string]any:
				e.ports = append(e.ports, t)
			default:
				return nil, usage("%s: node %s: a port is an address, or an object with one", file, e.name)
			}
		}
		if info, ok := fields["driver_info"].(map[string]any); ok {
			for _, k := range sortedKeys(info) {
				name, found := strings.CutPrefix(fmt.Sprint(info[k]), "@")
				if !found {
					continue
				}
				secret, err := c.read(beside(file, name))
				if err != nil {
					return nil, err
				}
				info[k] = strings.TrimRight(string(secret), "\r\n")
			}
		}
		out = append(out, e)
	}
	return out, nil
}

// register creates a node or patches what differs, and makes its ports.
func (c *command) register(ctx context.Context, a *client.Client, e entry) (string, error) {
	var done []string
	n, err := a.Node(ctx, e.name)
	switch {
	case fault.Is(err, fault.NotFound):
		if n, err = a.CreateNode(ctx, e.fields); err != nil {
			return "", err
		}
		done = append(done, "enrolled")
	case err != nil:
		return "", err
	default:
		ops, err := difference(n, e.fields)
		if err != nil {
			return "", err
		}
		if len(ops) > 0 {
			if _, err := a.PatchNode(ctx, e.name, ops); err != nil {
				return "", err
			}
			if s := changes(ops); s != "" {
				done = append(done, "changed "+s)
			}
		}
	}
	for _, p := range e.ports {
		address, _ := p["address"].(string)
		known, err := a.Ports(ctx, "", address)
		if err != nil {
			return "", err
		}
		if len(known) > 0 {
			if known[0].NodeUUID != n.UUID {
				return "", fault.New(fault.PortExists, "port %s belongs to node %s", address, known[0].NodeUUID)
			}
			continue
		}
		body := maps.Clone(p)
		body["node_uuid"] = n.UUID
		if _, err := a.CreatePort(ctx, body); err != nil {
			return "", err
		}
		done = append(done, "port "+strings.ToLower(address))
	}
	if len(done) == 0 {
		return "as it should be", nil
	}
	return strings.Join(done, ", "), nil
}

// secretShown is what the server shows in place of a secret.
const secretShown = "******"

// difference is what makes a node agree with the file. Objects are compared key by key; a secret can't be compared
// and is set again.
func difference(n api.Node, fields map[string]any) ([]api.PatchOp, error) {
	have, err := asJSON(n)
	if err != nil {
		return nil, err
	}
	want, err := asJSON(fields)
	if err != nil {
		return nil, err
	}
	var ops []api.PatchOp
	for _, field := range sortedKeys(want) {
		m, isMap := want[field].(map[string]any)
		old, _ := have[field].(map[string]any)
		switch {
		case isMap:
			for _, k := range sortedKeys(m) {
				if !reflect.DeepEqual(m[k], old[k]) {
					ops = append(ops, api.PatchOp{Op: "add", Path: "/" + field + "/" + k, Value: m[k]})
				}
			}
		case !reflect.DeepEqual(want[field], have[field]):
			ops = append(ops, api.PatchOp{Op: "add", Path: "/" + field, Value: want[field]})
		}
	}
	for i, op := range ops {
		if field, k, ok := strings.Cut(op.Path[1:], "/"); ok && field == "driver_info" {
			if old, _ := have[field].(map[string]any); old[k] == secretShown {
				ops[i].Op = "replace"
			}
		}
	}
	return ops, nil
}

// changes names what a patch changes, but for secrets that were set again.
func changes(ops []api.PatchOp) string {
	var names []string
	for _, op := range ops {
		if op.Op == "add" {
			names = append(names, strings.ReplaceAll(op.Path[1:], "/", "."))
		}
	}
	return strings.Join(names, ", ")
}

// advanceAll takes the nodes through the verbs, all at once, and shows it.
func (c *command) advanceAll(ctx context.Context, a *client.Client, nodes []string, want []verb) bool {
	d := c.newDisplay()
	errs := make([]error, len(nodes)) // one node's failure does not stop the others
	slots := make(chan struct{}, 64)
	var all sync.WaitGroup
	for i, name := range nodes {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			errs[i] = c.advance(ctx, a, d, name, want)
		})
	}
	all.Wait()
	d.close()
	ok := true
	for i, err := range errs {
		if err != nil {
			ok = false
			c.tell("node "+nodes[i]+": ", err)
		}
	}
	return ok
}

// advance takes a node through the verbs that its state allows; a node that is further on already is left alone.
func (c *command) advance(ctx context.Context, a *client.Client, d *display, name string, want []verb) error {
	for _, v := range want {
		n, err := a.Node(ctx, name)
		if err != nil {
			return err
		}
		from := map[string]state.State{"manage": state.Enroll, "inspect": state.Manageable, "provide": state.Manageable}[v.name]
		if text(n.ProvisionState) != string(from) {
			line := fmt.Sprintf("node %s: is %s, no need to %s", name, text(n.ProvisionState), v.name)
			if d != nil {
				d.line(line)
			} else {
				fmt.Fprintln(c.Out, line)
			}
			continue
		}
		if err := a.Provision(ctx, name, api.Provision{Target: v.target}); err != nil {
			return err
		}
		if d == nil {
			fmt.Fprintf(c.Out, "node %s: %s has begun\n", name, v.name)
			continue
		}
		if err := c.follow(ctx, a, d, name, v); err != nil {
			return err
		}
	}
	return nil
}
