// Package fleet has the commands that bring a whole fleet to what a file, another Ironic or one line says: register,
// import and configure. They show what would change before anything does.
package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/acts"
	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/flows"
	"github.com/bessemer-metal/bessemer/server/cli/record"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/server/selection"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// asJSON is a value as it travels.
func asJSON(v any) (map[string]any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	m := map[string]any{}
	return m, json.Unmarshal(text, &m)
}

// ConfigureCommand changes the fields of many machines and shows the patches first.
func ConfigureCommand(c *command.Run) *cobra.Command {
	var n record.Flags
	var d flows.DeployFlags
	var bootMode, secureBoot string
	cmd := &cobra.Command{Use: "configure [NODE ...]", Short: "Set image, boot options and other fields of many machines, with a preview"}
	cmd.Long = `Shows the JSON patch that each machine would get, only with what differs, and sends it once that is agreed to. The
machines themselves are not touched: what is set counts from their next work on.

` + acts.Help
	cmd.Example = `  bessemer configure --where state=available --image debian.raw.zst --root-device serial=S1
  bessemer configure --where resource_class=big --boot-mode uefi --secure-boot true --dry-run`
	m := acts.On(c, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.With(func(ctx context.Context, a *client.Client, args []string) error {
			return configure(ctx, c, a, m, args, func(ctx context.Context, node string) ([]api.PatchOp, error) {
				current, err := a.Node(ctx, node)
				if err != nil {
					return nil, err
				}
				ops, err := flows.DeployOps(ctx, c, a, current, d)
				if err != nil {
					return nil, err
				}
				more, err := record.Ops(c, current, n, cmd.Flags().Changed)
				if err != nil {
					return nil, err
				}
				ops = append(ops, more...)
				if bootMode != "" {
					ops = append(ops, capability(current, "boot_mode", bootMode, ops))
				}
				if secureBoot != "" {
					ops = append(ops, capability(current, "secure_boot", secureBoot, ops))
				}
				return differing(current, ops)
			})
		})(cmd, args)
	}
	n.Add(cmd)
	d.AddImage(cmd)
	cmd.Flags().StringVar(&bootMode, "boot-mode", "", "uefi or bios, as a capability of the machine")
	cmd.Flags().StringVar(&secureBoot, "secure-boot", "", "true or false, as a capability of the machine")
	return cmd
}

// capability sets one capability of a machine and keeps the others. ops are the changes before it: an earlier one of the
// capabilities is built on.
func capability(n api.Node, key, value string, ops []api.PatchOp) api.PatchOp {
	const path = "/properties/capabilities"
	now, _ := n.Properties["capabilities"].(string)
	for _, op := range ops {
		if text, ok := op.Value.(string); ok && op.Path == path {
			now = text
		}
	}
	return api.PatchOp{Op: "add", Path: path, Value: withCapability(now, key, value)}
}

// differing drops the operations that change nothing.
func differing(n api.Node, ops []api.PatchOp) ([]api.PatchOp, error) {
	doc, err := asJSON(n)
	if err != nil {
		return nil, err
	}
	var out []api.PatchOp
	for _, op := range ops {
		after, _, err := api.ApplyPatch(doc, []api.PatchOp{op}, api.NodeFields(), api.MaxVersion)
		if err != nil {
			return nil, err
		}
		if !reflect.DeepEqual(doc, after) {
			out = append(out, op)
		}
		doc = after
	}
	return out, nil
}

// configure shows each node's patch, asks, and sends those that change something.
func configure(ctx context.Context, c *command.Run, a *client.Client, m *acts.Nodes, args []string, ops func(ctx context.Context, node string) ([]api.PatchOp, error)) error {
	s, err := m.Select(ctx, a, args)
	if err != nil {
		return err
	}
	type change struct {
		selection.Node
		Patch []api.PatchOp `json:"patch"`
	}
	var changes []change
	patches := map[string][]api.PatchOp{} // by UUID
	groups, order := map[string][]string{}, []string{}
	touched := 0
	for _, n := range s.Nodes {
		patch, err := ops(ctx, n.UUID)
		if err != nil {
			return err
		}
		patches[n.UUID] = patch
		changes = append(changes, change{n, masked(patch)})
		if len(patch) > 0 {
			touched++
		}
		text, err := patchText(masked(patch))
		if err != nil {
			return err
		}
		if groups[text] == nil {
			order = append(order, text)
		}
		groups[text] = append(groups[text], n.Label())
	}
	w := c.Notes()
	if len(s.Nodes) == 0 {
		fmt.Fprintf(w, "no node matches %q; nothing is done\n", s.Where)
	}
	for _, text := range order {
		fmt.Fprintf(w, "%s: %s\n%s", acts.Count(len(groups[text])), list(groups[text]), text)
	}
	if m.Dry || touched == 0 {
		return c.EmitOnly(changes)
	}
	if err := m.Consent("configure of "+acts.Count(touched), "", touched); err != nil {
		return err
	}
	return m.Begin(ctx, a, s, acts.Act{Name: "configure", Each: func(ctx context.Context, t *acts.Turn, node string) error {
		if len(patches[node]) == 0 {
			return t.Done(nil, "node %s is as it should be", t.Label)
		}
		if _, err := a.PatchNode(ctx, node, patches[node]); err != nil {
			return err
		}
		return t.Done(nil, "node %s is changed", t.Label)
	}})
}

func patchText(ops []api.PatchOp) (string, error) {
	if len(ops) == 0 {
		return "  nothing changes\n", nil
	}
	out := ""
	for _, op := range ops {
		text, err := json.Marshal(op)
		if err != nil {
			return "", fmt.Errorf("encode the patch: %w", err)
		}
		out += "  " + string(text) + "\n"
	}
	return out, nil
}

// list is names for people; a long list is cut.
func list(names []string) string {
	const most = 20
	text := ""
	for i, n := range names {
		if i == most {
			return fmt.Sprintf("%s and %d more", text, len(names)-most)
		}
		if i > 0 {
			text += ", "
		}
		text += n
	}
	return text
}

// withCapability sets one of the capabilities, which are written k:v,k:v.
func withCapability(now, key, value string) string {
	var out []string
	found := false
	for part := range strings.SplitSeq(now, ",") {
		k, _, _ := strings.Cut(part, ":")
		switch strings.TrimSpace(k) {
		case "":
			continue
		case key:
			part, found = key+":"+value, true
		}
		out = append(out, part)
	}
	if !found {
		out = append(out, key+":"+value)
	}
	return strings.Join(out, ",")
}

// masked is a patch as people may see it: without the values of secrets.
func masked(ops []api.PatchOp) []api.PatchOp {
	out := make([]api.PatchOp, len(ops))
	for i, op := range ops {
		if key := op.Path[strings.LastIndex(op.Path, "/")+1:]; strings.HasPrefix(op.Path, "/driver_info") && op.Value != nil && api.SecretName(key) {
			op.Value = api.Masked // as the server shows it
		}
		out[i] = op
	}
	return out
}
