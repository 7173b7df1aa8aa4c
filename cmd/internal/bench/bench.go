package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// options are the flags.
type options struct {
	quick  bool
	only   *regexp.Regexp
	rounds int
	slice  time.Duration
	tokens int
	write  string

	overload time.Duration // each run of it; 0 is none
	boring   bool          // build the program with BoringCrypto too
}

// benchmark is one run: a temporary directory, the built server and the
// children that were started.
type benchmark struct {
	options
	dir       string
	root      string // the module's directory
	binary    string
	key       *ecdsa.PrivateKey
	keyPEM    []byte // PKCS#8
	ca        *authority
	clientTLS *tls.Config
	children  []*exec.Cmd
	agents    []namedAgent
	rows      []*row
	holdings  []holding
	held      []held
	emulator  string // where the KMS emulator answers; empty if it is not installed
	herd      *stampede
	strains   []strain
	small     *small
	added     []measure // what the rules add to a token
	latency   []measure
	watched   []measure
	replicas  []measure
	notes     []string // what could not be measured, and why
}

func (b *benchmark) path(name string) string { return filepath.Join(b.dir, name) }

// auditPath is an audit log's, in a directory of its own: servers watch those of their
// keys and configurations.
func (b *benchmark) auditPath(name string) string { return b.path(filepath.Join("audit", name)) }

func run(ctx context.Context, o options, out, progress io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "jotsmith-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &benchmark{options: o, dir: dir}
	defer b.stopChildren()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	if err := b.addRows(ctx); err != nil {
		return err
	}
	began := time.Now()
	err = rounds(ctx, b.rows, o.rounds, o.slice, b.key, func(done, all int) {
		fmt.Fprintf(progress, "\r%d of %d samples, %s ", done, all, time.Since(began).Round(time.Second))
	})
	fmt.Fprintln(progress)
	if err != nil {
		return err
	}
	for _, run := range []func(context.Context, io.Writer) error{
		b.stepsRun, b.latencyRun, b.replicasRun, b.watchersRun, b.memoryRun, b.herdRun, b.overloadRun, b.smallRun,
	} {
		if err := run(ctx, progress); err != nil {
			return err
		}
	}
	if err := b.finishAgents(); err != nil {
		return err
	}
	b.print(out)
	if o.write != "" {
		picture, err := b.plot(ctx, o.write)
		if err != nil {
			return err
		}
		return b.writeMarkdown(o.write, picture)
	}
	return nil
}

// prepare builds the program and makes the key and the certificates.
func (b *benchmark) prepare(ctx context.Context) error {
	gomod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("go env GOMOD: %w", err)
	}
	b.root = filepath.Dir(strings.TrimSpace(string(gomod)))
	b.binary = b.path("jotsmith")
	if err := os.Mkdir(b.auditPath(""), 0o700); err != nil {
		return err
	}
	if err := b.build(ctx, b.binary, nil); err != nil {
		return err
	}
	if b.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(b.key)
	if err != nil {
		return err
	}
	b.keyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(b.path("key.p8"), b.keyPEM, 0o600); err != nil {
		return err
	}
	return b.makeCertificates()
}

