package awskms_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/awskms/kmsfake"
)

// wantFailure checks Kind and operation, and that the text holds no secret.
func wantFailure(t *testing.T, err error, op string, kind error) *backends.Error {
	t.Helper()
	var failure *backends.Error
	if !errors.As(err, &failure) || failure.Op != op || !errors.Is(err, kind) {
		t.Fatalf("error is %v, want %s: %v", err, op, kind)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		t.Errorf("%v passes for the end of the caller's context", err)
	}
	if strings.Contains(err.Error(), secretKey) || strings.Contains(err.Error(), "session-token") {
		t.Errorf("%v holds a secret", err)
	}
	if errors.Is(kind, backends.ErrThrottled) != (failure.RetryAfter > 0) {
		t.Errorf("%v says to wait %v", err, failure.RetryAfter)
	}
	return failure
}

func TestErrorsOfKMS(t *testing.T) {
	fakeCredentials(t)
	t.Setenv("AWS_MAX_ATTEMPTS", "5") // is for the SDK's own retries, of which there are none
	s, id := startFake(t, newKey(t))
	b := open(t, s.URI())
	if _, err := b.Describe(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	const once, thrice = 1, 3
	for _, c := range []struct {
		status int
		code   string
		kind   error
		tries  int
	}{
		{400, "ThrottlingException", backends.ErrThrottled, once},
		{400, "LimitExceededException", backends.ErrThrottled, once},
		{400, "TooManyRequestsException", backends.ErrThrottled, once},
		{429, "", backends.ErrThrottled, once},
		{500, "KMSInternalException", backends.ErrUnavailable, thrice},
		{503, "DependencyTimeoutException", backends.ErrUnavailable, thrice},
		{500, "KeyUnavailableException", backends.ErrUnavailable, thrice},
		{500, "InternalFailure", backends.ErrUnavailable, thrice},
		{503, "ServiceUnavailable", backends.ErrUnavailable, thrice},
		{502, "", backends.ErrUnavailable, thrice},
		{418, "SomethingNew", backends.ErrUnavailable, once},
		{301, "", backends.ErrUnavailable, once},
		{400, "NotFoundException", backends.ErrKeyNotFound, once},
		{400, "InvalidArnException", backends.ErrKeyNotFound, once},
		{400, "ValidationException", backends.ErrKeyNotFound, once},
		{400, "DisabledException", backends.ErrKeyDisabled, once},
		{400, "KMSInvalidStateException", backends.ErrKeyDisabled, once},
		{400, "AccessDeniedException", backends.ErrAccessDenied, once},
		{400, "UnrecognizedClientException", backends.ErrAccessDenied, once},
		{403, "InvalidClientTokenId", backends.ErrAccessDenied, once},
		{400, "ExpiredTokenException", backends.ErrAccessDenied, once},
		{400, "InvalidSignatureException", backends.ErrAccessDenied, once},
		{403, "", backends.ErrAccessDenied, once},
		{400, "InvalidKeyUsageException", backends.ErrKeyUnsuitable, once},
		{400, "UnsupportedOperationException", backends.ErrKeyUnsuitable, once},
	} {
		t.Run(fmt.Sprintf("%d %s", c.status, c.code), func(t *testing.T) {
			message := "what went wrong"
			if c.code == "InvalidSignatureException" { // KMS repeats the request's headers
				message = "The Canonical String should have been 'POST x-amz-security-token:session-token'"
			}
			s.Inject(kmsfake.Fault{Status: c.status, Code: c.code, Message: message})
			defer s.Clear()
			before := s.Calls(kmsfake.Sign)
			_, err := b.Sign(t.Context(), id, backends.Digest{1})
			failure := wantFailure(t, err, "sign", c.kind)
			if failure.KeyID != id || c.code != "" && !strings.Contains(err.Error(), c.code) {
				t.Errorf("%v names not the key and KMS's own code", err)
			}
			if got := s.Calls(kmsfake.Sign) - before; got != c.tries {
				t.Errorf("KMS was asked %d times, want %d", got, c.tries)
			}
			_, err = b.Describe(t.Context(), id)
			wantFailure(t, err, "describe", c.kind)
		})
	}
	s.Inject(kmsfake.Fault{Status: 400, Code: "DisabledException", Message: "m"})
	_, err := b.Sign(t.Context(), id, backends.Digest{1})
	if modelled := (*types.DisabledException)(nil); !errors.As(err, &modelled) {
		t.Errorf("%v does not wrap KMS's own error", err)
	}
}

func TestLiesOfSign(t *testing.T) {
	fakeCredentials(t)
	s, id := startFake(t, newKey(t))
	other := s.AddKey(newKey(t))
	b := open(t, s.URI())
	for name, c := range map[string]struct {
		lie  kmsfake.Fault
		kind error
	}{
		"another key":       {kmsfake.Fault{KeyID: other}, backends.ErrKeyMismatch},
		"the id alone":      {kmsfake.Fault{KeyID: id[strings.LastIndex(id, "/")+1:]}, backends.ErrKeyMismatch},
		"another algorithm": {kmsfake.Fault{Algorithm: "ECDSA_SHA_384"}, backends.ErrSignatureInvalid},
		"trailing byte":     {kmsfake.Fault{Bytes: func(der []byte) []byte { return append(der, 0) }}, backends.ErrSignatureInvalid},
		"cut short":         {kmsfake.Fault{Bytes: func(der []byte) []byte { return der[:len(der)-1] }}, backends.ErrSignatureInvalid},
		"no signature":      {kmsfake.Fault{Bytes: func([]byte) []byte { return nil }}, backends.ErrSignatureInvalid},
		"raw r and s":       {kmsfake.Fault{Bytes: func([]byte) []byte { return make([]byte, 64) }}, backends.ErrSignatureInvalid},
		"empty object":      {kmsfake.Fault{Body: "{}"}, backends.ErrKeyMismatch},
		// Not KMS's protocol, thus not KMS: a proxy's page must not condemn the key.
		"garbage JSON": {kmsfake.Fault{Body: `{"KeyId": [`}, backends.ErrUnavailable},
		"a page":       {kmsfake.Fault{Body: "<html>"}, backends.ErrUnavailable},
		"wrong types":  {kmsfake.Fault{Body: `{"KeyId": 5}`}, backends.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			c.lie.Operation = kmsfake.Sign
			s.Inject(c.lie)
			defer s.Clear()
			_, err := b.Sign(t.Context(), id, backends.Digest{1})
			wantFailure(t, err, "sign", c.kind)
		})
	}
	// A signature over something else is for the layer above to find.
	s.Inject(kmsfake.Fault{Operation: kmsfake.Sign, Times: 1, WrongDigest: true})
	if _, err := b.Sign(t.Context(), id, backends.Digest{1}); err != nil {
		t.Errorf("a well-formed signature is refused: %v", err)
	}
}

