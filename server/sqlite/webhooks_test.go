package sqlite

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/seal"
)

// TestF37_LostKeyOfAWebhookRefusesTheStart: also when no BMC has a secret.
func TestF37_LostKeyOfAWebhookRefusesTheStart(t *testing.T) {
	cfg := config(t, t.TempDir())
	s := open(t, cfg)
	if err := s.Update(t.Context(), func(tx conductor.Tx) error {
		return tx.CreateWebhook(conductor.Webhook{UUID: "h", URL: "https://a.example/", Created: time.Now()}, []byte("0123456789abcdef"))
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, cfg).Close(); err != nil {
		t.Fatal(err)
	}
	other, err := seal.Open(filepath.Join(t.TempDir(), "other.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Sealer = other
	if s, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "put the master key file back") {
		t.Errorf("the start with another key gives %v", err)
		if err == nil {
			_ = s.Close()
		}
	}
}
