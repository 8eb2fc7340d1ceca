// Package selection says which nodes a command acts on, and keeps to it: a grammar of field comparisons, the frozen
// list of nodes that it found, and a run over that list which looks at each node again and leaves out what has changed
// meanwhile, so that a run never touches more than was shown. It prints nothing and knows no verbs.
//
// Start at Parse for the grammar, Freeze for the list, Selection.Run for acting on it.
package selection

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Grammar is the language of Parse for people.
const Grammar = `An expression is comparisons parted by commas; all must hold. A comparison is FIELD OP VALUE:

  =  !=        equal or not; * in VALUE stands for any text, a|b for a or b, an empty VALUE for "not set"
  ~  !~        holds the text or not
  <  <=  >  >= less or more: numbers as numbers, anything else as text; what is not set is neither

FIELD is a field of the node (name, driver, resource_class, owner, maintenance, traits ...) or leads into an object:
properties.cpu_arch, extra.rack. state, power and class are short for provision_state, power_state and resource_class.
A list such as traits is equal to VALUE when it holds it. A VALUE with a comma or a bar stands in double quotes.`

// Query is an expression that was read. The zero Query matches every node.
type Query struct {
	text  string
	terms []term
}

type term struct {
	path   []string // field, then keys into it
	op     string
	values []value // alternatives; one for < and the like
}

type value struct {
	text   string
	quoted bool // stars are plain
}

// pattern tells whether a star in the value stands for any text.
func (v value) pattern() bool { return !v.quoted && strings.Contains(v.text, "*") }

// short are the other names of fields.
var short = map[string]string{"state": "provision_state", "power": "power_state", "class": "resource_class", "trait": "traits"}

// operators, the longer ones first.
var operators = []string{"!=", "!~", "<=", ">=", "=", "~", "<", ">"}

// filters are the fields that the server compares itself, by an argument of the same name.
var filters = []string{"provision_state", "driver", "resource_class", "fault", "conductor_group", "owner", "maintenance", "retired", "instance_uuid"}

// Parse reads an expression. Errors say what is wrong with it, for the operator who wrote it.
func Parse(text string) (Query, error) {
	q := Query{text: strings.TrimSpace(text)}
	if q.text == "" {
		return q, fmt.Errorf("the expression is empty; it is FIELD=VALUE[,...]: state=manageable")
	}
	parts, err := split(q.text, ',')
	if err != nil {
		return q, err
	}
	for _, part := range parts {
		t, err := parseTerm(strings.TrimSpace(part))
		if err != nil {
			return q, err
		}
		q.terms = append(q.terms, t)
	}
	return q, nil
}

// split parts a text at a sign that does not stand in double quotes.
func split(text string, at rune) ([]string, error) {
	var out []string
	var b strings.Builder
	quoted := false
	for _, r := range text {
		if r == '"' {
			quoted = !quoted
		}
		if r == at && !quoted {
			out = append(out, b.String())
			b.Reset()
			continue
		}
		b.WriteRune(r)
	}
	if quoted {
		return nil, fmt.Errorf("%q has a double quote that is not closed", text)
	}
	return append(out, b.String()), nil
}

func parseTerm(text string) (term, error) {
	at := strings.IndexAny(text, "=!~<>")
	if at <= 0 {
		return term{}, fmt.Errorf("%q is no comparison; expected FIELD=VALUE, or another of the operators %s", text, strings.Join(operators, " "))
	}
	t := term{path: strings.Split(strings.TrimSpace(text[:at]), ".")}
	for _, op := range operators {
		if strings.HasPrefix(text[at:], op) {
			t.op = op
			break
		}
	}
	if t.op == "" { // a lone "!"
		return t, fmt.Errorf("%q is no comparison; the operators are %s", text, strings.Join(operators, " "))
	}
	if full, ok := short[t.path[0]]; ok {
		t.path[0] = full
	}
	f, err := field(t.path[0])
	if err != nil {
		return t, err
	}
	if len(t.path) > 1 && f.Kind != api.Map {
		return t, fmt.Errorf("%s is no object, so %s leads nowhere", f.Name, strings.Join(t.path, "."))
	}
	alternatives, err := split(strings.TrimSpace(text[at+len(t.op):]), '|')
	if err != nil {
		return t, err
	}
	for _, v := range alternatives {
		v := value{text: strings.TrimSpace(v)}
		if inner, ok := strings.CutPrefix(v.text, `"`); ok && strings.HasSuffix(inner, `"`) {
			v = value{strings.TrimSuffix(inner, `"`), true}
		}
		t.values = append(t.values, v)
	}
	return t, t.check(f)
}

