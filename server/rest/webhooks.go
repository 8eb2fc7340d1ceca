package rest

import (
	"context"
	"net/http"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/origin"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Webhooks is the backend of the destinations that are told of changes.
type Webhooks interface {
	Webhooks(ctx context.Context) ([]conductor.Webhook, error)
	Webhook(ctx context.Context, uuid string) (conductor.Webhook, error)
	PutWebhook(ctx context.Context, who conductor.Caller, uuid string, change func(*conductor.Webhook) (secret []byte, err error)) (conductor.Webhook, error)
	DeleteWebhook(ctx context.Context, who conductor.Caller, uuid string) error
}

// What a webhook may be.
const (
	maxURL    = 2048
	minSecret = 16
	maxSecret = 255
)

// webhookRoutes are beside Ironic's.
func webhookRoutes() []route {
	const all, one = "/v1/webhooks", "/v1/webhooks/{webhook}"
	return []route{
		{method: http.MethodGet, path: all, need: access.WebhookList, handle: (*call).webhooks},
		{method: http.MethodPost, path: all, need: access.WebhookList, body: maxBody, handle: func(c *call) error { return c.putWebhook("") }},
		{method: http.MethodGet, path: one, need: access.WebhookChange, handle: (*call).showWebhook},
		{method: http.MethodPut, path: one, need: access.WebhookChange, body: maxBody, handle: func(c *call) error {
			id, err := c.named("webhook")
			if err != nil {
				return err
			}
			return c.putWebhook(id)
		}},
		{method: http.MethodDelete, path: one, need: access.WebhookChange, handle: (*call).deleteWebhook},
	}
}

// ownedWebhook is the row of ownedObjects.
var ownedWebhook = owned{"webhook", func(c *call, id string) (access.Object, string, error) {
	w, err := c.api.cfg.Backend.Webhook(c.r.Context(), id)
	return access.Object{Owner: w.Project}, w.UUID, err
}, func(_ *call, id string) error {
	return fault.New(fault.WebhookNotFound, "Webhook %s could not be found.", id)
}}

func (c *call) showHook(w conductor.Webhook) api.Webhook {
	return api.Webhook{UUID: w.UUID, URL: w.URL, Project: w.Project, CreatedAt: api.Time{Time: w.Created}, Cursor: cursor{w.Epoch, w.Seq}.String(),
		Failures: w.Failures, LastError: w.LastError, DeliveredAt: api.Time{Time: w.Delivered}, Links: api.LinkPair(c.base, "webhooks/"+w.UUID)}
}

func (c *call) webhooks() error {
	if _, err := c.query(); err != nil {
		return err
	}
	all, err := c.api.cfg.Backend.Webhooks(c.r.Context())
	if err != nil {
		return err
	}
	out := api.WebhookList{Webhooks: []api.Webhook{}}
	for _, w := range all {
		if c.visibleTo() == "" || w.Project == c.visibleTo() {
			out.Webhooks = append(out.Webhooks, c.showHook(w))
		}
	}
	return c.json(http.StatusOK, out)
}

func (c *call) showWebhook() error {
	id, err := c.named("webhook")
	if err != nil {
		return err
	}
	w, err := c.api.cfg.Backend.Webhook(c.r.Context(), id)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, c.showHook(w))
}

// putWebhook makes a webhook, or changes the one of the id: its URL, its secret, or both.
func (c *call) putWebhook(id string) error {
	body, err := c.body(false, "url", "secret", "project")
	if err != nil {
		return err
	}
	w, err := c.api.cfg.Backend.PutWebhook(c.r.Context(), c.who, id, func(w *conductor.Webhook) ([]byte, error) { return c.changeHook(w, id, body) })
	if err != nil {
		return err
	}
	status := http.StatusOK
	if id == "" {
		status = http.StatusCreated
		c.w.Header().Set("Location", c.base+"/v1/webhooks/"+w.UUID)
	}
	return c.json(status, c.showHook(w))
}

// changeHook puts a body into a webhook, a new one without an id, and gives the secret that it holds.
func (c *call) changeHook(w *conductor.Webhook, id string, body map[string]any) (secret []byte, err error) {
	own := c.visibleTo()
	if id != "" && own != "" && w.Project != own { // given to others since access was decided
		return nil, ownedWebhook.missing(c, id)
	}
	if w.URL, err = textOf(body, "url", w.URL, maxURL); err != nil {
		return nil, err
	}
	if err := origin.Listed(c.api.cfg.WebhookOrigins, w.URL); err != nil {
		return nil, err
	}
	project, err := textOf(body, "project", w.Project, 255)
	if err != nil {
		return nil, err
	}
	if own != "" { // of a project's administrator it is the project's
		if project != "" && project != own {
			return nil, c.judged(access.WebhookChange, access.Refused, "")
		}
		project = own
	}
	w.Project = project
	given, err := textOf(body, "secret", "", maxSecret)
	if err != nil || given == "" && id != "" {
		return nil, err
	}
	if len(given) < minSecret {
		return nil, fault.New(fault.RequestInvalid, "the secret has %d bytes, expected %d to %d", len(given), minSecret, maxSecret).
			WithHint("give random text; deliveries are signed with it")
	}
	return []byte(given), nil
}

// textOf reads a string of a body; was is what an absent one leaves.
func textOf(body map[string]any, key, was string, longest int) (string, error) {
	v, given := body[key]
	if !given || v == nil {
		return was, nil
	}
	s, ok := v.(string)
	if !ok || len(s) > longest {
		return "", fault.New(fault.RequestInvalid, "%s must be a string of at most %d bytes", key, longest)
	}
	return s, nil
}

func (c *call) deleteWebhook() error {
	id, err := c.named("webhook")
	if err != nil {
		return err
	}
	if err := c.api.cfg.Backend.DeleteWebhook(c.r.Context(), c.who, id); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}
