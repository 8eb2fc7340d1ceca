// Package webhook tells destinations of changes of nodes: each in a goroutine of its own, from the journal in the
// store, at least once and in order. A destination that does not answer is tried again with growing pauses and holds
// nobody else up. It connects to no other origin than those that the server's operator has listed (safety.md I23).
//
// Start at Sender.Run; deliver makes one request.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/origin"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Config is what a Sender is made of.
type Config struct {
	Store     conductor.Store
	Changed   <-chan struct{}   // a token after changes; when it is closed, only the clock wakes
	Transport http.RoundTripper // judges the addresses dialled
	Origins   []string          // that may be called (origin.ParseOrigin)
	Now       func() time.Time
	Log       *slog.Logger
}

const (
	maxEvents = 100              // of one delivery
	patience  = 15 * time.Second // for an answer
	firstWait = time.Second      // after the first failure; each one doubles it
	longWait  = 10 * time.Minute
	idle      = time.Minute // between two looks at the journal that nothing asked for
	maxAnswer = 64 << 10    // of which nothing is used
	lag       = 10_000      // entries of no interest after which the place is stored anyway
)

// Sender tells all webhooks.
type Sender struct {
	cfg    Config
	client *http.Client

	mu    sync.Mutex
	hooks map[string]*hook
	wg    sync.WaitGroup
}

// hook is a running one.
type hook struct {
	wake   chan struct{}
	cancel context.CancelFunc
}

// New makes a Sender. Run starts it.
func New(cfg Config) *Sender {
	return &Sender{cfg: cfg, hooks: map[string]*hook{}, client: &http.Client{
		Transport: cfg.Transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // elsewhere is not where it was allowed to go
	}}
}

