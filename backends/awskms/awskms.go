// Package awskms keeps keys in AWS KMS: asymmetric keys of the key spec
// ECC_NIST_P256 and the key usage SIGN_VERIFY.
//
// A backend's URI has no key in it and every attribute is optional; what is
// absent comes from the SDK's environment and shared config (AWS_REGION,
// AWS_PROFILE, AWS_ENDPOINT_URL_KMS, web identity, role chaining, IMDS):
//
//	awskms:?region=eu-west-1&profile=prod&role-arn=arn:aws:iam::111122223333:role/minter
//	awskms:?endpoint=http://127.0.0.1:4566&region=eu-west-1&rate=250&max-in-flight=32
//
// A key's id is a key ARN, an alias ARN, alias/NAME or a key id; the URI of one
// key is awskms:///ID or awskms:ID with the same attributes.
//
// The least permissions are kms:GetPublicKey and kms:Sign on the key; the
// latter with the conditions kms:SigningAlgorithm ECDSA_SHA_256 and
// kms:MessageType DIGEST.
package awskms

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"golang.org/x/sync/singleflight"

	"github.com/jotsmith/jotsmith/backends"
)

// closeTimeout is how long Close waits for calls under way. A try ends before.
const closeTimeout = tryTimeout + time.Second

// errOwnLimit: the call never left this process.
var errOwnLimit = errors.New("the limit of signatures per second is reached: raise the URI's rate if the account's quota allows")

// Backend is one Region of KMS under one identity.
type Backend struct {
	log     *slog.Logger
	client  *kms.Client
	http    *http.Client // client's own
	region  string
	limiter *limiter
	slots   chan struct{} // one for each call in flight
	calls   calls

	tryTimeout time.Duration // tryTimeout, or a Maker's

	arns       sync.Map // id, as the caller gives it, to the key ARN of its last Describe
	describing singleflight.Group
}

var _ backends.KeyBackend = (*Backend)(nil)

// Open makes a backend of the URI and the SDK's environment and shared config.
// It does not ask KMS, and fetches no credentials: the first call does. The
// caller closes it.
func Open(ctx context.Context, uri string, log *slog.Logger) (*Backend, error) {
	s, err := parseBackendURI(uri)
	if err != nil {
		return nil, err
	}
	client, httpClient, err := newClient(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", Scheme, err)
	}
	return &Backend{
		log:     log,
		client:  client,
		http:    httpClient,
		region:  client.Options().Region,
		limiter: newLimiter(s.rate),
		slots:   make(chan struct{}, s.maxInFlight),

		tryTimeout: tryTimeout,
	}, nil
}

// Describe asks kms:GetPublicKey. From then on Sign uses the key ARN of the
// answer, so that an alias that is pointed to another key changes nothing
// until the next Describe.
func (b *Backend) Describe(ctx context.Context, id string) (backends.KeyInfo, error) {
	if !b.calls.enter() {
		return backends.KeyInfo{}, of("describe", id, errClosed())
	}
	defer b.calls.leave()
	info, err := b.describe(ctx, id)
	return info, of("describe", id, err)
}

// Sign asks kms:Sign of MessageType DIGEST with ECDSA_SHA_256. It does not
// verify the signature; it refuses one that is not of the key's ARN or not
// strict DER.
func (b *Backend) Sign(ctx context.Context, id string, digest backends.Digest) (backends.Signature, error) {
	if !b.calls.enter() {
		return backends.Signature{}, of("sign", id, errClosed())
	}
	defer b.calls.leave()
	keyARN, err := b.keyARN(ctx, id)
	if err != nil {
		return backends.Signature{}, of("sign", id, err)
	}
	sig, err := b.sign(ctx, keyARN, digest)
	return sig, of("sign", id, err)
}

// Close refuses new calls, waits three seconds at most for those under way and
// closes the idle connections.
func (b *Backend) Close() error {
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-b.calls.close():
	case <-timer.C:
		b.log.Warn("calls are still under way after closing the key store", "store", Scheme)
	}
	b.http.CloseIdleConnections()
	return nil
}

