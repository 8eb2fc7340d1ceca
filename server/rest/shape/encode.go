package shape

import (
	"encoding/json"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// AppendValue is json.Marshal with a short way for what most fields hold.
func AppendValue(b []byte, v any) ([]byte, error) {
	switch t := v.(type) {
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
	case map[string]any:
		if len(t) == 0 && t != nil {
			return append(b, "{}"...), nil
		}
	case api.Time:
		if t.IsZero() {
			return append(b, "null"...), nil
		}
	}
	text, err := json.Marshal(v)
	return append(b, text...), err
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
