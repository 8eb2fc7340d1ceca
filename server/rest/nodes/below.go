package nodes

import (
	"net/http"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// Nodes as parts of something: of a node, of a chassis, of a shard.

func (a *API) chassisNodes(c *serve.Call, detail bool) error {
	id, err := c.Record()
	if err != nil {
		return err
	}
	x, err := a.backend.Record(c.R.Context(), conductor.KindChassis, id)
	if err != nil {
		return err
	}
	return a.listNodesIn(c, detail, func(f *conductor.NodeFilter) { f.Chassis = x.Top().UUID })
}

// children lists the nodes that are parts of a node. Its links are one link, as Ironic has it.
func (a *API) children(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	n, err := a.backend.Node(c.R.Context(), id)
	if err != nil {
		return err
	}
	parts, err := a.backend.Nodes(c.R.Context(), conductor.NodeFilter{Parent: n.UUID, Limit: serve.MaxPage, VisibleTo: c.VisibleTo()})
	if err != nil {
		return err
	}
	ids := []string{}
	for _, p := range parts {
		ids = append(ids, string(p.UUID))
	}
	return c.JSON(http.StatusOK, map[string]any{"children": ids, "links": api.Link{Href: c.Base + "/v1/nodes?parent_node=" + string(n.UUID), Rel: "children"}})
}

// shards lists the parts of the fleet; nodes in none are counted under the name None, as Ironic has it.
func (a *API) shards(c *serve.Call) error {
	all, err := a.backend.Shards(c.R.Context())
	if err != nil {
		return err
	}
	list := []map[string]any{}
	for _, s := range all {
		name := s.Name
		if name == "" {
			name = "None"
		}
		list = append(list, map[string]any{"name": name, "count": s.Count})
	}
	return c.JSON(http.StatusOK, map[string]any{"shards": list})
}
