package api

import "github.com/bessemer-metal/bessemer/shared/fault"

// FaultOf is the body that tells err to the other end of the channel. An error without a fault becomes
// internal.error, without its text.
func FaultOf(err error) Fault {
	f := fault.From(err)
	return Fault{Code: string(f.Code), Reason: string(f.Reason), Message: f.Message, Hint: f.Hint}
}

// Err is the fault that a body tells. A code this build does not know counts as internal.
func (f Fault) Err() *fault.Fault {
	out := &fault.Fault{Code: fault.Code(f.Code), Reason: fault.Reason(f.Reason), Message: f.Message, Hint: f.Hint}
	if out.Reason == "" {
		out.Reason = fault.InternalError
	}
	switch out.Code {
	case fault.Invalid, fault.Unauthenticated, fault.Forbidden, fault.NotFound, fault.Conflict, fault.Busy,
		fault.Unsupported, fault.Unavailable, fault.Timeout:
	default:
		out.Code = fault.Internal
	}
	return out
}
