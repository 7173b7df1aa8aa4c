package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/service/audit"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/clock"
	"github.com/jotsmith/jotsmith/service/halt"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/quota"
	"github.com/jotsmith/jotsmith/service/rotation"
	"github.com/jotsmith/jotsmith/service/signer"
)

// Domain is the domain of every google.rpc.ErrorInfo of this service.
const Domain = "jotsmith"

// Errors of this package, beside those of the steps it calls.
var (
	ErrUnauthenticated = errors.New("unauthenticated")
	errPanic           = errors.New("panic")
	errTooManyWatches  = errors.New("too many watches")
	errDraining        = errors.New("draining")
	errConfigInvalid   = errors.New("configuration not taken up")
)

// Failure is one row of the table of errors on the wire.
type Failure struct {
	Is      error         // what errors.Is finds
	Code    codes.Code    // gRPC's code
	Reason  string        // ErrorInfo's reason; part of the API, never renamed
	Retry   time.Duration // RetryInfo's delay where the error brings none; 0 leaves RetryInfo out
	Message string        // what the caller reads: no text of a backend, no path, no ARN
}

// Failures returns the table, first match first. docs/errors.md has a section
// for each reason.
func Failures() []Failure { return failureTable }

// failureTable is constant; a Go constant cannot hold it.
var failureTable = []Failure{
	{ErrUnauthenticated, codes.Unauthenticated, "UNAUTHENTICATED", 0, "the caller is not known to this server"},
	{policy.ErrNotGranted, codes.PermissionDenied, "NOT_GRANTED", 0, "this caller has no grant for this profile"},
	{clock.ErrUntrusted, codes.FailedPrecondition, "CLOCK_UNTRUSTED", 0, "the server's clock cannot be trusted"},
	{quota.ErrExceeded, codes.ResourceExhausted, "QUOTA_EXCEEDED", time.Second, "the caller's quota under its grant is used up for now"},
	{errTooManyWatches, codes.ResourceExhausted, "QUOTA_EXCEEDED", 10 * time.Second, "too many watches are open"},
	{errTooManyCalls, codes.ResourceExhausted, "OVERLOADED", 100 * time.Millisecond, "too many calls are under way"},
	{errConfigInvalid, codes.FailedPrecondition, "CONFIG_INVALID", 0, "the configuration was not taken up"},
	{rotation.ErrNoVersion, codes.NotFound, "NO_SUCH_VERSION", 0, "the key has no such version"},
	{rotation.ErrTooEarly, codes.FailedPrecondition, "TOO_EARLY", 0, "it is too early for this"},
	{halt.ErrHalted, codes.FailedPrecondition, "DISABLED", 0, "an operator has stopped this"},
	{audit.ErrUnavailable, codes.Unavailable, "AUDIT_UNAVAILABLE", time.Second, "the audit record cannot be written, so nothing is minted"},
	{signer.ErrOverloaded, codes.ResourceExhausted, "OVERLOADED", 100 * time.Millisecond, "too many calls wait for the key store"},
	{signer.ErrNotReady, codes.Unavailable, "NOT_READY", time.Second, "the key has not been read from its store yet"},
	{signer.ErrNoTime, codes.DeadlineExceeded, "DEADLINE_TOO_SHORT", 0, "too little time was left to sign; nothing was signed"},
	{backends.ErrThrottled, codes.ResourceExhausted, "BACKEND_THROTTLED", time.Second, "the key store takes no more for now"},
	{backends.ErrKeyDisabled, codes.FailedPrecondition, "KEY_DISABLED", 0, "the key is disabled in its store"},
	{backends.ErrKeyNotFound, codes.FailedPrecondition, "KEY_NOT_FOUND", 0, "the key store no longer has the key"},
	{backends.ErrAccessDenied, codes.FailedPrecondition, "KEY_ACCESS_DENIED", 0, "the key store does not let this server use the key"},
	{backends.ErrKeyUnsuitable, codes.FailedPrecondition, "KEY_UNSUITABLE", 0, "the key is not usable for ES256"},
	{backends.ErrKeyMismatch, codes.FailedPrecondition, "KEY_MISMATCH", 0, "the key in the store is not the expected one"},
	{backends.ErrPINIncorrect, codes.FailedPrecondition, "PIN_INCORRECT", 0, "the key store refused the server's PIN"},
	{backends.ErrPINLocked, codes.FailedPrecondition, "PIN_LOCKED", 0, "the PIN of the key store is locked or about to be"},
	{backends.ErrSignatureInvalid, codes.Internal, "SIGNATURE_INVALID", 0, "the key store made a wrong signature; the key is out of use"},
	{errDraining, codes.Unavailable, "DRAINING", time.Second, "the server is stopping; ask another one"},
	{backends.ErrClosed, codes.Unavailable, "DRAINING", time.Second, "the server is stopping; ask another one"},
	{backends.ErrUnavailable, codes.Unavailable, "BACKEND_UNAVAILABLE", time.Second, "the key store is unavailable"},
	{context.Canceled, codes.Canceled, "CANCELLED", 0, "the caller cancelled the call"},
	{context.DeadlineExceeded, codes.DeadlineExceeded, "DEADLINE_EXCEEDED", 0, "the call's deadline has passed"},
}

