package channel

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// counting counts how often tokens are verified.
type counting struct {
	Tokens
	verified int
}

func (c *counting) Verify(text, key string, now time.Time) (api.Claims, error) {
	c.verified++
	return c.Tokens.Verify(text, key, now)
}

// TestI18_RememberedTokenEndsLikeAnyOther: on a connection a token is verified once. It is still refused there when it has
// run out or was altered, and on every other connection whatever this one remembers; a clock that was set back makes
// it be verified anew.
func TestI18_RememberedTokenEndsLikeAnyOther(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	var tokens *counting
	rig := newRig(t, func(c *Config) {
		tokens = &counting{Tokens: c.Tokens}
		c.Tokens, c.Now = tokens, func() time.Time { return now }
	})
	c, other := rig.client(addressOf(1)), rig.client(addressOf(2))
	c.lookup(nodeA)
	line, second := remember(t.Context(), nil), remember(t.Context(), nil)
	seq := 1
	beat := func(who *client, text string, kept bool) error {
		seq++
		body, err := json.Marshal(api.HeartbeatRequest{Seq: uint64(seq)})
		if err != nil {
			t.Fatal(err)
		}
		ctx := second
		if kept {
			ctx = line
		}
		return who.decode(who.raw(ctx, "POST", api.PathHeartbeat, body, "Authorization", "Bearer "+text), &api.HeartbeatAnswer{})
	}
	for range 5 {
		if err := beat(c, c.token, true); err != nil {
			t.Fatal(err)
		}
	}
	if tokens.verified != 1 {
		t.Errorf("verified %d times on one connection", tokens.verified)
	}
	flipped := strings.ToUpper(c.token[:1]) + c.token[1:]
	if flipped == c.token {
		flipped = strings.ToLower(c.token[:1]) + c.token[1:]
	}
	for name, err := range map[string]error{
		"an altered token":         beat(c, flipped, true),
		"a part of it":             beat(c, c.token[:len(c.token)-1], true),
		"another key's connection": beat(other, c.token, false),
	} {
		if !fault.Has(err, fault.ChannelToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := beat(c, c.token, true); err != nil {
		t.Errorf("after refused tokens on its connection: %v", err)
	}
	before := tokens.verified
	now = now.Add(-2 * time.Hour)
	if err := beat(c, c.token, true); !fault.Has(err, fault.ChannelToken) || tokens.verified != before+1 {
		t.Errorf("a clock set back: %v, verified %d times", err, tokens.verified-before)
	}
	now = now.Add(2*time.Hour + api.TokenLife + time.Minute)
	if err := beat(c, c.token, true); !fault.Has(err, fault.ChannelToken) {
		t.Errorf("a token that has run out: %v", err)
	}
}
