package serve

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/failpoint"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// JSON answers with a body.
func (c *Call) JSON(status int, v any) error {
	body, err := shape.AppendValue(nil, v)
	if err != nil {
		return err
	}
	return c.Raw(status, body)
}

// Raw answers with a body that is JSON already.
func (c *Call) Raw(status int, body []byte) error {
	c.W.Header().Set("Content-Type", "application/json")
	c.sent = true
	if failpoint.On {
		defer c.answering()()
	}
	c.W.WriteHeader(status)
	_, err := c.Write(body)
	return c.Late(err)
}

// answerPiece is as much as a client must read within AnswerTime.
const answerPiece = 64 << 10

// Write sends a part of an answer. Each piece of it has its time: a long answer on a bad link may take long, but not stand still.
func (c *Call) Write(b []byte) (n int, err error) {
	for piece := range slices.Chunk(b, answerPiece) {
		_ = http.NewResponseController(c.W).SetWriteDeadline(c.h.cfg.Now().Add(AnswerTime)) // not there in tests without a socket
		sent, err := c.W.Write(piece)
		if n += sent; err != nil {
			return n, err
		}
	}
	return n, nil
}

// Begin answers 200 with a body of a type that the handler writes by itself.
func (c *Call) Begin(contentType string) {
	c.W.Header().Set("Content-Type", contentType)
	c.sent = true
	c.W.WriteHeader(http.StatusOK)
}

// Begun tells whether the status line is out.
func (c *Call) Begun() bool { return c.sent }

// Empty answers without one.
func (c *Call) Empty(status int) error {
	c.sent = true
	if failpoint.On {
		defer c.answering()()
	}
	c.W.WriteHeader(status)
	return nil
}

// answering marks both sides of the answer to a request that changed something.
func (c *Call) answering() (after func()) {
	if c.R == nil || c.R.Method == http.MethodGet || c.R.Method == http.MethodHead {
		return func() {}
	}
	failpoint.Here("rest.answer.before")
	return func() {
		_ = http.NewResponseController(c.W).Flush() // so that the mark is behind the answer
		failpoint.Here("rest.answer.after")
	}
}

// Late notes an error after the status line: nothing can be told to the client any more.
func (c *Call) Late(err error) error {
	if err != nil {
		c.h.cfg.Log.Debug("answer not sent", "request", c.Who.Request, "error", err)
	}
	return nil
}

// fail answers with an error in Ironic's form and logs what an operator of the server should know of.
func (c *Call) fail(err error) {
	c.tellRefusals()
	f := fault.From(err)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		f = fault.New(fault.RequestTooLarge, "the body is larger than the %d bytes taken here", tooLarge.Limit)
	}
	status := api.Status(f)
	if status >= 500 {
		c.h.cfg.Log.Error("request failed", "request", c.Who.Request, "method", c.R.Method, "path", c.R.URL.Path,
			"reason", f.Reason, "error", err, "cause", f.Cause)
	}
	if c.sent {
		return
	}
	// To ramdisks alone: Ironic's own client takes any answer with this header but 413 for a fault of its program, where
	// it would try again.
	if f.Code.Retriable() && c.rt.Need == access.Open {
		c.W.Header().Set("Retry-After", "5")
	}
	if status == http.StatusMethodNotAllowed {
		c.W.Header().Set("Allow", strings.Join(c.h.router.methods(c.R), ", "))
	}
	form := api.NewErrorBody
	if c.Routing {
		form = api.NewRouterErrorBody
	}
	_ = c.JSON(status, form(f, c.Who.Request))
}

// unauthenticated answers in the form that Ironic's HTTP basic has, with reason and hint as every error.
func (c *Call) unauthenticated(err error, realm string) {
	f := fault.From(err)
	status := http.StatusBadRequest
	if f.Code == fault.Unauthenticated {
		status = http.StatusUnauthorized
		c.W.Header().Set("WWW-Authenticate", "Basic realm="+strconv.Quote(realm))
	}
	if f.Code == fault.Unavailable {
		status = http.StatusServiceUnavailable
	}
	_ = c.JSON(status, map[string]any{"error": map[string]any{"message": f.Message, "code": status, "reason": string(f.Reason), "hint": f.Hint}})
}

// Accepted answers 202 with the place where the outcome is to be seen.
func (c *Call) Accepted(id string) error {
	if given := c.Var("node"); given != "" {
		id = given
	}
	c.W.Header().Set("Location", c.Base+"/v1/nodes/"+id+"/states")
	return c.Empty(http.StatusAccepted)
}

// Patience gives the client of a stream some time for its next piece, in place of the time for a whole answer. The
// time for reading the request stays: it ends by itself once the body is read, and must not end before (safety.md T6).
func (c *Call) Patience() {
	_ = http.NewResponseController(c.W).SetWriteDeadline(c.h.cfg.Now().Add(streamSlow))
}
