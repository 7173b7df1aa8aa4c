package main

import (
	"errors"
	"fmt"
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
	exitUnwell
)

const exitCodes = `  0  done
  1  anything that has no code of its own
  2  the command line is wrong
  3  the configuration is wrong
  4  the server does not know the caller, or has no grant for it
  5  the server refuses the request as it is
  6  the server or its key store is away or busy: try again
  7  something that the server's operator must mend
  8  the token does not verify
  9  doctor has found what to mend`

// exitError is an error with the exit code that it ends the program with. One
// without err is that of a command that was run for the user, and is not spoken of.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("the command ended with %d", e.code)
	}
	return e.err.Error()
}
func (e *exitError) Unwrap() error { return e.err }

// fail gives err an exit code. A nil err stays nil.
func fail(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code, err}
}

// fault turns the status of a failed RPC into what a person reads: the reason,
// the message, the violations, and when to try again.
func (c *client) fault(err error) error {
	return serverFault(err, c.address, "--address or JOTSMITH_ADDRESS")
}

// serverFault is what a command says of an error of the server at an address,
// which how says how to set.
func serverFault(err error, address, how string) error {
	st, ok := status.FromError(err)
	if !ok {
		return fail(exitFailure, err)
	}
	reason, retry := "", ""
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			reason = d.GetReason()
		case *errdetails.RetryInfo:
			retry = fmt.Sprintf(" (try again in %s)", d.GetRetryDelay().AsDuration().Round(time.Millisecond))
		}
	}
	switch {
	case reason == "CONFIG_INVALID":
		return fail(exitConfig, errors.New(st.Message()))
	case reason != "":
		err = fmt.Errorf("%s: %s%s", reason, st.Message(), retry)
	case st.Code() == codes.Unavailable: // nothing that Jotsmith says lacks a reason
		err = fmt.Errorf("cannot reach the server at %s (%s): %s", address, how, st.Message())
	default:
		err = fmt.Errorf("%s: %s", st.Code(), st.Message())
	}
	return fail(exitCodeOf(st.Code()), err)
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
