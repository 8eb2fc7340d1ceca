package serve

import (
	"net/url"
	"strconv"

	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Page is what every list takes: limit, marker, sort_key, sort_dir, fields, detail.
type Page struct {
	Limit  int
	Marker string
	Key    string
	Down   bool
	Sel    shape.Selection
	Query  url.Values // to repeat in next
}

// PageArguments are the query arguments that PageOf reads.
func PageArguments() []string {
	return []string{"limit", "marker", "sort_key", "sort_dir", "fields", "detail"}
}

// PageOf reads the arguments of a list; detail is what the path says.
func (c *Call) PageOf(q url.Values, s *shape.Shape, detail bool) (Page, error) {
	p := Page{Limit: MaxPage, Marker: q.Get("marker"), Query: q}
	var err error
	if p.Limit, err = Limit(q); err != nil {
		return p, err
	}
	if p.Marker != "" {
		if err := shape.WantUUID("marker", p.Marker); err != nil {
			return p, err
		}
	}
	switch q.Get("sort_dir") {
	case "", "asc":
	case "desc":
		p.Down = true
	default:
		return p, fault.New(fault.RequestInvalid, "Invalid sort direction: %s. Acceptable values are 'asc' or 'desc'", q.Get("sort_dir"))
	}
	if key := q.Get("sort_key"); key != "" {
		if err := s.Sortable(key, c.Version); err != nil {
			return p, err
		}
		if key != "id" {
			p.Key = key
		}
	}
	if q.Has("detail") {
		if c.Version < 43 {
			return p, fault.New(fault.RequestInvalid, "detail is there from version 1.43 on, %s was asked for", c.Version)
		}
		asked, err := Flag(q, "detail")
		if err != nil {
			return p, err
		}
		detail = detail || asked
	}
	if list := q.Get("fields"); list != "" {
		if detail {
			return p, fault.New(fault.RequestInvalid, "Can't fetch a subset of fields with 'detail' set")
		}
		p.Sel, err = s.Wanted(list, c.Version)
		return p, err
	}
	p.Sel = s.All(c.Version, !detail)
	return p, nil
}

// Limit is the limit of a list.
func Limit(q url.Values) (int, error) {
	text := q.Get("limit")
	if !q.Has("limit") {
		return MaxPage, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fault.New(fault.RequestInvalid, "Limit must be a positive number, received %q", text)
	}
	return min(n, MaxPage), nil
}

// Next is the URL of the page after one that is full and ends with marker.
func (c *Call) Next(p Page, count int, marker string) string {
	if count < p.Limit {
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
