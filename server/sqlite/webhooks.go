package sqlite

import (
	"database/sql"
	"errors"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
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

func (t *tx) Webhooks() (out []conductor.Webhook, err error) {
	err = t.rows(webhookColumns+" ORDER BY id", nil, func(scan func(...any) error) error {
		w, err := scanWebhook(scan)
		out = append(out, w)
		return err
	})
	return out, err
}

func (t *tx) Webhook(uuid string) (w conductor.Webhook, err error) {
	w, err = scanWebhook(func(to ...any) error { return t.row(webhookColumns+" WHERE uuid = ?", []any{text(uuid)}, to...) })
	if errors.Is(err, sql.ErrNoRows) {
		err = noWebhook(uuid)
	}
	return w, err
}

// hookSecret is what a webhook's secret is sealed for.
const hookSecret = "webhook"

func (t *tx) CreateWebhook(w conductor.Webhook, secret []byte) error {
	key, sealed, err := t.sealer.Seal(hookSecret, text(w.UUID), secret)
	if err != nil {
		return err
	}
	_, err = t.exec(`INSERT INTO webhooks (uuid, project, url, key_id, sealed, created_at, epoch, seq, failures, last_error, delivered_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, '', '')`,
		text(w.UUID), text(w.Project), text(w.URL), key, sealed, stamp(w.Created), text(w.Epoch), w.Seq)
	return err
}

func (t *tx) PutWebhook(w conductor.Webhook, secret []byte) error {
	set, args := "project = ?, url = ?", []any{text(w.Project), text(w.URL)}
	if secret != nil {
		key, sealed, err := t.sealer.Seal(hookSecret, text(w.UUID), secret)
		if err != nil {
			return err
		}
		set, args = set+", key_id = ?, sealed = ?", append(args, key, sealed)
	}
	changed, err := t.exec("UPDATE webhooks SET "+set+" WHERE uuid = ?", append(args, text(w.UUID))...)
	if err == nil && changed == 0 {
		err = noWebhook(w.UUID)
	}
	return err
}

func (t *tx) WebhookSecret(uuid string) ([]byte, error) {
	var key string
	var sealed []byte
	if err := t.row("SELECT key_id, sealed FROM webhooks WHERE uuid = ?", []any{text(uuid)}, &key, &sealed); errors.Is(err, sql.ErrNoRows) {
		return nil, noWebhook(uuid)
	} else if err != nil {
		return nil, err
	}
	return t.sealer.Open(hookSecret, text(uuid), key, sealed)
}

func (t *tx) MoveWebhook(w conductor.Webhook) error {
	changed, err := t.exec("UPDATE webhooks SET epoch = ?, seq = ?, failures = ?, last_error = ?, delivered_at = ?, pending = ? WHERE uuid = ?",
		text(w.Epoch), w.Seq, w.Failures, text(w.LastError), stamp(w.Delivered), text(w.Pending), text(w.UUID))
	if err == nil && changed == 0 {
		err = noWebhook(w.UUID)
	}
	return err
}

func (t *tx) DeleteWebhook(uuid string) error {
	changed, err := t.exec("DELETE FROM webhooks WHERE uuid = ?", text(uuid))
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
