package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/storetest"
	"github.com/bessemer-metal/bessemer/server/seal"
	"github.com/bessemer-metal/bessemer/server/sqlite"
	"github.com/bessemer-metal/bessemer/server/webhook"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver takes deliveries without a network; fail says what it answers.
type receiver struct {
	mu   sync.Mutex
	got  map[string][]api.Delivery // by host
	raw  []string
	fail func(host string, nth int) (status int, err error)
	told chan struct{}
}

func (r *receiver) RoundTrip(q *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var d api.Delivery
	if err := json.Unmarshal(body, &d); err != nil {
		return nil, err
	}
	host := q.URL.Host
	r.got[host] = append(r.got[host], d)
	r.raw = append(r.raw, string(body)+fmt.Sprint(q.Header)+q.URL.String())
	status := 204
	if r.fail != nil {
		if status, err = r.fail(host, len(r.got[host])); err != nil {
			return nil, err
		}
	}
	select {
	case r.told <- struct{}{}:
	default:
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("")), Request: q,
		Header: http.Header{"Location": {"http://elsewhere.example/"}}}, nil
}

type rig struct {
	*testing.T
	store   conductor.Store
	r       *receiver
	changed chan struct{}
}

func newRig(t *testing.T, hosts ...string) *rig {
	dir := t.TempDir()
	keys, err := seal.Open(filepath.Join(dir, "key"), true)
	if err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "db"), Sealer: keys, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	g := &rig{T: t, store: store, r: &receiver{got: map[string][]api.Delivery{}, told: make(chan struct{}, 1)}, changed: make(chan struct{}, 1)}
	for _, h := range hosts {
		g.update(func(tx conductor.Tx) error {
			return tx.CreateWebhook(conductor.Webhook{UUID: h, URL: "https://" + h + "/hook", Created: time.Now()}, []byte("canary-secret-of-the-hook"))
		})
	}
	return g
}

func (g *rig) update(fn func(conductor.Tx) error) {
	g.Helper()
	if err := g.store.Update(g.Context(), fn); err != nil {
		g.Fatal(err)
	}
}

