package serve

import (
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Access (safety.md I26): what server/access decides is asked for here, before a route's handler runs, for the objects
// that the path names. What a handler touches beyond them, because a body or a query names it, it asks for by
// FindNode and mayOn; lists are filtered by the store (VisibleTo).

// owned is a path variable that names an object with an owner.
type owned struct {
	variable string
	// find gives whose the object is and its UUID. Its not_found fault is told as missing, like the refusal of an
	// object that the caller may not see: the two are not told apart.
	find    func(c *Call, ident string) (access.Object, string, error)
	missing func(c *Call, ident string) error
}

// ownedObjects are the variables of the routes' paths that name objects with an owner. A route without any is for
// users of a project only where its right's rule says so (access.Rule.Project).
var ownedObjects = []owned{
	{"node", func(c *Call, id string) (access.Object, string, error) {
		n, err := c.h.cfg.Backend.Node(c.R.Context(), id)
		return OwnersOf(n), string(n.UUID), err
	}, noNode},
	{"record", func(c *Call, id string) (access.Object, string, error) {
		r, err := c.h.cfg.Backend.Record(c.R.Context(), c.rt.Record.Kind, id)
		if err != nil {
			return access.Object{}, "", err
		}
		o, err := c.ownersOfRecord(r)
		return o, r.Top().UUID, err
	}, func(c *Call, id string) error { return c.rt.Record.Kind.Missing(id) }},
	{"webhook", func(c *Call, id string) (access.Object, string, error) {
		w, err := c.h.cfg.Backend.Webhook(c.R.Context(), id)
		return access.Object{Owner: w.Project}, w.UUID, err
	}, func(_ *Call, id string) error { return NoWebhook(id) }},
}

// Owned are the path variables that name objects with an owner: of these alone may a path name somebody's.
func Owned() []string {
	var out []string
	for _, o := range ownedObjects {
		out = append(out, o.variable)
	}
	return out
}

// owning is a record of a collection with owned.
type owning interface {
	OwnedBy() (project string, public bool)
}

// ownersOfRecord is whose a record is: its own owner's, or its node's. One that has neither is nobody's.
func (c *Call) ownersOfRecord(r conductor.Record) (access.Object, error) {
	if c.rt.Record.Owned {
		o, ok := r.(owning)
		if !ok {
			return access.Object{}, fault.New(fault.InternalError, "records of kind %s have no owner", c.rt.Record.Kind)
		}
		project, public := o.OwnedBy()
		return access.Object{Owner: project, Public: public}, nil
	}
	node := r.Keys().Node
	if node == "" {
		return access.Object{}, nil
	}
	n, err := c.h.cfg.Backend.Node(c.R.Context(), string(node))
	return OwnersOf(n), err
}

// NoWebhook tells that a webhook is not there, or not to the caller.
func NoWebhook(id string) error {
	return fault.New(fault.WebhookNotFound, "Webhook %s could not be found.", id)
}

func noNode(_ *Call, id string) error {
	return fault.New(fault.NodeNotFound, "Node %s could not be found.", id)
}

// OwnersOf is whose a node is.
func OwnersOf(n conductor.Node) access.Object { return access.Object{Owner: n.Owner, Lessee: n.Lessee} }

// permit decides whether the caller may use a route on what its path names. Users without a project need no look at
// the object: its owner does not matter to them.
func (c *Call) permit(rt Route) error {
	if rt.Need == access.Open {
		return nil
	}
	if _, ok := access.Lookup(rt.Need); !ok {
		return fault.New(fault.RequestForbidden, "%s %s has no rule of access, so nobody may use it", rt.Method, rt.Path).
			WithHint("this is a fault of the server: report it")
	}
	vars, found := mux.Vars(c.R), false
	if c.Grant.Project != "" {
		for _, o := range ownedObjects {
			given, there := vars[o.variable]
			if !there {
				continue
			}
			if id := c.pinned[o.variable]; id != "" { // decided for before: the name may be another's by now
				given = id
			}
			if err := c.permitOn(rt.Need, o, given); err != nil {
				return err
			}
			found = true
		}
	}
	if found {
		return nil
	}
	return c.Judged(rt.Need, c.Grant.Anywhere(rt.Need), "")
}

// permitOn decides about one object of the path. The handler is given its UUID: what the name stands for may change.
func (c *Call) permitOn(need access.Right, o owned, given string) error {
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
	verdict := c.Grant.On(of, need)
	if verdict == access.Hidden {
		c.Denied(need, uuid)
		return o.missing(c, id)
	}
	c.Pin(o.variable, uuid)
	return c.Judged(need, verdict, uuid)
}

// Pin keeps to the object that a path variable named.
func (c *Call) Pin(variable, uuid string) {
	if c.pinned == nil {
		c.pinned = map[string]string{}
	}
	c.pinned[variable] = uuid
}

// Still asks anew, for an answer that goes on, who the caller is and what that user is granted by now, and decides
// again: what was taken away meanwhile ends the stream. The credentials are those that the stream was opened with.
func (c *Call) Still() error {
	name, grant, err := c.h.cfg.Auth.Authenticate(c.R)
	if err != nil {
		return err
	}
	if name != c.Who.Name || grant.None() {
		return fault.New(fault.RequestForbidden, "user %s has no role on this server any more", c.Who.Name)
	}
	c.Grant = grant
	return c.permit(c.rt)
}

// Judged makes an error of a verdict that is not Granted.
func (c *Call) Judged(need access.Right, verdict access.Verdict, object string) error {
	if verdict == access.Granted {
		return nil
	}
	c.Denied(need, object)
	as := "user " + c.Who.Name + ", " + string(c.Grant.Role)
	if c.Grant.Project != "" {
		as += " of project " + c.Grant.Project
	}
	return fault.New(fault.RequestForbidden, "%s, may not do this: it needs the right %s", as, need).
		WithHint("ask an administrator; docs/reference/access.md lists which role has which right")
}

// MayOn decides about an act on a node that the path does not name.
func (c *Call) MayOn(need access.Right, n conductor.Node) error {
	verdict := c.Grant.On(OwnersOf(n), need)
	if verdict == access.Hidden {
		c.Denied(need, string(n.UUID))
		return noNode(c, string(n.UUID))
	}
	return c.Judged(need, verdict, string(n.UUID))
}

// FindNode is Backend.Node for a node that a query or body names: one that the caller may not see is not there.
func (c *Call) FindNode(ident string) (conductor.Node, error) {
	n, err := c.h.cfg.Backend.Node(c.R.Context(), ident)
	if c.Grant.Project == "" {
		return n, err
	}
	if fault.Is(err, fault.NotFound) || err == nil && c.Grant.Stands(OwnersOf(n)) == access.Stranger {
		return conductor.Node{}, noNode(c, ident)
	}
	return n, err
}

// Seen are those of some nodes' UUIDs that the caller may see.
func (c *Call) Seen(ids []string) []string {
	if c.Grant.Project == "" {
		return ids
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		_, err := c.FindNode(id)
		return err != nil
	})
}

