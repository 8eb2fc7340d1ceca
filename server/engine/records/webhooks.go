package records

import (
	"context"
	"slices"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/server/origin"
)

// Webhooks lists the destinations that are told of changes.
func (s *Shelf) Webhooks(ctx context.Context) (out []conductor.Webhook, err error) {
	err = s.cfg.Store.View(ctx, func(tx conductor.Tx) error { out, err = tx.Webhooks(); return err })
	return out, err
}

// Webhook finds one by UUID.
func (s *Shelf) Webhook(ctx context.Context, uuid string) (w conductor.Webhook, err error) {
	err = s.cfg.Store.View(ctx, func(tx conductor.Tx) error { w, err = tx.Webhook(uuid); return err })
	return w, err
}

// PutWebhook makes a webhook (without a UUID) that is told of what changes from now on, or changes the one there is. change
// edits it and gives its secret, nil to keep that; it runs within the transaction.
func (s *Shelf) PutWebhook(ctx context.Context, who conductor.Caller, uuid string, change func(*conductor.Webhook) ([]byte, error)) (conductor.Webhook, error) {
	var w conductor.Webhook
	err := s.cfg.Store.Update(ctx, func(tx conductor.Tx) (err error) {
		act, store := "webhook.update", tx.PutWebhook
		if uuid == "" {
			act, store = "webhook.create", tx.CreateWebhook
			_, pos, err := tx.Changes(conductor.ChangeFilter{After: 1 << 62, Limit: 1})
			if err != nil {
				return err
			}
			w = conductor.Webhook{UUID: nodes.NewID(), Created: s.cfg.Now(), Epoch: pos.Epoch, Seq: pos.Last}
		} else if w, err = tx.Webhook(uuid); err != nil {
			return err
		}
		was := w.Project
		secret, err := change(&w)
		if err != nil {
			return err
		}
		if uuid == "" || w.Project != was {
			all, err := tx.Webhooks()
			if err != nil {
				return err
			}
			others := slices.DeleteFunc(all, func(o conductor.Webhook) bool { return o.UUID == w.UUID })
			if err := conductor.RoomForWebhook(others, w.Project); err != nil {
				return err
			}
		}
		if err := store(w, secret); err != nil {
			return err
		}
		return tx.AppendAudit(conductor.Audit{Time: s.cfg.Now(), Actor: who.Name, Request: who.Request, Act: act,
			Detail: map[string]any{"webhook": w.UUID, "origin": origin.Of(w.URL), "project": w.Project, "secret": secret != nil}})
	})
	if err == nil {
		s.cfg.Notify("")
	}
	return w, err
}

// DeleteWebhook forgets one; what it was not told of yet it is not told.
func (s *Shelf) DeleteWebhook(ctx context.Context, who conductor.Caller, uuid string) error {
	err := s.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		w, err := tx.Webhook(uuid)
		if err != nil {
			return err
		}
		if err := tx.DeleteWebhook(uuid); err != nil {
			return err
		}
		return tx.AppendAudit(conductor.Audit{Time: s.cfg.Now(), Actor: who.Name, Request: who.Request, Act: "webhook.delete",
			Detail: map[string]any{"webhook": uuid, "origin": origin.Of(w.URL)}})
	})
	if err == nil {
		s.cfg.Notify("")
	}
	return err
}
