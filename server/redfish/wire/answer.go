package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/target"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Bounds on what an answer may hold.
const (
	maxDepth   = 32
	maxValues  = 200_000 // commas and brackets in one body
	maxMembers = 512     // of one collection, all pages
	maxPages   = 64
)

// statusError is an answer of a status that is no success.
type statusError struct {
	status int
	fault  *fault.Fault
}

func (e *statusError) Error() string { return e.fault.Error() }

// Unwrap gives the fault, and to gofish the error by which it knows a failed precondition.
func (e *statusError) Unwrap() []error {
	return []error{e.fault, &schemas.Error{HTTPReturnedStatusCode: e.status}}
}

// StatusOf is the HTTP status that an error came from; 0 when there was no answer.
func StatusOf(err error) int {
	if e, ok := errors.AsType[*statusError](err); ok {
		return e.status
	}
	return 0
}

// bad makes the error of an answer without success: what was asked, what the BMC says about it.
func (o *Operation) bad(r request, resp *http.Response) error {
	origin, status := o.account.endpoint.origin, resp.StatusCode
	reason := fault.BMCError
	switch {
	case status == http.StatusServiceUnavailable, status == http.StatusTooManyRequests, status == http.StatusConflict,
		status == http.StatusPreconditionFailed, status == http.StatusLocked:
		reason = fault.BMCBusy
	case status == http.StatusBadGateway, status == http.StatusGatewayTimeout:
		reason = fault.BMCUnreachable
	case status == http.StatusMethodNotAllowed, status == http.StatusNotImplemented:
		reason = fault.BMCUnsupported
	}
	said := o.said(resp)
	if said == "" {
		said = http.StatusText(status)
	}
	f := fault.New(reason, "the BMC at %s answers %s %s with %d: %s", origin, r.method, o.Mask(r.path), status, said)
	switch {
	case status >= 300 && status < 400:
		f.Message = fmt.Sprintf("the BMC at %s redirects %s to %s; redirects are not followed", origin, o.Mask(r.path), Clean(o.Mask(resp.Header.Get("Location")), 200))
		f = f.WithHint("put the address that it names into %s", target.KeyAddress)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		f = f.WithHint("the log-in works: give user %q the privilege for it on the BMC", o.account.username)
	}
	return &statusError{status, f}
}

// said is the BMC's own explanation, masked and cut to size.
func (o *Operation) said(resp *http.Response) string {
	var body struct {
		Error struct {
			Message  string `json:"message"`
			Extended []struct {
				Message   string
				MessageID string `json:"MessageId"`
			} `json:"@Message.ExtendedInfo"`
		} `json:"error"`
	}
	raw := bodyOf(resp)
	if decode(raw, &body) != nil {
		return ""
	}
	var out []string
	for _, m := range body.Error.Extended[:min(len(body.Error.Extended), 3)] {
		if m.Message == "" {
			m.Message = m.MessageID
		}
		if m.Message != "" {
			out = append(out, m.Message)
		}
	}
	if len(out) == 0 {
		out = []string{body.Error.Message}
	}
	return Clean(o.Mask(strings.Join(out, " ")), 400)
}

// Hide keeps an address that works as a key out of messages: also its query, the values in it and the long parts of its
// path, each by itself, since a BMC may repeat any of them.
func (o *Operation) Hide(link string) {
	o.secrets = append(o.secrets, link)
	path, query, _ := strings.Cut(link, "?")
	o.secrets = append(o.secrets, query)
	for pair := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' || r == '#' }) {
		_, value, named := strings.Cut(pair, "=")
		if !named {
			value = pair
		}
		plain, err := url.QueryUnescape(value)
		if err != nil {
			plain = value
		}
		for _, v := range []string{value, plain} {
			if len(v) >= 6 { // a shorter one is no key, and would be found in every message
				o.secrets = append(o.secrets, v)
			}
		}
	}
	for part := range strings.SplitSeq(path, "/") {
		if len(part) >= 16 && !strings.Contains(part, ".") {
			o.secrets = append(o.secrets, part)
		}
	}
}

// Conceal keeps a secret out of messages.
func (o *Operation) Conceal(secret string) { o.secrets = append(o.secrets, secret) }

// Mask hides the operation's secrets.
func (o *Operation) Mask(s string) string {
	for _, secret := range o.secrets {
		if secret != "" {
			s = strings.ReplaceAll(s, secret, conductor.Masked)
		}
	}
	return s
}

func (o *Operation) notRedfish(path string, err error) *fault.Fault {
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		return o.spoil(f)
	}
	return fault.New(fault.BMCError, "what the BMC at %s answers at %s is not what Redfish defines there: %s",
		o.account.endpoint.origin, o.Mask(path), Clean(o.Mask(err.Error()), 160)).Because(err)
}

// Resolve gives the path of a link that a BMC wrote, if it is of the BMC's own origin. Any other ends the operation.
func (o *Operation) Resolve(link string) (string, error) {
	origin := o.account.endpoint.origin
	if link == "" {
		return "", fault.New(fault.BMCUnsupported, "the BMC at %s does not offer what is asked: it names no place for it", origin)
	}
	u, err := url.Parse(link)
	if err != nil {
		return "", o.spoil(fault.New(fault.BMCOrigin, "the BMC at %s gives the unreadable link %s", origin, Clean(fmt.Sprintf("%.120q", o.Mask(link)), 160)))
	}
	if u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" {
		own, err := target.ParseAddress(u.Scheme + "://" + u.Host)
		if u.User != nil || err != nil || own.Scheme+"://"+own.Host != origin {
			return "", o.spoil(fault.New(fault.BMCOrigin, "the BMC at %s points to %s", origin, Clean(fmt.Sprintf("%.120q", o.Mask(link)), 160)))
		}
	}
	out := (&url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}).RequestURI()
	if !strings.HasPrefix(u.Path, "/") || !strings.HasPrefix(out, "/") { // %2fx has a path, and would go on with the origin's port
		return "", o.spoil(fault.New(fault.BMCOrigin, "the BMC at %s gives the relative link %s", origin, Clean(fmt.Sprintf("%.120q", o.Mask(link)), 160)))
	}
	if strings.HasPrefix(out, "//") {
		return "", o.spoil(fault.New(fault.BMCOrigin, "the BMC at %s gives the ambiguous link %s", origin, Clean(fmt.Sprintf("%.120q", o.Mask(link)), 160)))
	}
	return out, nil
}

// decode reads one JSON object. Its size is bounded by the body's; depth and number of values are bounded here.
func decode(raw []byte, into any) error {
	if err := bounded(raw); err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// bounded refuses what is no object, nested too deeply or of too many values, before anything is built from it.
func bounded(raw []byte) error {
	depth, values, inText, escaped, started := 0, 0, false, false, false
	for _, c := range raw {
		if inText {
			switch {
			case escaped:
				escaped = false
			case c == '\\':
				escaped = true
			case c == '"':
				inText = false
			}
			continue
		}
		if !started {
			switch c {
			case ' ', '\t', '\r', '\n':
				continue
			case '{':
				started = true
			default:
				return errors.New("it is no JSON object")
			}
		}
		switch c {
		case '"':
			inText = true
		case '{', '[':
			if depth++; depth > maxDepth {
				return fault.New(fault.BMCTooLarge, "the BMC's answer is nested more than %d deep", maxDepth)
			}
			values++
		case '}', ']':
			depth--
		case ',':
			values++
		}
		if values > maxValues {
			return fault.New(fault.BMCTooLarge, "the BMC's answer has more than %d values", maxValues)
		}
	}
	if !started {
		return errors.New("it is empty")
	}
	return nil
}
