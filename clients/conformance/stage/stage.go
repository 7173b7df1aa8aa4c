// Package stage runs the program itself for the tests of client libraries: a server
// with keys, profiles and callers of its own, which a test stops, starts again,
// rotates the key of and stops a profile on, as an operator would.
package stage

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/authn/authntest"
)

// Issuer is the iss of the profile `asc`.
const Issuer = "57246542-96fe-1a63-e053-0824d011072a"

// Server is the program and what it stands on. Start it; it ends with the test.
type Server struct {
	// Dir is the directory of its files: ca.pem, by which its certificate is
	// verified; me.pem and me.key, a client certificate of a caller who has a grant;
	// id, a bearer of one.
	Dir string
	// TCP and Loopback are the addresses of its listeners with TLS and in plaintext.
	TCP, Loopback string
	// Clients issues the certificates of callers, and the server's own.
	Clients *authntest.Authority

	t         testing.TB
	rotations int
	program   string
	tokens    *provider

	mu      sync.Mutex
	command *exec.Cmd  // nil while it is stopped
	ended   chan error // gives how it ended
	output  *bytes.Buffer
}

// Build compiles the program into dir and returns its path. It is built once for
// all servers of a test's process.
func Build(ctx context.Context, dir string) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "jotsmith")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/jotsmith")
	build.Dir = string(bytes.TrimSpace(root))
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
}

// New prepares a Server that runs program, and does not start it.
func New(t testing.TB, program string) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "jot") //nolint:usetesting // a socket's path is short, t.TempDir's is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	s := &Server{
		Dir: dir, TCP: freePort(t), Loopback: freePort(t), Clients: authntest.NewAuthority(t),
		t: t, program: program, output: &bytes.Buffer{}, tokens: newProvider(t),
	}
	s.writePEM("ca.pem", "CERTIFICATE", s.Clients.Certificate.Raw)
	s.writePEM("tokens-ca.pem", "CERTIFICATE", s.tokens.server.Certificate().Raw)
	s.writeCertificate("server", s.Clients.Server())
	s.Certificate("me.example")
	s.Bearer("me")
	s.configure("2X9R4HX")
	t.Cleanup(s.Stop)
	return s
}

// ports counts those that this process has taken.
var ports atomic.Int32

