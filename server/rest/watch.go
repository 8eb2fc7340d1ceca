package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// What one watches a node by: its steps, its agent's log, its changes.

const (
	keepAlive  = 15 * time.Second // between signs of life on a quiet stream
	logPoll    = time.Second      // how often a followed log is looked at
	streamSlow = 30 * time.Second // how long a client may take to read what is sent
	settle     = 500 * time.Millisecond
)

func (c *call) steps() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	q, err := c.query("run")
	if err != nil {
		return err
	}
	n, err := c.api.cfg.Backend.Node(c.r.Context(), id)
	if err != nil {
		return err
	}
	records, err := c.api.cfg.Backend.Steps(c.r.Context(), id, q.Get("run"))
	if err != nil {
		return err
	}
	answer := api.StepsAnswer{
		Node: n.UUID, Name: n.Name, State: n.State, Target: n.Target, Since: api.Time{Time: n.StateSince}, Power: string(n.Power),
		LastError: n.LastError, LastReason: string(n.LastReason), Next: verbsFrom(n.State), Steps: []api.StepView{},
	}
	if f := n.Flow; f != nil && (q.Get("run") == "" || q.Get("run") == f.Run) {
		answer.Run = &api.Run{ID: f.Run, Flow: f.Flow, Phase: string(f.Phase), Manual: f.Manual, Aborting: f.Aborting,
			Started: api.Time{Time: f.Started}, Ended: api.Time{Time: f.Ended}, Actor: f.Actor, Request: f.Request}
		if w := f.Wait; w != nil && f.Ended.IsZero() {
			answer.Wait = &api.Wait{For: w.For, Owner: w.Owner, Since: api.Time{Time: w.Since}, Deadline: api.Time{Time: w.Deadline},
				Evidence: w.Evidence, Seen: api.Time{Time: w.Seen}, Reason: string(w.Reason)}
		}
	}
	if b := n.Boot; b != nil {
		answer.Boot = &api.BootStatus{Generation: b.Generation, Level: b.Level, Contested: b.Contested, Opened: api.Time{Time: b.Opened},
			Closes: api.Time{Time: b.Closes}, MediumRead: api.Time{Time: b.MediumRead}, LookedUp: api.Time{Time: b.Redeemed},
			Source: b.Source, AgentVersion: b.AgentVersion, Ended: b.Ended}
	}
	answer.Abort = conductor.AbortOf(n, records)
	for _, r := range records {
		answer.Steps = append(answer.Steps, stepView(r))
	}
	return c.json(http.StatusOK, answer)
}

// verbsFrom is what a caller may ask for in a state, in the wire's words.
func verbsFrom(s state.State) []string {
	out := []string{}
	if f, ok := state.FlowOf(s); ok && s == f.Doing {
		return out // the table's verbs from there are the server's own: a manual clean that ended, a delete that goes on
	}
	for _, e := range state.Legal(s) {
		for _, v := range api.Verbs() {
			if verbEvents[v.Target] == e {
				out = append(out, v.Target)
				break // further words for it are newer
			}
		}
	}
	return out
}

func stepView(r conductor.StepRecord) api.StepView {
	v := api.StepView{
		ID: r.ID, Order: r.Order, Attempt: r.Attempt, Step: r.Step.Name, Doc: r.Step.Doc, Where: r.Step.Where,
		Args: maskArgs(r.Step, r.Args), State: string(r.State), Generation: r.Generation, Progress: r.Progress,
		Abortable: r.Step.Abortable, Offered: api.Time{Time: r.Offered}, Started: api.Time{Time: r.Started},
		Ended: api.Time{Time: r.Ended}, Deadline: api.Time{Time: r.Deadline},
	}
	v.Log = r.Log
	if r.Result != nil {
		masked, _ := maskDeep(r.Result.Data).(map[string]any)
		v.Result = &step.Result{Data: masked, Reboot: r.Result.Reboot}
	}
	if r.Fault != nil {
		f := api.FaultOf(r.Fault)
		v.Fault = &f
	}
	return v
}

