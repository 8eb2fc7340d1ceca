package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/server/resource"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// resources adds the commands of the table to the tree: a noun of two words below one that is there already, if it is.
func (c *command) resources(root *cobra.Command) {
	for _, r := range resource.All {
		at := root
		for _, word := range r.Noun[:len(r.Noun)-1] {
			i := slices.IndexFunc(at.Commands(), func(x *cobra.Command) bool { return x.Name() == word })
			if i < 0 {
				at.AddCommand(group(&cobra.Command{Use: word, Short: r.Short}))
				i = slices.IndexFunc(at.Commands(), func(x *cobra.Command) bool { return x.Name() == word })
			}
			at = at.Commands()[i]
		}
		made := c.resource(r)
		switch r.Key {
		case "drivers":
			made.AddCommand(c.driverParts()...)
		case "webhooks":
			made.AddCommand(c.webhookParts(r)...)
		}
		at.AddCommand(made)
	}
}

// driverParts are what a hardware type has beside its fields.
func (c *command) driverParts() []*cobra.Command {
	described := func(use, short string, path ...string) *cobra.Command {
		cmd := one(use+" DRIVER", 1)
		cmd.Short = short
		cmd.RunE = c.with(func(ctx context.Context, a *client.Client, args []string) error {
			o, err := a.Get(ctx, client.Path(append([]string{"drivers", args[0]}, path...)...), nil)
			if err != nil {
				return err
			}
			return c.emit(o, func(w io.Writer) { pairs(w, o) })
		})
		return cmd
	}
	property := group(&cobra.Command{Use: "property", Short: "What driver_info of its nodes may hold"})
	property.AddCommand(described("list", "List the keys, with what each means", "properties"))
	raid := group(&cobra.Command{Use: "raid", Short: "What it knows of disk arrays"})
	inRAID := group(&cobra.Command{Use: "property", Short: "What a logical disk may hold"})
	inRAID.AddCommand(described("list", "List the keys, with what each means", "raid", "logical_disk_properties"))
	raid.AddCommand(inRAID)
	return []*cobra.Command{property, raid, c.passthru("drivers", "DRIVER", "a driver's")}
}

// resource is the command of one row.
func (c *command) resource(r resource.Resource) *cobra.Command {
	cmd := group(&cobra.Command{Use: r.Noun[len(r.Noun)-1], Short: r.Short, Example: r.Example})
	if r.Ident != "" {
		cmd.Long = r.Short + ".\n\nID is its " + r.Ident + "."
	}
	cmd.AddCommand(c.resourceList(r))
	if r.Listed {
		return cmd
	}
	cmd.AddCommand(c.resourceShow(r))
	if !r.ReadOnly {
		cmd.AddCommand(c.resourceCreate(r), c.resourceSet(r), c.resourceUnset(r), c.resourceDelete(r))
	}
	return cmd
}

func singular(r resource.Resource) string { return strings.Join(r.Noun, " ") }

func (c *command) resourceList(r resource.Resource) *cobra.Command {
	cmd := one("list", 0)
	cmd.Aliases = []string{"ls"}
	cmd.Short = "List " + strings.ToLower(r.Short[:1]) + r.Short[1:]
	filters := map[string]*string{}
	for _, f := range r.Filters {
		filters[f.Query] = cmd.Flags().String(f.Flag, "", f.Doc)
	}
	var v view
	v.add(cmd)
	cmd.RunE = c.with(func(ctx context.Context, a *client.Client, _ []string) error {
		if err := v.check(); err != nil {
			return err
		}
		q := url.Values{}
		for name, value := range filters {
			if *value != "" {
				q.Set(name, *value)
			}
		}
		columns := v.columns(r.Columns)
		switch {
		case r.Listed:
		case v.long:
			q.Set("detail", "true")
		case !r.ReadOnly:
			q.Set("fields", strings.Join(columns, ","))
		}
		var all []map[string]any
		if err := a.Each(ctx, client.Path(r.Path...), r.Key, q, func(o map[string]any) error { all = append(all, o); return nil }); err != nil {
			return err
		}
		return c.objects(all, columns, v.long)
	})
	return cmd
}

// view is which fields a list or show writes.
type view struct {
	fields []string
	long   bool
}

func (v *view) add(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&v.fields, "fields", nil, "only these fields: a,b")
	cmd.Flags().BoolVar(&v.long, "long", false, "all fields")
}

