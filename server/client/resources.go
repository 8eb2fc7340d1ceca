package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// The calls of this file make any request below /v1, with objects as decoded JSON: for resources that are tables of
// fields and no more. Path makes their paths.

// Path is the path of a resource below /v1; each element is escaped.
func Path(elements ...string) string {
	path := "/v1"
	for _, e := range elements {
		path += "/" + url.PathEscape(e)
	}
	return path
}

// Each hands every object of a list to fn, page by page, until fn fails. key is the list's name in the answer.
func (c *Client) Each(ctx context.Context, path, key string, q url.Values, fn func(object map[string]any) error) error {
	args := url.Values{}
	for k, v := range q {
		args[k] = v
	}
	for {
		var page map[string]any
		if err := c.call(ctx, http.MethodGet, path, args, nil, &page); err != nil {
			return err
		}
		objects, _ := page[key].([]any)
		for _, o := range objects {
			object, ok := o.(map[string]any)
			if !ok { // a list of plain values: traits
				object = map[string]any{"value": o}
			}
			if err := fn(object); err != nil {
				return err
			}
		}
		next, _ := page["next"].(string)
		marker, err := nextMarker(next)
		if err != nil || marker == "" || len(objects) == 0 {
			return err
		}
		args.Set("marker", marker)
	}
}

// Get reads one object.
func (c *Client) Get(ctx context.Context, path string, q url.Values) (map[string]any, error) {
	var out map[string]any
	err := c.call(ctx, http.MethodGet, path, q, nil, &out)
	return out, err
}

// Send makes a request with a body, nil for none, and gives the answer's object: nil when it has none.
func (c *Client) Send(ctx context.Context, method, path string, q url.Values, body any) (map[string]any, error) {
	var out map[string]any
	return out, c.optional(ctx, method, path, q, body, &out)
}

// Call is Send for answers that may be any JSON: those of vendor methods.
func (c *Client) Call(ctx context.Context, method, path string, q url.Values, body any) (any, error) {
	var out any
	return out, c.optional(ctx, method, path, q, body, &out)
}

// EachNode hands every node that the query of GET /v1/nodes selects to fn, page by page, until fn fails.
func (c *Client) EachNode(ctx context.Context, q url.Values, fn func(node map[string]any) error) error {
	return c.Each(ctx, "/v1/nodes", "nodes", q, fn)
}

// NodeFields reads one node, only the named fields of it; none are all.
func (c *Client) NodeFields(ctx context.Context, node string, fields []string) (map[string]any, error) {
	q := url.Values{}
	if len(fields) > 0 {
		q.Set("fields", strings.Join(fields, ","))
	}
	return c.Get(ctx, at(node), q)
}

// Newest is the newest version that a server of Ironic's API speaks and this client knows.
func (c *Client) Newest(ctx context.Context) (api.Version, error) {
	var v struct {
		Version struct {
			Version string `json:"version"`
		} `json:"version"`
	}
	if err := c.call(ctx, http.MethodGet, "/v1", nil, nil, &v); err != nil {
		return 0, err
	}
	_, minor, _ := strings.Cut(v.Version.Version, ".")
	n, err := strconv.Atoi(minor)
	if err != nil || n < 1 {
		return 1, nil
	}
	return min(api.Version(n), api.MaxVersion), nil
}