// operatorsErrors are those whose own text is the message: it is about what
// operators wrote, and they alone get it.
var operatorsErrors = []error{errConfigInvalid, rotation.ErrNoVersion, rotation.ErrTooEarly}

// internal is the row for an error that no other row expects.
var internal = Failure{nil, codes.Internal, "INTERNAL", 0, "internal error; the server's log says more"}

// invalidRequest is the row for a *claims.Refusal, whose own text is the
// message.
var invalidRequest = Failure{nil, codes.InvalidArgument, "INVALID_REQUEST", 0, ""}

// toStatus is what the caller gets for an error.
func toStatus(err error) *status.Status {
	if refusal, ok := errors.AsType[*claims.Refusal](err); ok {
		bad := &errdetails.BadRequest{}
		for _, v := range refusal.Violations {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
				Field: v.Field, Description: v.Description,
			})
		}
		row := invalidRequest
		row.Message = "request refused: " + refusal.Error()
		return row.status(bad)
	}
	for _, row := range failureTable {
		if errors.Is(err, row.Is) {
			if slices.Contains(operatorsErrors, row.Is) {
				row.Message = err.Error()
			}
			return row.status(row.retryInfo(err)...)
		}
	}
	return internal.status()
}

// retrying is an error that knows when it may be over.
type retrying interface {
	error
	RetryDelay() time.Duration
}

// retryInfo says when to try again: as the error says, else as the row says.
func (f Failure) retryInfo(err error) []protoadapt.MessageV1 {
	delay := f.Retry
	if knows, ok := errors.AsType[retrying](err); ok && f.Retry > 0 {
		delay = knows.RetryDelay()
	} else if backendErr, ok := errors.AsType[*backends.Error](err); ok && backendErr.RetryAfter > 0 && f.Retry > 0 {
		delay = backendErr.RetryAfter
	}
	if delay == 0 {
		return nil
	}
	return []protoadapt.MessageV1{&errdetails.RetryInfo{RetryDelay: durationpb.New(delay)}}
}

func (f Failure) status(details ...protoadapt.MessageV1) *status.Status {
	st := status.New(f.Code, f.Message)
	all := append([]protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: f.Reason, Domain: Domain}}, details...)
	detailed, err := st.WithDetails(all...)
	if err != nil {
		return st // details are known messages, so this does not happen
	}
	return detailed
}

// reasonOf returns the reason of a status made here.
func reasonOf(st *status.Status) string {
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// operatorsFault says whether a failure is for the operator to look at.
func operatorsFault(code codes.Code) bool {
	return code == codes.Internal || code == codes.FailedPrecondition
}

// invalid is the refusal of one field.
func invalid(field, description string) error {
	return &claims.Refusal{Violations: []claims.Violation{{Field: field, Description: description}}}
}

// unauthenticated is ErrUnauthenticated with what the log should know.
func unauthenticated(why string) error { return fmt.Errorf("%w: %s", ErrUnauthenticated, why) }
