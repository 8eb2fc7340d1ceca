package record

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/server/selection"
	"github.com/bessemer-metal/bessemer/shared/api"
)

func listCommand(c *command.Run) *cobra.Command {
	filters := map[string]*string{}
	cmd := command.Exactly("list", 0)
	cmd.Aliases = []string{"ls"}
	cmd.Short = "List the machines"
	cmd.Example = "  bessemer node list --provision-state \"clean failed\"\n  bessemer node list --where 'properties.memory_mb>=65536,traits=CUSTOM_GPU'\n  bessemer node list --fields name,resource_class,owner\n  bessemer node list -o json\n  bessemer node list --changed-since '' -o json"
	var v command.View
	v.Add(cmd)
	var page command.Page
	page.Add(cmd)
	for _, x := range []struct{ name, query, value, doc string }{
		{"no-maintenance", "maintenance", "false", "--maintenance false"}, {"unassociated", "associated", "false", "--associated false"},
		{"no-retired", "retired", "false", "--retired false"}, {"unsharded", "sharded", "false", "--sharded false"},
	} {
		cmd.Flags().Bool(x.name, false, "the same as "+x.doc)
		command.Hide(cmd, x.name)
	}
	since := cmd.Flags().String("changed-since", "", "only what has changed since the CURSOR that the same command told before; \"\" begins with all")
	where := cmd.Flags().String("where", "", "only the nodes that match EXPRESSION; bessemer selectors explains it")
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, _ []string) error {
		q := url.Values{}
		for name, v := range filters {
			if *v != "" || name == "conductor_group" && cmd.Flags().Changed("conductor-group") {
				q.Set(name, *v)
			}
		}
		for flag, name := range map[string]string{"no-maintenance": "maintenance", "unassociated": "associated", "no-retired": "retired", "unsharded": "sharded"} {
			if command.Given(cmd, flag) {
				q.Set(name, "false")
			}
		}
		if err := page.Query(q); err != nil {
			return err
		}
		if cmd.Flags().Changed("changed-since") {
			if len(q) > 0 || *where != "" {
				return input.Usage("--changed-since stands with --fields or --long alone")
			}
			return listChanged(ctx, c, a, *since, v)
		}
		if v.Long || len(v.Fields) > 0 || *where != "" || c.Format == "value" || c.Format == "csv" {
			return listObjects(ctx, c, a, q, v, *where, page)
		}
		nodes, err := a.Nodes(ctx, q)
		if err != nil {
			return err
		}
		return c.Emit(nodes, func(w io.Writer) {
			if len(nodes) == 0 {
				fmt.Fprintln(w, "no nodes; bessemer node create or bessemer register FILE enrols some")
				return
			}
			output.Row(w, "NAME", "UUID", "POWER", "STATE", "SINCE", "NOTE")
			for _, n := range nodes {
				output.Row(w, output.Dash(output.Text(n.Name)), n.UUID, output.Dash(strings.TrimPrefix(output.Text(n.PowerState), "power ")), output.Text(n.ProvisionState),
					output.Dash(c.Ago(n.ProvisionUpdatedAt)), note(n))
			}
		})
	})
	for _, f := range []struct{ name, doc string }{
		{"provision_state", "only nodes in this state"}, {"driver", "only of this hardware type"}, {"resource_class", "only of this class"},
		{"maintenance", "only those in maintenance (true) or not (false)"}, {"associated", "only those with an instance (true) or without (false)"},
		{"owner", "only of this owner"}, {"fault", "only with this fault"}, {"description_contains", "only with this text in the description"},
		{"lessee", "only of this lessee"}, {"retired", "only those that are retired (true) or not (false)"}, {"conductor", "only those of this server"},
		{"conductor_group", "only those of this group of servers; \"\" is the nodes of none"}, {"instance_name", "only the one with this instance"},
		{"sharded", "only those in a shard (true) or in none (false)"}, {"parent_node", "only the parts of this node"},
		{"include_children", "also nodes that are parts of others (true)"}, {"chassis_uuid", "only those of this chassis"}, {"shard", "only those of these shards: a,b"},
	} {
		filters[f.name] = cmd.Flags().String(strings.ReplaceAll(f.name, "_", "-"), "", f.doc)
	}
	command.Also(cmd, "chassis-uuid", "chassis")
	command.Also(cmd, "shard", "shards")
	return cmd
}

// listObjects lists nodes by the fields that are asked for, and only those that an expression matches.
func listObjects(ctx context.Context, c *command.Run, a *client.Client, q url.Values, v command.View, where string, page command.Page) error {
	if err := v.Check(); err != nil {
		return err
	}
	columns := v.Columns([]string{"name", "uuid", "power_state", "provision_state", "maintenance"})
	var query selection.Query
	if where != "" {
		var err error
		if query, err = selection.Parse(where); err != nil {
			return input.Usage("--where: %v", err)
		}
	}
	for name, value := range query.Filters() {
		if !q.Has(name) {
			q[name] = value
		}
	}
	if v.Long {
		q.Set("detail", "true")
	} else {
		q.Set("fields", strings.Join(append(slices.Clip(columns), query.Fields()...), ","))
	}
	if where != "" {
		q.Del("limit") // what matches may be one in a thousand: pages are then as large as the server gives them
	}
	all, err := page.All(ctx, a, "/v1/nodes", "nodes", q, query.Match)
	if err != nil {
		return err
	}
	return c.Objects(all, columns, v.Long)
}

// listChanged lists the nodes that have changed since a cursor, those that are gone, and the cursor to go on with.
func listChanged(ctx context.Context, c *command.Run, a *client.Client, cursor string, v command.View) error {
	if err := v.Check(); err != nil {
		return err
	}
	columns := v.Columns([]string{"name", "uuid", "power_state", "provision_state", "maintenance"})
	var fields []string
	if !v.Long {
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
		return c.Emit(found, nil)
	}
	if err := c.Objects(found.Nodes, columns, v.Long); err != nil {
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
		parts = append(parts, strings.TrimSuffix("maintenance: "+output.Text(n.MaintenanceReason), ": "))
	}
	if e := output.Text(n.LastError); e != "" {
		if r := []rune(e); len(r) > 80 {
			e = string(r[:79]) + "…"
		}
		parts = append(parts, e)
	}
	return strings.Join(parts, "; ")
}
