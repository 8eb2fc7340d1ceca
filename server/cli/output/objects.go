package output

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Flat is a map on one line: key=value, by key.
func Flat(m map[string]any) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		v := m[k]
		if s, ok := v.(string); ok {
			parts = append(parts, k+"="+s)
			continue
		}
		text, err := json.Marshal(v)
		if err != nil {
			text = []byte("?")
		}
		parts = append(parts, k+"="+string(text))
	}
	return strings.Join(parts, " ")
}

// Objects writes a list: the named columns, or all fields one below the other.
func (p *Printer) Objects(all []map[string]any, columns []string, long bool) error {
	for _, o := range all {
		delete(o, "links")
	}
	if asked := p.Columns; !long && (len(asked) > 0 || p.Format == "value" || p.Format == "csv") {
		if len(asked) == 0 {
			asked = columns
		}
		return p.pick(append([]map[string]any{}, all...), asked, columns...)
	}
	return p.Emit(append([]map[string]any{}, all...), func(w io.Writer) {
		if long {
			for i, o := range all {
				if i > 0 {
					fmt.Fprintln(w)
				}
				Pairs(w, o)
			}
			return
		}
		Row(w, heads(columns)...)
		for _, o := range all {
			var cells []string
			for _, name := range columns {
				cells = append(cells, Dash(Cell(o[name])))
			}
			Row(w, cells...)
		}
	})
}

// Pairs writes the fields of an object that are set, by name; links are for programs.
func Pairs(w io.Writer, o map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(o)) {
		if !links(o[k]) {
			Pair(w, k, Cell(o[k]))
		}
	}
}

// links tells whether a field holds links to other objects.
func links(v any) bool {
	list, _ := v.([]any)
	return len(list) > 0 && !slices.ContainsFunc(list, func(x any) bool {
		o, _ := x.(map[string]any)
		return len(o) != 2 || o["href"] == nil || o["rel"] == nil
	})
}

// Cell is a value in a table.
func Cell(v any) string {
	switch t := v.(type) {
	case nil:
		return ""
	case map[string]any:
		return Flat(t)
	case []any:
		var out []string
		for _, x := range t {
			out = append(out, Cell(x))
		}
		return strings.Join(out, " ")
	}
	return ValueText(v)
}

// WriteObject writes one object: the named fields, or all.
func (p *Printer) WriteObject(o map[string]any, fields []string) error {
	delete(o, "links")
	if len(fields) > 0 {
		for k := range o {
			if !slices.Contains(fields, k) {
				delete(o, k)
			}
		}
	}
	return p.Emit(o, func(w io.Writer) {
		set := false
		for k := range o {
			set = set || Cell(o[k]) != "" && !links(o[k])
		}
		if set && len(fields) == 0 {
			Pairs(w, o)
			return
		}
		for _, k := range slices.Sorted(maps.Keys(o)) { // what is asked for, or all there is, is shown although it is not set
			if !links(o[k]) {
				Row(w, k, Dash(Cell(o[k])))
			}
		}
	})
}

// ValueText is a value on one line, - for none.
func ValueText(v any) string {
	if v == nil {
		return "-"
	}
	return strings.TrimPrefix(Flat(map[string]any{"": v}), "=")
}
