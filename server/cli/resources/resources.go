// Package resources has the commands of what is no node: those of the table of server/resource, made from its rows, and
// ports, images, webhooks and the defaults of steps, which have more to them.
package resources

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/server/resource"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Add adds the commands of the table to the tree: a noun of two words below one that is there already, if it is.
func Add(c *command.Run, root *cobra.Command) {
	for _, r := range resource.All {
		at := root
		for _, word := range r.Noun[:len(r.Noun)-1] {
			i := slices.IndexFunc(at.Commands(), func(x *cobra.Command) bool { return x.Name() == word })
			if i < 0 {
				at.AddCommand(command.Group(&cobra.Command{Use: word, Short: r.Short}))
				i = slices.IndexFunc(at.Commands(), func(x *cobra.Command) bool { return x.Name() == word })
			}
			at = at.Commands()[i]
		}
		made := nounCommand(c, r)
		switch r.Key {
		case "drivers":
			made.AddCommand(driverCommands(c)...)
		case "webhooks":
			made.AddCommand(webhookCommands(c, r)...)
		}
		at.AddCommand(made)
	}
}

// nounCommand is the command of one row.
func nounCommand(c *command.Run, r resource.Resource) *cobra.Command {
	cmd := command.Group(&cobra.Command{Use: r.Noun[len(r.Noun)-1], Short: r.Short, Example: r.Example})
	if r.Ident != "" {
		cmd.Long = r.Short + ".\n\nID is its " + r.Ident + "."
	}
	cmd.AddCommand(listCommand(c, r))
	if r.Listed {
		return cmd
	}
	cmd.AddCommand(showCommand(c, r))
	if !r.ReadOnly {
		cmd.AddCommand(createCommand(c, r), setCommand(c, r), unsetCommand(c, r), deleteCommand(c, r))
	}
	return cmd
}

var uuid = regexp.MustCompile(`^[0-9a-fA-F-]{36}$`)

func singular(r resource.Resource) string { return strings.Join(r.Noun, " ") }

func listCommand(c *command.Run, r resource.Resource) *cobra.Command {
	cmd := command.Exactly("list", 0)
	cmd.Aliases = []string{"ls"}
	cmd.Short = "List " + strings.ToLower(r.Short[:1]) + r.Short[1:]
	filters := map[string]*string{}
	for _, f := range r.Filters {
		filters[f.Query] = cmd.Flags().String(f.Flag, "", f.Doc)
	}
	var v command.View
	v.Add(cmd)
	var page command.Page
	if !r.Listed && !r.Unsorted {
		page.Add(cmd)
	}
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, _ []string) error {
		if err := v.Check(); err != nil {
			return err
		}
		q := url.Values{}
		if err := page.Query(q); err != nil {
			return err
		}
		for name, value := range filters {
			if *value != "" {
				q.Set(name, *value)
			}
		}
		columns := v.Columns(r.Columns)
		switch {
		case r.Listed:
		case v.Long && r.Whole:
		case v.Long:
			q.Set("detail", "true")
		case !r.ReadOnly:
			q.Set("fields", strings.Join(columns, ","))
		}
		all, err := page.All(ctx, a, client.Path(r.Path...), r.Key, q, nil)
		if err != nil {
			return err
		}
		return c.Objects(all, columns, v.Long)
	})
	return cmd
}

func showCommand(c *command.Run, r resource.Resource) *cobra.Command {
	cmd := &cobra.Command{Use: "show ID", Short: "Show one"}
	if sample := map[string]string{"name": "redfish", "host name": "bessemer.example.org"}[r.Ident]; sample != "" {
		cmd.Example = "  bessemer " + singular(r) + " show " + sample
	}
	fields := cmd.Flags().StringSlice("fields", nil, "only these fields: a,b")
	address := new(string)
	if slices.ContainsFunc(r.Filters, func(f resource.Filter) bool { return f.Query == "address" }) {
		address = cmd.Flags().String("address", "", "the one with this MAC address, instead of ID")
	}
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		if *address != "" && len(args) == 0 {
			id, err := ofAddress(ctx, a, r, *address)
			if err != nil {
				return err
			}
			args = []string{id}
		} else if len(args) != 1 || *address != "" {
			return input.Usage("name the one to show: %s", cmd.UseLine())
		}
		o, err := a.Get(ctx, client.Path(append(slices.Clip(r.Path), args[0])...), nil)
		if err != nil {
			return err
		}
		return c.WriteObject(o, *fields)
	})
	return cmd
}