// maskArgs shows a step's arguments: only those the step declares, secret ones masked.
func maskArgs(s step.Step, args step.Args) map[string]any {
	out := map[string]any{}
	for _, a := range s.Args {
		v, given := args[a.Name]
		if !given {
			continue
		}
		if a.Secret || secretName(a.Name) {
			v = conductor.Masked
		}
		out[a.Name] = maskDeep(v)
	}
	return out
}

// patience gives the client of a stream some time for its next piece, in place of the time for a whole answer. The
// server's time-out for reading the request is lifted: it would end the stream.
func (c *call) patience() {
	rc := http.NewResponseController(c.w)
	_ = errors.Join(rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(c.api.cfg.Now().Add(streamSlow)))
}

func (c *call) logs() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	q, err := c.query("generation", "offset", "follow")
	if err != nil {
		return err
	}
	var generation uint64
	var offset int64
	if t := q.Get("generation"); t != "" {
		if generation, err = strconv.ParseUint(t, 10, 63); err != nil || generation == 0 {
			return fault.New(fault.RequestInvalid, "generation must be a number from 1 on, received %q", t)
		}
	}
	if t := q.Get("offset"); t != "" {
		if offset, err = strconv.ParseInt(t, 10, 64); err != nil || offset < 0 {
			return fault.New(fault.RequestInvalid, "offset must be a number from 0 on, received %q", t)
		}
	}
	follow := false
	if q.Has("follow") {
		if follow, err = api.Bool(q.Get("follow")); err != nil {
			return fault.New(fault.RequestInvalid, "follow: %v", err)
		}
	}
	if _, err := c.api.cfg.Backend.Node(c.r.Context(), id); err != nil {
		return err
	}
	ctx := c.r.Context()
	t := &tail{call: c, node: id, generation: generation, offset: offset, latest: generation == 0}
	var changed <-chan struct{}
	if follow {
		changed = c.api.cfg.Backend.Watch(ctx, id)
	}
	for {
		if err := t.copy(ctx, follow); err != nil {
			return err
		}
		if !follow {
			return nil
		}
		timer := time.NewTimer(logPoll)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case _, open := <-changed:
			if !open {
				changed = nil
			}
		case <-timer.C:
		}
		timer.Stop()
	}
}

// tail sends a log as it grows. With latest it goes on to the log of a newer boot.
type tail struct {
	*call
	node       string
	generation uint64
	offset     int64
	latest     bool
}

// copy sends what there is beyond offset.
func (t *tail) copy(ctx context.Context, follow bool) error {
	for {
		log, all, err := t.api.cfg.Backend.OpenLog(ctx, t.node, t.generation, t.offset)
		if err != nil {
			return err
		}
		if t.generation == 0 && len(all) > 0 {
			t.generation = slices.Max(all)
		}
		if !slices.Contains(all, t.generation) { // no line yet
			if err := log.Close(); err != nil || follow {
				return errors.Join(err, t.begin(all))
			}
			return fault.New(fault.LogNotFound, "no log of this boot is kept here").At(t.node, "")
		}
		err = t.begin(all)
		n := int64(0)
		if err == nil {
			n, err = io.Copy(patientWriter{t.call}, log)
		}
		t.offset += n
		if err = errors.Join(err, log.Close()); err != nil {
			return t.late(err)
		}
		if n > 0 {
			_ = http.NewResponseController(t.w).Flush()
		}
		if !t.latest || len(all) == 0 || slices.Max(all) <= t.generation {
			return nil
		}
		t.generation, t.offset = slices.Max(all), 0
	}
}

