package oidc

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jotsmith/jotsmith/service/authn"
)

func TestGoodTokenMakesItsHolderKnown(t *testing.T) {
	w := newWorld(t, nil)
	token := w.token(map[string]any{
		"aud": []string{"unknown", "other"}, "ref": "refs/heads/main", "run_attempt": 3, "big": json.Number("9007199254740993"),
		"protected": true, "list": []string{"a"}, "object": map[string]any{"a": 1}, "nothing": json.RawMessage("null"),
	})
	for range 2 { // the second is kept
		caller, err := w.verifier.Caller(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := caller.Token()
		want := authn.Token{Issuer: "fake", Subject: "repo:example/app:ref:refs/heads/main", Claims: map[string]string{
			"iss": w.URL, "sub": "repo:example/app:ref:refs/heads/main", "iat": fmt.Sprint(start.Unix()), "nbf": fmt.Sprint(start.Unix()),
			"exp": fmt.Sprint(start.Unix() + 3600), "ref": "refs/heads/main", "run_attempt": "3", "big": "9007199254740993", "protected": "true",
		}}
		if diff := cmp.Diff(want, got); diff != "" || !ok {
			t.Error(diff)
		}
		if caller.Proof() != "oidc:fake" || caller.String() != "oidc:fake:repo:example/app:ref:refs/heads/main" {
			t.Errorf("%s, %s", caller.Proof(), caller)
		}
		if end := start.Add(time.Hour); caller.Expired(end) || !caller.Expired(end.Add(1)) {
			t.Error("the caller does not end with his token")
		}
	}
	w.wantAsked(1, "after both")
}

func TestEveryAlgorithmThatCanBeAllowedWorks(t *testing.T) {
	for _, alg := range []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			w := newWorld(t, func(i *Issuer) { i.Algorithms = []string{alg} })
			w.signer = newSigner(t, "k", alg)
			w.publish(newSigner(t, "other", "RS256").jwk(), w.signer.jwk())
			w.wantAccepted(w.token(nil), "signed by "+alg)
		})
	}
}

func TestBadTokensAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	rsaSigner := newSigner(t, "rsa", "RS256")
	stranger := newSigner(t, "k1", "ES256")
	unpublished := newSigner(t, "k9", "ES256")
	w.publish(w.signer.jwk(), rsaSigner.jwk())
	now := start.Unix()
	good := `{"alg":"ES256","kid":"k1","typ":"JWT"}`
	payload := func(changes map[string]any) string {
		data, err := json.Marshal(w.claims(changes))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	withClaim := func(member string) string { return strings.TrimSuffix(payload(nil), "}") + "," + member + "}" }
	hs256 := func(secret []byte) string {
		input := b64(`{"alg":"HS256","kid":"rsa"}`) + "." + b64(payload(nil))
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(input))
		return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	der, err := x509.MarshalPKIXPublicKey(rsaSigner.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	many := map[string]any{}
	for i := range maxClaims {
		many[fmt.Sprint("c", i)] = "v"
	}
	valid := w.token(nil)
	parts := strings.Split(valid, ".")
	flipped := []byte(parts[2])
	flipped[5] ^= 1
	signed := func(changes map[string]any) string { return w.token(changes) }
	raw := func(header, payload string) string { return w.signer.raw(t, header, payload) }

	for name, tt := range map[string]struct{ token, why string }{
		"alg none":                         {b64(`{"alg":"none","kid":"k1"}`) + "." + b64(payload(nil)) + ".", "alg"},
		"alg None":                         {b64(`{"alg":"None","kid":"k1"}`) + "." + b64(payload(nil)) + ".", "alg"},
		"no alg":                           {raw(`{"kid":"k1"}`, payload(nil)), "alg"},
		"alg a number":                     {raw(`{"alg":1,"kid":"k1"}`, payload(nil)), "alg"},
		"HS256 with the public key in DER": {hs256(der), "alg"},
		"HS256 with the public key in PEM": {hs256(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), "alg"},
		"an algorithm that is not allowed": {raw(`{"alg":"ES384","kid":"k1"}`, payload(nil)), "alg"},
		"the key of another algorithm":     {w.signer.raw(t, `{"alg":"RS256","kid":"k1"}`, payload(nil)), "signature"},
		"PS256 by a key for RS256":         {(&signer{"rsa", "PS256", rsaSigner.key}).raw(t, `{"alg":"RS256","kid":"rsa"}`, payload(nil)), "signature"},
		"another's signature":              {stranger.sign(t, w.claims(nil)), "signature"},
		"a changed signature":              {parts[0] + "." + parts[1] + "." + string(flipped), "signature"},
		"no signature":                     {parts[0] + "." + parts[1] + ".", "signature"},
		"a longer signature":               {valid + "AAAA", "signature"},
		"changed claims":                   {parts[0] + "." + b64(payload(map[string]any{"sub": "root"})) + "." + parts[2], "signature"},
		"an unknown kid":                   {unpublished.sign(t, w.claims(nil)), "kid"},
		"no kid":                           {raw(`{"alg":"ES256"}`, payload(nil)), "kid"},
		"a kid of 1 KiB":                   {raw(`{"alg":"ES256","kid":"`+strings.Repeat("k", 1024)+`"}`, payload(nil)), "kid"},
		"a key of its own":                 {stranger.raw(t, `{"alg":"ES256","kid":"k1","jwk":`+mustJSON(t, stranger.jwk())+`}`, payload(nil)), "signature"},
		"crit":                             {raw(`{"alg":"ES256","kid":"k1","crit":["exp"],"exp":1}`, payload(nil)), "critical"},
		"crit of nothing":                  {raw(`{"alg":"ES256","kid":"k1","crit":[]}`, payload(nil)), "critical"},
		"a duplicate name in the header":   {raw(`{"alg":"ES256","alg":"ES256","kid":"k1"}`, payload(nil)), "twice"},
		"a logout token":                   {raw(`{"alg":"ES256","kid":"k1","typ":"logout+jwt"}`, payload(nil)), "typ"},
		"an empty typ":                     {raw(`{"alg":"ES256","kid":"k1","typ":""}`, payload(nil)), "typ"},

		"another iss":                {signed(map[string]any{"iss": "https://other.example"}), "not configured"},
		"iss with a slash more":      {signed(map[string]any{"iss": w.URL + "/"}), "not configured"},
		"iss in capitals":            {signed(map[string]any{"iss": strings.ToUpper(w.URL)}), "not configured"},
		"no iss":                     {signed(map[string]any{"iss": nil}), "no iss"},
		"iss a list":                 {signed(map[string]any{"iss": []string{w.URL}}), "iss"},
		"no aud":                     {signed(map[string]any{"aud": nil}), "aud"},
		"another aud":                {signed(map[string]any{"aud": "https://jotsmith.example.org"}), "aud"},
		"an empty aud":               {signed(map[string]any{"aud": []string{}}), "aud"},
		"aud of other things":        {signed(map[string]any{"aud": []any{"other", 1}}), "aud"},
		"aud an object":              {signed(map[string]any{"aud": map[string]any{"other": true}}), "aud"},
		"no sub":                     {signed(map[string]any{"sub": nil}), "no sub"},
		"an empty sub":               {signed(map[string]any{"sub": ""}), "no sub"},
		"sub a number":               {signed(map[string]any{"sub": 7}), "sub"},
		"no exp":                     {signed(map[string]any{"exp": nil}), "no exp"},
		"expired now":                {signed(map[string]any{"exp": now}), "expired"},
		"expired long ago":           {signed(map[string]any{"exp": now - 86400}), "expired"},
		"exp a fraction":             {signed(map[string]any{"exp": float64(now) + 60.5}), "exp"},
		"exp with an exponent":       {raw(good, strings.Replace(payload(map[string]any{"exp": 7777}), "7777", "1.7954e9", 1)), "exp"},
		"exp a string":               {signed(map[string]any{"exp": fmt.Sprint(now + 60)}), "exp"},
		"exp negative":               {signed(map[string]any{"exp": -1}), "exp"},
		"exp beyond int64":           {signed(map[string]any{"exp": json.Number("9223372036854775808")}), "exp"},
		"exp in the year 10000":      {signed(map[string]any{"exp": 253402300800}), "exp"},
		"exp after 24 hours and 1 s": {signed(map[string]any{"exp": now + 86401}), "24 hours"},
		"nbf ahead":                  {signed(map[string]any{"nbf": now + 61}), "nbf"},
		"iat ahead":                  {signed(map[string]any{"iat": now + 61}), "iat"},
		"iat a string":               {signed(map[string]any{"iat": "1"}), "iat"},
		"a bound token":              {signed(map[string]any{"cnf": map[string]any{"jkt": "x"}}), "bound"},
		"65 claims":                  {signed(many), "64"},
		"a claim of 1 KiB and 1":     {signed(map[string]any{"x": strings.Repeat("x", maxClaim+1)}), "1 KiB"},
		"duplicate sub":              {raw(good, withClaim(`"sub":"root"`)), "twice"},
		"a duplicate name deep down": {raw(good, withClaim(`"x":{"a":1,"a":2}`)), "twice"},
		"invalid UTF-8":              {raw(good, withClaim("\"x\":\"\xff\"")), "JSON"},
		"a lone surrogate":           {raw(good, withClaim(`"x":"\ud800"`)), "JSON"},
		"claims a list":              {raw(good, `["iss"]`), "object"},
		"no claims":                  {raw(good, ``), "object"},
		"something after the claims": {raw(good, payload(nil)+" {}"), "follows"},
		"a list without an end":      {raw(good, `{"x":`+strings.Repeat("[", 2500)), "JSON"},

		"empty":                {"", "JWT"},
		"two parts":            {parts[0] + "." + parts[1], "JWT"},
		"four parts":           {valid + ".x", "JWT"},
		"five parts, as a JWE": {valid + ".x.y", "JWT"},
		"padding":              {parts[0] + "=." + parts[1] + "." + parts[2], "base64url"},
		"bits left over":       {strings.TrimSuffix(b64(good+" "), "A") + "B." + parts[1] + "." + parts[2], "base64url"},
		"JSON serialization":   {`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, "JWT"},
		"huge":                 {strings.Repeat("A", 1<<20), "8 KiB"},
		"8 KiB and 1":          {strings.Repeat("A", authn.MaxBearer+1), "8 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			caller, err := w.verifier.Caller(t.Context(), tt.token)
			if err == nil || caller.Known() {
				t.Fatalf("accepted as %v", caller)
			}
			if !strings.Contains(err.Error(), tt.why) {
				t.Errorf("%v, want %s", err, tt.why)
			}
			if strings.Contains(err.Error(), "eyJ") || len(err.Error()) > 500 {
				t.Errorf("the error says too much: %v", err)
			}
			w.wantAccepted(valid, "a good one right after")
		})
	}
}

func TestLeewayIsForClocksAheadAlone(t *testing.T) {
	w := newWorld(t, nil)
	now := start.Unix()
	w.wantAccepted(w.token(map[string]any{"nbf": now + 60, "iat": now + 60}), "nbf and iat 60 s ahead")
	w.wantAccepted(w.token(map[string]any{"nbf": nil, "iat": nil}), "without nbf and iat")
	w.wantAccepted(w.token(map[string]any{"exp": now + 86400}), "exp after 24 hours")
	last := w.token(map[string]any{"exp": now + 1})
	w.wantAccepted(last, "a second before exp")
	w.clock.advance(time.Second)
	w.wantRefused(last, "at exp, though it was kept")
}

func TestOtherFormsThatAreAccepted(t *testing.T) {
	w := newWorld(t, nil)
	claims := mustJSON(t, w.claims(nil))
	for _, header := range []string{
		`{"alg":"ES256","kid":"k1"}`, `{"alg":"ES256","kid":"k1","typ":"at+jwt"}`, `{"kid":"k1","typ":"application/at+JWT","alg":"ES256","x5t":"x","jku":"https://127.0.0.1:1/"}`,
	} {
		w.wantAccepted(w.signer.raw(t, header, claims), header)
	}
}

func TestTokensAreKeptForFiveMinutesAtMost(t *testing.T) {
	w := newWorld(t, nil)
	token := w.token(nil)
	w.wantAccepted(token, "at first")
	at := func() time.Time {
		e, _ := w.verifier.cache.get(sha256.Sum256([]byte(token)), w.clock.Now())
		return e.until
	}
	if got := at(); !got.Equal(start.Add(maxKept)) {
		t.Errorf("kept until %v", got)
	}
	w.clock.advance(maxKept)
	if !at().IsZero() {
		t.Error("kept for longer")
	}
	short := w.token(map[string]any{"exp": w.clock.Now().Unix() + 10})
	w.wantAccepted(short, "with 10 s left")
	if _, ok := w.verifier.cache.get(sha256.Sum256([]byte(short)), w.clock.Now().Add(10*time.Second)); ok {
		t.Error("kept beyond its exp")
	}
}

func TestKeptTokensAreBounded(t *testing.T) {
	c := newCache()
	for i := range 5 * generation {
		c.put(sha256.Sum256(fmt.Append(nil, i)), entry{until: start})
		if got := len(c.newer) + len(c.old); got > 2*generation {
			t.Fatalf("%d kept", got)
		}
	}
	if _, ok := c.get(sha256.Sum256(fmt.Append(nil, 5*generation-1)), start.Add(-1)); !ok {
		t.Error("the newest is not kept")
	}
}

func TestConfigurationsThatCannotWorkAreRefused(t *testing.T) {
	keys := NewKeys(KeysConfig{Now: time.Now})
	defer keys.Close()
	good := Issuer{Name: "a", URL: "https://a.example", MinRefresh: 1, Audiences: []string{"x"}}
	for name, change := range map[string]func(*Issuer){
		"none":         func(i *Issuer) { i.Algorithms = []string{"none"} },
		"HS256":        func(i *Issuer) { i.Algorithms = []string{"ES256", "HS256"} },
		"no CA in it":  func(i *Issuer) { i.CAPEM = []byte("x") },
		"no refresh":   func(i *Issuer) { i.MinRefresh = 0 },
		"negative age": func(i *Issuer) { i.MaxStale = -1 },
	} {
		issuer := good
		change(&issuer)
		if v, err := keys.Verifier([]Issuer{issuer}); err == nil || v != nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := keys.Verifier([]Issuer{good, good}); err == nil {
		t.Error("two issuers of one URL")
	}
}

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func FuzzParse(f *testing.F) {
	for _, payload := range []string{
		`{"iss":"a","sub":"b","aud":"c","exp":1795000000}`, `{"aud":["a","b"],"exp":1e9}`, `{"a":"\ud800"}`, `[]`, `{"x":{"a":1,"a":2}}`,
	} {
		f.Add(`{"alg":"ES256","kid":"k"}`, payload)
	}
	f.Fuzz(func(t *testing.T, header, payload string) {
		parsed, err := parse(b64(header) + "." + b64(payload) + ".AA")
		if err != nil {
			if len(err.Error()) > 1000 {
				t.Errorf("%d bytes of error", len(err.Error()))
			}
			return
		}
		if parsed.issuer == "" || parsed.subject == "" || parsed.kid == "" || parsed.expiry.IsZero() || len(parsed.claims) > maxClaims {
			t.Errorf("%+v", parsed)
		}
		for name, value := range parsed.claims {
			if len(name) > maxClaim || len(value) > maxClaim {
				t.Errorf("%d, %d", len(name), len(value))
			}
		}
	})
}

func BenchmarkKeptToken(b *testing.B) {
	w := newWorld(b, nil)
	token := w.token(nil)
	w.wantAccepted(token, "at first")
	for b.Loop() {
		if !w.accepts(token) {
			b.Fatal("refused")
		}
	}
}
