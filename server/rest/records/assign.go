package records

import (
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Records take what a client gave field by field: a collection has a table of setters, and one loop goes by it.

// setter puts a field of a checked document into a record.
type setter[R any] func(c *serve.Call, to *R, d document, field string) error

// fieldTable is a collection's setters, whatever its records are.
type fieldTable interface {
	has(field string) bool
	assign(c *serve.Call, r conductor.Record, d document, names []string) error
}

// setters is a collection's table, by field. uuid and name are every record's, and are in it only where a name is more
// than a name.
type setters[R any] map[string]setter[R]

// has tells whether a field can be set.
func (s setters[R]) has(field string) bool {
	return s[field] != nil || field == "uuid" || field == "name"
}

// assign puts the named fields into a record.
func (s setters[R]) assign(c *serve.Call, r conductor.Record, d document, names []string) error {
	to := any(r).(*R)
	for _, name := range names {
		if set := s[name]; set != nil {
			if err := set(c, to, d, name); err != nil {
				return err
			}
		} else if err := d.head(r.Top(), name); err != nil {
			return err
		}
	}
	return nil
}

func textTo[R any](at func(*R) *string) setter[R] {
	return func(_ *serve.Call, to *R, d document, field string) error { *at(to) = d.text(field); return nil }
}

func flagTo[R any](at func(*R) *bool) setter[R] {
	return func(_ *serve.Call, to *R, d document, field string) error { *at(to) = d.flag(field); return nil }
}

func objectTo[R any](at func(*R) *map[string]any) setter[R] {
	return func(_ *serve.Call, to *R, d document, field string) error { *at(to) = d.object(field); return nil }
}

// traitTo takes what is a trait's name, too.
func traitTo[R any](at func(*R) *string) setter[R] {
	return func(_ *serve.Call, to *R, d document, field string) error {
		*at(to) = d.text(field)
		return shape.CheckTrait(*at(to))
	}
}

// nodeTo takes the node that a record is made for, and stays with; what is the record's kind in words.
func nodeTo[R any](what string, at func(*R) *conductor.NodeID) setter[R] {
	return func(c *serve.Call, to *R, d document, field string) (err error) {
		*at(to), err = sameNode(c, what, *at(to), d.text(field))
		return err
	}
}

// networkTo takes a physical network: null is none, and empty is a mistake.
func networkTo[R any](at func(*R) *string) setter[R] {
	return func(_ *serve.Call, to *R, d document, field string) error {
		if d[field] == "" {
			return fault.New(fault.RequestInvalid, "%s must not be empty", field)
		}
		*at(to) = d.text(field)
		return nil
	}
}
