package channel

import (
	"context"
	"crypto/subtle"
	"net"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// conn is what is known of one connection: whose key it proved, and the token that was last verified on it. A token's
// signature does not change, so an agent's heartbeats need it verified once; everything else about a token is checked
// at each request, its lifetime here and its node's state by the conductor (safety.md I18). It ends with its connection, so that
// nothing verified for one peer is ever held true of another.
type conn struct {
	mu     sync.Mutex
	peer   conductor.Peer // zero before the first request
	text   string
	claims api.Claims
	at     time.Time // when it was verified
}

type connKey struct{}

// remember gives each connection its own memory.
func remember(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, &conn{})
}

// memory is the connection's; without a connection of ours it remembers nothing beyond this request.
func memory(ctx context.Context) *conn {
	if c, ok := ctx.Value(connKey{}).(*conn); ok {
		return c
	}
	return &conn{}
}

// verified gives the claims of a token that was verified on this connection and still lives. A clock that was set back
// behind that moment makes it be verified anew.
func (c *conn) verified(text string, now time.Time) (api.Claims, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now = now.Round(0) // the wall clock is what tokens are dated by
	if c.text == "" || subtle.ConstantTimeCompare([]byte(c.text), []byte(text)) != 1 || now.Before(c.at) || !now.Before(c.claims.Expires) {
		return api.Claims{}, false
	}
	return c.claims, true
}

func (c *conn) verify(text string, claims api.Claims, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text, c.claims, c.at = text, claims, now.Round(0)
}
