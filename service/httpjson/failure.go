package httpjson

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// clientClosed is the status of a call whose caller has gone, which he does not see.
const clientClosed = 499

// httpStatus is the HTTP status of a code, as google/rpc/code.proto maps them.
func httpStatus(c codes.Code) int {
	switch c { //nolint:exhaustive // the rest is the server's fault
	case codes.OK:
		return http.StatusOK
	case codes.Canceled:
		return clientClosed
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return http.StatusBadRequest
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	case codes.NotFound:
		return http.StatusNotFound
	case codes.AlreadyExists, codes.Aborted:
		return http.StatusConflict
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// failureBody is an error as AIP-193 has it in JSON.
type failureBody struct {
	Error struct {
		Code    int               `json:"code"`
		Message string            `json:"message"`
		Status  string            `json:"status"`
		Details []json.RawMessage `json:"details,omitempty"`
	} `json:"error"`
}

// fail answers with an error. A RetryInfo becomes a Retry-After too, in whole
// seconds, and so never too early.
func fail(w http.ResponseWriter, httpCode int, st *status.Status) {
	for _, detail := range st.Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			w.Header().Set("Retry-After", strconv.FormatFloat(math.Ceil(retry.GetRetryDelay().AsDuration().Seconds()), 'f', 0, 64))
		}
	}
	if httpCode == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	var body failureBody
	body.Error.Code, body.Error.Message, body.Error.Status = httpCode, st.Message(), code.Code(st.Code()).String()
	for _, detail := range st.Proto().GetDetails() {
		if text, err := compactJSON(detail); err == nil {
			body.Error.Details = append(body.Error.Details, text)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(httpCode)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body) // a caller who has gone does not read it
}
