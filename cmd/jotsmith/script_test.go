package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"jotsmith": searchedMain})
}

func TestScripts(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	wrote := newWritten(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"genkey":      genKey,
			"gencerts":    genCerts,
			"await":       await,
			"awaitgone":   awaitGone,
			"awaitline":   awaitLine,
			"envsubst":    envSubst,
			"exitcode":    exitCode,
			"hold":        hold,
			"sigterm":     sigTerm,
			"sighup":      sigHup,
			"eventually":  eventually,
			"paste":       paste,
			"spiffeagent": spiffeAgent,
			"tokenissuer": tokenIssuer,
			"idtoken":     idToken,
			"scrape":      scrape,
			"standin":     startStandIn,
		},
		Setup: func(env *testscript.Env) error {
			// A Unix socket's path has at most 104 bytes, which a test's work
			// directory can exceed.
			dir, err := os.MkdirTemp("", "jot") //nolint:usetesting // a socket's path is short, t.TempDir's is not
			if err != nil {
				return err
			}
			env.Defer(func() { _ = os.RemoveAll(dir) })
			env.Setenv("SOCK", dir+"/s")
			env.Setenv("JOTSMITH_ADDRESS", "unix://"+dir+"/s")
			env.Setenv("UID", strconv.Itoa(os.Getuid()))
			env.Setenv("PORT", freePort())
			env.Setenv("KMSPORT", freePort())
			env.Setenv("ROOT", root)
			env.Setenv("TOKEN_A3", tokenA3)
			wrote.by(env)
			return nil
		},
	})
}

// genKey writes a new P-256 key in PKCS#8 PEM: genkey FILE [MODE].
func genKey(ts *testscript.TestScript, _ bool, args []string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	mode := uint64(0o600)
	if len(args) > 1 {
		mode, err = strconv.ParseUint(args[1], 8, 32)
		ts.Check(err)
	}
	writePEM(ts, args[0], os.FileMode(mode), "PRIVATE KEY", der)
}

// genCerts writes ca.pem, and server, uri, dns, email and cn certificates that
// chain to it, each with its key.
func genCerts(ts *testscript.TestScript, _ bool, _ []string) {
	spiffe, err := url.Parse("spiffe://example.org/ci")
	ts.Check(err)
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	ts.Check(err)
	writePEM(ts, "ca.pem", 0o644, "CERTIFICATE", der)
	for i, leaf := range []*x509.Certificate{
		{Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}},
		{Subject: pkix.Name{CommonName: "uri"}, URIs: []*url.URL{spiffe}},
		{Subject: pkix.Name{CommonName: "dns"}, DNSNames: []string{"ci.example.org"}},
		{Subject: pkix.Name{CommonName: "email"}, EmailAddresses: []string{"ci@example.org"}},
		{Subject: pkix.Name{CommonName: "cn"}},
	} {
		leaf.SerialNumber = big.NewInt(int64(i + 2))
		leaf.NotBefore, leaf.NotAfter = ca.NotBefore, ca.NotAfter
		leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		ts.Check(err)
		der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
		ts.Check(err)
		keyDER, err := x509.MarshalPKCS8PrivateKey(key)
		ts.Check(err)
		writePEM(ts, leaf.Subject.CommonName+".pem", 0o644, "CERTIFICATE", der)
		writePEM(ts, leaf.Subject.CommonName+".key", 0o600, "PRIVATE KEY", keyDER)
	}
}

func writePEM(ts *testscript.TestScript, name string, mode os.FileMode, kind string, der []byte) {
	file := ts.MkAbs(name)
	ts.Check(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode))
	ts.Check(os.Chmod(file, mode))
}

// await waits until somebody answers at an address: await NETWORK ADDRESS.
func await(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial(args[0], args[1])
		if err == nil {
			_ = conn.Close() // that it opened is all
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("nobody answers at %s: %v", args[1], err)
		}
	}
}

// tokenA3 is the example of RFC 7515 appendix A.3.
const tokenA3 = "eyJhbGciOiJFUzI1NiJ9" +
	".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ" +
	".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"

// awaitGone waits until a file is no more: awaitgone FILE.
func awaitGone(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(ts.MkAbs(args[0])); err != nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s is still there", args[0])
		}
	}
}

// awaitLine waits until a file has a whole line: awaitline FILE.
func awaitLine(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if text, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && strings.Contains(string(text), "\n") {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s has no line", args[0])
		}
	}
}

// envSubst replaces $NAME in files by the script's variables: envsubst FILE...
func envSubst(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// exitCode runs a command that must end with a code: exitcode CODE COMMAND...
func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%v ended with %d, want %s", args[1:], code, args[0])
	}
}

// paste does what the dev scripts ask for: it waits for their output in FILE,
// sets what they export and puts their lines of configuration ahead of CONFIG:
// paste FILE CONFIG.
func paste(ts *testscript.TestScript, _ bool, args []string) {
	var output string
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(output, "\nkeys:\n") || !strings.HasSuffix(output, "\n"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("no configuration in: %s", output)
		}
		data, err := os.ReadFile(ts.MkAbs(args[0]))
		ts.Check(err)
		output = string(data)
	}
	for line := range strings.Lines(output) {
		exported, ok := strings.CutPrefix(strings.TrimSpace(line), "export ")
		if !ok {
			continue
		}
		for assignment := range strings.FieldsSeq(exported) {
			name, value, _ := strings.Cut(assignment, "=")
			ts.Setenv(name, strings.Trim(value, `"`))
		}
	}
	_, lines, _ := strings.Cut(output, "backends:\n")
	config := "backends:\n" + lines + ts.ReadFile(args[1])
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(config), 0o600))
}

// hold keeps a connection open that says nothing: hold NETWORK ADDRESS. The
// server has it when the first byte of its SETTINGS has come.
func hold(ts *testscript.TestScript, _ bool, args []string) {
	conn, err := net.Dial(args[0], args[1])
	ts.Check(err)
	ts.Check(conn.SetReadDeadline(time.Now().Add(10 * time.Second)))
	_, err = conn.Read(make([]byte, 1))
	ts.Check(err)
	ts.Defer(func() { _ = conn.Close() })
}

// sigTerm sends SIGTERM to the commands in the background.
func sigTerm(ts *testscript.TestScript, _ bool, _ []string) {
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	}
}

// sigHup sends SIGHUP to the commands in the background.
func sigHup(ts *testscript.TestScript, _ bool, _ []string) {
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGHUP))
	}
}

// eventually runs a command until it succeeds, or with ! until it fails:
// eventually COMMAND...
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := ts.Exec(args[0], args[1:]...)
		if (err != nil) == neg {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%v: %v", args, err)
		}
	}
}

func freePort() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "0"
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}
