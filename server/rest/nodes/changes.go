package nodes

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/server/rest/watch"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// What Ironic lacks for those who keep a copy of many nodes: what has changed since a cursor, and many nodes by name.

var changedSince = serve.Argument{Name: "changed_since", Doc: "only those that have changed since this cursor, and the next one; none yet: empty. With limit, fields and detail alone"}

// listChanged answers with the nodes that have changed since a cursor, in the order of their last change, and with
// those that are gone. An empty cursor begins with all nodes.
func (a *API) listChanged(c *serve.Call, detail bool) error {
	p, err := c.PageOf(a.wire.Shape, detail)
	if err != nil {
		return err
	}
	for name := range p.Query {
		if !slices.Contains([]string{changedSince.Name, "limit", "fields", "detail"}, name) {
			return fault.New(fault.RequestInvalid, "%s does not go with %s", name, changedSince.Name).WithHint("with it there may be limit, fields and detail")
		}
	}
	var since watch.Cursor
	if text := c.Arg(changedSince.Name); text != "" {
		if since, err = watch.ParseCursor(text); err != nil {
			return err
		}
	}
	changes, pos, err := a.backend.Changes(c.R.Context(), conductor.ChangeFilter{After: since.Seq, Limit: p.Limit, VisibleTo: c.VisibleTo(), Newest: true})
	if err != nil {
		return err
	}
	if since != (watch.Cursor{}) && since.Lost(pos) {
		return fault.New(fault.CursorLost, "the journal of changes does not reach back to this cursor")
	}
	ids := []string{}
	gone := []string{}
	for _, ch := range changes {
		if ch.For(c.VisibleTo()).Gone {
			gone = append(gone, string(ch.Node))
		} else {
			ids = append(ids, string(ch.Node))
		}
	}
	found, err := a.nodesByID(c, ids)
	if err != nil {
		return err
	}
	answer := api.ChangedNodes{Nodes: []json.RawMessage{}, Gone: gone, Cursor: watch.At(pos, pos.Upto).String(), More: len(changes) == p.Limit}
	for _, id := range ids {
		n, ok := found[id]
		if !ok {
			continue // it has changed again, and is told on the next page
		}
		text, err := a.wire.Encode(c, n, p.Sel)
		if err != nil {
			return err
		}
		answer.Nodes = append(answer.Nodes, text)
	}
	return c.JSON(http.StatusOK, answer)
}

// nodesByID finds the visible nodes of a list of UUIDs and names, by both.
func (a *API) nodesByID(c *serve.Call, ids []string) (map[string]conductor.Node, error) {
	found := map[string]conductor.Node{}
	if len(ids) == 0 {
		return found, nil
	}
	nodes, err := a.backend.Nodes(c.R.Context(), conductor.NodeFilter{IDs: ids, Limit: len(ids), VisibleTo: c.VisibleTo()})
	for _, n := range nodes {
		found[string(n.UUID)] = n
		if n.Name != "" {
			found[n.Name] = n
		}
	}
	return found, err
}

// batchGet answers with many nodes by UUID or name, in the order asked for.
func (a *API) batchGet(c *serve.Call) error {
	body, err := c.Body(false, "ids", "fields")
	if err != nil {
		return err
	}
	ids, err := texts(body, "ids")
	if err != nil {
		return err
	}
	if len(ids) == 0 || len(ids) > serve.MaxPage {
		return fault.New(fault.RequestInvalid, "ids has %d entries, expected 1 to %d", len(ids), serve.MaxPage)
	}
	for i, id := range ids {
		if _, err := shape.Ident(id); err != nil {
			return err
		}
		if shape.IsUUID(id) {
			ids[i] = strings.ToLower(id)
		}
	}
	fields, err := texts(body, "fields")
	if err != nil {
		return err
	}
	sel := a.wire.Shape.All(c.Version, false)
	if len(fields) > 0 {
		if sel, err = a.wire.Shape.Wanted(strings.Join(fields, ","), c.Version); err != nil {
			return err
		}
	}
	found, err := a.nodesByID(c, ids)
	if err != nil {
		return err
	}
	answer := api.BatchOfNodes{Nodes: []json.RawMessage{}, Missing: []string{}}
	for _, id := range ids {
		n, ok := found[id]
		if !ok {
			answer.Missing = append(answer.Missing, id)
			continue
		}
		text, err := a.wire.Encode(c, n, sel)
		if err != nil {
			return err
		}
		answer.Nodes = append(answer.Nodes, text)
	}
	return c.JSON(http.StatusOK, answer)
}

// texts reads a list of strings of a body.
func texts(body map[string]any, key string) ([]string, error) {
	list, ok := body[key].([]any)
	if !ok && body[key] != nil {
		return nil, fault.New(fault.RequestInvalid, "%s must be a list of strings", key)
	}
	out := make([]string, 0, len(list))
	for i, v := range list {
		s, ok := v.(string)
		if !ok {
			return nil, fault.New(fault.RequestInvalid, "%s must be a list of strings; entry %d is none", key, i+1)
		}
		out = append(out, s)
	}
	return out, nil
}
