package rest_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

func (b *backend) Webhooks(context.Context) ([]conductor.Webhook, error) { return b.hooks, nil }

func (b *backend) Webhook(_ context.Context, uuid string) (conductor.Webhook, error) {
	for _, w := range b.hooks {
		if w.UUID == uuid {
			return w, nil
		}
	}
	return conductor.Webhook{}, fault.New(fault.WebhookNotFound, "there is no webhook %s", uuid)
}

func (b *backend) PutWebhook(ctx context.Context, _ conductor.Caller, uuid string, change func(*conductor.Webhook) ([]byte, error)) (conductor.Webhook, error) {
	w := conductor.Webhook{UUID: "hook-new", Created: now}
	if uuid != "" {
		var err error
		if w, err = b.Webhook(ctx, uuid); err != nil {
			return w, err
		}
	}
	secret, err := change(&w)
	if err == nil && uuid == "" {
		err = conductor.RoomForWebhook(b.hooks, w.Project)
	}
	if err != nil {
		return w, err
	}
	if secret != nil {
		b.secrets["webhook"] = string(secret)
	}
	for i := range b.hooks {
		if b.hooks[i].UUID == uuid {
			b.hooks[i] = w
			return w, nil
		}
	}
	b.hooks = append(b.hooks, w)
	return w, nil
}

func (b *backend) DeleteWebhook(_ context.Context, _ conductor.Caller, uuid string) error {
	for i := range b.hooks {
		if b.hooks[i].UUID == uuid {
			b.hooks = append(b.hooks[:i], b.hooks[i+1:]...)
			return nil
		}
	}
	return fault.New(fault.WebhookNotFound, "there is no webhook %s", uuid)
}

// hooked is tenants with an origin that webhooks may be at.
func hooked(t *testing.T, g access.Grant) *server {
	s := tenants(t, g)
	s.handler = rest.New(rest.Config{Backend: s.backend, Auth: as{g}, Now: func() time.Time { return now }, WebhookOrigins: []string{"https://hooks.example:443"},
		Log: slog.New(slog.NewTextHandler(s.log, nil))})
	s.hooks = nil
	return s
}

func TestWebhooks(t *testing.T) {
	s := hooked(t, access.Grant{Role: admin})
	const good = `{"url": "https://hooks.example/in?x=1", "secret": "canary-0123456789"}`
	path := s.want2(s.do("POST", "/v1/webhooks", good), 201)
	a := s.want(s.do("GET", path, ""), 200)
	all := s.want(s.do("GET", "/v1/webhooks", ""), 200)
	put := s.want(s.do("PUT", path, `{"url": "https://hooks.example/other"}`), 200)
	if s.secrets["webhook"] != "canary-0123456789" || s.hooks[0].URL != "https://hooks.example/other" || len(all.body["webhooks"].([]any)) != 1 {
		t.Errorf("stored: %q %+v", s.secrets["webhook"], s.hooks)
	}
	if text := a.Body.String() + all.Body.String() + put.Body.String() + s.log.String(); strings.Contains(text, "canary") {
		t.Errorf("the secret is shown: %s", text)
	}
	// I23: nowhere else than listed; I25: bounds.
	for _, bad := range []string{
		`{}`, `{"url": "https://hooks.example/"}`, `{"url": "https://hooks.example/", "secret": "short"}`, `{"url": "https://hooks.example/", "secret": 7}`,
		`{"url": "http://hooks.example/", "secret": "0123456789abcdef"}`, `{"url": "https://hooks.example:444/", "secret": "0123456789abcdef"}`,
		`{"url": "https://hooks.example.evil.example/", "secret": "0123456789abcdef"}`, `{"url": "https://hooks.example@evil.example/", "secret": "0123456789abcdef"}`,
		`{"url": "https://u:p@hooks.example/", "secret": "0123456789abcdef"}`, `{"url": "file:///etc/passwd", "secret": "0123456789abcdef"}`,
		`{"url": "https://hooks.example/` + strings.Repeat("x", 2048) + `", "secret": "0123456789abcdef"}`, `{"url": "https://hooks.example/", "secret": "` + strings.Repeat("x", 256) + `"}`,
		`{"url": "https://hooks.example/", "secret": "0123456789abcdef", "x": 1}`,
	} {
		if a := s.do("POST", "/v1/webhooks", bad); a.Code < 400 || a.Code > 499 || len(s.hooks) != 1 {
			t.Errorf("%.120s: %d", bad, a.Code)
		}
	}
	s.want(s.do("DELETE", path, ""), 204)
	s.want(s.do("GET", path, ""), 404)
	s.hooks = make([]conductor.Webhook, 100)
	s.want(s.do("POST", "/v1/webhooks", good), 400)
}

// A project's administrator has webhooks of that project, and sees no others (T16).
func TestT16_WebhooksAreTheirProjects(t *testing.T) {
	s := hooked(t, access.Grant{Role: admin, Project: "blue"})
	s.hooks = []conductor.Webhook{{UUID: "all"}, {UUID: "red", Project: "red"}}
	const url = `"url": "https://hooks.example/", "secret": "0123456789abcdef"`
	s.want(s.do("POST", "/v1/webhooks", `{`+url+`, "project": "red"}`), 403)
	s.want(s.do("POST", "/v1/webhooks", `{`+url+`}`), 201)
	if got := s.hooks[2].Project; got != "blue" {
		t.Errorf("the webhook is of project %q", got)
	}
	s.want(s.do("PUT", "/v1/webhooks/hook-new", `{"project": "red"}`), 403)
	if a := s.want(s.do("PUT", "/v1/webhooks/hook-new", `{"url": "https://hooks.example/other"}`), 200); a.body["project"] != "blue" || a.body["url"] != "https://hooks.example/other" {
		t.Errorf("changed: %s", a.Body)
	}
	if a := s.want(s.do("GET", "/v1/webhooks", ""), 200); len(a.body["webhooks"].([]any)) != 1 {
		t.Errorf("listed: %s", a.Body)
	}
}
