package rest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// shape joins a wire struct and its table of fields: it writes objects with the fields that a version has and a
// request wants, and nothing else.
type shape struct {
	fields []api.Field
	at     map[string]int // field name to index in the struct
}

func newShape(object any, fields []api.Field) *shape {
	s := &shape{fields: fields, at: map[string]int{}}
	t := reflect.TypeOf(object)
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		s.at[name] = i
	}
	return s
}

func (s *shape) field(name string) (api.Field, bool) {
	i := slices.IndexFunc(s.fields, func(f api.Field) bool { return f.Name == name })
	if i < 0 {
		return api.Field{}, false
	}
	return s.fields[i], true
}

// selection is the names of the fields to write, in the table's order, and the value of fields= that gives them again.
type selection struct {
	names []string
	given string // as asked for, for next links
}

// all selects every field of the version, or with short those of lists.
func (s *shape) all(v api.Version, short bool) selection {
	sel := selection{names: make([]string, 0, len(s.fields))}
	for _, f := range s.fields {
		if (f.Since <= v || f.Seen > 0 && f.Seen <= v) && (f.Short || !short) {
			sel.names = append(sel.names, f.Name)
		}
	}
	return sel
}

// wanted selects the fields of a fields= argument; links are always there. Unknown ones are refused, and so are those
// that the version does not have.
func (s *shape) wanted(list string, v api.Version) (selection, error) {
	if v < 8 {
		return selection{}, fault.New(fault.RequestVersion, "fields is there from version 1.8 on, %s was asked for", v)
	}
	want := map[string]bool{"links": true}
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		f, ok := s.field(name)
		if !ok {
			return selection{}, fault.New(fault.RequestInvalid, "Field %q is not known.", name)
		}
		if f.Since > v {
			return selection{}, fault.New(fault.RequestVersion, "field %s is there from version %s on, %s was asked for", name, f.Since, v)
		}
		want[name] = true
	}
	sel := selection{given: list}
	for _, f := range s.fields {
		if want[f.Name] {
			sel.names = append(sel.names, f.Name)
		}
	}
	return sel, nil
}

// encode writes the selected fields of an object.
func (s *shape) encode(object any, sel selection) (json.RawMessage, error) {
	v := reflect.ValueOf(object)
	b := append(make([]byte, 0, 2048), '{')
	for i, name := range sel.names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), name...), `":`...)
		var err error
		if b, err = appendValue(b, v.Field(s.at[name]).Interface()); err != nil {
			return nil, fmt.Errorf("encode field %s: %w", name, err)
		}
	}
	return append(b, '}'), nil
}

// sortable checks a sort_key.
func (s *shape) sortable(key string, v api.Version) error {
	if key == "id" {
		return nil
	}
	f, ok := s.field(key)
	if !ok || !f.Sort {
		return fault.New(fault.RequestInvalid, "The sort_key value %q is invalid for sorting.", key)
	}
	if f.Since > v {
		return fault.New(fault.RequestVersion, "field %s is there from version %s on, %s was asked for", key, f.Since, v)
	}
	return nil
}

// check verifies a document's values of the named fields against the table: type, length. Flags become booleans and
// null maps empty ones.
func (s *shape) check(doc map[string]any, names []string) error {
	for _, name := range names {
		f, _ := s.field(name)
		v, err := checkField(f, doc[name])
		if err != nil {
			return err
		}
		doc[name] = v
	}
	return nil
}

func checkField(f api.Field, v any) (any, error) {
	if v == nil {
		if f.Need {
			return nil, fault.New(fault.RequestInvalid, "%s is required", f.Name)
		}
		return f.Reset(), nil
	}
	wrong := func() error { return fault.New(fault.RequestInvalid, "%s must be a %s", f.Name, f.Kind) }
	switch f.Kind {
	case api.Text:
		t, ok := v.(string)
		longest := f.Max
		if longest == 0 {
			longest = 255
		}
		switch {
		case !ok:
			return nil, wrong()
		case len([]rune(t)) > longest:
			return nil, fault.New(fault.RequestInvalid, "%s is longer than %d characters", f.Name, longest)
		case f.Need && t == "":
			return nil, fault.New(fault.RequestInvalid, "%s is required", f.Name)
		}
		return t, nil
	case api.UUID:
		t, ok := v.(string)
		if !ok || !isUUID(t) {
			return nil, fault.New(fault.RequestInvalid, "%s must be a UUID", f.Name)
		}
		return strings.ToLower(t), nil
	case api.Flag, api.Tristate:
		b, err := api.Bool(v)
		if err != nil {
			return nil, fault.New(fault.RequestInvalid, "%s: %v", f.Name, err)
		}
		return b, nil
	case api.Map:
		m, ok := v.(map[string]any)
		if !ok {
			return nil, wrong()
		}
		return m, nil
	case api.List:
		l, ok := v.([]any)
		if !ok {
			return nil, wrong()
		}
		return l, nil
	case api.Integer:
		n, ok := v.(float64)
		if !ok || n != float64(int32(n)) {
			return nil, wrong()
		}
		return int(n), nil
	}
	return nil, fault.New(fault.RequestInvalid, "%s can't be set", f.Name)
}

// created checks a create body: known fields that may be given, of this version; required ones there.
func (s *shape) created(doc map[string]any, v api.Version) ([]string, error) {
	for _, name := range sortedKeys(doc) {
		f, ok := s.field(name)
		if !ok || !f.Create {
			return nil, fault.New(fault.RequestInvalid, "%q can't be given on create", name)
		}
		if f.Since > v {
			return nil, fault.New(fault.RequestVersion, "field %s is there from version %s on, %s was asked for", name, f.Since, v)
		}
	}
	var names []string
	for _, f := range s.fields {
		if _, given := doc[f.Name]; given || f.Need {
			names = append(names, f.Name)
		}
	}
	return names, s.check(doc, names)
}

// document is the patchable fields of an object as a PATCH sees them.
func (s *shape) document(object any) (map[string]any, error) {
	sel := selection{}
	for _, f := range s.fields {
		if f.Patch {
			sel.names = append(sel.names, f.Name)
		}
	}
	text, err := s.encode(object, sel)
	if err != nil {
		return nil, err
	}
	doc := map[string]any{}
	return doc, json.Unmarshal(text, &doc)
}
