package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// In every call node is a name or UUID.

func at(node string, more ...string) string {
	path := "/v1/nodes/" + url.PathEscape(node)
	for _, m := range more {
		path += "/" + m
	}
	return path
}

// Nodes lists the nodes that the filters select, as the query of GET /v1/nodes has them, in full, over all pages; limit is how
// many at most.
func (c *Client) Nodes(ctx context.Context, filters url.Values) ([]api.Node, error) {
	q := url.Values{"detail": {"true"}}
	for k, v := range filters {
		q[k] = v
	}
	out := []api.Node{}
	for {
		var page api.NodeList
		if err := c.call(ctx, http.MethodGet, "/v1/nodes", q, nil, &page); err != nil {
			return nil, err
		}
		out = append(out, page.Nodes...)
		if most, _ := strconv.Atoi(q.Get("limit")); most > 0 && len(out) >= most { //nolint:errcheck // 0 is none
			return out[:most], nil
		}
		marker, err := nextMarker(page.Next)
		if err != nil || marker == "" {
			return out, err
		}
		q.Set("marker", marker)
	}
}

// nextMarker takes the marker out of a next link. Only it is used: the link's host is the server's to say, the
// client's connection is not.
func nextMarker(next string) (string, error) {
	if next == "" {
		return "", nil
	}
	u, err := url.Parse(next)
	if err != nil {
		return "", fault.New(fault.ServerUnreachable, "the server's link to the next page can't be read").Because(err)
	}
	return u.Query().Get("marker"), nil
}

// Node reads one node.
func (c *Client) Node(ctx context.Context, node string) (api.Node, error) {
	var n api.Node
	err := c.call(ctx, http.MethodGet, at(node), nil, nil, &n)
	return n, err
}

// CreateNode makes a node of the given fields.
func (c *Client) CreateNode(ctx context.Context, fields map[string]any) (api.Node, error) {
	var n api.Node
	err := c.call(ctx, http.MethodPost, "/v1/nodes", nil, fields, &n)
	return n, err
}

// PatchNode changes a node.
func (c *Client) PatchNode(ctx context.Context, node string, ops []api.PatchOp) (api.Node, error) {
	var n api.Node
	err := c.call(ctx, http.MethodPatch, at(node), nil, ops, &n)
	return n, err
}

// DeleteNode removes the record of a node with all that belongs to it.
func (c *Client) DeleteNode(ctx context.Context, node string) error {
	return c.call(ctx, http.MethodDelete, at(node), nil, nil, nil)
}

// Provision asks for a verb. What comes of it is seen by Steps and Watch.
func (c *Client) Provision(ctx context.Context, node string, p api.Provision) error {
	return c.call(ctx, http.MethodPut, at(node, "states", "provision"), nil, p, nil)
}

// SetPower asks for a power act.
func (c *Client) SetPower(ctx context.Context, node string, p api.PowerTarget) error {
	return c.call(ctx, http.MethodPut, at(node, "states", "power"), nil, p, nil)
}

// SetMaintenance sets or ends maintenance.
func (c *Client) SetMaintenance(ctx context.Context, node string, on bool, reason string) error {
	if !on {
		return c.call(ctx, http.MethodDelete, at(node, "maintenance"), nil, nil, nil)
	}
	return c.call(ctx, http.MethodPut, at(node, "maintenance"), nil, map[string]any{"reason": reason}, nil)
}

// Confirm says that the record of an unverified node is right.
func (c *Client) Confirm(ctx context.Context, node string) error {
	return c.call(ctx, http.MethodPut, at(node, "confirm"), nil, nil, nil)
}

// Validate says for each interface whether it has what it needs.
func (c *Client) Validate(ctx context.Context, node string) (map[string]api.Validation, error) {
	v := map[string]api.Validation{}
	err := c.call(ctx, http.MethodGet, at(node, "validate"), nil, nil, &v)
	return v, err
}

// Inventory is what the last inspection stored.
func (c *Client) Inventory(ctx context.Context, node string) (json.RawMessage, error) {
	var v json.RawMessage
	err := c.call(ctx, http.MethodGet, at(node, "inventory"), nil, nil, &v)
	return v, err
}

// History lists the newest limit entries with all that is known of each, newest first.
func (c *Client) History(ctx context.Context, node string, limit int) ([]api.HistoryEntry, error) {
	var v api.HistoryList
	q := url.Values{"detail": {"true"}, "more": {"true"}, "limit": {strconv.Itoa(limit)}, "sort_key": {"id"}, "sort_dir": {"desc"}}
	err := c.call(ctx, http.MethodGet, at(node, "history"), q, nil, &v)
	return v.History, err
}

// Steps is what the node does or did last; run "" is the current or last one.
func (c *Client) Steps(ctx context.Context, node, run string) (api.StepsAnswer, error) {
	var v api.StepsAnswer
	q := url.Values{}
	if run != "" {
		q.Set("run", run)
	}
	err := c.call(ctx, http.MethodGet, at(node, "steps"), q, nil, &v)
	return v, err
}

