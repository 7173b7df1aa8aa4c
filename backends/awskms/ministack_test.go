package awskms_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/awskms"
	"github.com/jotsmith/jotsmith/backends/backendtest"
)

const (
	region    = "eu-west-1"
	accessKey = "111122223333" // to ministack, an access key of 12 digits is the account
	secretKey = "secret-access-key-of-the-tests"
)

// ministack is a KMS emulator: a real HTTP server with keys that sign.
type ministack struct {
	addr string // host:port
	url  string
	bin  string // its virtual environment's bin
	*kms.Client
}

// startMinistack runs the emulator that deploy/dev/kms.sh installs until the
// end of the test.
func startMinistack(t *testing.T) *ministack {
	t.Helper()
	bin := venvBin(t)
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	var output bytes.Buffer
	cmd := exec.Command(filepath.Join(bin, "ministack"))
	cmd.Env = append(os.Environ(), "BIND_HOST=127.0.0.1", "GATEWAY_PORT="+port, "SERVICES=kms,sts",
		"IOT_MTLS_ENABLED=0", "SFTP_ENABLED=0", "LOG_LEVEL=WARNING")
	cmd.Dir = t.TempDir()
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("ministack's last words:\n%s", output.String()[max(0, output.Len()-2000):])
		}
	})
	m := &ministack{addr: addr, url: "http://" + addr, bin: bin}
	m.Client = kms.New(kms.Options{
		Region: region, BaseEndpoint: &m.url,
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
	})
	for deadline := time.Now().Add(30 * time.Second); ; {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return m
		}
		if time.Now().After(deadline) {
			t.Fatalf("ministack does not listen: %v", err)
		}
		time.Sleep(50 * time.Millisecond) // another process starts
	}
}

// venvBin is where deploy/dev/kms.sh installs the emulator, and botocore with it.
func venvBin(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob("../../.cache/ministack-*/installed")
	if err != nil || len(found) == 0 {
		t.Fatal("the KMS emulator is not installed: run deploy/dev/kms.sh install")
	}
	bin, err := filepath.Abs(filepath.Join(filepath.Dir(found[len(found)-1]), "bin"))
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// createKey makes a key and returns its ARN.
func (m *ministack) createKey(t *testing.T, spec types.KeySpec) string {
	t.Helper()
	out, err := m.CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: spec, KeyUsage: types.KeyUsageTypeSignVerify})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.KeyMetadata.Arn)
}

func (m *ministack) alias(t *testing.T, name, keyARN string) {
	t.Helper()
	if _, err := m.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: &name, TargetKeyId: &keyARN}); err != nil {
		t.Fatal(err)
	}
}

// public asks the emulator for a key past the backend.
func (m *ministack) public(t *testing.T, keyARN string) *ecdsa.PublicKey {
	t.Helper()
	out, err := m.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: &keyARN})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParsePKIXPublicKey(out.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.(*ecdsa.PublicKey)
}

// fakeCredentials sets what the SDK finds in the environment, and nothing else.
func fakeCredentials(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL_STS",
		"AWS_SESSION_TOKEN", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CA_BUNDLE", "HTTP_PROXY", "http_proxy",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_ACCESS_KEY_ID", accessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secretKey)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "credentials"))
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func open(t *testing.T, uri string) *awskms.Backend {
	t.Helper()
	b, err := awskms.Open(t.Context(), uri, discard())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestContract(t *testing.T) {
	fakeCredentials(t)
	m := startMinistack(t)
	link := startLink(t, m.addr)
	first, second := m.createKey(t, types.KeySpecEccNistP256), m.createKey(t, types.KeySpecEccNistP256)
	m.alias(t, "alias/contract", second)
	disabled := m.createKey(t, types.KeySpecEccNistP256)
	if _, err := m.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &disabled}); err != nil {
		t.Fatal(err)
	}
	backendtest.Run(t, backendtest.Harness{
		Open: func(t *testing.T) backends.KeyBackend {
			return open(t, "awskms:?rate=100000&region="+region+"&endpoint=http://"+link.addr)
		},
		Keys: [2]backendtest.Key{
			{ID: first, Public: m.public(t, first)},
			{ID: "alias/contract", Public: m.public(t, second)},
		},
		Unknown:    "1234abcd-12ab-34cd-56ef-1234567890ab",
		Malformed:  malformedIDs(),
		Disabled:   disabled,
		WrongCurve: m.createKey(t, types.KeySpecEccNistP384),
		Outage: func(*testing.T) func() {
			link.cut()
			return link.restore
		},
		Secrets: []string{secretKey},
	})
}

