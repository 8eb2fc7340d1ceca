package webhook_test

import (
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// lost is a sealer without the key to what it sealed.
type lost struct{ asked chan struct{} }

func (lost) Seal(_, _ string, v []byte) (string, []byte, error) { return "k", slices.Clone(v), nil }
func (l lost) Open(string, string, string, []byte) ([]byte, error) {
	l.asked <- struct{}{}
	return nil, errors.New("canary of the sealer")
}

// TestF37_AWebhookWithoutItsSecretFails: it is shown as failing, and each try waits longer.
func TestF37_AWebhookWithoutItsSecretFails(t *testing.T) {
	keys := lost{make(chan struct{})}
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "db"), Sealer: keys, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	g := &rig{T: t, store: store, r: &receiver{got: map[string][]api.Delivery{}, told: make(chan struct{}, 1)}, changed: make(chan struct{}, 1)}
	g.update(func(tx conductor.Tx) error {
		return tx.CreateWebhook(conductor.Webhook{UUID: "a.example", URL: "https://a.example/hook", Created: time.Now()}, []byte("canary-secret-of-the-hook"))
	})
	stop := g.run()
	for range 3 {
		<-keys.asked
	}
	stop()
	if err := store.View(t.Context(), func(tx conductor.Tx) error {
		w, err := tx.Webhook("a.example")
		if w.Failures < 2 || !strings.Contains(w.LastError, "secret can't be opened") || strings.Contains(w.LastError, "canary") || w.Seq != 0 {
			t.Errorf("after three tries it is stored as %+v", w)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
