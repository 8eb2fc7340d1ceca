package serve

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Argument is a query argument that a route takes. The rows of the table of routes list them, and nothing else does: what
// is not in its row is refused before the handler runs, and the API's description is made of them.
type Argument struct {
	Name  string
	Kind  api.Kind    // Text ("" too), UUID, Flag, Integer, List
	Since api.Version // before it the argument is refused with 406; 0: never
	Early api.Version // before it the argument is refused with 400; 0: never
	Doc   string
}

// readQuery checks the arguments of a request against its route's: each is known, given once, of its kind, and not newer
// than the version, in this order, which is Ironic's. UUIDs are in lower case from here on. A list may be given in pieces,
// as Ironic takes it.
func (c *Call) readQuery(rt Route) error {
	q, err := url.ParseQuery(c.R.URL.RawQuery)
	if err != nil {
		return fault.New(fault.RequestInvalid, "the query is malformed")
	}
	var unknown []string
	for name := range q {
		if _, ok := rt.takes(name); !ok {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		f := fault.New(fault.RequestInvalid, "Unexpected arguments: %s", strings.Join(unknown, ", "))
		if len(rt.Query) == 0 {
			return f.WithHint("%s %s takes no arguments in the query", rt.Method, rt.Path)
		}
		var known []string
		for _, a := range rt.Query {
			known = append(known, a.Name)
		}
		return f.WithHint("the query may have %s", strings.Join(known, ", "))
	}
	for _, a := range rt.Query {
		values := q[a.Name]
		if len(values) == 0 {
			continue
		}
		if a.Kind == api.List {
			values = []string{strings.Join(values, ",")}
			q[a.Name] = values
		}
		if len(values) > 1 {
			return fault.New(fault.RequestInvalid, "the query argument %s is given %d times", a.Name, len(values))
		}
		if values[0], err = a.read(values[0]); err != nil {
			return err
		}
	}
	for _, a := range rt.Query {
		if q.Has(a.Name) && a.Early > c.Version {
			return fault.New(fault.RequestInvalid, "the query argument %s is there from version %s on, %s was asked for", a.Name, a.Early, c.Version)
		}
		if q.Has(a.Name) && a.Since > c.Version {
			return fault.New(fault.RequestVersion, "the query argument %s is there from version %s on, %s was asked for", a.Name, a.Since, c.Version)
		}
	}
	c.query = q
	return nil
}

// takes finds an argument of a route.
func (rt Route) takes(name string) (Argument, bool) {
	i := slices.IndexFunc(rt.Query, func(a Argument) bool { return a.Name == name })
	if i < 0 {
		return Argument{}, false
	}
	return rt.Query[i], true
}

// read checks a value and gives it in its one form.
func (a Argument) read(value string) (string, error) {
	switch a.Kind {
	case api.UUID:
		return strings.ToLower(value), shape.WantUUID(a.Name, value)
	case api.Flag:
		if _, err := api.Bool(value); err != nil {
			return "", fault.New(fault.RequestInvalid, "%s: %v", a.Name, err)
		}
	case api.Integer:
		if _, err := strconv.ParseInt(value, 10, 64); err != nil {
			return "", fault.New(fault.RequestInvalid, "%s must be a whole number, received %q", a.Name, value)
		}
	}
	return value, nil
}

// Given tells whether the query has an argument. To ask for one that the route does not list is a fault of the program,
// as it would never be there.
func (c *Call) Given(name string) bool {
	if _, ok := c.rt.takes(name); !ok {
		panic(c.rt.Method + " " + c.rt.Path + " does not list the query argument " + name)
	}
	return c.query.Has(name)
}

// Arg is the value of an argument; "" when it is not given.
func (c *Call) Arg(name string) string {
	if !c.Given(name) {
		return ""
	}
	return c.query.Get(name)
}

// Flag is an argument that is true or false; one that is not given is false.
func (c *Call) Flag(name string) bool {
	on, err := api.Bool(c.Arg(name))
	return err == nil && on
}
