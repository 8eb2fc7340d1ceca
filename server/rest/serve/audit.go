package serve

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// What of the same is written into the audit: once in so long.
const (
	loginEvery  = time.Hour
	deniedEvery = time.Minute
	maxTold     = 4096
)

// told remembers what was written into the audit lately, so that who repeats a request does not fill it.
type told struct {
	mu sync.Mutex
	at map[[3]string]time.Time
}

func (t *told) due(key [3]string, now time.Time, every time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, ok := t.at[key]; ok && now.Sub(last) < every && !now.Before(last) {
		return false
	}
	if t.at == nil || len(t.at) >= maxTold {
		t.at = map[[3]string]time.Time{}
	}
	t.at[key] = now
	return true
}

// login records who comes from where for the first time in an hour, and refuses those who have no role.
func (c *Call) login() error {
	if c.Grant.None() {
		c.Denied("login", "")
		return fault.New(fault.RequestForbidden, "user %s has no role on this server", c.Who.Name).
			WithHint("an administrator adds a line to the server's roles file: %s:admin, operator or observer, and for one project :PROJECT", c.Who.Name)
	}
	if c.h.cfg.Auth.Realm() == "" {
		return nil // nobody logs in
	}
	from := c.Source()
	if c.h.told.due([3]string{"login", c.Who.Name, from}, c.h.cfg.Now(), loginEvery) {
		c.note("login", map[string]any{"from": from, "role": string(c.Grant.Role), "project": c.Grant.Project})
	}
	return nil
}

// Denied notes an attempt of a user who has proved to be one. Those of strangers change nothing here (I24). It is
// written when the request has failed: a decision may be made inside a transaction of the store.
func (c *Call) Denied(need access.Right, object string) {
	c.refusals = append(c.refusals, refusal{need, object})
}

type refusal struct {
	need   access.Right
	object string
}

// tellRefusals writes what was denied into the audit.
func (c *Call) tellRefusals() {
	for _, r := range c.refusals {
		if c.h.told.due([3]string{"denied", c.Who.Name, string(r.need)}, c.h.cfg.Now(), deniedEvery) {
			c.note("access.denied", map[string]any{"right": string(r.need), "object": r.object, "method": c.R.Method, "path": c.R.URL.Path, "from": c.Source()})
		}
	}
	c.refusals = nil
}

func (c *Call) note(act string, detail map[string]any) {
	// The request's own outcome does not hang on it: what it changes is audited with it, in one transaction.
	if err := c.h.cfg.Backend.Note(context.WithoutCancel(c.R.Context()), c.Who, act, "", detail); err != nil {
		c.h.cfg.Log.Error("the audit could not be written", "act", act, "request", c.Who.Request, "user", c.Who.Name, "err", err)
	}
}

// Source is the address a request comes from.
func (c *Call) Source() string {
	host, _, err := net.SplitHostPort(c.R.RemoteAddr)
	if err != nil {
		return c.R.RemoteAddr
	}
	return host
}
