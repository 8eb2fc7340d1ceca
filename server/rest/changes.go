package rest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// What Ironic lacks for those who keep a copy of many nodes: what has changed since a cursor, and many nodes by name.

// Journal is the backend's journal of changes.
type Journal interface {
	Changes(ctx context.Context, f conductor.ChangeFilter) ([]conductor.Change, conductor.Position, error)
}

// changeRoutes are beside Ironic's.
func (a *API) changeRoutes() []serve.Route {
	return []serve.Route{
		{Method: http.MethodGet, Path: "/v1/events", Need: access.EventsRead, Handle: a.events},
		{Method: http.MethodPost, Path: "/v1/nodes:batchGet", Need: access.NodeList, Body: serve.MaxBody, Handle: a.batchGet},
	}
}

// cursor is a place in the journal as clients keep it: opaque to them.
type cursor struct {
	epoch string
	seq   int64
}

func (c cursor) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(c.epoch + "." + strconv.FormatInt(c.seq, 10)))
}

// maxCursor bounds a cursor that a client sends.
const maxCursor = 64

func parseCursor(text string) (cursor, error) {
	wrong := fault.New(fault.RequestInvalid, "%.70q is no cursor", text).WithHint("give back what the server gave, or leave it empty to begin anew")
	if len(text) > maxCursor {
		return cursor{}, wrong
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	epoch, number, ok := strings.Cut(string(raw), ".")
	seq, numErr := strconv.ParseInt(number, 10, 64)
	if err != nil || !ok || numErr != nil || seq < 0 {
		return cursor{}, wrong
	}
	return cursor{epoch, seq}, nil
}

// at is the cursor of a place in the journal.
func at(p conductor.Position, seq int64) cursor { return cursor{p.Epoch, seq} }

// lost tells that entries after the cursor are gone, or that it is of a journal that is.
func (c cursor) lost(p conductor.Position) bool {
	return c.epoch != p.Epoch || c.seq < p.First || c.seq > p.Last
}

// listChanged answers with the nodes that have changed since a cursor, in the order of their last change, and with
// those that are gone. An empty cursor begins with all nodes.
func (a *API) listChanged(c *serve.Call, detail bool) error {
	q, err := c.Query("changed_since", "limit", "fields", "detail")
	if err != nil {
		return err
	}
	p, err := c.PageOf(q, a.node, detail)
	if err != nil {
		return err
	}
	var since cursor
	if text := q.Get("changed_since"); text != "" {
		if since, err = parseCursor(text); err != nil {
			return err
		}
	}
	changes, pos, err := a.cfg.Backend.Changes(c.R.Context(), conductor.ChangeFilter{After: since.seq, Limit: p.Limit, VisibleTo: c.VisibleTo(), Newest: true})
	if err != nil {
		return err
	}
	if since != (cursor{}) && since.lost(pos) {
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
	answer := api.ChangedNodes{Nodes: []json.RawMessage{}, Gone: gone, Cursor: at(pos, pos.Upto).String(), More: len(changes) == p.Limit}
	for _, id := range ids {
		n, ok := found[id]
		if !ok {
			continue // it has changed again, and is told on the next page
		}
		text, err := a.encodeNode(c, n, p.Sel)
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
	nodes, err := a.cfg.Backend.Nodes(c.R.Context(), conductor.NodeFilter{IDs: ids, Limit: len(ids), VisibleTo: c.VisibleTo()})
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
	if _, err := c.Query(); err != nil {
		return err
	}
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
	sel := a.node.All(c.Version, false)
	if len(fields) > 0 {
		if sel, err = a.node.Wanted(strings.Join(fields, ","), c.Version); err != nil {
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
		text, err := a.encodeNode(c, n, sel)
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

// stateEvent is what an event would tell of a node as it is.
func stateEvent(n conductor.Node, grant access.Grant) api.Event {
	return conductor.Change{Node: n.UUID, Name: n.Name, State: n.State, Target: n.Target, Power: n.Power, Maintenance: n.Maintenance,
		LastError: n.LastError, At: n.Updated, Owner: n.Owner, Lessee: n.Lessee}.Event(grant)
}

// sseEvent is an event of a stream; without an id it moves no cursor.
func sseEvent(name, id string, data any) (string, error) {
	text, err := json.Marshal(data)
	if err != nil {
		return "", fmt.Errorf("encode event: %w", err)
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	return id + "event: " + name + "\ndata: " + string(text) + "\n\n", nil
}
