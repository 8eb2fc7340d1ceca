package rest

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/gorilla/mux"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Access (safety.md I26): what server/access decides is asked for here, before a route's handler runs, for the objects
// that the path names. What a handler touches beyond them, because a body or a query names it, it asks for by
// findNode and mayOn; lists are filtered by the store (visibleTo).

// Auditor writes acts into the audit that change nothing else: log-ins and refusals.
type Auditor interface {
	Note(ctx context.Context, who conductor.Caller, act string, node conductor.NodeID, detail map[string]any) error
}

// owned is a path variable that names an object with an owner.
type owned struct {
	variable string
	// find gives whose the object is and its UUID. Its not_found fault is told as missing, like the refusal of an
	// object that the caller may not see: the two are not told apart.
	find    func(c *call, ident string) (access.Object, string, error)
	missing func(c *call, ident string) error
}

// ownedObjects are the variables of the routes' paths that name objects with an owner. A route without any is for
// users of a project only where its right's rule says so (access.Rule.Project).
var ownedObjects = []owned{
	{"node", func(c *call, id string) (access.Object, string, error) {
		n, err := c.api.cfg.Backend.Node(c.r.Context(), id)
		return ownersOf(n), string(n.UUID), err
	}, noNode},
	{"record", func(c *call, id string) (access.Object, string, error) {
		r, err := c.api.cfg.Backend.Record(c.r.Context(), c.of.kind, id)
		if err != nil {
			return access.Object{}, "", err
		}
		o, err := c.ownersOfRecord(r)
		return o, r.Top().UUID, err
	}, func(c *call, id string) error { return c.of.kind.Missing(id) }},
	ownedWebhook,
}

// owning is a record of a collection with owned.
type owning interface {
	OwnedBy() (project string, public bool)
}

// ownersOfRecord is whose a record is: its own owner's, or its node's. One that has neither is nobody's.
func (c *call) ownersOfRecord(r conductor.Record) (access.Object, error) {
	if c.of.owned {
		o, ok := r.(owning)
		if !ok {
			return access.Object{}, fault.New(fault.InternalError, "records of kind %s have no owner", c.of.kind)
		}
		project, public := o.OwnedBy()
		return access.Object{Owner: project, Public: public}, nil
	}
	node := r.Keys().Node
	if node == "" {
		return access.Object{}, nil
	}
	n, err := c.api.cfg.Backend.Node(c.r.Context(), string(node))
	return ownersOf(n), err
}

func noNode(_ *call, id string) error {
	return fault.New(fault.NodeNotFound, "Node %s could not be found.", id)
}

// ownersOf is whose a node is.
func ownersOf(n conductor.Node) access.Object { return access.Object{Owner: n.Owner, Lessee: n.Lessee} }

// permit decides whether the caller may use a route on what its path names. Users without a project need no look at
// the object: its owner does not matter to them.
func (c *call) permit(rt route) error {
	if rt.need == access.Open {
		return nil
	}
	if _, ok := access.Lookup(rt.need); !ok {
		return fault.New(fault.RequestForbidden, "%s %s has no rule of access, so nobody may use it", rt.method, rt.path).
			WithHint("this is a fault of the server: report it")
	}
	vars, found := mux.Vars(c.r), false
	c.rt, c.of = rt, rt.record
	if c.grant.Project != "" {
		for _, o := range ownedObjects {
			given, there := vars[o.variable]
			if !there {
				continue
			}
			if id := c.pinned[o.variable]; id != "" { // decided for before: the name may be another's by now
				given = id
			}
			if err := c.permitOn(rt.need, o, given); err != nil {
				return err
			}
			found = true
		}
	}
	if found {
		return nil
	}
	return c.judged(rt.need, c.grant.Anywhere(rt.need), "")
}

// permitOn decides about one object of the path. The handler is given its UUID: what the name stands for may change.
func (c *call) permitOn(need access.Right, o owned, given string) error {
	id, err := shape.Ident(given)
	if err != nil {
		return err
	}
	of, uuid, err := o.find(c, id)
	if fault.Is(err, fault.NotFound) {
		return o.missing(c, id)
	}
	if err != nil {
		return err
	}
	verdict := c.grant.On(of, need)
	if verdict == access.Hidden {
		c.denied(need, uuid)
		return o.missing(c, id)
	}
	c.pin(o.variable, uuid)
	return c.judged(need, verdict, uuid)
}

// pin keeps to the object that a path variable named.
func (c *call) pin(variable, uuid string) {
	if c.pinned == nil {
		c.pinned = map[string]string{}
	}
	c.pinned[variable] = uuid
}

// still asks anew, for an answer that goes on, who the caller is and what that user is granted by now, and decides
// again: what was taken away meanwhile ends the stream. The credentials are those that the stream was opened with.
func (c *call) still() error {
	name, grant, err := c.api.cfg.Auth.Authenticate(c.r)
	if err != nil {
		return err
	}
	if name != c.who.Name || grant.None() {
		return fault.New(fault.RequestForbidden, "user %s has no role on this server any more", c.who.Name)
	}
	c.grant = grant
	return c.permit(c.rt)
}

// judged makes an error of a verdict that is not Granted.
func (c *call) judged(need access.Right, verdict access.Verdict, object string) error {
	if verdict == access.Granted {
		return nil
	}
	c.denied(need, object)
	as := "user " + c.who.Name + ", " + string(c.grant.Role)
	if c.grant.Project != "" {
		as += " of project " + c.grant.Project
	}
	return fault.New(fault.RequestForbidden, "%s, may not do this: it needs the right %s", as, need).
		WithHint("ask an administrator; docs/reference/access.md lists which role has which right")
}

