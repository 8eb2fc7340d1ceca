package session

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Encode is v as the store keeps it, JSON; what names it in the fault of a value that has no such form.
func Encode(what string, v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fault.New(fault.RequestInvalid, "%s can't be stored as JSON", what).Because(err)
	}
	return string(b), nil
}

// Decode reads what Encode wrote; what names it in the error.
func Decode(what string, body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("read stored %s: %w", what, err)
	}
	return nil
}

// Text is s as it comes back from JSON: each byte that is not UTF-8 is U+FFFD. Columns hold it so that they and the
// body agree.
func Text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}

// Null is text for a column that is unique when set.
func Null(s string) any {
	if s == "" {
		return nil
	}
	return Text(s)
}
