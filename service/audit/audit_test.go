package audit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// noon is the clock of the tests that look at a log's text.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// zeros is no randomness.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func config(t testing.TB) Config {
	return Config{Path: filepath.Join(t.TempDir(), "audit.jsonl"), Sync: SyncNone, Now: func() time.Time { return noon }, Random: zeros{}}
}

func mustOpen(t testing.TB, cfg Config) *Log {
	t.Helper()
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func anIntent() Intent {
	return Intent{
		Method: "MintToken", Generation: "7f3a", Caller: "uri:spiffe://example.org/ci", Proof: "mtls", Grant: "ci",
		Profile: "asc", Key: "apple", TTL: 20 * time.Minute,
		Claims: []Claim{
			{Name: "aud", Value: []byte(`"appstoreconnect-v1"`), Shown: true},
			{Name: "sub", Value: []byte(`"secret-subject"`)},
		},
	}
}

func aResult(token string) Result {
	return Result{
		Outcome: Minted, KID: "2X9R4HXF34", JTI: "j-1", Digest: sha256.Sum256([]byte(token)),
		IssueTime: noon, ExpireTime: noon.Add(20 * time.Minute),
	}
}

// mint records a whole token.
func mint(t testing.TB, l *Log, token string) {
	t.Helper()
	p, err := l.Begin(t.Context(), anIntent())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.End(t.Context(), aResult(token)); err != nil {
		t.Fatal(err)
	}
}

func mustVerify(t testing.TB, paths ...string) Report {
	t.Helper()
	r, err := Verify(t.Context(), paths)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestLogIsAsWritten holds the format: other programs read it.
func TestLogIsAsWritten(t *testing.T) {
	cfg := config(t)
	l := mustOpen(t, cfg)
	mint(t, l, "a-token")
	refused := Intent{Method: "MintToken", Caller: "unix:uid=1,gid=1", Proof: "peercred", Profile: "no \"such\"\n\x1b[31m\xff"}
	if err := l.Note(t.Context(), refused, Result{Outcome: Refused, Reason: "NOT_GRANTED"}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	bodies := []string{
		`"type":"opened","format":1,"sync":"none","hmac_key_id":"` + l.writer.key.id() + `"}`,
		`"type":"intent","method":"MintToken","generation":"7f3a","caller":"uri:spiffe://example.org/ci","proof":"mtls","grant":"ci","profile":"asc","key":"apple",` +
			`"claims":[{"name":"aud","value":"appstoreconnect-v1"},{"name":"sub","hmac":"ec2aa41e5fbdc23873d1111b4938aa1f"}],"ttl":1200}`,
		`"type":"result","intent":2,"outcome":"minted","kid":"2X9R4HXF34","jti":"j-1","token_sha256":"` + fmt.Sprintf("%x", sha256.Sum256([]byte("a-token"))) +
			`","iat":1795435200,"exp":1795436400}`,
		`"type":"note","method":"MintToken","caller":"unix:uid=1,gid=1","proof":"peercred","profile":"no \"such\"\n\u001b[31m` + "\ufffd" + `","outcome":"refused","reason":"NOT_GRANTED"}`,
	}
	want, prev := "", Hash{}
	for i, body := range bodies {
		line := fmt.Sprintf(`{"seq":%d,"prev":"%s","time":"2026-11-23T12:00:00Z",%s`+"\n", i+1, prev, body)
		want, prev = want+line, hashOf([]byte(line))
	}
	if got := read(t, cfg.Path); got != want {
		t.Errorf("log is\n%s\nwant\n%s", got, want)
	}
	for _, name := range []string{cfg.Path, cfg.Path + keySuffix} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
}

func TestChainGoesOnOverRestarts(t *testing.T) {
	cfg := config(t)
	for range 3 {
		l := mustOpen(t, cfg)
		mint(t, l, "x")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if r := mustVerify(t, cfg.Path); r.Records != 9 || r.Last != 9 {
		t.Errorf("report %+v", r)
	}
}

func TestNoSecretInAnyLine(t *testing.T) {
	cfg := config(t)
	l := mustOpen(t, cfg)
	in := anIntent()
	in.Claims = append(in.Claims,
		Claim{Name: "token", Value: []byte(`"eyJhbGciOiJFUzI1NiJ9.e30.c2ln"`)},
		Claim{Name: "broken", Value: []byte(`eyJ not JSON`), Shown: true},
		Claim{Name: "two", Value: []byte("1\n{\"eyJ\":1}"), Shown: true},
		Claim{Name: "long", Value: []byte(`"` + strings.Repeat("eyJ", maxShown) + `"`), Shown: true},
		Claim{Name: "lines", Value: []byte("{\n\"a\":\r\n[1]}"), Shown: true})
	if err := l.Note(t.Context(), in, aResult("eyJhbGciOiJFUzI1NiJ9.e30.c2ln")); err != nil {
		t.Fatal(err)
	}
	text := read(t, cfg.Path)
	for _, secret := range []string{"eyJ", "secret-subject", "c2ln"} {
		if strings.Contains(text, secret) {
			t.Errorf("log has %q", secret)
		}
	}
	if !strings.Contains(text, `{"name":"lines","value":{"a":[1]}}`) {
		t.Errorf("a shown value is not compact: %s", text)
	}
	for _, v := range []any{in, &in, in.Claims, aResult("x"), l.writer.key} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, "secret-subject") || strings.Contains(out, "2X9R") {
				t.Errorf("%s of %T shows %s", verb, v, out)
			}
		}
	}
	mustVerify(t, cfg.Path)
}

func TestHashesTellValuesApartAndNoMore(t *testing.T) {
	cfg := config(t)
	cfg.Random = nil
	l := mustOpen(t, cfg)
	hashes := map[string]bool{}
	for _, c := range []Claim{
		{Name: "a", Value: []byte(`1`)}, {Name: "a", Value: []byte(`2`)}, {Name: "b", Value: []byte(`1`)}, {Name: "a", Value: []byte(`1`)},
	} {
		if err := l.Note(t.Context(), Intent{Claims: []Claim{c}}, Result{Outcome: Refused}); err != nil {
			t.Fatal(err)
		}
	}
	for r, err := range Records(t.Context(), []string{cfg.Path}) {
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range r.Claims {
			hashes[c.HMAC] = true
		}
	}
	if len(hashes) != 3 {
		t.Errorf("%d hashes of three values", len(hashes))
	}
}

func TestLongTextIsCut(t *testing.T) {
	cfg := config(t)
	l := mustOpen(t, cfg)
	if err := l.Note(t.Context(), Intent{Profile: strings.Repeat("é", 40_000)}, Result{Outcome: Refused}); err != nil {
		t.Fatal(err)
	}
	many := Intent{}
	for range 40_000 {
		many.Claims = append(many.Claims, Claim{Name: "x", Value: []byte("1")})
	}
	if err := l.Note(t.Context(), many, Result{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a record of megabytes: %v", err)
	}
	if size := len(read(t, cfg.Path)); size > 3000 {
		t.Errorf("log has %d bytes", size)
	}
	mustVerify(t, cfg.Path)
}

func TestCallsEndWithTheirContext(t *testing.T) {
	cfg := config(t)
	disk := &faultyDisk{}
	l := mustOpenOn(t, cfg, disk)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Begin(ctx, anIntent()); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
	release := disk.hang()
	ctx, cancel = context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := l.Begin(ctx, anIntent())
		done <- err
	}()
	disk.awaitHanging()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnavailable) {
		t.Errorf("context that ends while the disk hangs: %v", err)
	}
	release()
	mint(t, l, "after")
	if r := mustVerify(t, cfg.Path); r.Records != 4 { // the one left behind stands
		t.Errorf("report %+v", r)
	}
}

func TestClosedLogRefuses(t *testing.T) {
	cfg := config(t)
	l := mustOpen(t, cfg)
	p, err := l.Begin(t.Context(), anIntent())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 50 { // those under way are answered, either way
		wg.Go(func() {
			if err := l.Note(t.Context(), anIntent(), Result{}); err != nil && !errors.Is(err, ErrUnavailable) {
				t.Error(err)
			}
		})
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	for _, err := range []error{
		p.End(t.Context(), Result{}), l.Note(t.Context(), Intent{}, Result{}), l.Reopen(), Pending{}.End(t.Context(), Result{}),
	} {
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("closed log: %v", err)
		}
	}
	mustVerify(t, cfg.Path)
}
