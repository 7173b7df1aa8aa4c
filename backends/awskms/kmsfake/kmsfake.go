// Package kmsfake is an AWS KMS for tests: an HTTP server of its own that
// signs, makes keys and takes them in, passes the contracts of backends/awskms
// itself, and fails in the ways that no emulator does: it throttles, hangs,
// resets, loses answers and lies.
//
// Its address takes any credentials; it does not check request signatures.
package kmsfake

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// Region and Account are those of every key ARN.
const (
	Region  = "eu-west-1"
	Account = "111122223333"
)

// Operations, as the X-Amz-Target header names them.
const (
	Sign                   = "Sign"
	GetPublicKey           = "GetPublicKey"
	CreateKey              = "CreateKey"
	DescribeKey            = "DescribeKey"
	ListKeys               = "ListKeys"
	GetParametersForImport = "GetParametersForImport"
	ImportKeyMaterial      = "ImportKeyMaterial"
	CreateAlias            = "CreateAlias"
)

// Server is a KMS with the keys it was given. All methods are safe for
// concurrent use.
type Server struct {
	listener net.Listener
	http     *http.Server
	done     chan struct{} // ends what hangs

	connections atomic.Int64
	wrapping    func() (*rsa.PrivateKey, error) // makes the key for imports, once

	mu      sync.Mutex
	keys    map[string]*key   // by ARN
	aliases map[string]string // alias/NAME to ARN
	faults  []*Fault
	quota   *rate.Limiter  // nil for none
	calls   map[string]int // by operation
	last    Request
	bodies  []Body
}

type key struct {
	private  *ecdsa.PrivateKey // nil while its material has not been imported
	spki     []byte
	disabled bool
	made     *made // nil of a key that AddKey gave
}

// Request is what a caller sent, as far as tests ask.
type Request struct {
	Operation string
	KeyID     string
	AccessKey string // of the request's signature
	Region    string // of the request's signature
}

// Body is a whole request, as JSON.
type Body struct {
	Operation string
	Body      json.RawMessage
}

// New serves on a free port of the loopback address. The caller closes it.
func New(keys ...*ecdsa.PrivateKey) (*Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("fake KMS: %w", err)
	}
	s := &Server{
		listener: listener, done: make(chan struct{}),
		keys: map[string]*key{}, aliases: map[string]string{}, calls: map[string]int{},
		wrapping: sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 4096) }),
	}
	for _, private := range keys {
		s.AddKey(private)
	}
	s.http = &http.Server{
		Handler: http.HandlerFunc(s.serve),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				s.connections.Add(1)
			}
		},
	}
	go s.http.Serve(listener) // ends with Close
	return s, nil
}

// Close drops every connection and ends what hangs.
func (s *Server) Close() error {
	close(s.done)
	return s.http.Close()
}

// URL is the endpoint, http://127.0.0.1:PORT.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// URI is the URI that opens a backend on this server, with more attributes
// such as "rate=100" if there are any.
func (s *Server) URI(attributes ...string) string {
	return "awskms:?" + strings.Join(append([]string{"region=" + Region, "endpoint=" + s.URL()}, attributes...), "&")
}

// AddKey keeps a key and returns its key ARN, which depends on the key alone.
func (s *Server) AddKey(private *ecdsa.PrivateKey) string {
	spki, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		panic(fmt.Sprintf("fake KMS: %v", err)) // not for a key of crypto/ecdsa
	}
	id := hex.EncodeToString(spki[len(spki)-16:])
	keyARN := fmt.Sprintf("arn:aws:kms:%s:%s:key/%s-%s-%s-%s-%s", Region, Account, id[:8], id[8:12], id[12:16], id[16:20], id[20:])
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[keyARN] = &key{private: private, spki: spki}
	return keyARN
}

// SetAlias points alias/NAME to a key.
func (s *Server) SetAlias(name, keyARN string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aliases[name] = keyARN
}

// SetDisabled disables or enables a key.
func (s *Server) SetDisabled(keyARN string, disabled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[keyARN].disabled = disabled
}

// SetQuota throttles Sign above so many a second, with a burst of a tenth; 0
// takes the quota away.
func (s *Server) SetQuota(perSecond float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quota = nil
	if perSecond > 0 {
		s.quota = rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond/10)))
	}
}

// Connections is how many were opened since New.
func (s *Server) Connections() int { return int(s.connections.Load()) }

// Calls is how many requests of an operation came in since New, whatever was
// answered.
func (s *Server) Calls(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[operation]
}

// Last is the last request.
func (s *Server) Last() Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

func (s *Server) keepBody(operation string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies = append(s.bodies, Body{operation, slices.Clone(body)})
}

// Bodies are all requests of the operations that make keys.
func (s *Server) Bodies() []Body {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.bodies)
}