func malformedIDs() []string {
	return []string{
		"contract", "alias/", "alias/a b", "key/1234abcd-12ab-34cd-56ef-1234567890ab",
		"arn:aws:kms:us-east-1:111122223333:alias/contract", "arn:aws:kms:eu-west-1:1:alias/contract", "arn:aws:s3:::bucket", "arn:",
		"\x00", strings.Repeat("a", 5000),
	}
}

// A signature must verify with an implementation that shares no code with the
// one that checks the contract.
func TestSignatureVerifiesWithPythonCryptography(t *testing.T) {
	fakeCredentials(t)
	m := startMinistack(t)
	keyARN := m.createKey(t, types.KeySpecEccNistP256)
	b := open(t, "awskms:?region="+region+"&endpoint="+m.url)
	const message = "header.payload"
	sig, err := b.Sign(t.Context(), keyARN, sha256.Sum256([]byte(message)))
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(m.public(t, keyARN))
	if err != nil {
		t.Fatal(err)
	}
	const script = `
import base64, sys
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives import hashes, serialization
spki, sig, message = base64.b64decode(sys.argv[1]), base64.b64decode(sys.argv[2]), sys.argv[3].encode()
r, s = int.from_bytes(sig[:32], "big"), int.from_bytes(sig[32:], "big")
serialization.load_der_public_key(spki).verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
`
	out, err := exec.Command(filepath.Join(m.bin, "python"), "-c", script, base64.StdEncoding.EncodeToString(spki),
		base64.StdEncoding.EncodeToString(sig[:]), message).CombinedOutput()
	if err != nil {
		t.Errorf("does not verify: %v\n%s", err, out)
	}
}

// link is a TCP proxy that can be cut: its address then refuses connections,
// and those that were open are reset.
type link struct {
	addr, to string

	mu       sync.Mutex
	up       bool
	listener net.Listener
	conns    map[net.Conn]bool
	wg       sync.WaitGroup
}

func startLink(t *testing.T, to string) *link {
	t.Helper()
	l := &link{addr: freeAddr(t), to: to, conns: map[net.Conn]bool{}}
	l.restore()
	t.Cleanup(func() {
		l.cut()
		l.wg.Wait()
	})
	return l
}

func (l *link) restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	listener, err := net.Listen("tcp", l.addr)
	if err != nil {
		panic(fmt.Sprintf("restoring the link: %v", err))
	}
	l.listener, l.up = listener, true
	l.wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			l.wg.Go(func() { l.carry(conn) })
		}
	})
}

func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listener.Close()
	l.up = false
	for conn := range l.conns {
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
	clear(l.conns)
}

func (l *link) carry(client net.Conn) {
	server, err := net.Dial("tcp", l.to)
	if err != nil {
		client.Close()
		return
	}
	l.mu.Lock()
	if l.up {
		l.conns[client], l.conns[server] = true, true
	} else { // cut meanwhile
		client.Close()
		server.Close()
	}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.conns, client)
		delete(l.conns, server)
	}()
	var wg sync.WaitGroup
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		wg.Go(func() {
			io.Copy(pair[0], pair[1])
			client.Close()
			server.Close()
		})
	}
	wg.Wait()
}