func TestLiesOfGetPublicKey(t *testing.T) {
	fakeCredentials(t)
	s, id := startFake(t, newKey(t))
	other := s.AddKey(newKey(t))
	s.SetAlias("alias/lies", id)
	b := open(t, s.URI())
	bytes := func(f func([]byte) []byte) kmsfake.Fault { return kmsfake.Fault{Bytes: f} }
	for name, c := range map[string]struct {
		id   string
		lie  kmsfake.Fault
		kind error
	}{
		"another key":            {id, kmsfake.Fault{KeyID: other}, backends.ErrKeyMismatch},
		"another key for its id": {id[len(id)-36:], kmsfake.Fault{KeyID: other}, backends.ErrKeyMismatch},
		"no ARN for an alias":    {"alias/lies", kmsfake.Fault{KeyID: id[len(id)-36:]}, backends.ErrKeyMismatch},
		"another Region":         {"alias/lies", kmsfake.Fault{KeyID: strings.Replace(id, "eu-west-1", "us-east-1", 1)}, backends.ErrKeyMismatch},
		"an alias's ARN":         {"alias/lies", kmsfake.Fault{KeyID: "arn:aws:kms:eu-west-1:111122223333:alias/lies"}, backends.ErrKeyMismatch},
		"another usage":          {id, kmsfake.Fault{KeyUsage: "KEY_AGREEMENT"}, backends.ErrKeyUnsuitable},
		"another algorithm":      {id, kmsfake.Fault{Algorithm: "ECDSA_SHA_384"}, backends.ErrKeyUnsuitable},
		"trailing byte":          {id, bytes(func(der []byte) []byte { return append(der, 0) }), backends.ErrKeyUnsuitable},
		"a point off the curve":  {id, bytes(func(der []byte) []byte { d := append([]byte{}, der...); d[len(d)-1] ^= 1; return d }), backends.ErrKeyUnsuitable},
		"no public key":          {id, bytes(func([]byte) []byte { return nil }), backends.ErrKeyUnsuitable},
	} {
		t.Run(name, func(t *testing.T) {
			c.lie.Operation = kmsfake.GetPublicKey
			s.Inject(c.lie)
			defer s.Clear()
			_, err := b.Describe(t.Context(), c.id)
			wantFailure(t, err, "describe", c.kind)
			_, err = b.Sign(t.Context(), c.id, backends.Digest{1})
			wantFailure(t, err, "sign", c.kind)
		})
	}
	if got := s.Calls(kmsfake.Sign); got != 0 {
		t.Errorf("%d signatures were asked for from keys that are not trusted", got)
	}
}

