// Package serve answers requests by a table of routes. It does what every request needs, whatever it is for: request id,
// version headers, credentials, access (safety.md I26), the bounds of what is read (I25), and errors in Ironic's form. A
// handler gets a Call: who asks and what that user may, what the request says, and the ways to answer. What is behind a
// route the package does not know.
//
// Start at Handler.ServeHTTP; access.go decides before a handler runs.
package serve

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/login"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Config is what requests are served with.
type Config struct {
	Backend Backend
	Auth    login.Authenticator
	Public  string           // base URL in links; "" takes scheme and host of each request, never what a header says of another
	Now     func() time.Time // wall time
	Log     *slog.Logger
}

// Backend is what access looks at, and writes to. Every ident is a UUID or a name; errors are faults.
type Backend interface {
	Node(ctx context.Context, ident string) (conductor.Node, error)
	Record(ctx context.Context, kind conductor.Kind, ident string) (conductor.Record, error)
	Webhook(ctx context.Context, uuid string) (conductor.Webhook, error)
	// Note writes an act into the audit that changes nothing else: a log-in, a refusal.
	Note(ctx context.Context, who conductor.Caller, act string, node conductor.NodeID, detail map[string]any) error
}

// Bounds of the requests.
const (
	MaxBody      = 1 << 20  // bytes of most bodies
	MaxProvision = 64 << 20 // bytes of a body with a config drive
	MaxPage      = 1000     // objects of a list
	maxDepth     = 25
	// AnswerTime is how long an answer that does not ask for Patience may take to begin, and each piece of it to be read.
	AnswerTime = 2 * time.Minute
	streamSlow = 30 * time.Second // how long a client may take to read what is sent
)

// Route is a row of a table of routes.
type Route struct {
	Method, Path string
	Need         access.Right // what the caller must be granted; a route without is denied
	Record       *Records     // which {record} of the path is meant
	Since        api.Version
	Query        []Argument // what the query may have; anything else is refused
	Body         int64      // bytes a request may carry; 0 takes none, < 0 leaves it to the handler
	Handle       func(c *Call) error
}

// Absent is the row of a method that before its version is not served (405), where else nothing would be at its path
// (404); path is the version that has the path.
func (rt Route) Absent(path api.Version) Route {
	since, handle := rt.Since, rt.Handle
	rt.Since = 0
	rt.Handle = func(c *Call) error {
		if c.Version < since {
			c.Routing = c.Version < path
			return fault.New(fault.MethodNotAllowed, "%s is not served at %s before version %s; %s was asked for", c.R.Method, c.R.URL.Path, since, c.Version)
		}
		return handle(c)
	}
	return rt
}

// Records is the records of one kind, as far as a path names them.
type Records struct {
	Kind  conductor.Kind
	Named api.Version // a name in the path will do for the UUID from there on; 0: never
	Owned bool        // each has an owner of its own (OwnedBy); else it is its node's
}

// Handler is the handler of all routes.
type Handler struct {
	cfg                  Config
	router               *Router
	handlers             []http.Handler // of the routes, in their order
	nothing, otherMethod http.Handler
	told                 told
	cross                *http.CrossOriginProtection
}

// New makes the handler of the routes that router was compiled from, in the same order.
func New(cfg Config, router *Router, routes []Route) *Handler {
	h := &Handler{cfg: cfg, router: router, cross: http.NewCrossOriginProtection()}
	h.nothing = h.serve(Route{Need: access.Open, Handle: func(c *Call) error {
		c.Routing = true
		return fault.New(fault.RequestPath, "There is nothing at this path.")
	}})
	h.otherMethod = h.serve(Route{Need: access.Open, Handle: func(c *Call) error {
		c.Routing = true
		return fault.New(fault.MethodNotAllowed, "%s is not served at %s", c.R.Method, c.R.URL.Path)
	}})
	for _, rt := range routes {
		h.handlers = append(h.handlers, h.serve(rt))
	}
	return h
}

// Call is one request on its way through a handler.
type Call struct {
	W       http.ResponseWriter
	R       *http.Request // its body is bounded
	Version api.Version   // asked for
	Who     conductor.Caller
	Grant   access.Grant
	Base    string       // scheme and host for links
	Refers  access.Right // what nodes need that a body names (BodyNode); "" asks for nothing
	Routing bool         // an error is of the way to an endpoint: its body has the router's form

	h        *Handler
	rt       Route
	query    url.Values // as readQuery left it
	refusals []refusal
	pinned   map[string]string // path variables of objects that access was decided for, as their UUIDs
	sent     bool              // the status line is out
}

type contextKey struct{}