// build builds the program, with arguments of its own and an environment beside this
// process's.
func (b *benchmark) build(ctx context.Context, program string, env []string, args ...string) error {
	build := exec.CommandContext(ctx, "go", slices.Concat([]string{"build", "-buildvcs=false", "-o", program}, args, []string{"./cmd/jotsmith"})...)
	build.Dir, build.Env = b.root, append(os.Environ(), env...)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// namedAgent is an agent that is asked at the end for what it has left.
type namedAgent struct {
	name string
	*piped
}

// add adds a row if -only lets it.
func (b *benchmark) add(r *row) {
	if b.only.MatchString(r.section + ": " + r.name) {
		b.rows = append(b.rows, r)
	}
}

func (b *benchmark) addRows(ctx context.Context) error {
	b.addSigning()
	for _, add := range []func(context.Context) error{b.addFile, b.addBare, b.addSoftHSM, b.addKMS, b.addEmulator} {
		if err := add(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *benchmark) addSigning() {
	const section = "P-256 in one process"
	b.add(&row{section: section, name: "SignASN1, 1 goroutine", load: b.signing(drawn, 1)})
	b.add(&row{section: section, name: fmt.Sprintf("SignASN1, %d goroutines", runtime.GOMAXPROCS(0)), load: b.signing(drawn, runtime.GOMAXPROCS(0))})
	b.add(&row{section: section, name: "RFC 6979 nonce, 1 goroutine", load: b.signing(derived, 1)})
}

func (b *benchmark) signing(n nonce, goroutines int) load {
	return func(ctx context.Context, d time.Duration) (sample, error) {
		return signFor(ctx, b.key, n, goroutines, d)
	}
}

func (b *benchmark) addFile(ctx context.Context) error {
	const section = "Key in a file"
	byUnix, byTCP, err := b.startServer(ctx, store{name: "file", uri: "file:" + b.dir, keyID: "key.p8", tls: true})
	if err != nil {
		return err
	}
	agent, err := b.startAgent(ctx, nil, roleBackend, "file:"+b.dir, "key.p8", "1")
	if err != nil {
		return err
	}
	b.agents = append(b.agents, namedAgent{"backends/filekey", agent})
	b.add(&row{section: section, name: "backends/filekey, 1 caller", load: agent.load})
	for _, listener := range []struct {
		name string
		target
	}{{"Unix", byUnix}, {"mTLS", byTCP}} {
		b.add(&row{section: section, name: "MintToken, " + listener.name + ", 1 caller", load: callers(listener.target, 1, 1)})
		b.add(&row{section: section, name: "MintToken, " + listener.name + ", 16 callers", load: callers(listener.target, 16, 1)})
		b.add(&row{section: section, name: "MintToken, " + listener.name + ", 64 callers", load: callers(listener.target, 64, 1), bound: atMost(1.5)})
		b.add(&row{section: section, name: "MintToken, " + listener.name + ", 64 callers, each a connection", load: callers(listener.target, 64, 64)})
		b.add(&row{section: section, name: "Batches of 64, " + listener.name + ", 1 caller", load: batches(listener.target, 1, 1), bound: atMost(1.15)})
		b.add(&row{section: section, name: "Batches of 64, " + listener.name + ", 8 callers", load: batches(listener.target, 8, 1), bound: atMost(1.15)})
	}
	unaudited, _, err := b.startServer(ctx, store{name: "unaudited", uri: "file:" + b.dir, keyID: "key.p8", unaudited: true})
	if err != nil {
		return err
	}
	b.add(&row{section: section, name: "MintToken, Unix, 64 callers, without the audit log", load: callers(unaudited, 64, 1)})
	b.add(&row{section: section, name: "Batches of 64, Unix, 8 callers, without the audit log", load: batches(unaudited, 8, 1)})
	if err := b.addBoring(ctx, section); err != nil {
		return err
	}
	return b.addKept(ctx, byUnix, unaudited)
}

// addBoring adds the rows of the program that is built with BoringCrypto, where it can
// be.
func (b *benchmark) addBoring(ctx context.Context, section string) error {
	const name = "MintToken, Unix, 64 callers, BoringCrypto"
	if !b.boring || !b.only.MatchString(section+": "+name) {
		return nil
	}
	program := b.path("jotsmith-boring")
	if err := b.build(ctx, program, []string{"CGO_ENABLED=1", "GOEXPERIMENT=boringcrypto"}); err != nil {
		b.notes = append(b.notes, "BoringCrypto: "+err.Error())
		return nil //nolint:nilerr // a note says so
	}
	audited, _, err := b.startServer(ctx, store{name: "boring", uri: "file:" + b.dir, keyID: "key.p8", program: program})
	if err != nil {
		return err
	}
	unaudited, _, err := b.startServer(ctx, store{name: "boring-unaudited", uri: "file:" + b.dir, keyID: "key.p8", program: program, unaudited: true})
	if err != nil {
		return err
	}
	b.add(&row{section: section, name: name, load: callers(audited, 64, 1), bound: atMost(1.5)})
	b.add(&row{section: section, name: name + ", without the audit log", load: callers(unaudited, 64, 1), bound: atMost(1.5)})
	b.add(&row{section: section, name: "Batches of 64, Unix, 8 callers, BoringCrypto", load: batches(audited, 8, 1), bound: atMost(1.15)})
	return nil
}

func (b *benchmark) addBare(ctx context.Context) error {
	const section = "Bare gRPC servers, for comparison"
	for _, kind := range []string{bareDefault, bareTuned, bareEcho} {
		t, err := b.startBare(ctx, "bare-"+kind, kind)
		if err != nil {
			return err
		}
		b.add(&row{section: section, name: "bare " + kind + ", 64 callers", load: callers(t, 64, 1)})
		b.add(&row{section: section, name: "bare " + kind + ", 64 callers, each a connection", load: callers(t, 64, 64)})
		b.add(&row{section: section, name: "bare " + kind + ", batches of 64, 8 callers", load: batches(t, 8, 1)})
	}
	return nil
}