// freePort returns an address that nobody listens on, and that nobody will be given
// who asks the system for any port, on either side of a connection: the server may
// stop and start there.
func freePort(t testing.TB) string {
	t.Helper()
	const first, below = 20_000, 32_000 // Linux gives from 32768 on
	for {
		port := first + (os.Getpid()*61+int(ports.Add(1)))%(below-first)
		address := fmt.Sprintf("127.0.0.1:%d", port)
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
		if err == nil {
			err = listener.Close()
		}
		if err == nil {
			return address
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

// File is the path of a file in Dir.
func (s *Server) File(name string) string { return filepath.Join(s.Dir, name) }

// Unix is the address of its Unix socket.
func (s *Server) Unix() string { return "unix://" + s.File("s") }

// Write writes a file in Dir.
func (s *Server) Write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.File(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) writePEM(name, kind string, der []byte) {
	s.t.Helper()
	s.Write(name, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

func (s *Server) writeCertificate(name string, c tls.Certificate) {
	s.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		s.t.Fatal(err)
	}
	s.writePEM(name+".pem", "CERTIFICATE", c.Certificate[0])
	s.writePEM(name+".key", "PRIVATE KEY", der)
}

// Certificate writes me.pem and me.key, of a client of that DNS name. `me.example`
// has a grant.
func (s *Server) Certificate(name string) {
	s.t.Helper()
	s.writeCertificate("me", s.Clients.Issue(func(c *x509.Certificate) { c.DNSNames = []string{name} }))
}

// Bearer writes `id`, a token of the OpenID Connect provider for that sub. `me` has
// a grant.
func (s *Server) Bearer(sub string) {
	s.t.Helper()
	s.Write("id", s.tokens.token(s.t, sub)+"\n")
}

// configure writes a configuration with two new keys, Apple's and the one of all
// other profiles, whose kids begin as said.
func (s *Server) configure(begin string) {
	s.t.Helper()
	for _, end := range []string{"asc", "own"} {
		der, err := x509.MarshalPKCS8PrivateKey(authntest.NewKey(s.t))
		if err != nil {
			s.t.Fatal(err)
		}
		s.writePEM(begin+end+".p8", "PRIVATE KEY", der)
	}
	s.Write("jotsmith.yaml", fmt.Sprintf(configuration, s.Dir, s.TCP, s.Loopback, s.tokens.server.URL, begin, Issuer, os.Getuid()))
}

// Rotate gives all profiles other keys, whose kids begin with NEW.
func (s *Server) Rotate() {
	s.t.Helper()
	s.rotations++
	s.configure(fmt.Sprintf("NEW%04d", s.rotations))
	if _, err := s.Operator().Reload(s.t.Context(), &jotsmithv1.ReloadRequest{}); err != nil {
		s.t.Fatal(err)
	}
}

// Disable stops a profile, as an operator does. Enable lets it go on.
func (s *Server) Disable(profile string) {
	s.t.Helper()
	if _, err := s.Operator().Disable(s.t.Context(), &jotsmithv1.DisableRequest{Target: target(profile), Reason: "test"}); err != nil {
		s.t.Fatal(err)
	}
}

// Enable lets a profile go on.
func (s *Server) Enable(profile string) {
	s.t.Helper()
	if _, err := s.Operator().Enable(s.t.Context(), &jotsmithv1.EnableRequest{Target: target(profile)}); err != nil {
		s.t.Fatal(err)
	}
}

func target(profile string) *jotsmithv1.Target {
	return &jotsmithv1.Target{Target: &jotsmithv1.Target_Profile{Profile: profile}}
}

// Operator is a client of the operators' socket.
func (s *Server) Operator() jotsmithv1.AdminServiceClient {
	return jotsmithv1.NewAdminServiceClient(s.dial("admin"))
}

// PublicKeys returns the public keys of the profiles by their kid, as its API lists
// them now, and their JWKs.
func (s *Server) PublicKeys(ctx context.Context) (map[string]*ecdsa.PublicKey, map[string]string, error) {
	conn := s.dial("s")
	listed, err := jotsmithv1.NewKeyServiceClient(conn).ListKeys(ctx, &jotsmithv1.ListKeysRequest{})
	if err != nil {
		return nil, nil, err
	}
	keys, jwks := map[string]*ecdsa.PublicKey{}, map[string]string{}
	for _, key := range listed.GetKeys() {
		parsed, err := x509.ParsePKIXPublicKey(key.GetSpki())
		if err != nil {
			return nil, nil, err
		}
		public, ok := parsed.(*ecdsa.PublicKey)
		if !ok {
			return nil, nil, fmt.Errorf("key %s is a %T", key.GetKid(), parsed)
		}
		keys[key.GetKid()], jwks[key.GetKid()] = public, key.GetJwk()
	}
	return keys, jwks, nil
}

func (s *Server) dial(socket string) *grpc.ClientConn {
	conn, err := grpc.NewClient("unix://"+s.File(socket), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return conn
}

// Start starts the program, and returns when it listens.
func (s *Server) Start() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.command = exec.CommandContext(context.WithoutCancel(s.t.Context()), s.program, "serve", "--config", s.File("jotsmith.yaml"))
	s.command.Stdout, s.command.Stderr = s.output, s.output
	if err := s.command.Start(); err != nil {
		s.t.Fatal(err)
	}
	command := s.command
	s.ended = make(chan error, 1)
	go func() { s.ended <- command.Wait() }()
	for !s.listens("s") || !s.listens("admin") {
		select {
		case err := <-s.ended:
			s.command = nil
			s.t.Fatalf("the server ended with %v\n%s", err, s.output.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// listens says whether somebody answers on a socket.
func (s *Server) listens(socket string) bool {
	conn, err := (&net.Dialer{}).DialContext(s.t.Context(), "unix", s.File(socket))
	if err != nil {
		return false
	}
	if err := conn.Close(); err != nil {
		s.t.Error(err)
	}
	return true
}

// Stop lets the program stop as it wants to. It does nothing to one that is stopped.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.command == nil {
		return
	}
	_ = s.command.Process.Signal(syscall.SIGTERM)
	if err := <-s.ended; err != nil {
		s.t.Errorf("the server ended with %v\n%s", err, s.output.String())
	}
	s.command = nil
}

// configuration takes Dir, TCP, Loopback, the provider's URL, how kids begin, the
// issuer and the uid.
const configuration = `
listeners:
  - unix: {path: %[1]s/s}
  - tcp:
      address: %[2]s
      certificate_file: %[1]s/server.pem
      key_file: %[1]s/server.key
      client_ca_file: %[1]s/ca.pem
      client_certificate_optional: true
  - tcp: {address: "%[3]s", plaintext_loopback: true}
admin: {path: %[1]s/admin, state_file: %[1]s/stopped.json}
limits: {shutdown_grace: 1s}
issuers:
  ci: {url: %[4]s, audiences: [https://jotsmith.example], ca_file: %[1]s/tokens-ca.pem}
backends: {local: {uri: "file:%[1]s"}}
keys:
  asc: {backend: local, id: %[5]sasc.p8, kid: %[5]sasc}
  own: {backend: local, id: %[5]sown.p8, kid: %[5]sown}
profiles:
  asc: {preset: apple/app-store-connect-team, key: asc, claims: {iss: {fixed: %[6]s}}}
  svc:
    preset: jwt
    key: own
    claims:
      iss: {fixed: https://tokens.example.org}
      aud: {fixed: svc}
      sub: {caller: {}}
      name: {caller: {}}
      number: {caller: {type: integer}}
      list: {caller: {type: string_list}}
  other:
    preset: jwt
    key: own
    claims: {iss: {fixed: https://tokens.example.org}, aud: {fixed: other}}
  once:
    preset: jwt
    key: own
    claims:
      iss: {fixed: https://tokens.example.org}
      aud: {fixed: once}
      jti: {computed: uuid}
  shared:
    preset: jwt
    key: own
    claims: {iss: {fixed: https://tokens.example.org}, aud: {fixed: shared}}
    reuse: {mode: shared, min_age: 20s}
grants:
  - name: all
    callers:
      - unix: {uid: %[7]d}
      - mtls: {dns: me.example}
      - oidc: {issuer: ci, sub: me}
      - loopback: true
    profiles: [asc, svc, once, shared]
`