func (v *view) check() error {
	if v.long && len(v.fields) > 0 {
		return usage("give --fields or --long, not both")
	}
	return nil
}

func (v *view) columns(short []string) []string {
	if len(v.fields) > 0 {
		return v.fields
	}
	return short
}

// objects writes a list: the named columns, or all fields one below the other.
func (p *printer) objects(all []map[string]any, columns []string, long bool) error {
	for _, o := range all {
		delete(o, "links")
	}
	return p.emit(append([]map[string]any{}, all...), func(w io.Writer) {
		if long {
			for i, o := range all {
				if i > 0 {
					fmt.Fprintln(w)
				}
				pairs(w, o)
			}
			return
		}
		var heads []string
		for _, name := range columns {
			heads = append(heads, strings.ToUpper(strings.ReplaceAll(name, "_", " ")))
		}
		row(w, heads...)
		for _, o := range all {
			var cells []string
			for _, name := range columns {
				cells = append(cells, dash(cell(o[name])))
			}
			row(w, cells...)
		}
	})
}

// pairs writes the fields of an object that are set, by name; links are for programs.
func pairs(w io.Writer, o map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(o)) {
		if !links(o[k]) {
			pair(w, k, cell(o[k]))
		}
	}
}

// links tells whether a field holds links to other objects.
func links(v any) bool {
	list, _ := v.([]any)
	return len(list) > 0 && !slices.ContainsFunc(list, func(x any) bool {
		o, _ := x.(map[string]any)
		return len(o) != 2 || o["href"] == nil || o["rel"] == nil
	})
}

// cell is a value in a table.
func cell(v any) string {
	switch t := v.(type) {
	case nil:
		return ""
	case map[string]any:
		return flat(t)
	case []any:
		var out []string
		for _, x := range t {
			out = append(out, cell(x))
		}
		return strings.Join(out, " ")
	}
	return valueText(v)
}

// writeObject writes one object: the named fields, or all.
func (p *printer) writeObject(o map[string]any, fields []string) error {
	delete(o, "links")
	if len(fields) > 0 {
		for k := range o {
			if !slices.Contains(fields, k) {
				delete(o, k)
			}
		}
	}
	return p.emit(o, func(w io.Writer) { pairs(w, o) })
}

func (c *command) resourceShow(r resource.Resource) *cobra.Command {
	cmd := one("show ID", 1)
	cmd.Short = "Show one"
	fields := cmd.Flags().StringSlice("fields", nil, "only these fields: a,b")
	cmd.RunE = c.with(func(ctx context.Context, a *client.Client, args []string) error {
		o, err := a.Get(ctx, client.Path(append(slices.Clip(r.Path), args[0])...), nil)
		if err != nil {
			return err
		}
		return c.writeObject(o, *fields)
	})
	return cmd
}

// values are the flags of a row's fields.
type values struct {
	texts map[string]*string
	lists map[string]*[]string
}

func addFields(cmd *cobra.Command, r resource.Resource, takes func(f resource.Field) bool) values {
	v := values{map[string]*string{}, map[string]*[]string{}}
	for _, f := range r.Fields {
		if !takes(f) {
			continue
		}
		switch f.Kind {
		case resource.List, resource.Object:
			v.lists[f.Name] = cmd.Flags().StringArray(f.FlagName(), nil, f.Doc)
		default:
			v.texts[f.Name] = cmd.Flags().String(f.FlagName(), "", f.Doc)
		}
	}
	return v
}

// value is what a field's flag gives; ok is false when it was not given.
func (v values) value(c *command, cmd *cobra.Command, f resource.Field) (value any, ok bool, err error) {
	if cmd.Flags().Lookup(f.FlagName()) == nil || !cmd.Flags().Changed(f.FlagName()) {
		return nil, false, nil
	}
	switch f.Kind {
	case resource.List:
		return *v.lists[f.Name], true, nil
	case resource.Object:
		value, err = c.object(*v.lists[f.Name], false)
	case resource.Document:
		value, err = c.document(*v.texts[f.Name], f.Name)
	case resource.Flag:
		if value, err = api.Bool(*v.texts[f.Name]); err != nil {
			err = usage("--%s: %v", f.FlagName(), err)
		}
	case resource.Number:
		if value, err = strconv.Atoi(*v.texts[f.Name]); err != nil {
			err = usage("--%s is %q, expected a number", f.FlagName(), *v.texts[f.Name])
		}
	default:
		value = *v.texts[f.Name]
	}
	return value, true, err
}

