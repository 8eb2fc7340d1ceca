package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Decode reads one JSON value of at most max bytes from r into v, and refuses whatever a well-behaved peer does not
// send: unknown fields, a second value, invalid UTF-8, nesting deeper than MaxDepth, a list or object of more than
// MaxElements elements. The bounds are checked before anything is built from the input (safety.md I25). Its errors
// are request.too_large and request.invalid; an error of r itself comes back as it is.
func Decode(r io.Reader, max int64, v any) error {
	body, err := read(r, max, 0)
	if err == nil {
		err = bounded(body)
	}
	if err != nil {
		return err
	}
	return strict(body, v)
}

// strict decodes what keeps to the bounds.
func strict(body []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return malformed(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return invalid("something follows the JSON value")
	}
	return nil
}

// CheckProtocol refuses a version of the channel that this build does not speak, with channel.protocol_version.
func CheckProtocol(version int) error {
	if version >= MinProtocol && version <= Protocol {
		return nil
	}
	return fault.New(fault.ChannelProtocol, "the other end speaks version %d of the agent channel, this one speaks %d to %d",
		version, MinProtocol, Protocol)
}

// believed is how long a body is believed to be before it has come: what a sender announces costs it nothing.
const believed = 256 << 10

// read gives the bytes of r, most at most. size is how many are announced, not more than 0 if none are.
func read(r io.Reader, most, size int64) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(max(0, min(size, believed))) + bytes.MinRead) // so that a body as long as announced is read into one piece of memory
	if _, err := b.ReadFrom(io.LimitReader(r, most+1)); err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	body := b.Bytes()
	if int64(len(body)) > most {
		return nil, fault.New(fault.RequestTooLarge, "the body is larger than %d bytes", most)
	}
	return body, nil
}

// bounded checks that it is text, and depth and element counts in one pass without building anything. It need not
// understand JSON fully: whatever it misreads is refused by the decoder that comes after it.
func bounded(body []byte) error {
	if !utf8.Valid(body) {
		return invalid("the body is not valid UTF-8")
	}
	var commas [MaxDepth]int // of the lists and objects that are open
	depth, text := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '[' || c == '{':
			if depth == MaxDepth {
				return invalid("the body is nested deeper than %d levels", MaxDepth)
			}
			commas[depth] = 0
			depth++
		case (c == ']' || c == '}') && depth > 0:
			depth--
		case c == ',' && depth > 0:
			// n commas part n+1 elements.
			if commas[depth-1]++; commas[depth-1] >= MaxElements {
				return invalid("a list or object has more than %d elements", MaxElements)
			}
		}
	}
	return nil
}

func invalid(format string, args ...any) error {
	return fault.New(fault.RequestInvalid, format, args...)
}

// malformed puts a decoder's error in words without repeating the input.
func malformed(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	f := fault.New(fault.RequestInvalid, "the body can't be decoded: %v", err)
	switch {
	case errors.Is(err, io.EOF):
		f.Message = "the body is empty"
	case errors.Is(err, io.ErrUnexpectedEOF):
		f.Message = "the body ends in the middle"
	case errors.As(err, &syntax):
		f.Message = fmt.Sprintf("the body is not JSON: byte %d is unexpected", syntax.Offset)
	case errors.As(err, &kind):
		f.Message = fmt.Sprintf("field %q is a JSON %s where %s is expected", kind.Field, kind.Value, kind.Type)
	}
	return f.Because(err)
}
