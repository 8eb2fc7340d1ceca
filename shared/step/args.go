package step

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Type is the JSON type of an argument.
type Type string

// The types. Integer is a number without a fraction.
const (
	String  Type = "string"
	Integer Type = "integer"
	Boolean Type = "boolean"
	Object  Type = "object"
	List    Type = "list"
)

// Arg is one argument of a step.
type Arg struct {
	Name     string   `json:"name"`
	Type     Type     `json:"type"`
	Required bool     `json:"required,omitempty"`
	Default  any      `json:"default,omitempty"`
	Enum     []string `json:"enum,omitempty"` // the values a String may have; empty means any
	Doc      string   `json:"doc"`
	Secret   bool     `json:"secret,omitempty"` // masked wherever it is shown
	// Check refuses values of the right type that make no sense; nil accepts all. It is not sent over a wire.
	Check func(any) error `json:"-"`
}

// Args are a call's arguments by name, as JSON decodes them: string, float64, bool, map[string]any, []any.
type Args map[string]any

// Text is a String argument, or "".
func (a Args) Text(name string) string { s, _ := a[name].(string); return s }

// Int is an Integer argument, or 0.
func (a Args) Int(name string) int64 {
	switch v := a[name].(type) {
	case float64:
		return int64(v)
	case int:
		return int64(v)
	case int64:
		return v
	}
	return 0
}

// Bool is a Boolean argument, or false.
func (a Args) Bool(name string) bool { b, _ := a[name].(bool); return b }

// Check validates given arguments against the step and returns them with defaults filled in. All problems are told
// at once, in one step.argument fault.
func (s Step) Check(given Args) (Args, error) {
	out := Args{}
	var bad []string
	known := map[string]Arg{}
	for _, a := range s.Args {
		known[a.Name] = a
		v, ok := given[a.Name]
		if !ok || v == nil {
			switch {
			case a.Required:
				bad = append(bad, fmt.Sprintf("argument %q (%s) is missing: %s", a.Name, a.Type, a.Doc))
			case a.Default != nil:
				out[a.Name] = a.Default
			}
			continue
		}
		if wrong := a.wrong(v); wrong != "" {
			bad = append(bad, wrong)
			continue
		}
		out[a.Name] = v
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if _, ok := known[name]; !ok {
			bad = append(bad, fmt.Sprintf("argument %q is not known", name))
		}
	}
	if len(bad) > 0 {
		return nil, s.badArgs(bad)
	}
	return out, nil
}

// CheckArg validates one argument's value by itself, as Check does; whether other arguments are missing is not asked.
func (s Step) CheckArg(name string, v any) error {
	i := slices.IndexFunc(s.Args, func(a Arg) bool { return a.Name == name })
	if i < 0 {
		return s.badArgs([]string{fmt.Sprintf("argument %q is not known", name)})
	}
	if wrong := s.Args[i].wrong(v); wrong != "" {
		return s.badArgs([]string{wrong})
	}
	return nil
}

// badArgs is the fault of wrong arguments; its hint names the right ones.
func (s Step) badArgs(bad []string) *fault.Fault {
	f := fault.New(fault.StepArgument, "%s", strings.Join(bad, "; ")).At("", s.Name)
	if len(s.Args) == 0 {
		return f.WithHint("this step takes no arguments")
	}
	names := make([]string, len(s.Args))
	for i, a := range s.Args {
		names[i] = a.Name
	}
	return f.WithHint("its arguments are %s", strings.Join(names, ", "))
}

// wrong says what is wrong with a value, or "".
func (a Arg) wrong(v any) string {
	if !a.Type.fits(v) {
		return fmt.Sprintf("argument %q must be of type %s, not %s", a.Name, a.Type, kind(v))
	}
	if t, ok := v.(string); ok && len(a.Enum) > 0 && !slices.Contains(a.Enum, t) {
		return fmt.Sprintf("argument %q is %q, expected one of %s", a.Name, t, strings.Join(a.Enum, ", "))
	}
	if a.Check != nil {
		if err := a.Check(v); err != nil {
			return fmt.Sprintf("argument %q: %v", a.Name, err)
		}
	}
	return ""
}

func (t Type) fits(v any) bool {
	switch t {
	case String:
		_, ok := v.(string)
		return ok
	case Boolean:
		_, ok := v.(bool)
		return ok
	case Object:
		_, ok := v.(map[string]any)
		return ok
	case List:
		_, ok := v.([]any)
		return ok
	case Integer:
		switch n := v.(type) {
		case float64:
			return n == float64(int64(n))
		case int, int64:
			return true
		}
	}
	return false
}

func kind(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case map[string]any:
		return "object"
	case []any:
		return "list"
	case float64, int, int64:
		return "number"
	}
	return fmt.Sprintf("%T", v)
}
