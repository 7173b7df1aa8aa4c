package jotsmith

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Error is why there is no answer. Every error that comes from a call of a Client
// is one; find it with errors.As.
type Error struct {
	// Code is gRPC's.
	Code codes.Code
	// Reason is the server's, one of docs/errors.md. Empty where the server was not
	// reached, and then there is nothing but Code.
	Reason string
	// Message is for people. It holds no token and no value of a claim.
	Message string
	// Retryable says that the same call may succeed later.
	Retryable bool
	// RetryAfter is the time after which the server asks to be asked again. 0 means
	// that it did not say.
	RetryAfter time.Duration
	// Violations name what is wrong with the request.
	Violations []Violation

	status *status.Status
	cause  error
}

// Violation is what is wrong with one field of a request.
type Violation struct {
	Field       string // as in "ttl" or "claims.sub"
	Description string
}

// Error returns the reason and the message.
func (e *Error) Error() string {
	reason := e.Reason
	if reason == "" {
		reason = e.Code.String()
	}
	return fmt.Sprintf("jotsmith: %s: %s", reason, e.Message)
}

// Unwrap returns context.DeadlineExceeded or context.Canceled where that is what
// it was, so that errors.Is finds them.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus returns the status as it came, for status.FromError.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// toError makes an *Error of any error of a call. A nil err stays nil.
func toError(err error) error {
	if err == nil {
		return nil
	}
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return ended(context.DeadlineExceeded)
	case errors.Is(err, context.Canceled):
		return ended(context.Canceled)
	}
	return fromStatus(status.Convert(err))
}

// fromStatus is the error that a status of the server's or of gRPC's says.
func fromStatus(st *status.Status) *Error {
	e := &Error{Code: st.Code(), Message: st.Message(), status: st}
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			e.Reason = d.GetReason()
		case *errdetails.RetryInfo:
			e.RetryAfter = max(d.GetRetryDelay().AsDuration(), 0)
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				e.Violations = append(e.Violations, Violation{v.GetField(), v.GetDescription()})
			}
		}
	}
	switch e.Code { //nolint:exhaustive // the others do not pass by themselves
	case codes.Unavailable, codes.ResourceExhausted:
		e.Retryable = true
	case codes.DeadlineExceeded:
		e.Retryable, e.cause = true, context.DeadlineExceeded
	case codes.Canceled:
		e.cause = context.Canceled
	}
	return e
}

// ended is the error of a call whose context has ended, by why.
func ended(why error) *Error {
	code, reason := codes.Canceled, "CANCELLED"
	if errors.Is(why, context.DeadlineExceeded) {
		code, reason = codes.DeadlineExceeded, "DEADLINE_EXCEEDED"
	}
	e := fromStatus(status.New(code, why.Error()))
	e.Reason = reason
	return e
}

// refused is the error of a request that is not sent.
func refused(field, description string) *Error {
	e := fromStatus(status.New(codes.InvalidArgument, "request refused: "+field+" "+description))
	e.Reason, e.Violations = "INVALID_REQUEST", []Violation{{field, description}}
	return e
}

// away says that the server cannot answer now, which leaves open what it would
// say.
func away(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Retryable
}
