package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// LogQuery selects a part of an agent's log.
type LogQuery struct {
	Generation uint64 // 0: the newest boot; followed, also those after it
	Offset     int64
	Follow     bool
}

// Logs streams the agent's log, JSON lines. The stream of a followed log ends with ctx, or with a lost connection.
func (c *Client) Logs(ctx context.Context, node string, l LogQuery) (io.ReadCloser, error) {
	q := url.Values{}
	if l.Generation > 0 {
		q.Set("generation", strconv.FormatUint(l.Generation, 10))
	}
	if l.Offset > 0 {
		q.Set("offset", strconv.FormatInt(l.Offset, 10))
	}
	if l.Follow {
		q.Set("follow", "true")
	}
	answer, err := c.open(ctx, http.MethodGet, at(node, "logs"), q, nil, -1)
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

// quiet is how long an event stream may say nothing, its signs of life included, before the connection counts as lost.
const quiet = 45 * time.Second

// Watch calls changed for every event of the node (all nodes when it is "") until changed returns an error, which comes
// back, or ctx ends. A lost connection is made again, with growing pauses, for a minute; the server tells the present
// state at the start of each, so nothing is missed.
func (c *Client) Watch(ctx context.Context, node string, changed func(api.Event) error) error {
	const first, longest, giveUp = 250 * time.Millisecond, 5 * time.Second, time.Minute
	pause, lost := first, time.Duration(0)
	for {
		heard, err := c.watchOnce(ctx, node, changed)
		var stop *stopped
		if errors.As(err, &stop) {
			return stop.err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if heard {
			pause, lost = first, 0
		}
		f := fault.From(err)
		if err != nil && f.Reason != fault.ServerUnreachable && !f.Code.Retriable() {
			return err
		}
		if lost >= giveUp {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
		lost += pause
		pause = min(2*pause, longest)
	}
}

// stopped carries the error with which the caller ends a watch.
type stopped struct{ err error }

func (s *stopped) Error() string { return "watch ended" }

// watchOnce reads one connection's events; heard tells whether there was any.
func (c *Client) watchOnce(ctx context.Context, node string, changed func(api.Event) error) (heard bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	q := url.Values{}
	if node != "" {
		q.Set("node", node)
	}
	answer, err := c.open(ctx, http.MethodGet, "/v1/events", q, nil, -1)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	lostErr := fault.New(fault.ServerUnreachable, "the connection to %s was lost", c.base)
	alive := time.AfterFunc(quiet, func() { cancel(lostErr) })
	defer alive.Stop()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		alive.Reset(quiet)
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		heard = true
		var e api.Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return heard, fault.New(fault.RequestInvalid, "the server's event can't be read").Because(err)
		}
		if err := changed(e); err != nil {
			return heard, &stopped{err}
		}
		if e.Gone && node != "" {
			return heard, &stopped{fault.New(fault.NodeNotFound, "node %s was deleted", node)}
		}
	}
	return heard, lostErr.Because(lines.Err())
}

// PutImage uploads an image of size bytes (-1 when unknown) and tells progress what is sent.
func (c *Client) PutImage(ctx context.Context, name string, image io.Reader, size int64, progress func(sent int64)) (api.Image, error) {
	answer, err := c.open(ctx, http.MethodPut, "/v1/images/"+url.PathEscape(name), nil, &counted{r: image, tell: progress}, size)
	if err != nil {
		return api.Image{}, err
	}
	defer answer.Body.Close()
	var i api.Image
	if err := json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(&i); err != nil {
		return i, fault.New(fault.ServerUnreachable, "the answer to the upload can't be read").Because(err)
	}
	return i, nil
}

// counted tells how much was read through it.
type counted struct {
	r    io.Reader
	n    int64
	tell func(int64)
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	if c.tell != nil {
		c.tell(c.n)
	}
	return n, err
}
