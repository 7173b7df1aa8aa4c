package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	_ "embed" // the configuration
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// configuration is a file to copy, and so holds the paths and the uid that a
// real one would; [place] puts those of the demo in their stead.
//
//go:embed jotsmith.yaml
var configuration string

// What the configuration names.
const (
	profile  = "asc"
	keyFile  = "AuthKey_2X9R4HXF34.p8"
	kid      = "2X9R4HXF34"
	issuer   = "57246542-96fe-1a63-e053-0824d011072a"
	audience = "appstoreconnect-v1"
)

// demo is one run.
type demo struct {
	root   string // the module's directory
	binary string // where the program is built
	out    *page
}

// run goes through the steps. When it returns, the server has ended and the
// temporary directory is gone.
func (d *demo) run(ctx context.Context) (err error) {
	d.out.title("Jotsmith: an App Store Connect token, minted over gRPC")

	began := time.Now()
	if err := build(ctx, d.root, d.binary); err != nil {
		return err
	}
	d.out.fact("build", "%s, %s", d.rel(d.binary), took(began))

	dir, err := temporaryDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p := place{dir: dir, uid: os.Getuid()}
	if err := p.prepare(); err != nil {
		return err
	}
	d.out.fact("key", "a new P-256 key in %s, mode 0600", keyFile)

	began = time.Now()
	program := program{path: d.binary, address: "unix://" + p.socket()}
	server, err := program.serve(ctx, p.config())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	d.out.fact("server", "jotsmith serve, ready in %s on a Unix socket, for uid %d alone", took(began), p.uid)

	began = time.Now()
	token, err := program.output(ctx, "token", "--profile", profile)
	if err != nil {
		return err
	}
	d.out.fact("mint", "jotsmith token --profile %s, %s, %d bytes", profile, took(began), len(token))

	keys, err := program.output(ctx, "key", "list")
	if err != nil {
		return err
	}
	verified, err := verify(token, keys, time.Now())
	if err != nil {
		return err
	}
	d.out.fact("verify", "go-jose accepts it with the key that the server publishes, for %s", verified.left)
	d.out.json("header", verified.header)
	d.out.json("claims", verified.claims)

	d.out.title("Next")
	d.out.fact("your key", "copy %s and change the lines marked (1) to (4)", "cmd/internal/demo/jotsmith.yaml")
	d.out.fact("serve", "%s serve --config FILE", d.rel(d.binary))
	d.out.fact("read", "README.md, or %s --help", d.rel(d.binary))
	return nil
}

// rel is a path as someone in the module's directory would type it.
func (d *demo) rel(path string) string {
	if rel, err := filepath.Rel(d.root, path); err == nil && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return path
}

func took(began time.Time) string {
	elapsed := time.Since(began)
	if elapsed < time.Second {
		return elapsed.Round(time.Millisecond).String()
	}
	return elapsed.Round(100 * time.Millisecond).String()
}

// maxSocketPath is the longest path that macOS takes for a Unix socket, in
// bytes; Linux takes four more.
const maxSocketPath = 103

// temporaryDir makes a directory for the key and the socket, in /tmp if the
// usual place is too deep for a socket.
func temporaryDir() (string, error) {
	dir, err := os.MkdirTemp("", "jotsmith-demo-")
	if err != nil || len(place{dir: dir}.socket()) <= maxSocketPath {
		return dir, err
	}
	if err := os.Remove(dir); err != nil {
		return "", err
	}
	return os.MkdirTemp("/tmp", "jotsmith-demo-")
}

// place is the temporary directory and who may ask the server in it.
type place struct {
	dir string
	uid int
}

func (p place) socket() string { return filepath.Join(p.dir, "jotsmith.sock") }
func (p place) config() string { return filepath.Join(p.dir, "jotsmith.yaml") }

// prepare makes the key and writes the configuration.
func (p place) prepare() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(filepath.Join(p.dir, keyFile), text, 0o600); err != nil {
		return err
	}
	config := configuration
	for _, change := range []struct{ from, to string }{
		{"/run/jotsmith/jotsmith.sock", strconv.Quote(p.socket())},
		{"file:/etc/jotsmith/keys", strconv.Quote("file:" + p.dir)},
		{"uid: 1000", "uid: " + strconv.Itoa(p.uid)},
	} {
		if strings.Count(config, change.from) != 1 {
			return fmt.Errorf("jotsmith.yaml has %q not once", change.from)
		}
		config = strings.Replace(config, change.from, change.to, 1)
	}
	return os.WriteFile(p.config(), []byte(config), 0o600)
}