// move makes n changes of a node that events tell.
func (g *rig) move(n int) {
	g.Helper()
	for range n {
		g.update(func(tx conductor.Tx) error {
			got, err := tx.Node(storetest.ID(1))
			if err != nil {
				return tx.CreateNode(storetest.Node(1))
			}
			got.State = map[bool]state.State{true: state.Manageable, false: state.Available}[got.State != state.Manageable]
			return tx.PutNode(&got)
		})
	}
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// run starts a sender, and gives what ends it.
func (g *rig) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var origins []string
	for _, h := range []string{"a.example", "b.example"} {
		origins = append(origins, "https://"+h+":443")
	}
	s := webhook.New(webhook.Config{Store: g.store, Changed: g.changed, Transport: g.r, Origins: origins, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	return func() { cancel(); <-done }
}

// until waits for deliveries until the condition holds.
func (g *rig) until(what string, ok func() bool) {
	g.Helper()
	late := time.After(2 * time.Minute)
	for {
		g.r.mu.Lock()
		done := ok()
		g.r.mu.Unlock()
		if done {
			return
		}
		select {
		case <-g.r.told:
		case <-late:
			g.Fatalf("not in two minutes: %s; got %v", what, g.r.got)
		}
	}
}

// events counts those of deliveries; what is delivered again counts once.
func events(ds []api.Delivery) (n int) {
	seen := map[string]bool{}
	for _, d := range ds {
		if !seen[d.ID] {
			n += len(d.Events)
		}
		seen[d.ID] = true
	}
	return n
}

// Each change is told, in order, over failures, ends of the server and new starts (row 25: at least once).
func TestDeliveriesAtLeastOnceInOrder(t *testing.T) {
	g := newRig(t, "a.example")
	g.r.fail = func(_ string, nth int) (int, error) {
		switch nth {
		case 1:
			return 500, nil
		case 2:
			return 0, errors.New("cut")
		case 3:
			return 302, nil // is not followed
		}
		return 204, nil
	}
	g.move(3)
	stop := g.run()
	g.until("the first three changes", func() bool { return len(g.r.got["a.example"]) >= 4 })
	stop()
	g.move(250) // while nobody sends
	stop = g.run()
	g.until("the rest", func() bool { return events(g.r.got["a.example"][3:]) >= 253 })
	stop()
	all := g.r.got["a.example"]
	for i, d := range all[:4] {
		if d.ID != all[0].ID || len(d.Events) != 3 {
			t.Errorf("try %d is %+v, expected a repetition of %+v", i+1, d, all[0])
		}
	}
	seen := map[string]string{} // one that was taken just when the server ended may come again, as it was
	for _, d := range all {
		if text := fmt.Sprint(d); len(d.Events) > 100 || seen[d.ID] != "" && seen[d.ID] != text {
			t.Errorf("a delivery of %d events has the id of another: %s", len(d.Events), d.ID)
		} else {
			seen[d.ID] = text
		}
	}
	if n := events(all); n != 253 {
		t.Errorf("%d events are told, expected 253", n)
	}
	if len(g.r.got) != 1 {
		t.Errorf("another host was called: %v", g.r.got)
	}
}

// A dead destination holds up no other one (I28), and its failures are told.
func TestI28_ADeadWebhookBlocksNobody(t *testing.T) {
	g := newRig(t, "a.example", "b.example")
	g.r.fail = func(host string, _ int) (int, error) {
		if host == "a.example" {
			return 0, errors.New("connection refused with canary-secret-of-the-hook")
		}
		return 204, nil
	}
	stop := g.run()
	for i := range 20 {
		g.move(1)
		g.until("a change at the healthy one", func() bool { return events(g.r.got["b.example"]) == i+1 })
	}
	stop()
	if n := len(g.r.got["a.example"]); n < 1 || n > 15 {
		t.Errorf("the dead one was tried %d times over 20 changes", n)
	}
	if err := g.store.View(t.Context(), func(tx conductor.Tx) error {
		w, err := tx.Webhook("a.example")
		if w.Failures == 0 || w.LastError == "" || w.Seq != 0 || strings.Contains(w.LastError, "canary") {
			t.Errorf("the dead one is stored as %+v", w)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestI23_OnlyListedOriginsAreCalled: also when a webhook is in the store from a time when its origin was listed.
func TestI23_OnlyListedOriginsAreCalled(t *testing.T) {
	g := newRig(t, "a.example", "evil.example")
	stop := g.run()
	g.move(2)
	g.until("the listed one", func() bool { return events(g.r.got["a.example"]) == 2 })
	stop()
	if len(g.r.got["evil.example"]) != 0 {
		t.Error("an origin that is not listed was called")
	}
}

// The signature is the secret's over time and body, and the secret itself is nowhere (I22).
func TestI22_DeliveriesAreSigned(t *testing.T) {
	g := newRig(t, "a.example")
	var header, body string
	inner := g.r
	taps := tap(func(q *http.Request) (*http.Response, error) {
		raw, err := io.ReadAll(q.Body)
		if err != nil {
			return nil, err
		}
		header, body = q.Header.Get(api.HeaderSignature), string(raw)
		q.Body = io.NopCloser(strings.NewReader(body))
		return inner.RoundTrip(q)
	})
	ctx, cancel := context.WithCancel(context.Background())
	s := webhook.New(webhook.Config{Store: g.store, Changed: g.changed, Transport: taps, Origins: []string{"https://a.example:443"}, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	g.move(1)
	g.until("one delivery", func() bool { return len(g.r.got["a.example"]) == 1 })
	cancel()
	<-done
	at, sum, ok := strings.Cut(strings.TrimPrefix(header, "t="), ",v1=")
	mac := hmac.New(sha256.New, []byte("canary-secret-of-the-hook"))
	mac.Write([]byte(at + "." + body))
	if want := hex.EncodeToString(mac.Sum(nil)); !ok || sum != want {
		t.Errorf("the signature is %q, expected v1=%s", header, want)
	}
	if strings.Contains(strings.Join(g.r.raw, ""), "canary-secret") {
		t.Error("the secret is in a delivery")
	}
}

type tap func(*http.Request) (*http.Response, error)

func (f tap) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }

// A delivery that is not taken is repeated as it was: with its id, and without what changed since, by the same sender and by
// that of a new start. By the id alone a receiver knows that it has seen the events.
func TestARepeatedDeliveryIsTheSame(t *testing.T) {
	g := newRig(t, "a.example")
	const host = "a.example"
	down := true
	g.r.fail = func(string, int) (int, error) {
		if down {
			return 502, nil // an answer that was lost on its way
		}
		return 204, nil
	}
	tries := func(n int) func() bool { return func() bool { return len(g.r.got[host]) >= n } }
	g.move(2)
	stop := g.run()
	g.until("a first try", tries(1))
	g.move(2)
	g.until("a try by the same sender", tries(2))
	stop()
	before := len(g.r.got[host])
	g.move(1)
	stop = g.run()
	g.until("a try after a new start", tries(before+1))
	g.r.mu.Lock()
	down = false
	g.r.mu.Unlock()
	g.until("everything", func() bool { return events(g.r.got[host][len(g.r.got[host])-1:]) == 3 })
	stop()
	all := g.r.got[host]
	for i, d := range all[:len(all)-1] {
		if d.ID != all[0].ID || fmt.Sprint(d.Events) != fmt.Sprint(all[0].Events) || len(d.Events) != 2 {
			t.Errorf("try %d has the id %s and %d events, the first one %s and %d", i+1, d.ID, len(d.Events), all[0].ID, len(all[0].Events))
		}
	}
	if last := all[len(all)-1]; last.ID == all[0].ID {
		t.Error("what came after it has the same id")
	}
}

// What the begun delivery would have told reads otherwise for another project, and is lost with another journal: it is
// another delivery then, with an id of its own.
func TestABegunDeliveryOfOthersIsNotRepeated(t *testing.T) {
	for name, spoil := range map[string]func(tx conductor.Tx, w conductor.Webhook) error{
		"another project": func(tx conductor.Tx, w conductor.Webhook) error {
			w.Project = storetest.Node(1).Owner
			return tx.PutWebhook(w, nil)
		},
		"another journal": func(tx conductor.Tx, _ conductor.Webhook) error {
			return tx.PutSetting(conductor.SettingEpoch, "later")
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, "a.example")
			down := true
			g.r.fail = func(string, int) (int, error) {
				if down {
					return 503, nil
				}
				return 204, nil
			}
			g.move(2)
			stop := g.run()
			g.until("a try", func() bool { return len(g.r.got["a.example"]) >= 1 })
			stop()
			first := g.r.got["a.example"][0]
			down = false
			g.update(func(tx conductor.Tx) error {
				w, err := tx.Webhook("a.example")
				if err != nil {
					return err
				}
				return spoil(tx, w)
			})
			g.move(1)
			n := len(g.r.got["a.example"])
			stop = g.run()
			g.until("another delivery", func() bool { return len(g.r.got["a.example"]) > n })
			stop()
			if got := g.r.got["a.example"][n]; got.ID == first.ID {
				t.Errorf("%+v has the id of %+v", got, first)
			}
		})
	}
}
