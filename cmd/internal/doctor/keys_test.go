package doctor

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/awskms"
	"github.com/jotsmith/jotsmith/backends/awskms/kmsfake"
	"github.com/jotsmith/jotsmith/backends/filekey"
	"github.com/jotsmith/jotsmith/backends/pkcs11"
	"github.com/jotsmith/jotsmith/service/rotation"
)

// opening returns the store of a URI with a backend of its kind.
func opening(uri string) Store {
	log := slog.New(slog.DiscardHandler)
	return Store{Open: func(ctx context.Context) (backends.KeyBackend, error) {
		if strings.HasPrefix(uri, "file:") {
			b, err := filekey.Open(ctx, uri, log)
			if err != nil {
				return nil, err
			}
			return b, nil
		}
		b, err := awskms.Open(ctx, uri, log)
		if err != nil {
			return nil, err
		}
		return b, nil
	}}
}

const oneProfile = `
profiles: {p: {preset: jwt, key: k, claims: {iss: {fixed: i}, aud: {fixed: a}}}}
listeners: [{unix: {path: /run/jotsmith/s}}]
`

func pinOf(t *testing.T, key *issued) string {
	t.Helper()
	spki, err := x509.MarshalPKIXPublicKey(key.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(spki)
	return hex.EncodeToString(digest[:])
}

func TestKeyFilesAndTheirPins(t *testing.T) {
	key := issue(t, nil, "key", ca)
	file := key.keyFile(t, 0o600)
	dir := filepath.Dir(file)
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a directory
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		id, pin string
		mode    os.FileMode
		want    []string
	}{
		"well, without a pin": {"file.pem", "", 0o600, nil},
		"well, with its pin":  {"file.pem", pinOf(t, key), 0o600, nil},
		"another's pin":       {"file.pem", strings.Repeat("0", 64), 0o600, []string{"error has another key than the pinned one"}},
		"open":                {"file.pem", "", 0o644, []string{"error its mode 0644 lets everyone use it"}},
		"not there":           {"none.pem", "", 0o600, []string{"error file does not exist"}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.Chmod(file, tc.mode); err != nil {
				t.Fatal(err)
			}
			pin := ""
			if tc.pin != "" {
				pin = ", spki_sha256: \"" + tc.pin + "\""
			}
			e := examOf(t, oneProfile+"backends: {local: {uri: \"file:"+dir+"\"}}\nkeys: {k: {backend: local, id: "+tc.id+", kid: k1"+pin+"}}")
			e.Store = opening
			keys, findings := e.keys(t.Context(), nil)
			wantFindings(t, findings, tc.want...)
			if read := len(tc.want) == 0 || tc.pin != ""; read != (len(keys) == 1 && keys[0].kid == "k1" && keys[0].public.Equal(key.key.Public())) {
				t.Errorf("%+v", keys)
			}
		})
	}
	e := examOf(t, oneProfile+"backends: {local: {uri: \"file:/no/such/directory\"}}\nkeys: {k: {backend: local, id: k, kid: k1}}")
	e.Store = opening
	_, findings := e.keys(t.Context(), nil)
	wantFindings(t, findings, "error no such file")
}

func TestKeysInKMS(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	one, two := issue(t, nil, "one", ca), issue(t, nil, "two", ca)
	server, err := kmsfake.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	server.SetAlias("alias/one", server.AddKey(one.key))
	server.SetAlias("alias/two", server.AddKey(two.key))
	exam := func(key string) *Exam {
		e := examOf(t, oneProfile+"backends: {kms: {uri: \""+server.URI()+"\"}, twin: {uri: \""+server.URI("rate=7")+"\"}}\nkeys: {k: "+key+"}")
		e.Store = opening
		return e
	}
	_, findings := exam("{backend: kms, id: alias/one}").keys(t.Context(), nil)
	wantFindings(t, findings, "note is not pinned")
	if findings[0].Mend != "set spki_sha256: "+pinOf(t, one) {
		t.Errorf("%+v", findings[0])
	}
	keys, findings := exam("{backend: kms, id: alias/one, spki_sha256: \""+pinOf(t, one)+"\"}").keys(t.Context(), nil)
	wantFindings(t, findings)
	if len(keys) != 1 || len(keys[0].kid) != 43 {
		t.Errorf("no thumbprint for a kid: %+v", keys)
	}
	_, findings = exam("{members: [{backend: kms, id: alias/one}, {backend: twin, id: alias/two}]}").keys(t.Context(), nil)
	wantFindings(t, findings, "note is not pinned", "note is not pinned", "error backend twin has another public key")
	_, findings = exam("{backend: kms, id: alias/three}").keys(t.Context(), nil)
	wantFindings(t, findings, "error key not found")
	server.Inject(kmsfake.AccessDenied(9))
	_, findings = exam("{backend: kms, id: alias/one}").keys(t.Context(), nil)
	wantFindings(t, findings, "error access to the key is denied")
	if !strings.Contains(findings[0].Mend, "kms:GetPublicKey") {
		t.Errorf("%+v", findings[0])
	}
	if n := server.Calls(kmsfake.Sign); n != 0 {
		t.Errorf("%d signatures were asked for", n)
	}
}

func TestVersionsThatSignNoMoreNeedNotBeThere(t *testing.T) {
	file := issue(t, nil, "key", ca).keyFile(t, 0o600)
	if err := os.Chmod(filepath.Dir(file), 0o700); err != nil { //nolint:gosec // a directory
		t.Fatal(err)
	}
	e := examOf(t, oneProfile+`
rotation_file: /state/rotation.json
backends: {local: {uri: "file:`+filepath.Dir(file)+`"}}
keys: {k: {versions: [{backend: local, id: gone.pem}, {backend: local, id: file.pem}]}}`)
	e.Store = opening
	_, findings := e.keys(t.Context(), nil)
	wantFindings(t, findings, "error file does not exist")
	old := version(t, "v1", rotation.Retired, day)
	old.Place = "local gone.pem"
	keys, findings := e.keys(t.Context(), &rotation.State{Keys: map[string]rotation.Key{"k": {Versions: []rotation.Version{old}}}})
	wantFindings(t, findings)
	if len(keys) != 1 {
		t.Errorf("%+v", keys)
	}
}

func TestKeysThatTakeALoginAreLeftAlone(t *testing.T) {
	e := examOf(t, plain)
	if keys, findings := e.keys(t.Context(), nil); keys != nil || findings != nil {
		t.Errorf("of a store that nobody knows: %+v, %+v", keys, findings)
	}
	e.Store = func(string) Store {
		return Store{Token: func(context.Context) (pkcs11.TokenState, error) { return pkcs11.TokenState{}, nil }}
	}
	keys, findings := e.keys(t.Context(), nil)
	wantFindings(t, findings, "note for that takes a login", "note is not pinned")
	if keys != nil {
		t.Errorf("%+v", keys)
	}
	e.Signs = true
	_, findings = e.keys(t.Context(), nil)
	wantFindings(t, findings, "note is not pinned")
	e.Config.SigningKeys[0].SPKISHA256 = make([]byte, sha256.Size)
	_, findings = e.keys(t.Context(), nil)
	wantFindings(t, findings)
}
