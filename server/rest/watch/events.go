package watch

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// The stream of changes. Its events come from the journal, which is as durable as the nodes: a consumer that is cut off
// goes on from its last event's id, and misses none.

const (
	keepAlive = 15 * time.Second       // between signs of life on a quiet stream
	settle    = 500 * time.Millisecond // whoever watches a fleet is told twice a second at most
	burst     = 1000                   // entries read from the journal at once
)

// events streams changes: with node= those of one node, else of all that the caller sees. Without a cursor (header
// Last-Event-ID, or cursor=) it begins with how all of them are now; with one, with what came after it. When the
// journal does not reach back so far, an event "reset" tells it, and the stream begins anew.
func (a *API) events(c *serve.Call) error {
	s := &stream{Call: c, api: a}
	given := c.R.Header.Get("Last-Event-ID")
	if c.Arg("cursor") != "" {
		given = c.Arg("cursor")
	}
	if given != "" {
		from, err := ParseCursor(given)
		if err != nil {
			return err
		}
		s.from = &from
	}
	if id := c.Arg("node"); id != "" {
		if _, err := shape.Ident(id); err != nil {
			return err
		}
		n, err := c.FindNode(id)
		switch {
		case err == nil:
			s.one = n.UUID
		case fault.Is(err, fault.NotFound) && s.from != nil && shape.IsUUID(id):
			s.one = conductor.NodeID(strings.ToLower(id)) // it may be gone, which is an event that was not heard yet
		default:
			return err
		}
	}
	ctx := c.R.Context()
	changed := a.backend.Watch(ctx, string(s.one))
	c.Begin("text/event-stream")
	c.Patience()
	_ = http.NewResponseController(c.W).Flush()
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	for token := false; ; {
		if gone, err := s.send(ctx, token); err != nil || gone {
			return c.Late(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-changed:
			if !open {
				return nil
			}
			token = true
		case <-alive.C:
			token = false
			if err := s.write(": alive\n\n"); err != nil {
				return c.Late(err)
			}
		}
		if s.one == "" && token {
			timer := time.NewTimer(settle)
			select {
			case <-ctx.Done():
				timer.Stop()
				return nil
			case <-timer.C:
			}
		}
	}
}

// stream is one watcher's connection.
type stream struct {
	*serve.Call
	api  *API
	one  conductor.NodeID // the node watched; "" is all
	from *Cursor          // up to here all is told; nil: nothing yet
}

// send tells what the journal has since the last time. With token something of the single node watched has moved: when
// no event tells what, its present state is told, since its steps may have moved.
func (s *stream) send(ctx context.Context, token bool) (gone bool, err error) {
	if s.from == nil {
		if gone, err := s.present(ctx); err != nil || gone {
			return gone, err
		}
		token = false
	}
	for told := 0; ; {
		var changes []conductor.Change
		var pos conductor.Position
		if err := s.asGranted(func() (err error) {
			changes, pos, err = s.api.backend.Changes(ctx, conductor.ChangeFilter{After: s.from.Seq, Limit: burst, Node: s.one, VisibleTo: s.VisibleTo(), Told: true})
			return err
		}); err != nil {
			return false, err
		}
		if s.from.Lost(pos) {
			if err := s.event("reset", "", struct{}{}); err != nil {
				return false, err
			}
			return s.present(ctx)
		}
		for _, ch := range changes {
			e := ch.Event(s.Grant)
			if err := s.event("node", At(pos, ch.Seq).String(), e); err != nil {
				return false, err
			}
			told++
			if gone = e.Gone && s.one != ""; gone {
				return true, nil
			}
		}
		s.from = &Cursor{pos.Epoch, pos.Upto}
		if len(changes) < burst {
			if told == 0 && token && s.one != "" {
				return s.state()
			}
			return false, nil
		}
	}
}

// asGranted reads what is to be told. What was granted is asked for after that: what is read may be younger than the
// loss of the right to see it. It is read anew when it was read by another grant.
func (s *stream) asGranted(read func() error) error {
	for {
		by := s.Grant
		failed := read()
		if err := s.Still(); err != nil {
			return err
		}
		if s.Grant == by {
			return failed
		}
	}
}

// present tells how everything is, without ids until the end: who is cut off in between begins anew.
func (s *stream) present(ctx context.Context) (gone bool, err error) {
	_, pos, err := s.api.backend.Changes(ctx, conductor.ChangeFilter{After: 1 << 62, Limit: 1})
	if err != nil {
		return false, err
	}
	if s.one != "" {
		if gone, err := s.state(); err != nil || gone {
			return gone, err
		}
	} else if err := s.fleet(ctx); err != nil {
		return false, err
	}
	s.from = &Cursor{pos.Epoch, pos.Last}
	return false, s.write("id: " + s.from.String() + "\n\n")
}

func (s *stream) fleet(ctx context.Context) error {
	for after := conductor.NodeID(""); ; {
		nodes, err := s.api.backend.Nodes(ctx, conductor.NodeFilter{Limit: serve.MaxPage, After: after, VisibleTo: s.VisibleTo()})
		if err != nil {
			return err
		}
		for _, n := range nodes {
			after = n.UUID
			if err := s.event("node", "", stateEvent(n, s.Grant)); err != nil {
				return err
			}
		}
		if len(nodes) < serve.MaxPage {
			return nil
		}
	}
}

// state tells how the node watched is.
func (s *stream) state() (gone bool, err error) {
	var n conductor.Node
	err = s.asGranted(func() (err error) { n, err = s.FindNode(string(s.one)); return err })
	if fault.Is(err, fault.NotFound) {
		return true, s.event("node", "", api.Event{Node: s.one, Gone: true})
	}
	if err != nil {
		return false, err
	}
	return false, s.event("node", "", stateEvent(n, s.Grant))
}

func (s *stream) event(name, id string, data any) error {
	text, err := sseEvent(name, id, data)
	if err != nil {
		return err
	}
	return s.write(text)
}

func (s *stream) write(text string) error {
	s.Patience()
	if _, err := io.WriteString(s.W, text); err != nil {
		return err
	}
	return http.NewResponseController(s.W).Flush()
}

// stateEvent is what an event would tell of a node as it is.
func stateEvent(n conductor.Node, grant access.Grant) api.Event {
	return conductor.Change{Node: n.UUID, Name: n.Name, State: n.State, Target: n.Target, Power: n.Power, Maintenance: n.Maintenance,
		LastError: n.LastError, At: n.Updated, Owner: n.Owner, Lessee: n.Lessee}.Event(grant)
}

// sseEvent is an event of a stream; without an id it moves no cursor.
func sseEvent(name, id string, data any) (string, error) {
	text, err := json.Marshal(data)
	if err != nil {
		return "", fmt.Errorf("encode event: %w", err)
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	return id + "event: " + name + "\ndata: " + string(text) + "\n\n", nil
}
