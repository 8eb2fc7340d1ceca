package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/server/selection"
	"github.com/bessemer-metal/bessemer/shared/api"
)

func (c *command) nodeList() *cobra.Command {
	filters := map[string]*string{}
	cmd := one("list", 0)
	cmd.Aliases = []string{"ls"}
	cmd.Short = "List the machines"
	cmd.Example = "  bessemer node list --provision-state \"clean failed\"\n  bessemer node list --where 'properties.memory_mb>=65536,traits=CUSTOM_GPU'\n  bessemer node list --fields name,resource_class,owner\n  bessemer node list -o json\n  bessemer node list --changed-since '' -o json"
	var v view
	v.add(cmd)
	since := cmd.Flags().String("changed-since", "", "only what has changed since the CURSOR that the same command told before; \"\" begins with all")
	where := cmd.Flags().String("where", "", "only the nodes that match EXPRESSION; bessemer selectors explains it")
	cmd.RunE = c.with(func(ctx context.Context, a *client.Client, _ []string) error {
		q := url.Values{}
		for name, v := range filters {
			if *v != "" {
				q.Set(name, *v)
			}
		}
		if cmd.Flags().Changed("changed-since") {
			if len(q) > 0 || *where != "" {
				return usage("--changed-since stands with --fields or --long alone")
			}
			return c.listChanged(ctx, a, *since, v)
		}
		if v.long || len(v.fields) > 0 || *where != "" {
			return c.listObjects(ctx, a, q, v, *where)
		}
		nodes, err := a.Nodes(ctx, q)
		if err != nil {
			return err
		}
		return c.emit(nodes, func(w io.Writer) {
			if len(nodes) == 0 {
				fmt.Fprintln(w, "no nodes; bessemer node create or bessemer register FILE enrols some")
				return
			}
			row(w, "NAME", "UUID", "POWER", "STATE", "SINCE", "NOTE")
			for _, n := range nodes {
				row(w, dash(text(n.Name)), n.UUID, dash(strings.TrimPrefix(text(n.PowerState), "power ")), text(n.ProvisionState),
					dash(c.ago(n.ProvisionUpdatedAt)), note(n))
			}
		})
	})
	for _, f := range []struct{ name, doc string }{
		{"provision_state", "only nodes in this state"}, {"driver", "only of this hardware type"}, {"resource_class", "only of this class"},
		{"maintenance", "only those in maintenance (true) or not (false)"}, {"associated", "only those with an instance (true) or without (false)"},
		{"owner", "only of this owner"}, {"fault", "only with this fault"}, {"description_contains", "only with this text in the description"},
	} {
		filters[f.name] = cmd.Flags().String(strings.ReplaceAll(f.name, "_", "-"), "", f.doc)
	}
	return cmd
}

// listObjects lists nodes by the fields that are asked for, and only those that an expression matches.
func (c *command) listObjects(ctx context.Context, a *client.Client, q url.Values, v view, where string) error {
	if err := v.check(); err != nil {
		return err
	}
	columns := v.columns([]string{"name", "uuid", "power_state", "provision_state", "maintenance"})
	var query selection.Query
	if where != "" {
		var err error
		if query, err = selection.Parse(where); err != nil {
			return usage("--where: %v", err)
		}
	}
	for name, value := range query.Filters() {
		if !q.Has(name) {
			q[name] = value
		}
	}
	if v.long {
		q.Set("detail", "true")
	} else {
		q.Set("fields", strings.Join(append(slices.Clip(columns), query.Fields()...), ","))
	}
	var all []map[string]any
	err := a.EachNode(ctx, q, func(n map[string]any) error {
		if query.Match(n) {
			all = append(all, n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.objects(all, columns, v.long)
}

// listChanged lists the nodes that have changed since a cursor, those that are gone, and the cursor to go on with.
func (c *command) listChanged(ctx context.Context, a *client.Client, cursor string, v view) error {
	if err := v.check(); err != nil {
		return err
	}
	columns := v.columns([]string{"name", "uuid", "power_state", "provision_state", "maintenance"})
	var fields []string
	if !v.long {
		fields = slices.Compact(slices.Sorted(slices.Values(append(slices.Clip(columns), "uuid"))))
	}
	found, err := a.Changed(ctx, cursor, fields)
	if err != nil {
		return err
	}
	if c.Format != "table" {
		for _, n := range found.Nodes {
			delete(n, "links")
		}
		return c.emit(found, nil)
	}
	if err := c.objects(found.Nodes, columns, v.long); err != nil {
		return err
	}
	for _, id := range found.Gone {
		fmt.Fprintf(c.Out, "%s is gone\n", id)
	}
	fmt.Fprintf(c.Out, "what changes from now on: bessemer node list --changed-since %s\n", found.Cursor)
	return nil
}

// note is what an operator should see of a node in a list.
func note(n api.Node) string {
	var parts []string
	if n.Maintenance {
		parts = append(parts, strings.TrimSuffix("maintenance: "+text(n.MaintenanceReason), ": "))
	}
	if e := text(n.LastError); e != "" {
		if r := []rune(e); len(r) > 80 {
			e = string(r[:79]) + "…"
		}
		parts = append(parts, e)
	}
	return strings.Join(parts, "; ")
}
