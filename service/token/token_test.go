package token

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The example of RFC 7515 appendix A.3.
const (
	a3Header = `{"alg":"ES256"}`
	a3Claims = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}"
	a3Input  = "eyJhbGciOiJFUzI1NiJ9" +
		".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	a3Signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
	a3Token     = a3Input + "." + a3Signature
	a3X         = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
	a3Y         = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
)

func raw(t testing.TB, segment string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func a3Compact(t testing.TB) Compact {
	t.Helper()
	return NewSigningInput([]byte(a3Header), []byte(a3Claims)).Join([64]byte(raw(t, a3Signature)))
}

func TestJoinGivesTheTokenOfRFC7515A3(t *testing.T) {
	in := NewSigningInput([]byte(a3Header), []byte(a3Claims))
	if diff := cmp.Diff(a3Input, string(in.Bytes())); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(a3Token, a3Compact(t).Reveal()); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeTakesTheTokenOfRFC7515A3Apart(t *testing.T) {
	got, err := Decode(a3Token)
	if err != nil {
		t.Fatal(err)
	}
	want := Decoded{[]byte(a3Header), []byte(a3Claims), raw(t, a3Signature), a3Input}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, raw(t, a3X), raw(t, a3Y)))
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte(got.Input))
	if r, s := new(big.Int).SetBytes(got.Signature[:32]), new(big.Int).SetBytes(got.Signature[32:]); !ecdsa.Verify(key, digest[:], r, s) {
		t.Error("the signature does not verify over the input")
	}
}