func TestARNOfAnotherRegionIsRefusedUnasked(t *testing.T) {
	fakeCredentials(t)
	s, id := startFake(t, newKey(t))
	b := open(t, s.URI())
	_, err := b.Describe(t.Context(), strings.Replace(id, "eu-west-1", "us-east-1", 1))
	wantFailure(t, err, "describe", backends.ErrKeyNotFound)
	if want := "the ARN is of Region us-east-1 and the backend of eu-west-1"; !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want an error with %q", err, want)
	}
	if s.Calls(kmsfake.GetPublicKey) != 0 {
		t.Error("KMS was asked")
	}
}

// The public key that KMS answers has the wrong curve under the right spec.
func TestSpecAndCurveMustAgree(t *testing.T) {
	fakeCredentials(t)
	s, id := startFake(t, newKey(t))
	p384 := mustSPKI(t, newP384(t))
	s.Inject(kmsfake.Fault{Bytes: func([]byte) []byte { return p384 }})
	_, err := open(t, s.URI()).Describe(t.Context(), id)
	wantFailure(t, err, "describe", backends.ErrKeyUnsuitable)
}

func TestErrorsOfCredentials(t *testing.T) {
	answer := func(status int, code string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprintf(w, `<ErrorResponse><Error><Code>%s</Code><Message>m</Message></Error></ErrorResponse>`, code)
		}
	}
	hang := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // or the server does not see the caller leave
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	for name, c := range map[string]struct {
		sts  http.HandlerFunc
		kind error
	}{
		"refused":   {answer(403, "AccessDenied"), backends.ErrAccessDenied},
		"unknown":   {answer(403, "InvalidClientTokenId"), backends.ErrAccessDenied},
		"throttled": {answer(400, "Throttling"), backends.ErrUnavailable},
		"failing":   {answer(503, "ServiceUnavailable"), backends.ErrUnavailable},
		"hanging":   {hang, backends.ErrUnavailable},
		"away":      {nil, backends.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			fakeCredentials(t)
			t.Setenv("AWS_MAX_ATTEMPTS", "1")
			sts := httptest.NewServer(c.sts)
			defer sts.Close()
			if c.sts == nil {
				sts.Close()
			}
			t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)
			s, id := startFake(t, newKey(t))
			b := open(t, s.URI("role-arn=arn:aws:iam::111122223333:role/minter"))
			_, err := b.Describe(t.Context(), id)
			wantFailure(t, err, "describe", c.kind)
			if s.Calls(kmsfake.GetPublicKey) != 0 {
				t.Error("KMS was asked without credentials")
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		fakeCredentials(t)
		t.Setenv("AWS_ACCESS_KEY_ID", "")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "")
		s, id := startFake(t, newKey(t))
		_, err := open(t, s.URI()).Describe(t.Context(), id)
		wantFailure(t, err, "describe", backends.ErrAccessDenied)
	})
}

func TestNoAddressIsUnavailable(t *testing.T) {
	fakeCredentials(t)
	b := open(t, "awskms:?region=eu-west-1&endpoint=https://kms.invalid")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := b.Describe(ctx, "alias/any")
	wantFailure(t, err, "describe", backends.ErrUnavailable)
}
