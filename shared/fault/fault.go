// Package fault is the one error of Bessemer: a code, a sentence for the operator and a hint.
//
// It never formats for a wire; shared/api turns a Fault into the form a wire asks for. Start at Fault, then
// reasons.go, where every stable reason stands with its code.
package fault

import (
	"errors"
	"fmt"
	"net/http"
)

// Code says what kind of thing went wrong, and so whether trying again makes sense.
type Code string

// The codes. Only Busy, Unavailable and Timeout are worth trying again, with back-off.
const (
	Invalid         Code = "invalid"
	Unauthenticated Code = "unauthenticated"
	Forbidden       Code = "forbidden"
	NotFound        Code = "not_found"
	Conflict        Code = "conflict"
	Busy            Code = "busy"
	Unsupported     Code = "unsupported"
	Unavailable     Code = "unavailable"
	Timeout         Code = "timeout"
	Internal        Code = "internal"
)

var statuses = map[Code]int{
	Invalid:         http.StatusBadRequest,
	Unauthenticated: http.StatusUnauthorized,
	Forbidden:       http.StatusForbidden,
	NotFound:        http.StatusNotFound,
	Conflict:        http.StatusConflict,
	Busy:            http.StatusConflict,
	Unsupported:     http.StatusBadRequest,
	Unavailable:     http.StatusServiceUnavailable,
	Timeout:         http.StatusGatewayTimeout,
	Internal:        http.StatusInternalServerError,
}

// Status is the HTTP status of a code; an unknown code is 500.
func (c Code) Status() int {
	if s, ok := statuses[c]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// Retriable tells whether the same request may succeed later.
func (c Code) Retriable() bool { return c == Busy || c == Unavailable || c == Timeout }

// Reason is the fine, stable name of a failure ("image.digest_mismatch"): last_error, history, runbooks and the
// reference share it. Every reason used is a row of Reasons.
type Reason string

// Fault is an error an operator can act on. Message says what was found and what was expected; Hint what to do.
// Cause never leaves the process.
type Fault struct {
	Code    Code   `json:"code"`
	Reason  Reason `json:"reason"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Node    string `json:"node,omitempty"`
	Step    string `json:"step,omitempty"`
	Cause   error  `json:"-"`
}

// New makes a fault of the code that Reasons gives the reason; an unlisted reason is Internal.
func New(r Reason, format string, args ...any) *Fault {
	f := &Fault{Code: Internal, Reason: r, Message: fmt.Sprintf(format, args...)}
	if row, ok := Lookup(r); ok {
		f.Code, f.Hint = row.Code, row.Hint
	}
	return f
}

// WithHint replaces the reason's general hint by one that fits this case.
func (f *Fault) WithHint(format string, args ...any) *Fault {
	f.Hint = fmt.Sprintf(format, args...)
	return f
}

// Because keeps the cause for logs and errors.Is; it is never shown to a caller.
func (f *Fault) Because(err error) *Fault { f.Cause = err; return f }

// At names the node and the step the fault belongs to; either may be empty.
func (f *Fault) At(node, step string) *Fault { f.Node, f.Step = node, step; return f }

// Error is the message and, where there is one, the hint: what a log line or the history shows.
func (f *Fault) Error() string {
	s := f.Message
	if f.Step != "" {
		s = f.Step + ": " + s
	}
	if f.Hint != "" {
		s += " (" + f.Hint + ")"
	}
	return s
}

// Report is Error with the reason in front, for machines to read: last_error is made of it.
func (f *Fault) Report() string {
	if f.Reason == "" {
		return f.Error()
	}
	return string(f.Reason) + ": " + f.Error()
}

// Unwrap gives the cause to errors.Is and errors.As.
func (f *Fault) Unwrap() error { return f.Cause }

// From finds the fault in an error chain. Any other error becomes an Internal one whose cause it is, so that its
// text does not leak: the edge logs it and shows an id in its place.
func From(err error) *Fault {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*Fault](err); ok {
		return f
	}
	return New(InternalError, "an unexpected error happened").Because(err)
}

// Is tells whether err carries a fault of that code.
func Is(err error, c Code) bool {
	f, ok := errors.AsType[*Fault](err)
	return ok && f.Code == c
}

// Has tells whether err carries a fault of that reason.
func Has(err error, r Reason) bool {
	f, ok := errors.AsType[*Fault](err)
	return ok && f.Reason == r
}
