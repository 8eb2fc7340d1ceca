package differential

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Answer is what one server said.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Difference is one thing in which two answers to a request differ.
type Difference struct {
	Label   string // the request's, if it has one
	Request string // METHOD PATH?QUERY
	Version string
	Part    string // "status 500→400", "header NAME", "body POINTER"; indices of lists are * in pointers
	Theirs  string
	Ours    string
}

func (d Difference) String() string {
	label := ""
	if d.Label != "" {
		label = d.Label + ": "
	}
	return fmt.Sprintf("%s%s (%s): %s: theirs %s, ours %s", label, d.Request, d.Version, d.Part, cut(d.Theirs), cut(d.Ours))
}

func cut(s string) string {
	if r := []rune(s); len(r) > 160 {
		return string(r[:160]) + "…"
	}
	return s
}

// compared are the headers that clients read. Request ids are compared by their form.
var compared = []string{
	"Content-Type", "Location", "Openstack-Request-Id", "Www-Authenticate",
	"X-Openstack-Ironic-Api-Version", "X-Openstack-Ironic-Api-Minimum-Version", "X-Openstack-Ironic-Api-Maximum-Version",
}

// Compare gives the differences of two normalised answers. Where the statuses differ, nothing else is compared: the
// bodies are of different things.
func Compare(l Line, version string, theirs, ours Answer) []Difference {
	var out []Difference
	differs := func(part, a, b string) {
		out = append(out, Difference{Label: l.Label, Request: l.Method + " " + l.Path, Version: version, Part: part, Theirs: a, Ours: b})
	}
	if theirs.Status != ours.Status {
		differs(fmt.Sprintf("status %d→%d", theirs.Status, ours.Status), string(theirs.Body), string(ours.Body))
		return out
	}
	for _, name := range compared {
		a, b := theirs.Header.Get(name), ours.Header.Get(name)
		if name == "Content-Type" && len(theirs.Body) == 0 && len(ours.Body) == 0 {
			continue // of nothing
		}
		if a != b {
			differs("header "+name, strconv.Quote(a), strconv.Quote(b))
		}
	}
	a, errA := value(theirs.Body)
	b, errB := value(ours.Body)
	if errA != nil || errB != nil {
		if string(theirs.Body) != string(ours.Body) {
			differs("body", string(theirs.Body), string(ours.Body))
		}
		return out
	}
	diff("", a, b, func(pointer, a, b string) { differs("body "+pointer, a, b) })
	return out
}

// value reads a body. Within an error, the text that is JSON itself is read too.
func value(body []byte) (any, error) {
	if len(body) == 0 {
		return nil, nil
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, err
	}
	if m, ok := v.(map[string]any); ok {
		if text, ok := m["error_message"].(string); ok {
			var inner any
			if json.Unmarshal([]byte(text), &inner) == nil {
				m["error_message"] = inner
			}
		}
	}
	return v, nil
}

func diff(at string, a, b any, differs func(pointer, a, b string)) {
	if at == "" {
		at = "/"
	}
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			diffObjects(at, x, y, differs)
			return
		}
	case []any:
		if y, ok := b.([]any); ok && len(x) == len(y) {
			for i := range x {
				diff(below(at, "*"), x[i], y[i], differs)
			}
			return
		}
	}
	if p, q := show(a), show(b); p != q {
		differs(at, p, q)
	}
}

func diffObjects(at string, x, y map[string]any, differs func(pointer, a, b string)) {
	var keys []string
	for k := range x {
		keys = append(keys, k)
	}
	for k := range y {
		if _, both := x[k]; !both {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		p, inX := x[k]
		q, inY := y[k]
		switch {
		case !inX:
			differs(below(at, k), "absent", show(q))
		case !inY:
			differs(below(at, k), show(p), "absent")
		default:
			diff(below(at, k), p, q, differs)
		}
	}
}

func below(at, key string) string {
	if at == "/" {
		return "/" + key
	}
	return at + "/" + key
}

func show(v any) string {
	text, err := json.Marshal(v) // keys are sorted
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Normaliser makes one server's answers comparable: what each server makes up by itself becomes a word.
type Normaliser struct {
	URL  string // the server's address
	Host string // the name it has for itself
}

var (
	madeID   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	moment   = regexp.MustCompile(`"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?\+00:00"`)
	requests = "0000-4000-8000-" // every id that requests give holds this
)

// Answer normalises status, headers and body.
func (n Normaliser) Answer(a Answer) Answer {
	a.Body = []byte(moment.ReplaceAllString(n.text(string(a.Body)), `"TIME"`))
	h := a.Header.Clone()
	for name, values := range h {
		for i := range values {
			h[name][i] = n.text(values[i])
		}
	}
	h.Set("Content-Type", strings.ToLower(strings.ReplaceAll(h.Get("Content-Type"), " ", "")))
	if strings.HasPrefix(h.Get("Content-Type"), "application/json;charset=utf-8") {
		h.Set("Content-Type", "application/json") // JSON is UTF-8 (RFC 8259)
	}
	a.Header = h
	return a
}

func (n Normaliser) text(s string) string {
	s = strings.ReplaceAll(s, n.URL, "http://API")
	s = strings.ReplaceAll(s, `"`+n.Host+`"`, `"HOST"`)
	s = strings.ReplaceAll(s, "/conductors/"+n.Host, "/conductors/HOST")
	return madeID.ReplaceAllStringFunc(s, func(id string) string {
		if strings.Contains(id, requests) {
			return id
		}
		return "MADE-ID"
	})
}