// field finds the row of a node's field.
func field(name string) (api.Field, error) {
	var names []string
	for _, f := range api.NodeFields() {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	near := slices.DeleteFunc(names, func(n string) bool { return !strings.Contains(n, strings.Trim(name, "_ ")) })
	if len(near) > 0 && len(near) < 6 {
		return api.Field{}, fmt.Errorf("nodes have no field %q; did you mean %s?", name, strings.Join(near, " or "))
	}
	return api.Field{}, fmt.Errorf("nodes have no field %q; bessemer node show NODE -o json shows all of them", name)
}

// check refuses comparisons that are mistakes: a state that is none, a flag that is neither, and the empty value, as of a
// shell's variable that is unset, which every text holds and is no less than.
func (t term) check(f api.Field) error {
	if t.op != "=" && t.op != "!=" {
		name := strings.Join(t.path, ".")
		switch {
		case len(t.values) > 1:
			return fmt.Errorf("%s takes one value, not %d parted by bars", t.op, len(t.values))
		case t.values[0].text == "":
			return fmt.Errorf("%s%s has no value, and would match every node or none: give one, or %s= for nodes where it is not set and %s!= for those where it is", name, t.op, name, name)
		}
		return nil
	}
	if len(t.path) > 1 {
		return nil
	}
	for i, v := range t.values {
		switch {
		case v.text == "" || v.pattern():
		case f.Name == "provision_state" && !slices.Contains(state.All(), state.State(v.text)):
			return fmt.Errorf("%q is no provision state; they are %s", v.text, states())
		case f.Kind == api.Flag || f.Kind == api.Tristate:
			b, err := api.Bool(v.text)
			if err != nil {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
			t.values[i].text = strconv.FormatBool(b)
		}
	}
	return nil
}

func states() string {
	var out []string
	for _, s := range state.All() {
		out = append(out, string(s))
	}
	return strings.Join(out, ", ")
}

// String is the expression as it was written.
func (q Query) String() string { return q.text }

// Filters is the part that the server can compare itself. It never leaves out a node that Match would take.
func (q Query) Filters() url.Values {
	out := url.Values{}
	for _, t := range q.terms {
		if t.op == "=" && len(t.path) == 1 && len(t.values) == 1 && t.values[0].text != "" && !t.values[0].pattern() &&
			slices.Contains(filters, t.path[0]) && !out.Has(t.path[0]) {
			out.Set(t.path[0], t.values[0].text)
		}
	}
	return out
}

// Fields lists the top-level fields that Match looks at, each once.
func (q Query) Fields() []string {
	var out []string
	for _, t := range q.terms {
		if !slices.Contains(out, t.path[0]) {
			out = append(out, t.path[0])
		}
	}
	return out
}

// Match tells whether a node, as decoded JSON, is meant.
func (q Query) Match(node map[string]any) bool {
	for _, t := range q.terms {
		if !t.match(node) {
			return false
		}
	}
	return true
}

func (t term) match(node map[string]any) bool {
	var v any = node
	for _, key := range t.path {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	switch t.op {
	case "=":
		return t.equal(v)
	case "!=":
		return !t.equal(v)
	case "~":
		return contains(v, t.values[0].text)
	case "!~":
		return !contains(v, t.values[0].text)
	}
	if v == nil {
		return false
	}
	c := compare(plain(v), t.values[0].text)
	switch t.op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

func (t term) equal(v any) bool {
	for _, want := range t.values {
		if list, ok := v.([]any); ok && want.text != "" {
			if slices.ContainsFunc(list, func(x any) bool { return want.same(plain(x)) }) {
				return true
			}
			continue
		}
		if want.same(plain(v)) {
			return true
		}
	}
	return false
}

// same compares a text with the wanted one; a star in that stands for any text, unless it is quoted.
func (v value) same(have string) bool {
	if !v.pattern() {
		return have == v.text
	}
	parts := strings.Split(v.text, "*")
	first, last := parts[0], parts[len(parts)-1]
	if len(have) < len(first)+len(last) || !strings.HasPrefix(have, first) || !strings.HasSuffix(have, last) {
		return false
	}
	rest := have[len(first) : len(have)-len(last)]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, p)
		if i < 0 {
			return false
		}
		rest = rest[i+len(p):]
	}
	return true
}

func contains(v any, text string) bool {
	if list, ok := v.([]any); ok {
		return slices.ContainsFunc(list, func(x any) bool { return strings.Contains(plain(x), text) })
	}
	return strings.Contains(plain(v), text)
}

// compare is by number when both are numbers, else by text: times are written so that this is their order.
func compare(a, b string) int {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	if errX == nil && errY == nil {
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	}
	return strings.Compare(a, b)
}

// plain is a value as an operator would write it; what is not set, or empty, is the empty text.
func plain(v any) string {
	switch t := v.(type) {
	case nil:
		return ""
	case string:
		return t
	case bool:
		return strconv.FormatBool(t)
	case map[string]any:
		if len(t) == 0 {
			return ""
		}
	case []any:
		if len(t) == 0 {
			return ""
		}
	}
	text, err := json.Marshal(v)
	if err != nil { // decoded JSON can be encoded again
		return fmt.Sprint(v)
	}
	return string(text)
}
