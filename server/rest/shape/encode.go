package shape

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// AppendValue is json.Marshal, to the byte, with a short way for what most answers hold.
func AppendValue(b []byte, v any) ([]byte, error) {
	switch t := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case *string:
		if t == nil {
			return append(b, "null"...), nil
		}
		return AppendText(b, *t)
	case string:
		return AppendText(b, t)
	case bool:
		if t {
			return append(b, "true"...), nil
		}
		return append(b, "false"...), nil
	case float64: // as json writes those that need no exponent
		if size := math.Abs(t); t == 0 || size >= 1e-6 && size < 1e21 {
			return strconv.AppendFloat(b, t, 'f', -1, 64), nil
		}
	case map[string]any:
		switch {
		case len(t) > 0:
			return appendMap(b, t)
		case t != nil:
			return append(b, "{}"...), nil
		}
	case []api.Link:
		if t != nil {
			return appendLinks(b, t)
		}
	case api.Time:
		text, err := t.MarshalJSON()
		return append(b, text...), err
	}
	text, err := json.Marshal(v)
	return append(b, text...), err
}

func appendMap(b []byte, m map[string]any) (_ []byte, err error) {
	b = append(b, '{')
	for i, key := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = AppendText(b, key); err != nil {
			return nil, err
		}
		if b, err = AppendValue(append(b, ':'), m[key]); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func appendLinks(b []byte, links []api.Link) (_ []byte, err error) {
	b = append(b, '[')
	for i, l := range links {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = AppendText(append(b, `{"href":`...), l.Href); err != nil {
			return nil, err
		}
		if b, err = AppendText(append(b, `,"rel":`...), l.Rel); err != nil {
			return nil, err
		}
		if l.Type != "" {
			if b, err = AppendText(append(b, `,"type":`...), l.Type); err != nil {
				return nil, err
			}
		}
		b = append(b, '}')
	}
	return append(b, ']'), nil
}

// AppendText is json.Marshal of a text.
func AppendText(b []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, err := json.Marshal(s)
			return append(b, text...), err
		}
	}
	return append(append(append(b, '"'), s...), '"'), nil
}

// OrNull is nil for the zero value: what Ironic shows as null.
func OrNull[T ~string](v T) *string {
	if v == "" {
		return nil
	}
	s := string(v)
	return &s
}

// Object is an empty object for none.
func Object(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}
