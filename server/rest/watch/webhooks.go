package watch

import (
	"context"
	"net/http"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/origin"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
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
	MaxURL    = 2048
	MinSecret = 16
	MaxSecret = 255
)

// webhookRoutes are beside Ironic's.
func (a *API) webhookRoutes() []serve.Route {
	const all, one = "/v1/webhooks", "/v1/webhooks/{webhook}"
	return []serve.Route{
		{Method: http.MethodGet, Path: all, Need: access.WebhookList, Handle: a.webhooks},
		{Method: http.MethodPost, Path: all, Need: access.WebhookList, Body: serve.MaxBody, Handle: func(c *serve.Call) error { return a.putWebhook(c, "") }},
		{Method: http.MethodGet, Path: one, Need: access.WebhookChange, Handle: a.showWebhook},
		{Method: http.MethodPut, Path: one, Need: access.WebhookChange, Body: serve.MaxBody, Handle: func(c *serve.Call) error {
			id, err := c.Named("webhook")
			if err != nil {
				return err
			}
			return a.putWebhook(c, id)
		}},
		{Method: http.MethodDelete, Path: one, Need: access.WebhookChange, Handle: a.deleteWebhook},
	}
}

func (a *API) showHook(c *serve.Call, w conductor.Webhook) api.Webhook {
	return api.Webhook{UUID: w.UUID, URL: w.URL, Project: w.Project, CreatedAt: api.Time{Time: w.Created}, Cursor: Cursor{w.Epoch, w.Seq}.String(),
		Failures: w.Failures, LastError: w.LastError, DeliveredAt: api.Time{Time: w.Delivered}, Links: api.LinkPair(c.Base, "webhooks/"+w.UUID)}
}

func (a *API) webhooks(c *serve.Call) error {
	all, err := a.backend.Webhooks(c.R.Context())
	if err != nil {
		return err
	}
	out := api.WebhookList{Webhooks: []api.Webhook{}}
	for _, w := range all {
		if c.VisibleTo() == "" || w.Project == c.VisibleTo() {
			out.Webhooks = append(out.Webhooks, a.showHook(c, w))
		}
	}
	return c.JSON(http.StatusOK, out)
}

func (a *API) showWebhook(c *serve.Call) error {
	id, err := c.Named("webhook")
	if err != nil {
		return err
	}
	w, err := a.backend.Webhook(c.R.Context(), id)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, a.showHook(c, w))
}

// putWebhook makes a webhook, or changes the one of the id: its URL, its secret, or both.
func (a *API) putWebhook(c *serve.Call, id string) error {
	body, err := c.Body(false, "url", "secret", "project")
	if err != nil {
		return err
	}
	w, err := a.backend.PutWebhook(c.R.Context(), c.Who, id, func(w *conductor.Webhook) ([]byte, error) { return a.changeHook(c, w, id, body) })
	if err != nil {
		return err
	}
	status := http.StatusOK
	if id == "" {
		status = http.StatusCreated
		c.W.Header().Set("Location", c.Base+"/v1/webhooks/"+w.UUID)
	}
	return c.JSON(status, a.showHook(c, w))
}

// changeHook puts a body into a webhook, a new one without an id, and gives the secret that it holds.
func (a *API) changeHook(c *serve.Call, w *conductor.Webhook, id string, body map[string]any) (secret []byte, err error) {
	own := c.VisibleTo()
	if id != "" && own != "" && w.Project != own { // given to others since access was decided
		return nil, serve.NoWebhook(id)
	}
	if w.URL, err = textOf(body, "url", w.URL, MaxURL); err != nil {
		return nil, err
	}
	if err := origin.Listed(a.origins, w.URL); err != nil {
		return nil, err
	}
	project, err := textOf(body, "project", w.Project, 255)
	if err != nil {
		return nil, err
	}
	if own != "" { // of a project's administrator it is the project's
		if project != "" && project != own {
			return nil, c.Judged(access.WebhookChange, access.Refused, "")
		}
		project = own
	}
	w.Project = project
	given, err := textOf(body, "secret", "", MaxSecret)
	if err != nil || given == "" && id != "" {
		return nil, err
	}
	if len(given) < MinSecret {
		return nil, fault.New(fault.RequestInvalid, "the secret has %d bytes, expected %d to %d", len(given), MinSecret, MaxSecret).
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

func (a *API) deleteWebhook(c *serve.Call) error {
	id, err := c.Named("webhook")
	if err != nil {
		return err
	}
	if err := a.backend.DeleteWebhook(c.R.Context(), c.Who, id); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}
