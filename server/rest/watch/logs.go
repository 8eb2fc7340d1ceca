package watch

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

const (
	logPoll = time.Second // how often a followed log is looked at
)

func (a *API) logs(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	var generation uint64
	var offset int64
	if t := c.Arg("generation"); t != "" {
		if generation, err = strconv.ParseUint(t, 10, 63); err != nil || generation == 0 {
			return fault.New(fault.RequestInvalid, "generation must be a number from 1 on, received %q", t)
		}
	}
	if t := c.Arg("offset"); t != "" {
		if offset, err = strconv.ParseInt(t, 10, 64); err != nil || offset < 0 {
			return fault.New(fault.RequestInvalid, "offset must be a number from 0 on, received %q", t)
		}
	}
	follow := c.Flag("follow")
	n, err := a.backend.Node(c.R.Context(), id)
	if err != nil {
		return err
	}
	id = string(n.UUID)
	c.Pin("node", id)
	ctx := c.R.Context()
	t := &tail{Call: c, api: a, node: id, generation: generation, offset: offset, latest: generation == 0}
	var changed <-chan struct{}
	if follow {
		changed = a.backend.Watch(ctx, id)
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
		log, all, err := t.api.backend.OpenLog(ctx, t.node, t.generation, t.offset)
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
