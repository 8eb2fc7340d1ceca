package records

import (
	"database/sql"
	"errors"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite/session"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

const webhookColumns = "SELECT uuid, project, url, created_at, epoch, seq, failures, last_error, delivered_at, pending FROM webhooks"

func noWebhook(uuid string) error {
	return fault.New(fault.WebhookNotFound, "Webhook %s could not be found.", uuid)
}

func scanWebhook(scan func(...any) error) (w conductor.Webhook, err error) {
	var created, delivered string
	if err := scan(&w.UUID, &w.Project, &w.URL, &created, &w.Epoch, &w.Seq, &w.Failures, &w.LastError, &delivered, &w.Pending); err != nil {
		return w, err
	}
	w.Created, err = time.Parse(time.RFC3339Nano, created)
	if err == nil && delivered != "" {
		w.Delivered, err = time.Parse(time.RFC3339Nano, delivered)
	}
	return w, err
}

func (t *Tx) Webhooks() (out []conductor.Webhook, err error) {
	err = t.Rows(webhookColumns+" ORDER BY id", nil, func(scan func(...any) error) error {
		w, err := scanWebhook(scan)
		out = append(out, w)
		return err
	})
	return out, err
}

func (t *Tx) Webhook(uuid string) (w conductor.Webhook, err error) {
	w, err = scanWebhook(func(to ...any) error {
		return t.Row(webhookColumns+" WHERE uuid = ?", []any{session.Text(uuid)}, to...)
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = noWebhook(uuid)
	}
	return w, err
}

// HookSecret is what a webhook's secret is sealed for.
const HookSecret = "webhook"

func (t *Tx) CreateWebhook(w conductor.Webhook, secret []byte) error {
	key, sealed, err := t.Sealer.Seal(HookSecret, session.Text(w.UUID), secret)
	if err != nil {
		return err
	}
	_, err = t.Exec(`INSERT INTO webhooks (uuid, project, url, key_id, sealed, created_at, epoch, seq, failures, last_error, delivered_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, '', '')`,
		session.Text(w.UUID), session.Text(w.Project), session.Text(w.URL), key, sealed, stamp(w.Created), session.Text(w.Epoch), w.Seq)
	return err
}

func (t *Tx) PutWebhook(w conductor.Webhook, secret []byte) error {
	q, args := "UPDATE webhooks SET project = ?, url = ? WHERE uuid = ?", []any{session.Text(w.Project), session.Text(w.URL)}
	if secret != nil {
		key, sealed, err := t.Sealer.Seal(HookSecret, session.Text(w.UUID), secret)
		if err != nil {
			return err
		}
		q, args = "UPDATE webhooks SET project = ?, url = ?, key_id = ?, sealed = ? WHERE uuid = ?", append(args, key, sealed)
	}
	changed, err := t.Exec(q, append(args, session.Text(w.UUID))...)
	if err == nil && changed == 0 {
		err = noWebhook(w.UUID)
	}
	return err
}

func (t *Tx) WebhookSecret(uuid string) ([]byte, error) {
	var key string
	var sealed []byte
	if err := t.Row("SELECT key_id, sealed FROM webhooks WHERE uuid = ?", []any{session.Text(uuid)}, &key, &sealed); errors.Is(err, sql.ErrNoRows) {
		return nil, noWebhook(uuid)
	} else if err != nil {
		return nil, err
	}
	return t.Sealer.Open(HookSecret, session.Text(uuid), key, sealed)
}

func (t *Tx) MoveWebhook(w conductor.Webhook) error {
	changed, err := t.Exec("UPDATE webhooks SET epoch = ?, seq = ?, failures = ?, last_error = ?, delivered_at = ?, pending = ? WHERE uuid = ?",
		session.Text(w.Epoch), w.Seq, w.Failures, session.Text(w.LastError), stamp(w.Delivered), session.Text(w.Pending), session.Text(w.UUID))
	if err == nil && changed == 0 {
		err = noWebhook(w.UUID)
	}
	return err
}

func (t *Tx) DeleteWebhook(uuid string) error {
	changed, err := t.Exec("DELETE FROM webhooks WHERE uuid = ?", session.Text(uuid))
	if err == nil && changed == 0 {
		err = noWebhook(uuid)
	}
	return err
}

// stamp is a time as a column of its own holds it; "" is none.
func stamp(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339Nano)
}