// Plan is what asking for p would do.
func (c *Client) Plan(ctx context.Context, node string, p api.Provision) (api.Plan, error) {
	var v api.Plan
	q := url.Values{"target": {p.Target}}
	steps := slices.Concat(p.CleanSteps, p.DeploySteps, p.ServiceSteps) // a target has one of the three
	if steps != nil {
		text, err := json.Marshal(steps)
		if err != nil {
			return v, err
		}
		q.Set("steps", string(text))
	}
	if p.DisableRamdisk != nil {
		q.Set("disable_ramdisk", strconv.FormatBool(*p.DisableRamdisk))
	}
	err := c.call(ctx, http.MethodGet, at(node, "plan"), q, nil, &v)
	return v, err
}

// Defaults lists default_config of a scope; "" lists all.
func (c *Client) Defaults(ctx context.Context, scope string) ([]api.Default, error) {
	var v api.DefaultList
	q := url.Values{}
	if scope != "" {
		q.Set("scope", scope)
	}
	err := c.call(ctx, http.MethodGet, "/v1/default_config", q, nil, &v)
	return v.Defaults, err
}

// SetDefaults sets what d names.
func (c *Client) SetDefaults(ctx context.Context, d api.DefaultChange) error {
	return c.call(ctx, http.MethodPut, "/v1/default_config", nil, d, nil)
}

// UnsetDefault forgets one value of a step, or with key "" all that the scope sets for it.
func (c *Client) UnsetDefault(ctx context.Context, scope, flow, step, key string) error {
	q := url.Values{"scope": {scope}, "flow": {flow}, "step": {step}}
	if key != "" {
		q.Set("key", key)
	}
	return c.call(ctx, http.MethodDelete, "/v1/default_config", q, nil, nil)
}

// DefaultsOfNode says which defaults hold for a node, and why.
func (c *Client) DefaultsOfNode(ctx context.Context, node string) (api.DefaultsOfNode, error) {
	var v api.DefaultsOfNode
	err := c.call(ctx, http.MethodGet, at(node, "default_config"), nil, nil, &v)
	return v, err
}

// Doctor asks what is not well with the server and its nodes.
func (c *Client) Doctor(ctx context.Context) (api.Doctor, error) {
	var v api.Doctor
	err := c.call(ctx, http.MethodGet, "/v1/doctor", nil, nil, &v)
	return v, err
}

// Diagnose asks what a node waits for, what is wrong with it and what leads on.
func (c *Client) Diagnose(ctx context.Context, node string) (api.Diagnosis, error) {
	var v api.Diagnosis
	err := c.call(ctx, http.MethodGet, at(node, "doctor"), nil, nil, &v)
	return v, err
}

// Treat takes one of a diagnosis's exits, by its Act.
func (c *Client) Treat(ctx context.Context, node, act string) error {
	return c.call(ctx, http.MethodPost, at(node, "doctor"), nil, api.Treatment{Act: act}, nil)
}

// Available lists the steps that nodes of a driver may be asked for.
func (c *Client) Available(ctx context.Context, driver string) ([]step.Step, error) {
	var v api.StepList
	err := c.call(ctx, http.MethodGet, "/v1/drivers/"+url.PathEscape(driver)+"/steps", nil, nil, &v)
	return v.Steps, err
}

// Ports lists ports, of one node or with one address or all.
func (c *Client) Ports(ctx context.Context, node, address string) ([]api.Port, error) {
	q := url.Values{"detail": {"true"}}
	if node != "" {
		q.Set("node", node)
	}
	if address != "" {
		q.Set("address", address)
	}
	out := []api.Port{}
	for {
		var page api.PortList
		if err := c.call(ctx, http.MethodGet, "/v1/ports", q, nil, &page); err != nil {
			return nil, err
		}
		out = append(out, page.Ports...)
		marker, err := nextMarker(page.Next)
		if err != nil || marker == "" {
			return out, err
		}
		q.Set("marker", marker)
	}
}

// CreatePort makes a port of the given fields.
func (c *Client) CreatePort(ctx context.Context, fields map[string]any) (api.Port, error) {
	var p api.Port
	err := c.call(ctx, http.MethodPost, "/v1/ports", nil, fields, &p)
	return p, err
}

// Images lists the stored images.
func (c *Client) Images(ctx context.Context) ([]api.Image, error) {
	var v api.ImageList
	err := c.call(ctx, http.MethodGet, "/v1/images", nil, nil, &v)
	return v.Images, err
}

// Image reads what is known of a stored image.
func (c *Client) Image(ctx context.Context, name string) (api.Image, error) {
	var i api.Image
	err := c.call(ctx, http.MethodGet, "/v1/images/"+url.PathEscape(name), nil, nil, &i)
	return i, err
}

// DeleteImage removes a stored image.
func (c *Client) DeleteImage(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "/v1/images/"+url.PathEscape(name), nil, nil, nil)
}