// ofAddress is the UUID of the one that has this MAC address.
func ofAddress(ctx context.Context, a *client.Client, r resource.Resource, address string) (string, error) {
	id := ""
	err := a.Each(ctx, client.Path(r.Path...), r.Key, url.Values{"address": {address}}, func(o map[string]any) error { id = output.Cell(o["uuid"]); return nil })
	if err == nil && id == "" {
		err = fault.New(fault.PortNotFound, "there is no %s with the address %s", singular(r), address)
	}
	return id, err
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
		for name := range bareFlags(f) {
			cmd.Flags().Bool(name, false, "the same as --"+f.FlagName())
			command.Hide(cmd, name)
		}
	}
	return v
}

// bareFlags are the flags without a value that mean true or false for a field.
func bareFlags(f resource.Field) map[string]bool {
	out := map[string]bool{}
	if f.On != "" {
		out[f.On] = true
	}
	if f.Off != "" {
		out[f.Off] = false
	}
	return out
}

// value is what a field's flag gives; ok is false when it was not given.
func (v values) value(c *command.Run, cmd *cobra.Command, f resource.Field) (value any, ok bool, err error) {
	for name, meant := range bareFlags(f) {
		if command.Given(cmd, name) {
			return meant, true, nil
		}
	}
	if cmd.Flags().Lookup(f.FlagName()) == nil || !cmd.Flags().Changed(f.FlagName()) {
		return nil, false, nil
	}
	switch f.Kind {
	case resource.List:
		return *v.lists[f.Name], true, nil
	case resource.Object:
		value, err = c.Object(*v.lists[f.Name], false)
	case resource.Document:
		value, err = c.Document(*v.texts[f.Name], f.Name)
	case resource.Flag:
		if value, err = api.Bool(*v.texts[f.Name]); err != nil {
			err = input.Usage("--%s: %v", f.FlagName(), err)
		}
	case resource.Number:
		if value, err = strconv.Atoi(*v.texts[f.Name]); err != nil {
			err = input.Usage("--%s is %q, expected a number", f.FlagName(), *v.texts[f.Name])
		}
	default:
		value = *v.texts[f.Name]
	}
	return value, true, err
}

func createCommand(c *command.Run, r resource.Resource) *cobra.Command {
	cmd := command.Exactly("create", 0)
	cmd.Short = "Make one"
	cmd.Example = strings.Split(r.Example, "\n")[0]
	var wait *time.Duration
	if r.Key == "allocations" {
		wait = cmd.Flags().Duration("wait", 0, "stay until a machine is found, for so long at most: 5m")
		cmd.Flags().BoolP("watch", "w", false, "stay until a machine is found")
	}
	v := addFields(cmd, r, func(f resource.Field) bool { return !f.Change })
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.With(func(ctx context.Context, a *client.Client, _ []string) error {
			body := map[string]any{}
			for _, f := range r.Fields {
				value, given, err := v.value(c, cmd, f)
				if err != nil {
					return err
				}
				if name, is := value.(string); given && is && f.Name == "node_uuid" && !uuid.MatchString(name) { // the API takes no name there
					n, err := a.NodeFields(ctx, name, []string{"uuid"})
					if err != nil {
						return err
					}
					value = n["uuid"]
				}
				if given {
					body[f.Name] = value
				} else if f.Need {
					return input.Usage("--%s is missing: %s", f.FlagName(), f.Doc)
				}
			}
			o, err := a.Send(ctx, http.MethodPost, client.Path(r.Path...), nil, body)
			if err != nil {
				return err
			}
			if wait != nil && (*wait > 0 || command.Given(cmd, "watch")) {
				if o, err = settled(ctx, a, r, o, *wait); err != nil {
					return err
				}
			}
			return c.Emit(o, func(w io.Writer) { fmt.Fprintf(w, "%s %s is made\n", singular(r), output.Cell(o["uuid"])) })
		})(cmd, args)
	}
	return cmd
}