// request is the body of Sign and GetPublicKey.
type request struct {
	KeyID            string `json:"KeyId"`
	Message          []byte
	MessageType      string
	SigningAlgorithm string
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	operation, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<16))
	var in request
	switch {
	case !ok || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-amz-json-1.1":
		fail(w, http.StatusBadRequest, "UnknownOperationException", "not the JSON 1.1 protocol of KMS")
		return
	case err != nil || json.Unmarshal(body, &in) != nil:
		fail(w, http.StatusBadRequest, "SerializationException", "")
		return
	}
	making, makes := makingOperations()[operation]
	if !makes && operation != Sign && operation != GetPublicKey {
		fail(w, http.StatusBadRequest, "UnknownOperationException", "")
		return
	}
	scope := credentialScope(r.Header.Get("Authorization"))
	if scope == nil {
		fail(w, http.StatusBadRequest, "MissingAuthenticationTokenException", "")
		return
	}
	fault := s.begin(Request{Operation: operation, KeyID: in.KeyID, AccessKey: scope[0], Region: scope[2]})
	if fault.before(w, r, s.done) {
		return
	}
	if fault.LostAnswer {
		defer reset(w)
		w = &discarded{header: http.Header{}}
	}
	if makes {
		s.keepBody(operation, body)
		making(s, w, body, fault)
		return
	}
	keyARN, k, disabled := s.find(in.KeyID)
	switch {
	case k == nil:
		notFound(w, in.KeyID)
	case k.private == nil:
		fail(w, http.StatusBadRequest, "KMSInvalidStateException", keyARN+" is pending import.")
	case operation == GetPublicKey:
		s.getPublicKey(w, keyARN, k, fault)
	case disabled:
		fail(w, http.StatusBadRequest, "DisabledException", keyARN+" is disabled.")
	case in.MessageType != "DIGEST" || len(in.Message) != 32 || in.SigningAlgorithm != "ECDSA_SHA_256":
		fail(w, http.StatusBadRequest, "ValidationException", "want a SHA-256 digest of MessageType DIGEST with ECDSA_SHA_256")
	case keySpec(k) != "ECC_NIST_P256":
		fail(w, http.StatusBadRequest, "InvalidKeyUsageException", "the algorithm is incompatible with the key spec")
	case !s.withinQuota():
		fail(w, http.StatusBadRequest, "ThrottlingException", "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.")
	default:
		sign(w, in, keyARN, k, fault)
	}
}

// begin keeps the request for Last and takes the next fault that is meant for it.
func (s *Server) begin(r Request) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = r
	s.calls[r.Operation]++
	for i, f := range s.faults {
		if f.Operation != "" && f.Operation != r.Operation {
			continue
		}
		taken := *f
		if f.Times--; f.Times == 0 {
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
		}
		return taken
	}
	return Fault{}
}

func (s *Server) find(id string) (keyARN string, k *key, disabled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	prefix := "arn:aws:kms:" + Region + ":" + Account + ":"
	resource := strings.TrimPrefix(id, prefix)
	switch {
	case strings.HasPrefix(resource, "alias/"):
		keyARN = s.aliases[resource]
	case strings.HasPrefix(id, "arn:"):
		keyARN = id
	default:
		keyARN = prefix + "key/" + id
	}
	if k = s.keys[keyARN]; k == nil {
		return "", nil, false
	}
	now := *k // another request may import its material meanwhile
	return keyARN, &now, now.disabled
}

func (s *Server) withinQuota() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.quota == nil || s.quota.Allow()
}

func (s *Server) getPublicKey(w http.ResponseWriter, keyARN string, k *key, f Fault) {
	answer(w, map[string]any{
		"KeyId":                 f.keyID(keyARN),
		"KeySpec":               keySpec(k),
		"CustomerMasterKeySpec": keySpec(k),
		"KeyUsage":              or(f.KeyUsage, "SIGN_VERIFY"),
		"PublicKey":             f.bytes(k.spki),
		"SigningAlgorithms":     []string{or(f.Algorithm, algorithm(k))},
	})
}

func sign(w http.ResponseWriter, in request, keyARN string, k *key, f Fault) {
	if f.WrongDigest {
		in.Message[0] ^= 1
	}
	der, err := ecdsa.SignASN1(rand.Reader, k.private, in.Message)
	if err != nil {
		fail(w, http.StatusInternalServerError, "KMSInternalException", err.Error())
		return
	}
	answer(w, map[string]any{
		"KeyId":            f.keyID(keyARN),
		"Signature":        f.bytes(der),
		"SigningAlgorithm": or(f.Algorithm, in.SigningAlgorithm),
	})
}

func keySpec(k *key) string {
	switch k.private.Curve {
	case elliptic.P256():
		return "ECC_NIST_P256"
	case elliptic.P384():
		return "ECC_NIST_P384"
	}
	return "ECC_NIST_P521"
}

func algorithm(k *key) string {
	switch k.private.Curve {
	case elliptic.P256():
		return "ECDSA_SHA_256"
	case elliptic.P384():
		return "ECDSA_SHA_384"
	}
	return "ECDSA_SHA_512"
}

// credentialScope returns access key, date, Region, service and the fixed end
// of a Signature Version 4 header, or nil.
func credentialScope(authorization string) []string {
	_, rest, ok := strings.Cut(authorization, "AWS4-HMAC-SHA256 Credential=")
	if !ok {
		return nil
	}
	credential, _, _ := strings.Cut(rest, ",")
	if scope := strings.Split(credential, "/"); len(scope) == 5 && scope[3] == "kms" {
		return scope
	}
	return nil
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("X-Amzn-Requestid", "11111111-2222-3333-4444-555555555555")
	if err := json.NewEncoder(w).Encode(v); err != nil && !errors.Is(err, net.ErrClosed) {
		panic(http.ErrAbortHandler)
	}
}

func fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("X-Amzn-Requestid", "11111111-2222-3333-4444-555555555555")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"__type": code, "message": message})
}

func or(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}
