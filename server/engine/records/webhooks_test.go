package records_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/recordtest"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

const hookKey = "0123456789abcdef"

// hook makes a webhook of a project.
func hook(s *recordtest.Site, project, url string) (conductor.Webhook, error) {
	return s.PutWebhook(s.T.Context(), recordtest.Op, "", func(w *conductor.Webhook) ([]byte, error) {
		w.Project, w.URL = project, url
		return []byte(hookKey), nil
	})
}

// Two changes of one webhook both stay, and one that is deleted meanwhile is not made again.
func TestWebhooksLoseNoChange(t *testing.T) {
	s := recordtest.Open(t, time.Now)
	w, err := hook(s, "blue", "https://a.example/")
	if err != nil {
		t.Fatal(err)
	}
	change := func(edit func(*conductor.Webhook), secret []byte) error {
		_, err := s.PutWebhook(t.Context(), recordtest.Op, w.UUID, func(w *conductor.Webhook) ([]byte, error) { edit(w); return secret, nil })
		return err
	}
	if err := errors.Join(change(func(w *conductor.Webhook) { w.URL = "https://b.example/" }, nil),
		change(func(w *conductor.Webhook) { w.Project = "red" }, nil)); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Webhook(t.Context(), w.UUID); err != nil || got.URL != "https://b.example/" || got.Project != "red" || got.Seq != w.Seq {
		t.Errorf("after both changes it is %+v (%v)", got, err)
	}
	if err := s.DeleteWebhook(t.Context(), recordtest.Op, w.UUID); err != nil {
		t.Fatal(err)
	}
	for _, secret := range [][]byte{nil, []byte(hookKey)} {
		if err := change(func(*conductor.Webhook) {}, secret); !fault.Has(err, fault.WebhookNotFound) {
			t.Errorf("the deleted webhook is changed: %v", err)
		}
		// And the store itself makes none of a change.
		if err := s.Store.Update(t.Context(), func(tx conductor.Tx) error { return tx.PutWebhook(w, secret) }); !fault.Has(err, fault.WebhookNotFound) {
			t.Errorf("the store takes a change of a deleted webhook: %v", err)
		}
	}
	if all, err := s.Webhooks(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("there are %+v (%v)", all, err)
	}
}

// TestI25_NoProjectUsesUpTheWebhooks: 10 of a project, 100 in all.
func TestI25_NoProjectUsesUpTheWebhooks(t *testing.T) {
	s := recordtest.Open(t, time.Now)
	for i := range 11 {
		if _, err := hook(s, "blue", "https://a.example/"); (err != nil) != (i == 10) {
			t.Errorf("webhook %d of a project: %v", i+1, err)
		}
	}
	free, err := hook(s, "", "https://a.example/")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutWebhook(t.Context(), recordtest.Op, free.UUID, func(w *conductor.Webhook) ([]byte, error) { w.Project = "blue"; return nil, nil }); !fault.Has(err, fault.RequestInvalid) {
		t.Errorf("an eleventh is given to the project: %v", err)
	}
	for i := range 90 {
		if _, err := hook(s, fmt.Sprint("p", i/10), "https://a.example/"); (err != nil) != (i == 89) {
			t.Errorf("webhook %d of all: %v", i+12, err)
		}
	}
}

// TestI22_TheAuditKeepsNoWebhookURL: a token in its path or query opens the receiver's door to whoever reads the audit.
func TestI22_TheAuditKeepsNoWebhookURL(t *testing.T) {
	s := recordtest.Open(t, time.Now)
	w, err := hook(s, "", "https://hooks.example/canary-path?token=canary-query")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutWebhook(t.Context(), recordtest.Op, w.UUID, func(w *conductor.Webhook) ([]byte, error) { w.URL += "&more=canary-more"; return nil, nil }); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteWebhook(t.Context(), recordtest.Op, w.UUID); err != nil {
		t.Fatal(err)
	}
	acts := 0
	for _, a := range s.Audited() {
		if a.Detail["webhook"] != w.UUID {
			continue
		}
		acts++
		if text := fmt.Sprint(a.Detail); strings.Contains(text, "canary") || a.Detail["origin"] != "https://hooks.example:443" {
			t.Errorf("%s is audited with %s", a.Act, text)
		}
	}
	if acts != 3 {
		t.Errorf("%d acts are audited, expected 3", acts)
	}
}