// settled waits until an allocation has its machine, or never will.
func settled(ctx context.Context, a *client.Client, r resource.Resource, o map[string]any, most time.Duration) (map[string]any, error) {
	id := output.Cell(o["uuid"])
	if most > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, most, fmt.Errorf("it took longer than --wait %s", most))
		defer cancel()
	}
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for o["state"] == "allocating" {
		select {
		case <-ctx.Done():
			return nil, fault.New(fault.AllocationFailed, "the allocation %s has no machine yet: %v", id, context.Cause(ctx)).WithHint("bessemer allocation show %s says how it goes; it goes on by itself", id)
		case <-again.C:
		}
		var err error
		if o, err = a.Get(ctx, client.Path(append(slices.Clip(r.Path), id)...), nil); err != nil {
			return nil, fault.New(fault.AllocationFailed, "allocation %s is made, and whether it has a machine is not known: %v", id, err).
				WithHint("bessemer allocation show %s says how it goes; to ask for one again makes a second", id)
		}
	}
	if o["state"] == "error" {
		return nil, fault.New(fault.AllocationFailed, "%s", output.Cell(o["last_error"])).WithHint("bessemer allocation delete %s, then ask for one that a machine fits", id)
	}
	return o, nil
}

func setCommand(c *command.Run, r resource.Resource) *cobra.Command {
	cmd := command.Exactly("set ID", 1)
	cmd.Short = "Change one"
	cmd.Example = "  bessemer " + singular(r) + " set 7d0c5a0e-6a3f-4a52-9b0f-2f1b7d3c9a11 --extra rack=7"
	v := addFields(cmd, r, func(f resource.Field) bool { return !f.Fixed })
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.With(func(ctx context.Context, a *client.Client, args []string) error {
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
			return patch(ctx, c, a, r, args[0], ops)
		})(cmd, args)
	}
	return cmd
}

func unsetCommand(c *command.Run, r resource.Resource) *cobra.Command {
	cmd := command.Exactly("unset ID", 1)
	cmd.Short = "Remove parts of one"
	cmd.Example = "  bessemer " + singular(r) + " unset 7d0c5a0e-6a3f-4a52-9b0f-2f1b7d3c9a11 --extra rack"
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
		return c.With(func(ctx context.Context, a *client.Client, args []string) error {
			var ops []api.PatchOp
			for _, f := range r.Fields {
				if flag := cmd.Flags().Lookup(f.FlagName()); flag == nil || !flag.Changed {
					continue
				}
				if keys[f.Name] == nil && !command.Given(cmd, f.FlagName()) {
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
			return patch(ctx, c, a, r, args[0], ops)
		})(cmd, args)
	}
	return cmd
}

func patch(ctx context.Context, c *command.Run, a *client.Client, r resource.Resource, id string, ops []api.PatchOp) error {
	if len(ops) == 0 {
		return input.Usage("nothing to change is given")
	}
	o, err := a.Send(ctx, http.MethodPatch, client.Path(append(slices.Clip(r.Path), id)...), nil, ops)
	if err != nil {
		return err
	}
	return c.Emit(o, func(w io.Writer) { fmt.Fprintf(w, "%s %s is changed\n", singular(r), id) })
}

func deleteCommand(c *command.Run, r resource.Resource) *cobra.Command {
	cmd := &cobra.Command{Use: "delete ID ...", Short: "Remove some", Args: cobra.MinimumNArgs(1)}
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		failed := false
		for _, id := range args {
			if _, err := a.Send(ctx, http.MethodDelete, client.Path(append(slices.Clip(r.Path), id)...), nil, nil); err != nil {
				c.Tell(singular(r)+" "+id+": ", err)
				failed = true
				continue
			}
			fmt.Fprintf(c.Notes(), "%s %s is deleted\n", singular(r), id)
		}
		if failed {
			return command.ErrTold
		}
		return nil
	})
	return cmd
}
