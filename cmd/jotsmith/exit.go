package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The exit codes, which scripts may rely on.
const (
	exitOK = iota
	exitFailure
	exitUsage
	exitConfig
	exitDenied
	exitRefused
	exitTryAgain
	exitOperator
	exitUnverified
)

const exitCodes = `  0  done
  1  anything that has no code of its own
  2  the command line is wrong
  3  the configuration is wrong
  4  the server does not know the caller, or has no grant for it
  5  the server refuses the request as it is
  6  the server or its key store is away or busy: try again
  7  something that the server's operator must mend
  8  the token does not verify`

// exitError is an error with the exit code that it ends the program with.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// fail gives err an exit code. A nil err stays nil.
func fail(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code, err}
}

// fromServer turns the status of a failed RPC into what a person reads: the
// reason, the message, the violations, and when to try again.
func fromServer(err error) error {
	st, ok := status.FromError(err)
	if !ok {
		return fail(exitFailure, err)
	}
	var b strings.Builder
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			b.WriteString(info.GetReason() + ": ")
		}
	}
	if b.Len() == 0 {
		b.WriteString(st.Code().String() + ": ")
	}
	b.WriteString(st.Message())
	for _, detail := range st.Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			fmt.Fprintf(&b, " (try again in %s)", retry.GetRetryDelay().AsDuration().Round(time.Millisecond))
		}
	}
	return fail(exitCodeOf(st.Code()), errors.New(b.String()))
}

func exitCodeOf(code codes.Code) int {
	switch code {
	case codes.Unauthenticated, codes.PermissionDenied:
		return exitDenied
	case codes.InvalidArgument, codes.OutOfRange, codes.NotFound:
		return exitRefused
	case codes.Unavailable, codes.ResourceExhausted, codes.DeadlineExceeded, codes.Aborted, codes.Canceled:
		return exitTryAgain
	case codes.FailedPrecondition, codes.Internal, codes.DataLoss:
		return exitOperator
	default:
		return exitFailure
	}
}
