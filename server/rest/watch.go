package rest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/doctor"
	"github.com/bessemer-metal/bessemer/server/rest/mask"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// What one watches a node by: its steps and its agent's log; events.go has its changes.

const (
	logPoll    = time.Second      // how often a followed log is looked at
	streamSlow = 30 * time.Second // how long a client may take to read what is sent
)

func (a *API) steps(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	q, err := c.Query("run")
	if err != nil {
		return err
	}
	n, err := a.cfg.Backend.Node(c.R.Context(), id)
	if err != nil {
		return err
	}
	records, err := a.cfg.Backend.Steps(c.R.Context(), id, q.Get("run"))
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
	answer.Abort = doctor.AbortOf(n, records)
	for _, r := range records {
		answer.Steps = append(answer.Steps, stepView(r))
	}
	return c.JSON(http.StatusOK, answer)
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
		Args: mask.Args(r.Step, r.Args), State: string(r.State), Generation: r.Generation, Progress: r.Progress,
		Abortable: r.Step.Abortable, Offered: api.Time{Time: r.Offered}, Started: api.Time{Time: r.Started},
		Ended: api.Time{Time: r.Ended}, Deadline: api.Time{Time: r.Deadline},
	}
	v.Log = r.Log
	if r.Result != nil {
		masked, _ := mask.Deep(r.Result.Data).(map[string]any)
		v.Result = &step.Result{Data: masked, Reboot: r.Result.Reboot}
	}
	if r.Fault != nil {
		f := api.FaultOf(r.Fault)
		v.Fault = &f
	}
	return v
}

func (a *API) logs(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	q, err := c.Query("generation", "offset", "follow")
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
	follow, err := serve.Flag(q, "follow")
	if err != nil {
		return err
	}
	n, err := a.cfg.Backend.Node(c.R.Context(), id)
	if err != nil {
		return err
	}
	id = string(n.UUID)
	c.Pin("node", id)
	ctx := c.R.Context()
	t := &tail{Call: c, api: a, node: id, generation: generation, offset: offset, latest: generation == 0}
	var changed <-chan struct{}
	if follow {
		changed = a.cfg.Backend.Watch(ctx, id)
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
		if err := c.Still(); err != nil { // there may be nothing to write, and so nobody to ask
			return err
		}
	}
}

// tail sends a log as it grows. With latest it goes on to the log of a newer boot.
type tail struct {
	*serve.Call
	api        *API
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
			n, err = io.Copy(patientWriter{t.Call}, log)
		}
		t.offset += n
		if err = errors.Join(err, log.Close()); err != nil {
			return t.Late(err)
		}
		if n > 0 {
			_ = http.NewResponseController(t.W).Flush()
		}
		if !t.latest || len(all) == 0 || slices.Max(all) <= t.generation {
			return nil
		}
		t.generation, t.offset = slices.Max(all), 0
	}
}

// begin sends the header once.
func (t *tail) begin(all []uint64) error {
	if t.Begun() {
		return nil
	}
	h := t.W.Header()
	texts := make([]string, len(all))
	for i, g := range all {
		texts[i] = strconv.FormatUint(g, 10)
	}
	h.Set(api.HeaderLogGenerations, strings.Join(texts, ","))
	h.Set(api.HeaderLogGeneration, strconv.FormatUint(t.generation, 10))
	t.Begin("application/x-ndjson")
	t.Patience()
	return http.NewResponseController(t.W).Flush()
}

// patientWriter renews the client's time with each piece, and asks what the caller is granted: the piece may be younger
// than the loss of the right to see it.
type patientWriter struct{ c *serve.Call }

func (p patientWriter) Write(b []byte) (int, error) {
	if err := p.c.Still(); err != nil {
		return 0, err
	}
	p.c.Patience()
	return p.c.W.Write(b)
}
