package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// The profiles of every benched configuration.
const (
	profileName   = "bench"  // a signature for each token
	reusedProfile = "reused" // one for all who ask for the same claims
)

// The configuration of a benched server: what a user would write, with all that
// is on by default, the log of every call included, and a record of each token that
// the disk has confirmed (the default, all that wait by one flush). The tokens have a
// claim from the caller, and a random jti unless they are reused.
const configuration = `
listeners:
  - unix: {path: %q}
%s
%s
backends:
  store: {uri: %q%s}
keys:
  key: {backend: store, id: %q, kid: bench-1}
profiles:
  bench:
    key: key
    preset: jwt
    claims:
      iss: {fixed: "https://issuer.example.org"}
      aud: {fixed: "https://api.example.org"}
      sub: {caller: {type: string, required: true, pattern: "[a-z]+-[0-9a-f]{8}"}}
      jti: {computed: uuid}
  reused:
    key: key
    preset: jwt
    claims:
      iss: {fixed: "https://issuer.example.org"}
      aud: {fixed: "https://kept.example.org"}
      sub: {caller: {type: string, required: true, pattern: "[a-z]+-[0-9a-f]{8}"}}
    default_ttl: 3600s # no refresh while it is measured
    reuse: {mode: until_refresh}
grants:
  - name: bench
    callers:
      - unix: {uid: %d}
      - mtls: {uri_prefix: %q}
    profiles: [bench, reused]
`

// store is a key store as the configuration has it.
type store struct {
	name  string
	uri   string
	keyID string
	env   []string // for the server, beside this process's
	tls   bool     // listen on TCP too
	more  string   // of its configuration, after a comma

	limits    string // a section of the configuration; empty for the defaults
	unaudited bool   // without the audit log
	program   string // in the place of the one that is built by default

	starting func() // called just before the process starts; nil calls nothing
}

// startServer builds a configuration for a store and starts the real server
// with it. It returns the server as reached by Unix socket and by TCP.
func (b *benchmark) startServer(ctx context.Context, s store) (byUnix, byTCP target, err error) {
	socket := b.path(s.name + ".sock")
	tcp, address := "", ""
	if s.tls {
		if address, err = freeAddress(ctx); err != nil {
			return target{}, target{}, err
		}
		tcp = fmt.Sprintf("  - tcp: {address: %q, certificate_file: %q, key_file: %q, client_ca_file: %q}\n",
			address, b.path(serverCert), b.path(serverKey), b.path(caCert))
	}
	audit := fmt.Sprintf("audit: {file: %q}", b.auditPath(s.name))
	if s.unaudited {
		audit = ""
	}
	text := fmt.Sprintf(configuration, socket, tcp, strings.Join([]string{audit, s.limits}, "\n"), s.uri, s.more, s.keyID, os.Getuid(), callerURI)
	file := b.path(s.name + ".yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return target{}, target{}, err
	}
	// The server's log goes to /dev/null, so that its check says what is wrong.
	if out, err := b.command(ctx, b.binary, s.env, "config", "check", file).CombinedOutput(); err != nil {
		return target{}, target{}, fmt.Errorf("jotsmith config check: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	if s.starting != nil {
		s.starting()
	}
	child, err := b.start(ctx, cmp.Or(s.program, b.binary), s.env, "serve", "--config", file)
	if err != nil {
		return target{}, target{}, err
	}
	byUnix = target{pid: child.Process.Pid, address: "unix://" + socket, profile: profileName}
	byTCP = target{pid: child.Process.Pid, address: "dns:///" + address, profile: profileName, tls: b.clientTLS}
	return byUnix, byTCP, nil
}

// stopLimit is how long a child may take to end.
const stopLimit = 10 * time.Second

// command is a child to be, which ends with ctx.
func (b *benchmark) command(ctx context.Context, path string, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopLimit
	return cmd
}

// start starts a child, which ends with ctx or at stopChildren, whichever is
// first. Its output goes to /dev/null.
func (b *benchmark) start(ctx context.Context, path string, env []string, args ...string) (*exec.Cmd, error) {
	cmd := b.command(ctx, path, env, args...)
	return cmd, b.startChild(cmd)
}

func (b *benchmark) startChild(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	b.children = append(b.children, cmd)
	return nil
}

// stopChildren ends every child, the last one first.
func (b *benchmark) stopChildren() {
	for _, child := range slices.Backward(b.children) {
		_ = child.Process.Signal(syscall.SIGTERM) // it may have ended
		kill := time.AfterFunc(stopLimit, func() { _ = child.Process.Kill() })
		_ = child.Wait() // how it ended says nothing about what was measured
		kill.Stop()
	}
}
