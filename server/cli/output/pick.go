package output

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// FieldOf is the field that a column of a table, or of baremetal's, shows: "Provisioning State" is provision_state.
func FieldOf(column string) string {
	name := strings.ToLower(strings.NewReplacer(" ", "_", "-", "_").Replace(strings.TrimSpace(column)))
	switch name {
	case "provisioning_state":
		return "provision_state"
	case "supported_driver(s)", "driver_name":
		return "name"
	case "active_host(s)":
		return "hosts"
	}
	return name
}

// pick writes the columns that were asked for, or all: as a table, as JSON or YAML of these alone, as values with spaces
// between them or as CSV. Of one object, values and table have a line for each column. Known are columns that were asked
// for, whether the answer has them or not.
func (p *Printer) pick(v any, columns []string, known ...string) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the output: %w", err)
	}
	var decoded any
	if err := json.Unmarshal(text, &decoded); err != nil {
		return fmt.Errorf("encode the output: %w", err)
	}
	object, one := decoded.(map[string]any)
	var rows []map[string]any
	if one {
		rows = append(rows, object)
	} else {
		list, ok := decoded.([]any)
		if !ok {
			list = []any{decoded}
		}
		for _, x := range list {
			o, ok := x.(map[string]any)
			if !ok {
				o = map[string]any{"value": x}
			}
			rows = append(rows, o)
		}
	}
	has := map[string]bool{}
	for _, k := range known {
		has[k] = true
	}
	for _, o := range rows {
		delete(o, "links")
		for k := range o {
			has[k] = true
		}
	}
	all := slices.Sorted(maps.Keys(has))
	names := make([]string, 0, len(columns))
	for _, c := range columns {
		name := FieldOf(c)
		if !has[name] && len(rows) > 0 {
			return fault.New(fault.RequestInvalid, "there is no column %q in the answer", c).WithHint("it has %s", strings.Join(all, ", "))
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		names = all
	}
	switch p.Format {
	case "json", "yaml":
		for _, o := range rows {
			maps.DeleteFunc(o, func(k string, _ any) bool { return !slices.Contains(names, k) })
		}
		if one {
			return p.write(rows[0])
		}
		return p.write(append([]map[string]any{}, rows...))
	case "value":
		return p.values(rows, names, one)
	case "csv":
		w := csv.NewWriter(p.Out)
		records := [][]string{names}
		for _, o := range rows {
			records = append(records, cells(o, names))
		}
		return w.WriteAll(records)
	}
	return Columns(p.Out, func(w io.Writer) {
		if one {
			for _, name := range names {
				Row(w, name, Cell(object[name]))
			}
			return
		}
		Row(w, heads(names)...)
		for _, o := range rows {
			Row(w, cells(o, names)...)
		}
	})
}

// values writes for programs that read words: one object's columns each on a line, the rows of a list each on one.
func (p *Printer) values(rows []map[string]any, names []string, one bool) error {
	between := " "
	if one {
		between = "\n"
	}
	for _, o := range rows {
		if _, err := fmt.Fprintln(p.Out, strings.Join(cells(o, names), between)); err != nil {
			return err
		}
	}
	return nil
}

// cells are an object's values, each on one line; what is not there is None, as baremetal has it, so that words can be counted.
func cells(o map[string]any, names []string) []string {
	out := make([]string, 0, len(names))
	for _, name := range names {
		text := oneLine(Cell(o[name]))
		if o[name] == nil {
			text = "None"
		}
		out = append(out, text)
	}
	return out
}

func heads(columns []string) []string {
	out := make([]string, 0, len(columns))
	for _, name := range columns {
		out = append(out, strings.ToUpper(strings.ReplaceAll(name, "_", " ")))
	}
	return out
}