// keyARN returns what the last Describe of id answered, and describes it once
// for all who ask at the same time if there was none. It goes on when the
// first of them leaves.
func (b *Backend) keyARN(ctx context.Context, id string) (string, error) {
	if known, ok := b.arns.Load(id); ok {
		return known.(string), nil
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	flight := b.describing.DoChan(id, func() (any, error) {
		if !b.calls.enter() {
			return "", errClosed()
		}
		defer b.calls.leave()
		info, err := b.describe(context.WithoutCancel(ctx), id)
		return info.CanonicalID, err
	})
	select {
	case answer := <-flight:
		return answer.Val.(string), answer.Err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (b *Backend) describe(ctx context.Context, id string) (backends.KeyInfo, error) {
	if err := checkKeyID(id, b.region); err != nil {
		return backends.KeyInfo{}, &backends.Error{Kind: backends.ErrKeyNotFound, Err: err}
	}
	var out *kms.GetPublicKeyOutput
	err := b.call(ctx, false, func(ctx context.Context) (err error) {
		out, err = b.client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: &id})
		return err
	})
	if err != nil {
		return backends.KeyInfo{}, err
	}
	keyARN := aws.ToString(out.KeyId)
	if !answersTo(keyARN, id, b.region) {
		return backends.KeyInfo{}, &backends.Error{Kind: backends.ErrKeyMismatch, Err: fmt.Errorf("KMS answered for %q", keyARN)}
	}
	public, err := publicKey(out)
	if err != nil {
		return backends.KeyInfo{}, &backends.Error{Kind: backends.ErrKeyUnsuitable, Err: err}
	}
	b.arns.Store(id, keyARN)
	return backends.KeyInfo{PublicKey: public, CanonicalID: keyARN}, nil
}

func (b *Backend) sign(ctx context.Context, keyARN string, digest backends.Digest) (backends.Signature, error) {
	in := kms.SignInput{
		KeyId:            &keyARN,
		Message:          digest[:],
		MessageType:      types.MessageTypeDigest,
		SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256,
	}
	var out *kms.SignOutput
	err := b.call(ctx, true, func(ctx context.Context) (err error) {
		out, err = b.client.Sign(ctx, &in)
		return err
	})
	if err != nil {
		return backends.Signature{}, err
	}
	if got := aws.ToString(out.KeyId); got != keyARN {
		return backends.Signature{}, &backends.Error{Kind: backends.ErrKeyMismatch, Err: fmt.Errorf("KMS signed with %q, want %q", got, keyARN)}
	}
	if out.SigningAlgorithm != in.SigningAlgorithm {
		return backends.Signature{}, &backends.Error{
			Kind: backends.ErrSignatureInvalid,
			Err:  fmt.Errorf("KMS signed with the algorithm %q, want %q", out.SigningAlgorithm, in.SigningAlgorithm),
		}
	}
	sig, err := backends.SignatureFromDER(out.Signature)
	if err != nil {
		return backends.Signature{}, &backends.Error{Kind: backends.ErrSignatureInvalid, Err: err}
	}
	return sig, nil
}

// publicKey takes nothing but an ECDSA P-256 key that may sign for ES256.
func publicKey(out *kms.GetPublicKeyOutput) (*ecdsa.PublicKey, error) {
	switch {
	case out.KeySpec != types.KeySpecEccNistP256:
		return nil, fmt.Errorf("key spec is %q: create a key of key spec %s", out.KeySpec, types.KeySpecEccNistP256)
	case out.KeyUsage != types.KeyUsageTypeSignVerify:
		return nil, fmt.Errorf("key usage is %q: create a key of key usage %s", out.KeyUsage, types.KeyUsageTypeSignVerify)
	case !slices.Contains(out.SigningAlgorithms, types.SigningAlgorithmSpecEcdsaSha256):
		return nil, fmt.Errorf("signing algorithms are %q, without %s", out.SigningAlgorithms, types.SigningAlgorithmSpecEcdsaSha256)
	}
	parsed, err := x509.ParsePKIXPublicKey(out.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("KMS answered a malformed public key: %w", err)
	}
	public, ok := parsed.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, errors.New("KMS answered a public key that is not on P-256")
	}
	if again, err := x509.MarshalPKIXPublicKey(public); err != nil || !bytes.Equal(again, out.PublicKey) {
		return nil, errors.New("KMS answered a public key that is not DER")
	}
	return public, nil
}

func errClosed() error { return &backends.Error{Kind: backends.ErrClosed} }

// of names the operation and the key of a failure, which callers of one
// single-flight share. The context's own errors stay what they are.
func of(op, id string, err error) error {
	if failure := (*backends.Error)(nil); errors.As(err, &failure) {
		named := *failure
		named.Op, named.KeyID = op, id
		return &named
	}
	return err
}