// MayRefer refuses the name of a node in a body that the caller may not see, in the words for one that is not there.
func (c *Call) MayRefer(name any) error {
	_, err := c.referred(name)
	return err
}

// referred is the node that a body names, to a caller for whom it matters whose it is; else the zero node.
func (c *Call) referred(name any) (conductor.Node, error) {
	id, ok := name.(string)
	if c.Grant.Project == "" || !ok || id == "" {
		return conductor.Node{}, nil
	}
	n, err := c.FindNode(id)
	if fault.Is(err, fault.NotFound) {
		return n, fault.New(fault.RequestInvalid, "Node %s could not be found.", id)
	}
	return n, err
}

// MayBeParent refuses the parent node that a body names, unless the caller may see it and set its parent_node as well:
// what is below a node changes what may be done with that. It gives the UUID, since what a name stands for may change.
func (c *Call) MayBeParent(name any) (any, error) {
	parent, err := c.referred(name)
	if err != nil || parent.UUID == "" {
		return name, err
	}
	return string(parent.UUID), c.MaySet(parent, []string{"parent_node"})
}

// VisibleTo is the project whose objects a list is kept to; "" for those who see all.
func (c *Call) VisibleTo() string { return c.Grant.Project }

// MaySet decides whether the caller may set the named fields of a node.
func (c *Call) MaySet(n conductor.Node, fields []string) error {
	for _, f := range fields {
		if c.Grant.Sets(OwnersOf(n), f) != access.Granted {
			return c.Judged(access.Right("node.set."+f), access.Refused, string(n.UUID))
		}
	}
	return nil
}

// BodyNode is the node that a body names by UUID: not found it is a wrong request.
func (c *Call) BodyNode(id string) (conductor.NodeID, error) {
	if c.Grant.Project == "" && shape.IsUUID(id) { // whose it is does not matter, and whether it is there the conductor looks itself
		var err error
		if c.Refers != "" {
			err = c.MayOn(c.Refers, conductor.Node{})
		}
		return conductor.NodeID(strings.ToLower(id)), err
	}
	n, err := c.FindNode(id)
	if fault.Is(err, fault.NotFound) {
		return "", fault.New(fault.RequestInvalid, "Node %s could not be found.", id)
	}
	if err == nil && c.Refers != "" {
		err = c.MayOn(c.Refers, n)
	}
	return n.UUID, err
}
