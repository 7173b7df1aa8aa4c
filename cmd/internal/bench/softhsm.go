package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// What the token in SoftHSM2 is called, and how many sessions are used.
const (
	hsmLabel    = "bench"
	hsmPIN      = "4711-bench"
	hsmObject   = "key"
	hsmSessions = 8
	hsmCallers  = 16
)

// errMissing says that a row needs something that is not installed.
var errMissing = errors.New("not installed")

// addSoftHSM adds the rows of a key in SoftHSM2: through the backend beside
// loops in Go and in C that do nothing but C_SignInit and C_Sign on as many
// sessions.
func (b *benchmark) addSoftHSM(ctx context.Context) error {
	const section = "Key in SoftHSM2"
	module, env, err := b.makeToken(ctx)
	if errors.Is(err, errMissing) {
		b.notes = append(b.notes, section+": "+err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	sessions, inParallel := strconv.Itoa(hsmSessions), strconv.Itoa(hsmCallers)
	raw, err := b.startAgent(ctx, env, roleCSign, module, sessions)
	if err != nil {
		return err
	}
	inGo, err := b.startAgent(ctx, env, roleGoSign, module, sessions)
	if err != nil {
		return err
	}
	uri := fmt.Sprintf("pkcs11:token=%s?module-path=%s&pin-source=file:%s&max-sessions=%s", hsmLabel, module, b.path("pin"), sessions)
	keyID := "object=" + hsmObject
	pool, err := b.startAgent(ctx, env, roleBackend, uri, keyID, inParallel)
	if err != nil {
		return err
	}
	byUnix, _, err := b.startServer(ctx, store{name: "softhsm", uri: uri, keyID: keyID, env: env})
	if err != nil {
		return err
	}
	loop, goLoop := "C loop, "+sessions+" sessions", "Go loop, "+sessions+" sessions"
	b.add(&row{section: section, name: loop, load: raw.load})
	b.add(&row{section: section, name: goLoop, load: inGo.load, against: loop})
	b.add(&row{
		section: section, name: "backends/pkcs11, " + sessions + " sessions, " + inParallel + " callers",
		load: pool.load, against: goLoop, bound: atLeast(0.9),
	})
	b.add(&row{
		section: section, name: "backends/pkcs11, the same, beside C",
		load: pool.load, against: loop,
	})
	b.add(&row{
		section: section, name: "MintToken, Unix, SoftHSM2, " + inParallel + " callers",
		load: callers(byUnix, hsmCallers, 1), against: loop,
	})
	b.agents = append(b.agents, namedAgent{"backends/pkcs11", pool})
	return nil
}

// makeToken makes a token with the benchmark's key in it. It returns the module
// and the environment in which it finds the token.
func (b *benchmark) makeToken(ctx context.Context) (module string, env []string, err error) {
	for _, pattern := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 && module == "" {
			module = found[0]
		}
	}
	if !hasCLoop {
		return "", nil, fmt.Errorf("%w: the loop in C, which needs cgo", errMissing)
	}
	if _, err := exec.LookPath("softhsm2-util"); err != nil || module == "" {
		return "", nil, fmt.Errorf("%w: apt-get install softhsm2", errMissing)
	}
	if err := os.Mkdir(b.path("tokens"), 0o700); err != nil {
		return "", nil, err
	}
	for name, text := range map[string]string{
		"softhsm2.conf": "directories.tokendir = " + b.path("tokens") + "\nlog.level = ERROR\n",
		"pin":           hsmPIN + "\n",
	} {
		if err := os.WriteFile(b.path(name), []byte(text), 0o600); err != nil {
			return "", nil, err
		}
	}
	env = []string{"SOFTHSM2_CONF=" + b.path("softhsm2.conf")}
	for _, args := range [][]string{
		{"--init-token", "--free", "--label", hsmLabel, "--pin", hsmPIN, "--so-pin", hsmPIN},
		{"--import", b.path("key.p8"), "--token", hsmLabel, "--pin", hsmPIN, "--label", hsmObject, "--id", "01"},
	} {
		if out, err := b.command(ctx, "softhsm2-util", env, args...).CombinedOutput(); err != nil {
			return "", nil, fmt.Errorf("softhsm2-util %s: %w\n%s", args[0], err, out)
		}
	}
	return module, env, nil
}