func TestJoinDoesNotReallocate(t *testing.T) {
	in := NewSigningInput([]byte(a3Header), []byte(a3Claims))
	if got := testing.AllocsPerRun(100, func() { _ = in.Join([64]byte{}) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestJoinKeepsSignaturesOfZeroBytes(t *testing.T) {
	got, err := Decode(NewSigningInput([]byte("{}"), []byte("{}")).Join([64]byte{}).Reveal())
	if err != nil || !bytes.Equal(got.Signature, make([]byte, 64)) {
		t.Errorf("%x, %v", got.Signature, err)
	}
}

// Whatever a program does with a token beside Reveal shows nothing of it: the
// verbs of fmt, slog and JSON, inside any struct, exported or not.
func TestCompactRedactsItself(t *testing.T) {
	c := a3Compact(t)
	type exported struct {
		Token Compact
		Ptr   *Compact
	}
	type unexported struct {
		token Compact
		ptr   *Compact
		any   any
	}
	values := []any{
		c,
		&c,
		exported{c, &c},
		&exported{c, &c},
		unexported{c, &c, c},
		&unexported{c, &c, c},
		[]Compact{c},
		[1]Compact{c},
		map[string]Compact{"a": c},
		map[Compact]int{c: 1},
		fmt.Errorf("failed on %v: %w", c, context.Canceled),
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c", "%U", "%T"} {
		for _, v := range values {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	for _, log := range []*slog.Logger{slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))} {
		for _, v := range values {
			log.Info("minted", "value", v, slog.Group("group", "token", c))
			log.With("token", v).Info("minted")
		}
	}
	for _, v := range values[:8] {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
	}
	for _, part := range []string{"eyJ", "65794a", "65794A", "101 121 74", "0x65, 0x79", "U+0065", a3Signature[:8]} {
		if i := strings.Index(out.String(), part); i >= 0 {
			t.Errorf("shows %q in %.200s", part, out.String()[max(0, i-100):])
		}
	}
	if got := fmt.Sprint(c); got != "[token]" {
		t.Errorf("says %q", got)
	}
}

func TestZeroCompactIsEmpty(t *testing.T) {
	if got := (Compact{}).Reveal(); got != "" {
		t.Errorf("reveals %q", got)
	}
}

func TestDecodeRefuses(t *testing.T) {
	b64 := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	header, claims, sig := b64(a3Header), b64(a3Claims), a3Signature
	for _, tt := range []struct{ name, token, want string }{
		{"nothing", "", "1 parts separated by dots, and a JWT has 3"},
		{"two parts", header + "." + claims, "2 parts separated by dots, and a JWT has 3"},
		{"four parts", header + "." + claims + "." + sig + ".", "4 parts separated by dots, and a JWT has 3"},
		{"a JWE", header + "....", "5 parts separated by dots, and a JWT has 3"},
		{"dots", strings.Repeat(".", 60_000), "60001 parts separated by dots, and a JWT has 3"},
		{"too long", strings.Repeat("a", MaxSize+1), "longer than 65536 bytes"},

		{"padding", header + "==." + claims + "." + sig, "header: not base64url without padding"},
		{"standard base64", b64(`{"a":"`)[:8] + "+/." + claims + "." + sig, "header: not base64url without padding"},
		{"a line feed in the header", header[:4] + "\n" + header[4:] + "." + claims + "." + sig, "header: not base64url without padding"},
		{"a carriage return at the end", a3Token + "\r", "signature: not base64url without padding"},
		{"a blank in front", " " + a3Token, "header: not base64url without padding"},
		{"Bearer", "Bearer " + a3Token, "header: not base64url without padding"},
		{"bits behind the last byte of the header", b64("{}x")[:3] + "B." + claims + "." + sig, "header: not valid JSON, or a name stands twice"},
		{"bits behind the last byte of the signature", header + "." + claims + "." + sig[:len(sig)-1] + "R", "signature: not base64url without padding"},
		{"one letter", header + "." + claims + ".A", "signature: not base64url without padding"},
		{"letters beyond ASCII", header + "." + claims + ".ÄÄÄÄ", "signature: not base64url without padding"},

		{"no header", "." + claims + "." + sig, "header: not valid JSON, or a name stands twice"},
		{"no claims set", header + ".." + sig, "claims set: not valid JSON, or a name stands twice"},
		{"a header that is null", b64("null") + "." + claims + "." + sig, "header: not a JSON object"},
		{"a claims set that is an array", header + "." + b64("[]") + "." + sig, "claims set: not a JSON object"},
		{"a claims set that is text", header + "." + b64("hello") + "." + sig, "claims set: not valid JSON, or a name stands twice"},
		{"alg twice", b64(`{"alg":"ES256","alg":"none"}`) + "." + claims + "." + sig, "header: not valid JSON, or a name stands twice"},
		{"alg twice, one escaped", b64(`{"alg":"ES256","\u0061lg":"none"}`) + "." + claims + "." + sig, "header: not valid JSON, or a name stands twice"},
		{"a claim twice, deep", header + "." + b64(`{"a":[{"b":1,"b":2}]}`) + "." + sig, "claims set: not valid JSON, or a name stands twice"},
		{"two objects", b64(`{}{}`) + "." + claims + "." + sig, "header: not valid JSON, or a name stands twice"},
		{"a byte order mark", b64("\ufeff{}") + "." + claims + "." + sig, "header: not valid JSON, or a name stands twice"},
		{"a no-break space around", b64("\u00a0{}\u00a0") + "." + claims + "." + sig, "header: not valid JSON, or a name stands twice"},
		{"invalid UTF-8", b64("{\"a\":\"\xff\"}") + "." + claims + "." + sig, "header: not valid JSON, or a name stands twice"},
		{"a lone surrogate", b64(`{"a":"\ud800"}`) + "." + claims + "." + sig, "header: not valid JSON, or a name stands twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Decode(tt.token)
			if err == nil {
				t.Fatalf("accepted as %+v", got)
			}
			if err.Error() != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

func TestDecodeAcceptsBlanksAroundTheObjectsAndNoSignature(t *testing.T) {
	got, err := Decode(base64.RawURLEncoding.EncodeToString([]byte(" {}\r\n")) + ".e30.")
	if err != nil {
		t.Fatal(err)
	}
	if got.Header.Kind() != '{' || len(got.Signature) != 0 {
		t.Errorf("%+v", got)
	}
}

// No text makes Decode panic, and one that it accepts is the only text for
// what it returns.
func FuzzDecode(f *testing.F) {
	f.Add(a3Token)
	f.Add("e30.e30.")
	f.Add("e30.e30.AA")
	f.Add("eyJhIjoxfQ.W10.AAAA")
	f.Add("..")
	f.Add("e30\n.e30.")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Decode(text)
		if err != nil {
			return
		}
		enc := base64.RawURLEncoding
		again := enc.EncodeToString(got.Header) + "." + enc.EncodeToString(got.Claims) + "." + enc.EncodeToString(got.Signature)
		if again != text {
			t.Errorf("%q reads as %q", text, again)
		}
		if got.Input+"."+enc.EncodeToString(got.Signature) != text {
			t.Errorf("the input of %q is %q", text, got.Input)
		}
		for _, object := range [][]byte{got.Header, got.Claims} {
			var m map[string]json.RawMessage
			if err := json.Unmarshal(object, &m); err != nil || m == nil {
				t.Errorf("%s: %v", object, err)
			}
		}
		if len(got.Signature) == 64 {
			if joined := NewSigningInput(got.Header, got.Claims).Join([64]byte(got.Signature)).Reveal(); joined != text {
				t.Errorf("%q joins to %q", text, joined)
			}
		}
	})
}

// BenchmarkJoin is a token's text, without its signature.
func BenchmarkJoin(b *testing.B) {
	header, claims := []byte(`{"alg":"ES256","kid":"2X9R4HXF34","typ":"JWT"}`), []byte(`{"iss":"57246542-96fe-1a63-e053-0824d011072a","aud":"appstoreconnect-v1","iat":1790000000,"exp":1790000600}`)
	b.ReportAllocs()
	for b.Loop() {
		NewSigningInput(header, claims).Join([64]byte{})
	}
}