// ServeHTTP does what every request needs, whatever it is for: request id, version headers, the path's canonical form,
// credentials. The router does the rest.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &Call{h: h, W: w, R: r, Version: api.MinVersion}
	c.Who.Request = "req-" + newUUID()
	head := w.Header()
	head.Set(api.HeaderRequest, c.Who.Request)
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Cache-Control", "no-store")
	defer c.recover()
	_ = http.NewResponseController(w).SetWriteDeadline(h.cfg.Now().Add(AnswerTime)) // not there in tests without a socket

	version, parsed, err := api.Negotiate(r.Header)
	if parsed {
		head.Set(api.HeaderMinVersion, api.MinVersion.String())
		head.Set(api.HeaderMaxVersion, api.MaxVersion.String())
	}
	if err == nil {
		c.Version = version
		head.Set(api.HeaderVersion, version.String())
	}
	if version >= 107 {
		head.Set(api.HeaderRequestX, c.Who.Request)
	}
	head.Add("Vary", api.HeaderVersion)
	c.Base = h.base(r)

	path := canonical(r.URL.Path, c.Version)
	r = r.WithContext(context.WithValue(r.Context(), contextKey{}, c))
	r.URL.Path, r.URL.RawPath = path, ""
	c.R = r
	if hostErr := h.checkHost(r); hostErr != nil {
		c.fail(hostErr)
		return
	}
	if crossErr := h.cross.Check(r); crossErr != nil {
		c.fail(fault.New(fault.RequestForbidden, "a web page of another origin may not change anything here"))
		return
	}
	if !h.router.open.Match(r, &mux.RouteMatch{}) {
		name, grant, authErr := h.cfg.Auth.Authenticate(r)
		if authErr != nil {
			c.unauthenticated(authErr, h.cfg.Auth.Realm())
			return
		}
		c.Who.Name, c.Grant = name, grant
		if loginErr := c.login(); loginErr != nil {
			c.fail(loginErr)
			return
		}
	}
	if err != nil {
		c.Routing = path != "/" // whose own errors have the form of an endpoint's
		c.fail(err)
		return
	}
	h.router.all.ServeHTTP(w, r)
}

// serve wraps the handler of a route: version gate, access, body bound, error.
func (h *Handler) serve(rt Route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := r.Context().Value(contextKey{}).(*Call)
		c.W, c.R, c.rt = w, r, rt // the router's request carries the path variables
		if rt.Since > c.Version {
			c.Routing = rt.hidden()
			c.fail(fault.New(fault.RequestPath, "There is nothing at this path before version %s; %s was asked for.", rt.Since, c.Version))
			return
		}
		if err := c.permit(rt); err != nil {
			c.fail(err)
			return
		}
		if rt.Path != "" {
			if err := c.readQuery(rt); err != nil {
				c.fail(err)
				return
			}
		}
		if rt.Body >= 0 {
			r.Body = http.MaxBytesReader(w, r.Body, rt.Body)
		}
		if err := rt.Handle(c); err != nil {
			c.fail(err)
		}
	})
}

// recover turns a panic of a handler into an error answer and a log entry.
func (c *Call) recover() {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	c.h.cfg.Log.Error("handler crashed", "request", c.Who.Request, "path", c.R.URL.Path, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	c.fail(fault.New(fault.InternalError, "an unexpected error happened; the server's log has it under %s", c.Who.Request))
}

// checkHost keeps a name that an attacker points at this address (DNS rebinding) from reaching an API that asks for no
// credentials: such an API answers to addresses, to localhost and to the name of the public URL only.
func (h *Handler) checkHost(r *http.Request) error {
	if h.cfg.Auth.Realm() != "" {
		return nil
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if _, err := netip.ParseAddr(host); err == nil || strings.EqualFold(host, "localhost") || host == "" {
		return nil
	}
	if u, err := url.Parse(h.cfg.Public); err == nil && strings.EqualFold(host, u.Hostname()) {
		return nil
	}
	return fault.New(fault.RequestForbidden, "the server asks for no credentials and therefore does not answer to the name %q", host).
		WithHint("use its address, name it in the server's setting public_url, or start the server with --auth basic")
}

// base is what links begin with.
func (h *Handler) base(r *http.Request) string {
	if h.cfg.Public != "" {
		return strings.TrimSuffix(h.cfg.Public, "/")
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// canonical is the path as the routes have it: below /v1, without a slash at the end and, below 1.91, without .json.
func canonical(path string, v api.Version) string {
	path = "/" + strings.Trim(path, "/")
	if path == "/" {
		return path
	}
	if v < 91 {
		path = strings.TrimSuffix(path, ".json")
	}
	if path != "/v1" && !strings.HasPrefix(path, "/v1/") {
		path = "/v1" + path
	}
	return path
}

// newUUID is a random UUID (RFC 9562 version 4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
