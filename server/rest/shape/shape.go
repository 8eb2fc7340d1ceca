// Package shape is the form of what goes over the operators' wire: objects are written, and documents checked, by the tables
// of fields of shared/api alone (safety.md T16), and what names an object is a name or a UUID. It knows no request and no
// record. Start at Shape.
package shape

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Shape joins a wire struct and its table of fields: it writes objects with the fields that a version has and a
// request wants, and nothing else.
type Shape struct {
	Fields []api.Field
	at     map[string]int // field name to index in the struct
}

// New joins object, a struct with JSON tags, and the table of its fields.
func New(object any, fields []api.Field) *Shape {
	s := &Shape{Fields: fields, at: map[string]int{}}
	t := reflect.TypeOf(object)
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		s.at[name] = i
	}
	return s
}

// Field is the row of a name.
func (s *Shape) Field(name string) (api.Field, bool) {
	i := slices.IndexFunc(s.Fields, func(f api.Field) bool { return f.Name == name })
	if i < 0 {
		return api.Field{}, false
	}
	return s.Fields[i], true
}

// Selection is the names of the fields to write, in the table's order, and the value of fields= that gives them again.
type Selection struct {
	Names []string
	Given string // as asked for, for next links
}

// All selects every field of the version, or with short those of lists.
func (s *Shape) All(v api.Version, short bool) Selection {
	sel := Selection{Names: make([]string, 0, len(s.Fields))}
	for _, f := range s.Fields {
		if (f.Since <= v || f.Seen > 0 && f.Seen <= v) && (f.Short || !short) {
			sel.Names = append(sel.Names, f.Name)
		}
	}
	return sel
}

// Wanted selects the fields of a fields= argument; links are always there. Unknown ones are refused, and so are those
// that the version does not have.
func (s *Shape) Wanted(list string, v api.Version) (Selection, error) {
	if v < 8 {
		return Selection{}, fault.New(fault.RequestVersion, "fields is there from version 1.8 on, %s was asked for", v)
	}
	want := map[string]bool{"links": true}
	for _, name := range Items(list) {
		f, ok := s.Field(name)
		if !ok {
			return Selection{}, fault.New(fault.RequestInvalid, "Field %q is not known.", name).WithHint("the fields of version %s are %s", v, strings.Join(s.All(v, false).Names, ", "))
		}
		if f.Since > v {
			return Selection{}, fault.New(fault.RequestVersion, "field %s is there from version %s on, %s was asked for", name, f.Since, v)
		}
		want[name] = true
	}
	sel := Selection{Given: list}
	for _, f := range s.Fields {
		if want[f.Name] {
			sel.Names = append(sel.Names, f.Name)
		}
	}
	return sel, nil
}

// Value is a field of an object, given as reflect.ValueOf the struct that New was given.
func (s *Shape) Value(object reflect.Value, field string) any {
	return object.Field(s.at[field]).Interface()
}

// Encode writes the selected fields of an object.
func (s *Shape) Encode(object any, sel Selection) (json.RawMessage, error) {
	v := reflect.ValueOf(object)
	b := append(make([]byte, 0, 2048), '{')
	for i, name := range sel.Names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), name...), `":`...)
		var err error
		if b, err = AppendValue(b, s.Value(v, name)); err != nil {
			return nil, fmt.Errorf("encode field %s: %w", name, err)
		}
	}
	return append(b, '}'), nil
}

// Sortable checks a sort_key.
func (s *Shape) Sortable(key string, v api.Version) error {
	if key == "id" {
		return nil
	}
	f, ok := s.Field(key)
	if ok && f.Since > v {
		return fault.New(fault.RequestVersion, "field %s is there from version %s on, %s was asked for", key, f.Since, v)
	}
	if !ok || !f.Sort {
		var keys []string
		for _, f := range s.Fields {
			if f.Sort && f.Since <= v {
				keys = append(keys, f.Name)
			}
		}
		return fault.New(fault.RequestInvalid, "The sort_key value %q is invalid for sorting.", key).WithHint("sort by id, or one of %s", strings.Join(keys, ", "))
	}
	return nil
}

// Check verifies a document's values of the named fields against the table: type, length. Flags become booleans and
// null maps empty ones.
func (s *Shape) Check(doc map[string]any, names []string) error {
	for _, name := range names {
		f, _ := s.Field(name)
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
		if !ok || !IsUUID(t) {
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

// WholeNumber is a number from 0 on, also as digits.
func WholeNumber(v any) (int, bool) {
	switch t := v.(type) {
	case float64:
		return int(t), t >= 0 && t == float64(int32(t))
	case string:
		n, err := strconv.ParseUint(t, 10, 31)
		return int(n), err == nil
	}
	return 0, false
}

// Created checks a create body: known fields that may be given, of this version; required ones there.
func (s *Shape) Created(doc map[string]any, v api.Version) ([]string, error) {
	for _, name := range slices.Sorted(maps.Keys(doc)) {
		f, ok := s.Field(name)
		if !ok || !f.Create {
			return nil, fault.New(fault.RequestInvalid, "%q can't be given on create", name)
		}
		if f.Since > v {
			return nil, fault.New(fault.RequestVersion, "field %s is there from version %s on, %s was asked for", name, f.Since, v)
		}
	}
	var names []string
	for _, f := range s.Fields {
		if _, given := doc[f.Name]; given || f.Need {
			names = append(names, f.Name)
		}
	}
	return names, s.Check(doc, names)
}

// Document is the patchable fields of an object as a PATCH sees them.
func (s *Shape) Document(object any) (map[string]any, error) {
	sel := Selection{}
	for _, f := range s.Fields {
		if f.Patch {
			sel.Names = append(sel.Names, f.Name)
		}
	}
	text, err := s.Encode(object, sel)
	if err != nil {
		return nil, err
	}
	doc := map[string]any{}
	return doc, json.Unmarshal(text, &doc)
}

// Patched is the top-level fields that a patch would change. Those that nobody may change are left out: ApplyPatch
// refuses them with a list of those that can.
func (s *Shape) Patched(ops []api.PatchOp) []string {
	var out []string
	for _, o := range ops {
		top, _, _ := strings.Cut(strings.TrimPrefix(o.Path, "/"), "/")
		if f, ok := s.Field(top); ok && f.Patch {
			out = append(out, top)
		}
	}
	return out
}

// Redact replaces the fields of an object that the caller is not shown. Unset ones stay: there is nothing to hide.
func (s *Shape) Redact(object any, sees func(field string) bool) {
	v := reflect.ValueOf(object).Elem()
	for _, f := range s.Fields {
		at := v.Field(s.at[f.Name])
		if sees(f.Name) || at.IsZero() || at.Kind() == reflect.Map && at.Len() == 0 {
			continue
		}
		switch at.Interface().(type) {
		case map[string]any:
			at.Set(reflect.ValueOf(map[string]any{"content": access.Redaction}))
		case *string:
			text := access.Redaction
			at.Set(reflect.ValueOf(&text))
		case string:
			at.SetString(access.Redaction)
		default:
			at.SetZero()
		}
	}
}
