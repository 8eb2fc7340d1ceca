package api

import (
	"encoding/json"
	"net/http"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// ErrorBody is the body of every error of the REST API. Message is Ironic's: one string that is itself JSON text.
// Fault stands beside it for clients that know it.
type ErrorBody struct {
	Message string     `json:"error_message"`
	Fault   *RESTFault `json:"fault,omitempty"`
}

// RESTFault is the channel's fault plus the request it answers.
type RESTFault struct {
	Fault
	Node    string `json:"node,omitempty"`
	Step    string `json:"step,omitempty"`
	Request string `json:"request,omitempty"`
}

// clientError is what the error_message string holds, in either of Ironic's two forms.
type clientError struct {
	FaultCode   string  `json:"faultcode,omitempty"`
	FaultString string  `json:"faultstring,omitempty"`
	DebugInfo   *string `json:"debuginfo"`
	hinted
}

// hinted is what this server adds to either form.
type hinted struct {
	Reason fault.Reason `json:"reason,omitempty"`
	Hint   string       `json:"hint,omitempty"`
}

type routerError struct {
	Code        int    `json:"code"`
	Title       string `json:"title"`
	Description string `json:"description"`
	hinted
}

// Status is the HTTP status of a fault on the REST API. A BMC's refusal of credentials is not the caller's: it is 500.
func Status(f *fault.Fault) int {
	switch f.Reason {
	case fault.RequestVersion:
		return http.StatusNotAcceptable
	case fault.CursorLost:
		return http.StatusGone
	case fault.MethodNotAllowed:
		return http.StatusMethodNotAllowed
	case fault.RequestTooLarge:
		return http.StatusRequestEntityTooLarge
	}
	if f.Code == fault.Unauthenticated && f.Reason != fault.RequestAuth {
		return http.StatusInternalServerError
	}
	return f.Code.Status()
}

// NewErrorBody puts a fault into the form that Ironic's endpoints give their errors. The cause stays at home.
func NewErrorBody(f *fault.Fault, request string) ErrorBody {
	code := "Client"
	if Status(f) >= 500 {
		code = "Server"
	}
	return errorBody(f, request, clientError{code, f.Error(), nil, hinted{f.Reason, f.Hint}})
}

// NewRouterErrorBody is NewErrorBody in the form of what Ironic says before an endpoint has the request: no such path,
// method not served, version not served.
func NewRouterErrorBody(f *fault.Fault, request string) ErrorBody {
	status := Status(f)
	return errorBody(f, request, routerError{status, http.StatusText(status), f.Error(), hinted{f.Reason, f.Hint}})
}

func errorBody(f *fault.Fault, request string, inner any) ErrorBody {
	text, err := json.Marshal(inner)
	if err != nil { // strings and numbers only: can't happen
		text = []byte(`{"faultcode": "Server", "faultstring": "the error could not be encoded", "debuginfo": null}`)
	}
	return ErrorBody{Message: string(text), Fault: &RESTFault{
		Fault: FaultOf(f), Node: f.Node, Step: f.Step, Request: request,
	}}
}

// ReadErrorBody makes a fault of an error answer, of this server or of another that speaks Ironic's API.
func ReadErrorBody(status int, body []byte) *fault.Fault {
	var e ErrorBody
	if err := json.Unmarshal(body, &e); err == nil {
		if f := e.Fault; f != nil && f.Message != "" {
			return f.Err().At(f.Node, f.Step)
		}
		var c struct {
			clientError
			routerError
		}
		if json.Unmarshal([]byte(e.Message), &c) == nil && c.FaultString+c.Description != "" {
			return &fault.Fault{Code: codeOf(status), Message: c.FaultString + c.Description}
		}
	}
	var basic struct {
		Error struct {
			Message string `json:"message"`
			hinted
		} `json:"error"`
	}
	if json.Unmarshal(body, &basic) == nil && basic.Error.Message != "" {
		f := fault.New(fault.RequestAuth, "%s", basic.Error.Message)
		f.Code = codeOf(status)
		if basic.Error.Reason != "" {
			f.Reason, f.Hint = basic.Error.Reason, basic.Error.Hint
		}
		return f
	}
	return &fault.Fault{Code: codeOf(status), Message: "the server answered " + http.StatusText(status)}
}

func codeOf(status int) fault.Code {
	switch status {
	case http.StatusUnauthorized:
		return fault.Unauthenticated
	case http.StatusForbidden:
		return fault.Forbidden
	case http.StatusNotFound:
		return fault.NotFound
	case http.StatusConflict:
		return fault.Conflict
	case http.StatusServiceUnavailable, http.StatusBadGateway:
		return fault.Unavailable
	case http.StatusGatewayTimeout:
		return fault.Timeout
	}
	if status >= 500 {
		return fault.Internal
	}
	return fault.Invalid
}
