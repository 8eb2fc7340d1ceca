package serve

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Page is what every list takes: limit, marker, sort_key, sort_dir, fields, detail.
type Page struct {
	Limit  int
	Marker string
	Key    string
	Down   bool
	Alone  bool // there is no other page
	Sel    shape.Selection
	Query  url.Values // to repeat in next
}

// FieldsArgument is that of what shows one object or several.
var FieldsArgument = Argument{Name: "fields", Kind: api.List, Doc: "names of the fields to show, with commas between them"}

// OrderArguments are those that Ordered reads.
func OrderArguments() []Argument {
	return []Argument{
		{Name: "limit", Kind: api.Integer, Doc: "how many at most"},
		{Name: "marker", Kind: api.UUID, Doc: "the last one of the page before"},
		{Name: "sort_key", Doc: "the field to sort by"},
		{Name: "sort_dir", Doc: "asc or desc"},
	}
}

// PageArguments are those that PageOf reads; with detail the path says already what is shown.
func PageArguments(detail bool) []Argument {
	if detail {
		return OrderArguments()
	}
	return append(OrderArguments(), FieldsArgument, Argument{Name: "detail", Kind: api.Flag, Early: 43, Doc: "show every field"})
}

// Ordered reads the arguments of every list but those that say what is shown.
func (c *Call) Ordered() (p Page, err error) {
	p = Page{Query: c.query, Marker: c.Arg("marker")}
	if shape.IsUUID(p.Marker) { // in one that may be a name, too
		p.Marker = strings.ToLower(p.Marker)
	}
	if p.Limit, err = c.Limit(); err != nil {
		return p, err
	}
	if c.Given("sort_dir") {
		dir := c.Arg("sort_dir")
		if dir != "asc" && dir != "desc" {
			return p, fault.New(fault.RequestInvalid, "Invalid sort direction: %s. Acceptable values are 'asc' or 'desc'", dir)
		}
		p.Down = dir == "desc"
	}
	if key := c.Arg("sort_key"); key != "id" {
		p.Key = key
	}
	return p, nil
}

// PageOf reads the arguments of a list; detail is what the path says.
func (c *Call) PageOf(s *shape.Shape, detail bool) (Page, error) {
	p, err := c.Ordered()
	if err != nil {
		return p, err
	}
	if p.Key != "" {
		if err := s.Sortable(p.Key, c.Version); err != nil {
			return p, err
		}
	}
	if detail {
		p.Sel = s.All(c.Version, false)
		return p, nil
	}
	if _, ok := c.rt.takes("detail"); ok && c.Given("detail") {
		detail = c.Flag("detail")
	}
	if detail && c.Given("fields") {
		return p, fault.New(fault.RequestInvalid, "Can't fetch a subset of fields with 'detail' set")
	}
	if list := c.Arg("fields"); len(shape.Items(list)) > 0 {
		p.Sel, err = s.Wanted(list, c.Version)
		return p, err
	}
	p.Sel = s.All(c.Version, !detail)
	return p, nil
}

// Limit is the limit of a list.
func (c *Call) Limit() (int, error) {
	if !c.Given("limit") {
		return MaxPage, nil
	}
	n, err := strconv.Atoi(c.Arg("limit"))
	if err != nil || n < 1 {
		return 0, fault.New(fault.RequestInvalid, "Limit must be a positive number, received %q", c.Arg("limit"))
	}
	return min(n, MaxPage), nil
}

// Next is the URL of the page after one that is full and ends with marker.
func (c *Call) Next(p Page, count int, marker string) string {
	if count < p.Limit || p.Alone {
		return ""
	}
	q := url.Values{}
	for k, v := range p.Query {
		q[k] = v
	}
	q.Set("limit", strconv.Itoa(p.Limit))
	q.Set("marker", marker)
	return c.Base + c.R.URL.Path + "?" + q.Encode()
}
