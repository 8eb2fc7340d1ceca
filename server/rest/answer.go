package rest

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gorilla/mux"

	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/failpoint"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// json answers with a body.
func (c *call) json(status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.raw(status, body)
}

// raw answers with a body that is JSON already.
func (c *call) raw(status int, body []byte) error {
	c.w.Header().Set("Content-Type", "application/json")
	c.sent = true
	if failpoint.On {
		defer c.answering()()
	}
	c.w.WriteHeader(status)
	_, err := c.w.Write(body)
	return c.late(err)
}

// empty answers without one.
func (c *call) empty(status int) error {
	c.sent = true
	if failpoint.On {
		defer c.answering()()
	}
	c.w.WriteHeader(status)
	return nil
}

// answering marks both sides of the answer to a request that changed something.
func (c *call) answering() (after func()) {
	if c.r == nil || c.r.Method == http.MethodGet || c.r.Method == http.MethodHead {
		return func() {}
	}
	failpoint.Here("rest.answer.before")
	return func() {
		_ = http.NewResponseController(c.w).Flush() // so that the mark is behind the answer
		failpoint.Here("rest.answer.after")
	}
}

// late notes an error after the status line: nothing can be told to the client any more.
func (c *call) late(err error) error {
	if err != nil {
		c.api.cfg.Log.Debug("answer not sent", "request", c.who.Request, "error", err)
	}
	return nil
}

// fail answers with an error in Ironic's form and logs what an operator of the server should know of.
func (c *call) fail(err error) {
	c.tellRefusals()
	f := fault.From(err)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		f = fault.New(fault.RequestTooLarge, "the body is larger than the %d bytes taken here", tooLarge.Limit)
	}
	status := api.Status(f)
	if status >= 500 {
		c.api.cfg.Log.Error("request failed", "request", c.who.Request, "method", c.r.Method, "path", c.r.URL.Path,
			"reason", f.Reason, "error", err, "cause", f.Cause)
	}
	if c.sent {
		return
	}
	if f.Code.Retriable() {
		c.w.Header().Set("Retry-After", "5")
	}
	form := api.NewErrorBody
	if c.routing {
		form = api.NewRouterErrorBody
	}
	_ = c.json(status, form(f, c.who.Request))
}

// unauthenticated answers in the form that Ironic's HTTP basic has.
func (c *call) unauthenticated(err error, realm string) {
	f := fault.From(err)
	status := http.StatusBadRequest
	if f.Code == fault.Unauthenticated {
		status = http.StatusUnauthorized
		c.w.Header().Set("WWW-Authenticate", "Basic realm="+strconv.Quote(realm))
	}
	if f.Code == fault.Unavailable {
		status = http.StatusServiceUnavailable
	}
	_ = c.json(status, map[string]any{"error": map[string]any{"message": f.Message, "code": status}})
}

// node is the identifier in the path; characters that no name or UUID has are refused.
// Names are there from version 1.5 on: before it a node is known by its UUID only.
func (c *call) node() (string, error) {
	if s := mux.Vars(c.r)["node"]; c.version < 5 && shape.IsName(s) && !shape.IsUUID(s) {
		return "", fault.New(fault.NodeNotFound, "there is no node with the UUID %q", s)
	}
	return c.named("node")
}

// named is the identifier that a path variable holds, or the UUID for which access was decided.
func (c *call) named(variable string) (string, error) {
	if id := c.pinned[variable]; id != "" {
		return id, nil
	}
	return shape.Ident(mux.Vars(c.r)[variable])
}

// query gives the arguments when each is known and given once.
func (c *call) query(known ...string) (url.Values, error) {
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, fault.New(fault.RequestInvalid, "the query is malformed")
	}
	var unknown []string
	for name, values := range q {
		if !slices.Contains(known, name) {
			unknown = append(unknown, name)
		} else if len(values) > 1 {
			return nil, fault.New(fault.RequestInvalid, "the query argument %s is given %d times", name, len(values))
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return nil, fault.New(fault.RequestInvalid, "Unexpected arguments: %s", strings.Join(unknown, ", "))
	}
	return q, nil
}

// flag is an argument that is true or false; one that is not given is false.
func flag(q url.Values, name string) (bool, error) {
	if !q.Has(name) {
		return false, nil
	}
	on, err := api.Bool(q.Get(name))
	if err != nil {
		return false, fault.New(fault.RequestInvalid, "%s: %v", name, err)
	}
	return on, nil
}

// body decodes a JSON object of known keys. With optional an empty body is an empty object.
func (c *call) body(optional bool, known ...string) (map[string]any, error) {
	v, err := c.decode()
	if err != nil {
		if optional && errors.Is(err, io.EOF) {
			return map[string]any{}, nil
		}
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fault.New(fault.RequestInvalid, "the body must be a JSON object")
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if len(known) > 0 && !slices.Contains(known, k) {
			return nil, fault.New(fault.RequestInvalid, "%q is not known here; known are %s", k, strings.Join(known, ", "))
		}
	}
	return m, nil
}

// decode reads a bounded JSON value.
func (c *call) decode() (any, error) {
	var v any
	if err := api.Decode(c.r.Body, maxProvision, &v); err != nil {
		return nil, err
	}
	if deeper(v, maxDepth) {
		return nil, fault.New(fault.RequestInvalid, "the body is nested deeper than %d levels", maxDepth)
	}
	return v, nil
}

func deeper(v any, levels int) bool {
	switch t := v.(type) {
	case map[string]any:
		for _, x := range t {
			if levels == 0 || deeper(x, levels-1) {
				return true
			}
		}
		return levels == 0
	case []any:
		for _, x := range t {
			if levels == 0 || deeper(x, levels-1) {
				return true
			}
		}
		return levels == 0
	}
	return false
}
