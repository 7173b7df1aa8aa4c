package jotsmith

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

func TestClaimsStayAsTheyAreWritten(t *testing.T) {
	for _, c := range []struct {
		claims any
		want   string
	}{
		{nil, ""},
		{`{"n": 9007199254740991}`, `{"n": 9007199254740991}`},
		{json.RawMessage(`{"n":1e2}`), `{"n":1e2}`},
		{[]byte(`{}`), `{}`},
		{map[string]any{"z": int64(9007199254740993), "a": "é\u2028<&>"}, `{"a":"é\u2028<&>","z":9007199254740993}`},
		{struct {
			Sub string `json:"sub"`
		}{"日本"}, `{"sub":"日本"}`},
	} {
		req, err := Request{Profile: "p", Claims: c.claims}.message()
		if err != nil || req.GetClaims() != c.want {
			t.Errorf("%v: %q, %v", c.claims, req.GetClaims(), err)
		}
	}
	for _, r := range []Request{{Profile: "p", Claims: func() {}}, {Profile: "p", Claims: "{\"a\":\"\xff\"}"}, {Profile: "\xff"}} {
		_, err := r.message()
		if e, ok := errors.AsType[*Error](err); !ok || e.Reason != "INVALID_REQUEST" || len(e.Violations) != 1 {
			t.Errorf("%v: %v", r, err)
		}
	}
}

func TestOnlyEqualClaimsShareAPlace(t *testing.T) {
	same := [][]string{
		{``, `{}`, ` { } `},
		{`{"a":1,"b":[1,{"d":null,"c":true}]}`, "{ \"b\" : [1,{\"c\":true,\"d\":null}],\n\"a\":1}"},
		{`{"a":"é"}`, `{"a":"\u00e9"}`},
	}
	for _, texts := range same {
		for _, text := range texts {
			if canonical(text) != canonical(texts[0]) {
				t.Errorf("%s is not %s", text, texts[0])
			}
		}
	}
	seen := map[string]string{}
	for _, text := range []string{
		`{}`, `{"a":1}`, `{"a":1,}`, `{"a":1,"a":1}`, `{"a":2,"a":1}`, `{"a":1} ` + `x`, `{"a":1}{}`, `{"a":"1"}`, `{"a":1.0}`, `{"a":[1]}`, `{"a":[[1]]}`,
		`{"a":9007199254740993}`, `{"a":9007199254740992}`, `{"a":"\ud800"}`, `{"a":"\udc00"}`, `{"a":"\ufffd"}`, `{"A":1}`, `null`, `[]`, `"a"`, `{`,
		strings.Repeat("[", 10000),
	} {
		if other, ok := seen[canonical(text)]; ok {
			t.Errorf("%s shares the place of %s", text, other)
		}
		seen[canonical(text)] = text
	}
}

// FuzzCanonical holds what shares a place to what encoding/json reads.
func FuzzCanonical(f *testing.F) {
	f.Add(`{"a":1,"b":{"c":[1,2.50,"x"]}}`, `{"b":{"c":[1,2.50,"x"]},"a":1}`)
	f.Add(`{"a":1,}`, `{"a":1}`)
	f.Add(`{"a":1,"a":2}`, `{"a":2}`)
	f.Fuzz(func(t *testing.T, a, b string) {
		if canonical(a) != canonical(b) || a == b || a == "" || b == "" {
			return
		}
		read := func(text string) string {
			dec := json.NewDecoder(strings.NewReader(text))
			dec.UseNumber()
			var v any
			if err := dec.Decode(&v); err != nil {
				t.Fatalf("%q shares a place and is no JSON: %v", text, err)
			}
			out, _ := json.Marshal(v)
			return string(out)
		}
		if read(a) != read(b) {
			t.Errorf("%q and %q share a place", a, b)
		}
	})
}

func TestATokenIsNeverPrinted(t *testing.T) {
	const secret = "eyJ.secret.sig"
	token := received(&jotsmithv1.MintTokenResponse{Token: secret, Kid: "kid"}, readClock())
	holder := struct{ hidden, Shown any }{token, &token}
	var logged bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&logged, nil))
	log.Info("x", slog.Any("token", token), slog.Any("in", holder))
	encoded, err := json.Marshal(map[string]any{"t": token, "h": holder})
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{logged.String(), string(encoded), token.String(), bearer{secret, ""}.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		texts = append(texts, fmt.Sprintf(verb, token), fmt.Sprintf(verb, &token), fmt.Sprintf(verb, holder), fmt.Sprintf(verb, struct{ t Token }{token}), fmt.Sprintf(verb, Result{Token: token}))
	}
	for _, text := range texts {
		if strings.Contains(text, "secret") || strings.Contains(text, fmt.Sprintf("%x", "secret")) {
			t.Errorf("printed: %s", text)
		}
	}
	if token.Reveal() != secret || (Token{}).Reveal() != "" || (Token{}).String() != "no token" {
		t.Error("Reveal does not")
	}
	if token.Remaining() > time.Duration(0) {
		t.Error("a token without times has time left")
	}
}