// mayOn decides about an act on a node that the path does not name.
func (c *call) mayOn(need access.Right, n conductor.Node) error {
	verdict := c.grant.On(ownersOf(n), need)
	if verdict == access.Hidden {
		c.denied(need, string(n.UUID))
		return noNode(c, string(n.UUID))
	}
	return c.judged(need, verdict, string(n.UUID))
}

// findNode is Backend.Node for a node that a query or body names: one that the caller may not see is not there.
func (c *call) findNode(ident string) (conductor.Node, error) {
	n, err := c.api.cfg.Backend.Node(c.r.Context(), ident)
	if c.grant.Project == "" {
		return n, err
	}
	if fault.Is(err, fault.NotFound) || err == nil && c.grant.Stands(ownersOf(n)) == access.Stranger {
		return conductor.Node{}, noNode(c, ident)
	}
	return n, err
}

// mayRefer refuses the name of a node in a body that the caller may not see, in the words for one that is not there.
func (c *call) mayRefer(name any) error {
	_, err := c.referred(name)
	return err
}

// referred is the node that a body names, to a caller for whom it matters whose it is; else the zero node.
func (c *call) referred(name any) (conductor.Node, error) {
	id, ok := name.(string)
	if c.grant.Project == "" || !ok || id == "" {
		return conductor.Node{}, nil
	}
	n, err := c.findNode(id)
	if fault.Is(err, fault.NotFound) {
		return n, fault.New(fault.RequestInvalid, "Node %s could not be found.", id)
	}
	return n, err
}

// mayBeParent refuses the parent node that a body names, unless the caller may see it and set its parent_node as well:
// what is below a node changes what may be done with that. It gives the UUID, since what a name stands for may change.
func (c *call) mayBeParent(name any) (any, error) {
	parent, err := c.referred(name)
	if err != nil || parent.UUID == "" {
		return name, err
	}
	return string(parent.UUID), c.maySet(parent, []string{"parent_node"})
}

// visibleTo is the project whose objects a list is kept to; "" for those who see all.
func (c *call) visibleTo() string { return c.grant.Project }

// maySet decides whether the caller may set the named fields of a node.
func (c *call) maySet(n conductor.Node, fields []string) error {
	for _, f := range fields {
		if c.grant.Sets(ownersOf(n), f) != access.Granted {
			return c.judged(access.Right("node.set."+f), access.Refused, string(n.UUID))
		}
	}
	return nil
}

// What of the same is written into the audit: once in so long.
const (
	loginEvery  = time.Hour
	deniedEvery = time.Minute
	maxTold     = 4096
)

// told remembers what was written into the audit lately, so that who repeats a request does not fill it.
type told struct {
	mu sync.Mutex
	at map[[3]string]time.Time
}

func (t *told) due(key [3]string, now time.Time, every time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, ok := t.at[key]; ok && now.Sub(last) < every && !now.Before(last) {
		return false
	}
	if t.at == nil || len(t.at) >= maxTold {
		t.at = map[[3]string]time.Time{}
	}
	t.at[key] = now
	return true
}

// login records who comes from where for the first time in an hour, and refuses those who have no role.
func (c *call) login() error {
	if c.grant.None() {
		c.denied("login", "")
		return fault.New(fault.RequestForbidden, "user %s has no role on this server", c.who.Name).
			WithHint("an administrator adds a line to the server's roles file: %s:admin, operator or observer, and for one project :PROJECT", c.who.Name)
	}
	if c.api.cfg.Auth.Realm() == "" {
		return nil // nobody logs in
	}
	from := c.source()
	if c.api.told.due([3]string{"login", c.who.Name, from}, c.api.cfg.Now(), loginEvery) {
		c.note("login", map[string]any{"from": from, "role": string(c.grant.Role), "project": c.grant.Project})
	}
	return nil
}

// denied notes an attempt of a user who has proved to be one. Those of strangers change nothing here (I24). It is
// written when the request has failed: a decision may be made inside a transaction of the store.
func (c *call) denied(need access.Right, object string) {
	c.refusals = append(c.refusals, refusal{need, object})
}

type refusal struct {
	need   access.Right
	object string
}

// tellRefusals writes what was denied into the audit.
func (c *call) tellRefusals() {
	for _, r := range c.refusals {
		if c.api.told.due([3]string{"denied", c.who.Name, string(r.need)}, c.api.cfg.Now(), deniedEvery) {
			c.note("access.denied", map[string]any{"right": string(r.need), "object": r.object, "method": c.r.Method, "path": c.r.URL.Path, "from": c.source()})
		}
	}
	c.refusals = nil
}

func (c *call) note(act string, detail map[string]any) {
	// The request's own outcome does not hang on it: what it changes is audited with it, in one transaction.
	if err := c.api.cfg.Backend.Note(context.WithoutCancel(c.r.Context()), c.who, act, "", detail); err != nil {
		c.api.cfg.Log.Error("the audit could not be written", "act", act, "request", c.who.Request, "user", c.who.Name, "err", err)
	}
}

// source is the address a request comes from.
func (c *call) source() string {
	host, _, err := net.SplitHostPort(c.r.RemoteAddr)
	if err != nil {
		return c.r.RemoteAddr
	}
	return host
}
