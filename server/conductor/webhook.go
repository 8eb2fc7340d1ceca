package conductor

import "time"

// Webhook is a destination that is told of changes of nodes. Its secret, by which it proves a delivery genuine, is
// sealed apart. Where it stands in the journal is stored with it, so that it is told of each change at least once.
type Webhook struct {
	UUID    string
	Project string // whose nodes it is told of; "" is all
	URL     string
	Created time.Time

	Epoch     string // the journal that Seq counts in
	Seq       int64  // up to here it was told
	Failures  int    // deliveries in a row that failed
	LastError string
	Delivered time.Time // the last one that was taken
}

// Webhooks is the part of Tx for them. A missing one is webhook.not_found.
type Webhooks interface {
	Webhooks() ([]Webhook, error) // oldest first
	Webhook(uuid string) (Webhook, error)
	PutWebhook(w Webhook, secret []byte) error // insert or replace; a nil secret keeps the one there is
	WebhookSecret(uuid string) ([]byte, error)
	MoveWebhook(w Webhook) error // stores where it stands and how it fares, and nothing else
	DeleteWebhook(uuid string) error
}
