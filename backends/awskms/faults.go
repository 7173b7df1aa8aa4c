package awskms

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/jotsmith/jotsmith/backends"
)

// A fault is a failed try, before it is known whose call it was.
type fault struct {
	kind      error // one of backends' Kinds
	transient bool  // the next try may succeed
	answered  bool  // KMS itself said so: it counts even when the context has ended since
	err       error // for the log
}

// classify is the one place that turns what the SDK returns into a Kind. It
// does not know the caller's context: a context's error here means that the
// try's own time ran out.
func classify(err error) fault {
	if c := (*credentialsError)(nil); errors.As(err, &c) {
		return classifyCredentials(c)
	}
	status := 0
	if response := (*awshttp.ResponseError)(nil); errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		// No answer, or one that is not of KMS's protocol.
		return fault{kind: backends.ErrUnavailable, transient: true, err: describeTransport(err)}
	}
	f := fault{answered: true, err: &storeError{api: api, status: status, requestID: requestID(err)}}
	f.kind, f.transient = kindOf(api.ErrorCode(), status)
	return f
}

// kindOf maps KMS's error codes, and those that AWS's front end answers for
// every service; an unknown code counts by its HTTP status.
func kindOf(code string, status int) (kind error, transient bool) {
	switch code {
	case "ThrottlingException", "Throttling", "ThrottledException", "RequestLimitExceeded", "LimitExceededException",
		"TooManyRequestsException", "RequestThrottled", "RequestThrottledException", "SlowDown":
		return backends.ErrThrottled, false
	case "KMSInternalException", "DependencyTimeoutException", "KeyUnavailableException", "InternalFailure", "InternalError",
		"ServiceUnavailable", "ServiceUnavailableException", "RequestTimeout", "RequestTimeoutException":
		return backends.ErrUnavailable, true
	case "NotFoundException", "InvalidArnException", "ValidationException", "ValidationError":
		return backends.ErrKeyNotFound, false
	case "DisabledException", "KMSInvalidStateException":
		return backends.ErrKeyDisabled, false
	case "InvalidKeyUsageException", "UnsupportedOperationException":
		return backends.ErrKeyUnsuitable, false
	// What only a Maker meets.
	case "AlreadyExistsException":
		return backends.ErrKeyExists, false
	case "InvalidAliasNameException", "TagException", "MalformedPolicyDocumentException", "InvalidCiphertextException":
		return backends.ErrNotMade, false
	case "IncorrectKeyMaterialException":
		return backends.ErrKeyMismatch, false
	case "ExpiredImportTokenException", "InvalidImportTokenException":
		return backends.ErrUnavailable, false
	case "AccessDeniedException", "AccessDenied", "UnrecognizedClientException", "InvalidClientTokenId", "ExpiredTokenException",
		"ExpiredToken", "InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken",
		"MissingAuthenticationTokenException", "NotAuthorized", "OptInRequired", "RequestExpired", "RequestTimeTooSkewed":
		return backends.ErrAccessDenied, false
	}
	switch {
	case status == http.StatusTooManyRequests:
		return backends.ErrThrottled, false
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return backends.ErrAccessDenied, false
	}
	return backends.ErrUnavailable, status == 0 || status >= 500
}

// classifyCredentials tells credentials that cannot be fetched now, from STS,
// IMDS or SSO, from those that do not exist or are refused.
func classifyCredentials(c *credentialsError) fault {
	f := fault{kind: backends.ErrAccessDenied, err: fmt.Errorf("no AWS credentials: %w", opaque(c.err))}
	status := 0
	if response, ok := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](c.err); ok {
		status = response.HTTPStatusCode()
	}
	if api, ok := errors.AsType[smithy.APIError](c.err); ok {
		f.err = fmt.Errorf("no AWS credentials: %w", &storeError{api: api, status: status, requestID: requestID(c.err)})
		// A throttle of STS is an outage to us: it says nothing of KMS's quota.
		if kind, _ := kindOf(api.ErrorCode(), status); errors.Is(kind, backends.ErrThrottled) || errors.Is(kind, backends.ErrUnavailable) {
			f.kind, f.transient = backends.ErrUnavailable, true
		}
		return f
	}
	if status >= 500 || status == 0 && isTransport(c.err) {
		f.kind, f.transient = backends.ErrUnavailable, true
	}
	return f
}

// isTransport says whether err comes from the network and not from a file or a
// setting.
func isTransport(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true
	}
	if _, ok := errors.AsType[*aws.RequestCanceledError](err); ok {
		return true
	}
	_, ok := errors.AsType[interface {
		error
		Timeout() bool // net.Error, *url.Error
	}](err)
	return ok
}

// describeTransport keeps the words of an error and drops its chain.
func describeTransport(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("no answer in time: %w", opaque(err))
	}
	return opaque(err)
}

// opaque keeps the text alone: the timeout of a try, or of a dial, is a
// context.DeadlineExceeded to errors.Is, and the caller's context has not
// ended.
func opaque(err error) error { return errors.New(err.Error()) }

// A storeError is KMS's own answer, in the words for the log.
type storeError struct {
	api       smithy.APIError
	status    int
	requestID string
}

// Error leaves out the message of a refused request signature: it repeats the
// request's headers, the session token among them.
func (e *storeError) Error() string {
	var b strings.Builder
	b.WriteString(e.api.ErrorCode())
	switch code := e.api.ErrorCode(); {
	case strings.Contains(code, "Signature"):
		b.WriteString(": the secret access key is wrong, or the clock")
	case e.api.ErrorMessage() != "":
		b.WriteString(": " + e.api.ErrorMessage())
	}
	if e.status != 0 {
		fmt.Fprintf(&b, " (HTTP status %d, request id %q)", e.status, e.requestID)
	}
	return b.String()
}

// Unwrap gives the modelled error, such as *types.DisabledException.
func (e *storeError) Unwrap() error { return e.api }

func requestID(err error) string {
	if response, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		return response.ServiceRequestID()
	}
	return ""
}

// A credentialsError marks what went wrong before KMS was asked.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// credentials marks the errors of the provider it wraps.
type credentials struct{ aws.CredentialsProvider }

func (c credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	value, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, &credentialsError{err}
	}
	return value, nil
}
