package conductor

import (
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

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
	Pending   string    // the delivery that was begun and not taken, by its id; "" is none
}

// Webhooks is the part of Tx for them. A missing one is webhook.not_found.
type Webhooks interface {
	Webhooks() ([]Webhook, error) // oldest first
	Webhook(uuid string) (Webhook, error)
	CreateWebhook(w Webhook, secret []byte) error
	PutWebhook(w Webhook, secret []byte) error // its project, URL and secret; a nil secret keeps the one there is
	WebhookSecret(uuid string) ([]byte, error)
	MoveWebhook(w Webhook) error // stores where it stands and how it fares, and nothing else
	DeleteWebhook(uuid string) error
}

// How many webhooks there may be (I25): each is a connection of its own.
const (
	maxWebhooks        = 100
	maxProjectWebhooks = 10
)

// RoomForWebhook refuses one more webhook of a project ("" is the whole server's) beside those there are. The
// server-wide bound is not the only one, so that no project uses it up.
func RoomForWebhook(all []Webhook, project string) error {
	own := 0
	for _, w := range all {
		if w.Project == project {
			own++
		}
	}
	switch {
	case len(all) >= maxWebhooks:
		return fault.New(fault.RequestInvalid, "there are %d webhooks, which is as many as this server keeps", len(all)).WithHint("delete one first")
	case project != "" && own >= maxProjectWebhooks:
		return fault.New(fault.RequestInvalid, "project %s has %d webhooks, which is as many as one may have", project, own).WithHint("delete one first")
	}
	return nil
}
