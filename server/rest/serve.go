package rest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/gorilla/mux"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/limit"
	"github.com/bessemer-metal/bessemer/server/rest/mask"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// API is the handler of everything below / on the API listener.
type API struct {
	cfg Config
	routers
	handlers             []http.Handler // of the routes, in their order
	nothing, otherMethod http.Handler
	told                 told
	budgets              *limit.Buckets[netip.Addr] // of who asks without credentials
	cross                *http.CrossOriginProtection
	hosts                []string // names of this server in links of drivers and conductors
	sealed               mask.Drivers
	// interfaces is what each driver supports, by driver and interface, the default first.
	interfaces map[string]map[string][]string
	form       string // of the prepared rows that may be shown
	buffers    sync.Pool
	node       *shape.Shape
	beside     []*collection
}

// New makes the handler.
func New(cfg Config) *API {
	a := &API{
		cfg: cfg, cross: http.NewCrossOriginProtection(), hosts: []string{cfg.Hostname},
		node: shape.New(api.Node{}, api.NodeFields()), beside: collections(),
		budgets: limit.NewBuckets[netip.Addr](openRate, openBurst, cfg.Now),
	}
	a.learn(cfg.Backend.Drivers())
	a.form = cfg.Form
	a.routers = compiled[cfg.Images != nil]()
	a.nothing = a.serve(route{need: access.Open, handle: func(c *call) error {
		c.routing = true
		return fault.New(fault.RequestPath, "There is nothing at this path.")
	}})
	a.otherMethod = a.serve(route{need: access.Open, handle: func(c *call) error {
		c.routing = true
		return fault.New(fault.MethodNotAllowed, "%s is not served at %s", c.r.Method, c.r.URL.Path)
	}})
	for _, rt := range a.routes() {
		a.handlers = append(a.handlers, a.serve(rt))
	}
	return a
}

// learn keeps what the hardware types say of themselves.
func (a *API) learn(drivers []conductor.Driver) {
	a.sealed, a.interfaces = mask.Of(drivers), map[string]map[string][]string{}
	for _, d := range drivers {
		a.interfaces[d.Name()] = d.Interfaces()
	}
}

// route is a row of the table in routes.go.
type route struct {
	method, path string
	need         access.Right // what the caller must be granted; a route without is denied
	record       *collection  // whose record {record} names
	since        api.Version
	body         int64 // bytes a request may carry; 0 takes none, < 0 leaves it to the handler
	handle       func(c *call) error
}

// call is one request on its way through a handler.
type call struct {
	api      *API
	w        http.ResponseWriter
	r        *http.Request
	version  api.Version
	who      conductor.Caller
	grant    access.Grant
	rt       route
	of       *collection // of the route's records
	refusals []refusal
	refers   access.Right      // what nodes need that a body names
	pinned   map[string]string // path variables of objects that access was decided for, as their UUIDs
	base     string            // scheme and host for links
	sent     bool              // the status line is out
	routing  bool              // an error is of the way to an endpoint: its body has the router's form
	// backfill is the node that the body of a new allocation names.
	backfill conductor.NodeID
}

type contextKey struct{}

// ServeHTTP does what every request needs, whatever it is for: request id, version headers, the path's canonical form,
// credentials. The router does the rest.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{api: a, w: w, r: r, version: api.MinVersion}
	c.who.Request = "req-" + newUUID()
	h := w.Header()
	h.Set(api.HeaderRequest, c.who.Request)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	defer c.recover()
	_ = http.NewResponseController(w).SetWriteDeadline(a.cfg.Now().Add(answerTime)) // not there in tests without a socket

	version, parsed, err := api.Negotiate(r.Header)
	if parsed {
		h.Set(api.HeaderMinVersion, api.MinVersion.String())
		h.Set(api.HeaderMaxVersion, api.MaxVersion.String())
	}
	if err == nil {
		c.version = version
		h.Set(api.HeaderVersion, version.String())
	}
	if version >= 107 {
		h.Set(api.HeaderRequestX, c.who.Request)
	}
	h.Add("Vary", api.HeaderVersion)
	c.base = a.base(r)

	path := canonical(r.URL.Path, c.version)
	r = r.WithContext(context.WithValue(r.Context(), contextKey{}, c))
	r.URL.Path, r.URL.RawPath = path, ""
	c.r = r
	if hostErr := a.checkHost(r); hostErr != nil {
		c.fail(hostErr)
		return
	}
	if crossErr := a.cross.Check(r); crossErr != nil {
		c.fail(fault.New(fault.RequestForbidden, "a web page of another origin may not change anything here"))
		return
	}
	if !a.routers.open.Match(r, &mux.RouteMatch{}) {
		name, grant, authErr := a.cfg.Auth.Authenticate(r)
		if authErr != nil {
			c.unauthenticated(authErr, a.cfg.Auth.Realm())
			return
		}
		c.who.Name, c.grant = name, grant
		if loginErr := c.login(); loginErr != nil {
			c.fail(loginErr)
			return
		}
	}
	if err != nil && path != "/" { // there a client learns which versions there are
		c.routing = true
		c.fail(err)
		return
	}
	a.routers.all.ServeHTTP(w, r)
}

// serve wraps the handler of a route: version gate, access, body bound, error.
func (a *API) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := r.Context().Value(contextKey{}).(*call)
		c.w, c.r = w, r // the router's request carries the path variables
		if rt.since > c.version {
			c.routing = rt.hidden()
			c.fail(fault.New(fault.RequestPath, "There is nothing at this path before version %s; %s was asked for.", rt.since, c.version))
			return
		}
		if err := c.permit(rt); err != nil {
			c.fail(err)
			return
		}
		if rt.body >= 0 {
			r.Body = http.MaxBytesReader(w, r.Body, rt.body)
		}
		if err := rt.handle(c); err != nil {
			c.fail(err)
		}
	})
}

// recover turns a panic of a handler into an error answer and a log entry.
func (c *call) recover() {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	c.api.cfg.Log.Error("handler crashed", "request", c.who.Request, "path", c.r.URL.Path, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	c.fail(fault.New(fault.InternalError, "an unexpected error happened; the server's log has it under %s", c.who.Request))
}

// checkHost keeps a name that an attacker points at this address (DNS rebinding) from reaching an API that asks for no
// credentials: such an API answers to addresses and to localhost only.
func (a *API) checkHost(r *http.Request) error {
	if a.cfg.Auth.Realm() != "" {
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
	return fault.New(fault.RequestForbidden, "the server asks for no credentials and therefore does not answer to the name %q", host).
		WithHint("use its address, or start the server with --auth basic")
}

// base is what links begin with.
func (a *API) base(r *http.Request) string {
	if a.cfg.Public != "" {
		return strings.TrimSuffix(a.cfg.Public, "/")
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
