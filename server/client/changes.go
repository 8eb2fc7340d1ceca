package client

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Objects of api.ChangedNodes and api.BatchOfNodes as decoded JSON: which fields they have was asked for.

// Changed is what has changed since a cursor: nodes as they are now, and the UUIDs of those that are gone.
type Changed struct {
	Nodes  []map[string]any `json:"nodes"`
	Gone   []string         `json:"gone"`
	Cursor string           `json:"cursor"` // where the next look goes on
}

// Changed asks what has changed since a cursor, over all pages; "" begins with all nodes. The fields must hold uuid; none
// are all. A cursor that the server's journal does not reach back to is fault.CursorLost.
func (c *Client) Changed(ctx context.Context, cursor string, fields []string) (Changed, error) {
	out := Changed{Nodes: []map[string]any{}, Gone: []string{}, Cursor: cursor}
	q := url.Values{}
	if len(fields) > 0 {
		q.Set("fields", strings.Join(fields, ","))
	} else {
		q.Set("detail", "true")
	}
	for {
		var page struct {
			Nodes  []map[string]any `json:"nodes"`
			Gone   []string         `json:"gone"`
			Cursor string           `json:"cursor"`
			More   bool             `json:"more"`
		}
		q.Set("changed_since", out.Cursor)
		if err := c.call(ctx, http.MethodGet, "/v1/nodes", q, nil, &page); err != nil {
			return out, err
		}
		told := make(map[string]bool, len(page.Nodes)+len(page.Gone)) // by this page: what a page before said is older
		for _, n := range page.Nodes {
			told[idOf(n["uuid"])] = true
		}
		for _, id := range page.Gone {
			told[id] = true
		}
		out.Nodes = append(slices.DeleteFunc(out.Nodes, func(n map[string]any) bool { return told[idOf(n["uuid"])] }), page.Nodes...)
		out.Gone = append(slices.DeleteFunc(out.Gone, func(id string) bool { return told[id] }), page.Gone...)
		out.Cursor = page.Cursor
		if !page.More {
			return out, nil
		}
	}
}

func idOf(v any) string {
	s, _ := v.(string)
	return s
}

// mostBatch is how many nodes one request asks for: the most that the server answers.
const mostBatch = 1000

// Batch reads many nodes by name or UUID, in that order; missing are those that are not there. No fields are all.
func (c *Client) Batch(ctx context.Context, ids, fields []string) (nodes []map[string]any, missing []string, err error) {
	for part := range slices.Chunk(ids, mostBatch) {
		body := map[string]any{"ids": part}
		if len(fields) > 0 {
			body["fields"] = fields
		}
		var page struct {
			Nodes   []map[string]any `json:"nodes"`
			Missing []string         `json:"missing"`
		}
		if err := c.call(ctx, http.MethodPost, "/v1/nodes:batchGet", nil, body, &page); err != nil {
			return nil, nil, err
		}
		nodes, missing = append(nodes, page.Nodes...), append(missing, page.Missing...)
	}
	return nodes, missing, nil
}