// begin sends the header once.
func (t *tail) begin(all []uint64) error {
	if t.sent {
		return nil
	}
	h := t.w.Header()
	h.Set("Content-Type", "application/x-ndjson")
	texts := make([]string, len(all))
	for i, g := range all {
		texts[i] = strconv.FormatUint(g, 10)
	}
	h.Set(api.HeaderLogGenerations, strings.Join(texts, ","))
	h.Set(api.HeaderLogGeneration, strconv.FormatUint(t.generation, 10))
	t.sent = true
	t.w.WriteHeader(http.StatusOK)
	t.patience()
	return http.NewResponseController(t.w).Flush()
}

// patientWriter renews the client's time with each piece.
type patientWriter struct{ c *call }

func (p patientWriter) Write(b []byte) (int, error) {
	p.c.patience()
	return p.c.w.Write(b)
}

// events streams changes: with node= those of one node, else of all.
func (c *call) events() error {
	q, err := c.query("node")
	if err != nil {
		return err
	}
	id := q.Get("node")
	s := &stream{call: c, seen: map[conductor.NodeID]api.Event{}}
	if id != "" {
		if id, err = ident(id); err != nil {
			return err
		}
		n, err := c.findNode(id)
		if err != nil {
			return err
		}
		s.one = string(n.UUID)
	}
	ctx := c.r.Context()
	changed := c.api.cfg.Backend.Watch(ctx, s.one)
	c.w.Header().Set("Content-Type", "text/event-stream")
	c.sent = true
	c.w.WriteHeader(http.StatusOK)
	c.patience()
	_ = http.NewResponseController(c.w).Flush()
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	for {
		if gone, err := s.send(ctx); err != nil || gone {
			return c.late(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-changed:
			if !open {
				return nil
			}
		case <-alive.C:
			if err := s.write(": alive\n\n"); err != nil {
				return c.late(err)
			}
			continue
		}
		if s.one != "" {
			continue
		}
		// Whoever watches a fleet is told twice a second at most.
		timer := time.NewTimer(settle)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// stream is one watcher's connection.
type stream struct {
	*call
	one  string // the node watched; "" is all
	seen map[conductor.NodeID]api.Event
}

// send tells the changes since the last time. Of a single node every token is told, since its steps may have moved.
func (s *stream) send(ctx context.Context) (gone bool, err error) {
	if s.one != "" {
		n, err := s.findNode(s.one)
		if fault.Is(err, fault.NotFound) {
			return true, s.event(api.Event{Node: conductor.NodeID(s.one), Gone: true})
		}
		if err != nil {
			return false, err
		}
		return false, s.event(s.eventOf(n))
	}
	now := map[conductor.NodeID]bool{}
	for after := conductor.NodeID(""); ; {
		nodes, err := s.api.cfg.Backend.Nodes(ctx, conductor.NodeFilter{Limit: maxPage, After: after, VisibleTo: s.visibleTo()})
		if err != nil {
			return false, err
		}
		for _, n := range nodes {
			now[n.UUID], after = true, n.UUID
			if e := s.eventOf(n); s.seen[n.UUID] != e {
				s.seen[n.UUID] = e
				if err := s.event(e); err != nil {
					return false, err
				}
			}
		}
		if len(nodes) < maxPage {
			break
		}
	}
	for id := range s.seen {
		if !now[id] {
			delete(s.seen, id)
			if err := s.event(api.Event{Node: id, Gone: true}); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

func (c *call) eventOf(n conductor.Node) api.Event {
	e := api.Event{Node: n.UUID, Name: n.Name, State: n.State, Target: n.Target, Power: string(n.Power),
		Maintenance: n.Maintenance, LastError: n.LastError}
	if e.LastError != "" && !c.grant.Sees(ownersOf(n), "last_error") {
		e.LastError = redaction
	}
	return e
}

func (s *stream) event(e api.Event) error {
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	return s.write("event: node\ndata: " + string(text) + "\n\n")
}

func (s *stream) write(text string) error {
	s.patience()
	if _, err := io.WriteString(s.w, text); err != nil {
		return err
	}
	return http.NewResponseController(s.w).Flush()
}