// Run tells the webhooks that there are, until ctx ends, and waits for what it started.
func (s *Sender) Run(ctx context.Context) {
	defer s.wg.Wait()
	defer s.client.CloseIdleConnections()
	tick := time.NewTicker(idle)
	defer tick.Stop()
	changed := s.cfg.Changed
	for {
		if err := s.follow(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("the webhooks can't be read", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case _, open := <-changed:
			if !open {
				changed = nil
			}
		case <-tick.C:
		}
	}
}

// follow starts what is new, ends what is deleted, and wakes the rest.
func (s *Sender) follow(ctx context.Context) error {
	var all []conductor.Webhook
	if err := s.cfg.Store.View(ctx, func(tx conductor.Tx) (err error) { all, err = tx.Webhooks(); return err }); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	there := map[string]bool{}
	for _, w := range all {
		there[w.UUID] = true
		h := s.hooks[w.UUID]
		if h == nil {
			each, cancel := context.WithCancel(ctx)
			h = &hook{wake: make(chan struct{}, 1), cancel: cancel}
			s.hooks[w.UUID] = h
			s.wg.Go(func() { defer cancel(); s.serve(each, w.UUID, h.wake) })
		}
		select {
		case h.wake <- struct{}{}:
		default: // it is awake
		}
	}
	for id, h := range s.hooks {
		if !there[id] {
			h.cancel()
			delete(s.hooks, id)
		}
	}
	return nil
}

// serve tells one webhook.
func (s *Sender) serve(ctx context.Context, id string, wake <-chan struct{}) {
	for ctx.Err() == nil {
		more, err := s.step(ctx, id)
		wait := idle
		switch {
		case fault.Has(err, fault.WebhookNotFound):
			return
		case err != nil && ctx.Err() == nil:
			s.cfg.Log.Warn("a webhook's delivery failed", "webhook", id, "err", err)
			wait = s.pause(ctx, id)
		case more:
			continue
		}
		timer := time.NewTimer(wait)
		for awake := false; !awake; {
			select {
			case <-ctx.Done():
				awake = true
			case <-timer.C:
				awake = true
			case <-wake:
				awake = err == nil // new changes are no reason to try a dead one sooner
			}
		}
		timer.Stop()
	}
}

// pause is how long to wait after a failure: twice as long each time, and between half and all of that, so that many
// senders do not come at once.
func (s *Sender) pause(ctx context.Context, id string) time.Duration {
	failures := 1
	_ = s.cfg.Store.View(ctx, func(tx conductor.Tx) error { // a store that can't be read is waited for as after a first failure
		w, err := tx.Webhook(id)
		failures = w.Failures
		return err
	})
	wait := min(firstWait<<min(max(failures-1, 0), 20), longWait)
	return wait/2 + rand.N(wait/2+1)
}

// step delivers what is next; more tells that there may be more at once. Whatever keeps a webhook from being told
// counts as its failure, so that it is seen and waited for: also a secret that can't be opened.
func (s *Sender) step(ctx context.Context, id string) (more bool, err error) {
	var w conductor.Webhook
	if err := s.cfg.Store.View(ctx, func(tx conductor.Tx) (err error) { w, err = tx.Webhook(id); return err }); err != nil {
		return false, err
	}
	more, failed := s.tell(ctx, &w)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if failed == nil || fault.Has(failed, fault.WebhookNotFound) {
		return more, failed
	}
	w.Failures++
	w.LastError = failed.Error()
	if err := s.move(ctx, w); err != nil {
		return false, err
	}
	return false, failed
}

// tell delivers what comes after the webhook's place, and moves that. What is delivered is stored before: until it is
// taken it is repeated as it was, whatever else has changed meanwhile.
func (s *Sender) tell(ctx context.Context, w *conductor.Webhook) (more bool, err error) {
	var secret []byte
	var changes []conductor.Change
	var pos conductor.Position
	begun := readBatch(w.Pending)
	until := int64(0)
	if begun.epoch == w.Epoch && begun.project == w.Project && !begun.reset {
		until = begun.upto
	}
	if err := s.cfg.Store.View(ctx, func(tx conductor.Tx) (err error) {
		if secret, err = tx.WebhookSecret(w.UUID); err != nil {
			if fault.Has(err, fault.WebhookNotFound) {
				return err
			}
			return fault.New(fault.WebhookFailed, "its secret can't be opened").Because(err).
				WithHint("put the master key file back that the server was used with, or give the webhook a new secret")
		}
		changes, pos, err = tx.Changes(conductor.ChangeFilter{After: w.Seq, Until: until, Limit: maxEvents, VisibleTo: w.Project, Told: true})
		return err
	}); err != nil {
		return false, err
	}
	b := batch{epoch: pos.Epoch, project: w.Project, upto: pos.Upto}
	switch {
	case w.Epoch != pos.Epoch || w.Seq < pos.First || w.Seq > pos.Last:
		b.reset, b.upto, changes = true, pos.Last, nil
		if begun.reset && begun.epoch == pos.Epoch && begun.project == w.Project && begun.upto >= pos.First && begun.upto <= pos.Last {
			b = begun
		}
	case until > 0:
		b = begun
	}
	if len(changes) == 0 && !b.reset {
		if b.upto-w.Seq < lag && until == 0 {
			return false, nil
		}
		moved := *w
		moved.Seq, moved.Pending = b.upto, ""
		return until > 0, s.move(ctx, moved)
	}
	if id := b.String(); id != w.Pending {
		w.Pending = id
		if err := s.move(ctx, *w); err != nil {
			return false, err
		}
	}
	d := api.Delivery{ID: base64.RawURLEncoding.EncodeToString([]byte(w.Pending)), Webhook: w.UUID, Reset: b.reset, Events: []api.Event{}}
	g := access.Grant{Role: access.Observer, Project: w.Project}
	for _, ch := range changes {
		d.Events = append(d.Events, ch.Event(g))
	}
	if err := s.deliver(ctx, w.URL, secret, d); err != nil {
		return false, err
	}
	told := *w
	told.Epoch, told.Seq, told.Failures, told.LastError, told.Delivered, told.Pending = b.epoch, b.upto, 0, "", s.cfg.Now(), ""
	return len(changes) == maxEvents || b == begun || b.reset, s.move(context.WithoutCancel(ctx), told) // it was taken: no end of the server undoes that
}

// batch is what one delivery tells: the events after the webhook's place up to an entry of the journal, as a project sees
// them; or that what came before that entry is lost.
type batch struct {
	epoch   string
	upto    int64
	reset   bool
	project string
}

// String is the batch as it is stored, and its delivery's id before it is encoded.
func (b batch) String() string {
	return b.epoch + "." + strconv.FormatInt(b.upto, 10) + "." + strconv.FormatBool(b.reset) + "." + b.project
}

// readBatch reads what String gave; anything else is no batch.
func readBatch(text string) (b batch) {
	parts := strings.SplitN(text, ".", 4)
	if len(parts) < 4 {
		return batch{}
	}
	upto, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return batch{}
	}
	return batch{parts[0], upto, parts[2] == "true", parts[3]}
}

func (s *Sender) move(ctx context.Context, w conductor.Webhook) error {
	return s.cfg.Store.Update(ctx, func(tx conductor.Tx) error { return tx.MoveWebhook(w) })
}

// deliver makes one signed request. Anything but an answer of 2xx is a failure; no answer's text gets into an error.
func (s *Sender) deliver(ctx context.Context, url string, secret []byte, d api.Delivery) error {
	if err := origin.Listed(s.cfg.Origins, url); err != nil {
		return err
	}
	body, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode delivery: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fault.New(fault.RequestInvalid, "the URL can't be used")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "bessemer")
	r.Header.Set(api.HeaderSignature, sign(secret, s.cfg.Now(), body))
	answer, err := s.client.Do(r)
	if err != nil {
		return fault.New(fault.WebhookFailed, "the destination does not answer").Because(err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer)) // so that the connection can be used again
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fault.New(fault.WebhookFailed, "the destination answered with status %d, expected 2xx", answer.StatusCode)
	}
	return nil
}

// sign is the value of api.HeaderSignature.
func sign(secret []byte, now time.Time, body []byte) string {
	t := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