func (c *command) resourceCreate(r resource.Resource) *cobra.Command {
	cmd := one("create", 0)
	cmd.Short = "Make one"
	cmd.Example = r.Example
	v := addFields(cmd, r, func(f resource.Field) bool { return !f.Change })
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.with(func(ctx context.Context, a *client.Client, _ []string) error {
			body := map[string]any{}
			for _, f := range r.Fields {
				value, given, err := v.value(c, cmd, f)
				if err != nil {
					return err
				}
				if given {
					body[f.Name] = value
				} else if f.Need {
					return usage("--%s is missing: %s", f.FlagName(), f.Doc)
				}
			}
			o, err := a.Send(ctx, http.MethodPost, client.Path(r.Path...), nil, body)
			if err != nil {
				return err
			}
			return c.emit(o, func(w io.Writer) { fmt.Fprintf(w, "%s %s is made\n", singular(r), cell(o["uuid"])) })
		})(cmd, args)
	}
	return cmd
}

func (c *command) resourceSet(r resource.Resource) *cobra.Command {
	cmd := one("set ID", 1)
	cmd.Short = "Change one"
	v := addFields(cmd, r, func(f resource.Field) bool { return !f.Fixed })
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.with(func(ctx context.Context, a *client.Client, args []string) error {
			var ops []api.PatchOp
			for _, f := range r.Fields {
				value, given, err := v.value(c, cmd, f)
				if err != nil {
					return err
				}
				if m, ok := value.(map[string]any); ok && f.Kind == resource.Object {
					for _, k := range slices.Sorted(maps.Keys(m)) {
						ops = append(ops, api.PatchOp{Op: "add", Path: api.Pointer(f.Name, k), Value: m[k]})
					}
				} else if given {
					ops = append(ops, api.PatchOp{Op: "add", Path: "/" + f.Name, Value: value})
				}
			}
			return c.patchResource(ctx, a, r, args[0], ops)
		})(cmd, args)
	}
	return cmd
}

func (c *command) resourceUnset(r resource.Resource) *cobra.Command {
	cmd := one("unset ID", 1)
	cmd.Short = "Remove parts of one"
	keys := map[string]*[]string{}
	for _, f := range r.Fields {
		switch {
		case f.Fixed || f.Need:
		case f.Kind == resource.Object:
			keys[f.Name] = cmd.Flags().StringArray(f.FlagName(), nil, "KEY to remove")
		default:
			cmd.Flags().Bool(f.FlagName(), false, "remove it")
		}
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.with(func(ctx context.Context, a *client.Client, args []string) error {
			var ops []api.PatchOp
			for _, f := range r.Fields {
				if flag := cmd.Flags().Lookup(f.FlagName()); flag == nil || !flag.Changed {
					continue
				}
				if keys[f.Name] == nil {
					ops = append(ops, api.PatchOp{Op: "remove", Path: "/" + f.Name})
					continue
				}
				for _, k := range *keys[f.Name] {
					ops = append(ops, api.PatchOp{Op: "remove", Path: api.Pointer(f.Name, k)})
				}
			}
			return c.patchResource(ctx, a, r, args[0], ops)
		})(cmd, args)
	}
	return cmd
}

func (c *command) patchResource(ctx context.Context, a *client.Client, r resource.Resource, id string, ops []api.PatchOp) error {
	if len(ops) == 0 {
		return usage("nothing to change is given")
	}
	o, err := a.Send(ctx, http.MethodPatch, client.Path(append(slices.Clip(r.Path), id)...), nil, ops)
	if err != nil {
		return err
	}
	return c.emit(o, func(w io.Writer) { fmt.Fprintf(w, "%s %s is changed\n", singular(r), id) })
}

func (c *command) resourceDelete(r resource.Resource) *cobra.Command {
	cmd := &cobra.Command{Use: "delete ID ...", Short: "Remove some", Args: cobra.MinimumNArgs(1)}
	cmd.RunE = c.with(func(ctx context.Context, a *client.Client, args []string) error {
		failed := false
		for _, id := range args {
			if _, err := a.Send(ctx, http.MethodDelete, client.Path(append(slices.Clip(r.Path), id)...), nil, nil); err != nil {
				c.tell(singular(r)+" "+id+": ", err)
				failed = true
				continue
			}
			fmt.Fprintf(c.notes(), "%s %s is deleted\n", singular(r), id)
		}
		if failed {
			return errTold
		}
		return nil
	})
	return cmd
}
