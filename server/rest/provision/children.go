package provision

import (
	"maps"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// What an entry of clean_steps and service_steps says of the nodes below the node.
const (
	onChildNodes    = "execute_on_child_nodes"
	limitChildNodes = "limit_child_node_execution"
)

// children reads on which nodes below n an entry's step is to run; nil is n itself. The caller has to have need,
// the right of the verb or of its plan, on each of them, too: a user of a project is kept to those that are there now. wrong makes faults that tell the entry.
func (a *API) children(c *serve.Call, n conductor.Node, entry map[string]any, need access.Right, wrong func(string, ...any) *fault.Fault) (*step.Children, error) {
	on, given := entry[onChildNodes]
	below, isFlag := on.(bool)
	if given && !isFlag {
		return nil, wrong("%s must be true or false", onChildNodes)
	}
	listed, given := entry[limitChildNodes]
	list, isList := listed.([]any)
	if given && !isList {
		return nil, wrong("%s must be a list of UUIDs", limitChildNodes)
	}
	if !below {
		return nil, nil
	}
	if len(list) > serve.MaxPage {
		return nil, wrong("%s names %d nodes, at most %d are taken", limitChildNodes, len(list), serve.MaxPage).WithHint("leave it out to mean all nodes below the node")
	}
	out := &step.Children{All: len(list) == 0}
	for _, v := range list {
		id, _ := v.(string)
		if !shape.IsUUID(id) {
			return nil, wrong("%s: %v is not the UUID of a node", limitChildNodes, v)
		}
		child, err := c.FindNode(strings.ToLower(id))
		if err == nil {
			err = c.MayOn(need, child)
		}
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out.Only, string(child.UUID)) {
			out.Only = append(out.Only, string(child.UUID))
		}
	}
	if !out.All || c.VisibleTo() == "" {
		return out, nil
	}
	out.All = false
	for f := (conductor.NodeFilter{Parent: n.UUID, Limit: serve.MaxPage}); ; {
		some, err := a.backend.Nodes(c.R.Context(), f)
		if err != nil {
			return nil, err
		}
		for _, child := range some {
			if err := c.MayOn(need, child); err != nil {
				return nil, err
			}
			out.Only = append(out.Only, string(child.UUID))
		}
		if len(some) < f.Limit {
			return out, nil
		}
		f.After = some[len(some)-1].UUID
	}
}

// seenBelow is the result of a step that ran on the nodes below a node, with those of them that the caller may see (I26).
func seenBelow(c *serve.Call, data map[string]any) map[string]any {
	out := maps.Clone(data)
	for key, v := range data {
		if key != step.ChildrenDone && key != step.ChildFailed {
			continue
		}
		ids := []string{}
		switch v := v.(type) {
		case []string:
			ids = v
		case []any: // as it is read from the store
			for _, id := range v {
				if id, is := id.(string); is {
					ids = append(ids, id)
				}
			}
		}
		out[key] = c.Seen(ids)
	}
	return out
}
