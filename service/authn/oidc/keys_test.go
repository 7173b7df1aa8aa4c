package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func TestStrangersCannotHaveTheProviderHammered(t *testing.T) {
	w := newWorld(t, nil)
	good := w.token(nil)
	w.wantAccepted(good, "at first")
	w.wantAsked(1, "at first")

	const tokens, callers, minutes = 10_000, 16, 5
	stranger := newSigner(t, "", "ES256")
	claims := mustJSON(t, w.claims(nil))
	signed := stranger.raw(t, `{"alg":"ES256","kid":"x"}`, claims)
	rest := signed[strings.IndexByte(signed, '.'):]
	for minute := range int32(minutes) {
		w.clock.advance(time.Minute)
		var all sync.WaitGroup
		var n atomic.Int32
		for range callers {
			all.Go(func() {
				for {
					i := n.Add(1)
					if i > tokens/minutes {
						return
					}
					token := b64(fmt.Sprintf(`{"alg":"ES256","kid":"random-%d-%d"}`, minute, i)) + rest
					if caller, err := w.verifier.Caller(t.Context(), token); err == nil {
						t.Errorf("accepted as %v", caller)
					}
				}
			})
		}
		all.Wait()
		w.settle()
		w.wantAsked(2+minute, fmt.Sprintf("after minute %d", minute+1))
		w.wantAccepted(w.token(map[string]any{"n": minute}), "a good one right after")
	}
	if got := w.discovered.Load(); got != 1 {
		t.Errorf("discovered %d times", got)
	}
	set := w.verifier.issuers[w.URL].keys
	if len(set.unknown) > maxUnknown {
		t.Errorf("%d unknown kids are remembered", len(set.unknown))
	}
}

func TestWhatASignatureWouldOnlyConfirmIsCheckedBeforeTheProviderIsAsked(t *testing.T) {
	w := newWorld(t, nil)
	for name, changes := range map[string]map[string]any{
		"expired": {"exp": start.Unix() - 1}, "another aud": {"aud": "x"}, "another iss": {"iss": "https://x.example"},
	} {
		w.wantRefused(w.token(changes), name)
	}
	w.wantAsked(0, "after tokens that no key could mend")
}

func TestOneUnknownKidIsAskedForOnce(t *testing.T) {
	w := newWorld(t, nil)
	w.wantAccepted(w.token(nil), "at first")
	old := newSigner(t, "gone", "ES256").sign(t, w.claims(nil))
	w.clock.advance(time.Minute)
	w.wantRefused(old, "a key that is gone")
	w.wantAsked(2, "at the unknown kid")
	for range 3 {
		w.clock.advance(time.Minute)
		w.wantRefused(old, "again")
	}
	w.wantAsked(2, "at the same kid again")
}

func TestRotatedKeys(t *testing.T) {
	w := newWorld(t, nil)
	oldToken, oldKept := w.token(nil), w.token(map[string]any{"n": 1})
	w.wantAccepted(oldKept, "before")

	next := newSigner(t, "k2", "ES256")
	w.publish(next.jwk())
	newToken := next.sign(t, w.claims(nil))
	w.wantRefused(newToken, "within min_refresh, where nobody may be asked")
	w.clock.advance(time.Minute)
	w.wantAccepted(newToken, "after min_refresh")
	w.wantRefused(oldToken, "by the key that left")
	w.wantRefused(oldKept, "by the key that left, though it was kept")
	w.wantAsked(2, "in all")
}

func TestKeyThatChangesUnderItsKid(t *testing.T) {
	w := newWorld(t, nil)
	kept := w.token(nil)
	w.wantAccepted(kept, "before")
	w.signer = newSigner(t, "k1", "ES256")
	w.publish(w.signer.jwk())
	w.clock.advance(refreshAfter)
	w.wantRefused(kept, "by the key before")
	w.wantAccepted(w.token(nil), "by the key of now")
}

func TestKeysAreRefreshedInTheBackgroundBeforeTheyAreDue(t *testing.T) {
	w := newWorld(t, nil)
	token := w.token(nil)
	w.wantAccepted(token, "at first")
	hold, held := make(chan struct{}), make(chan struct{})
	w.answer(nil, func(http.ResponseWriter, *http.Request) { close(held); <-hold })
	w.clock.advance(refreshAfter * 69 / 100)
	w.wantAccepted(token, "not yet near the end")
	w.wantAsked(1, "not yet near the end")
	w.clock.advance(refreshAfter * 11 / 100)
	w.wantAccepted(token, "near the end, though the provider is slow")
	<-held
	for range 10 {
		w.wantAccepted(w.token(map[string]any{"jti": time.Now().String()}), "while the provider is slow")
	}
	w.wantAsked(2, "near the end")
	close(hold)
	w.settle()
}

func TestProviderThatIsDown(t *testing.T) {
	w := newWorld(t, nil)
	token := func() string { return w.token(map[string]any{"jti": w.clock.Now().String()}) }
	w.wantAccepted(token(), "while it is up")
	w.answer(down, down)
	kept := w.token(map[string]any{"exp": start.Unix() + 3*3600})
	for range 17 { // 68 minutes, to the last within refreshAfter + MaxStale
		w.clock.advance(4 * time.Minute)
		w.wantAccepted(token(), fmt.Sprintf("at %v, with old keys", w.clock.Now().Sub(start)))
		w.settle()
	}
	w.wantAccepted(kept, "kept")
	w.clock.advance(2 * time.Minute)
	w.wantRefused(token(), "after max_stale")
	w.wantRefused(kept, "kept, after max_stale")
	w.settle()
	if _, err := w.verifier.Caller(t.Context(), token()); !errors.Is(err, errOldKeys) {
		t.Errorf("%v", err)
	}
	if text := w.log.String(); !strings.Contains(text, "keys of an issuer could not be fetched") || !strings.Contains(text, "answered 503") {
		t.Errorf("the log says %s", text)
	}

	w.answer(nil, nil)
	w.wantRefused(token(), "up again, within min_refresh")
	w.clock.advance(time.Minute)
	w.wantAccepted(token(), "up again")
}

func TestProviderThatIsDownAtTheStart(t *testing.T) {
	w := newWorld(t, nil)
	w.answer(down, nil)
	w.verifier.Warm(t.Context())
	for range 20 {
		if _, err := w.verifier.Caller(t.Context(), w.token(nil)); !errors.Is(err, errNoKeys) {
			t.Fatal(err)
		}
	}
	if got := w.discovered.Load(); got != 1 {
		t.Errorf("asked %d times", got)
	}
	w.answer(nil, nil)
	w.clock.advance(time.Minute)
	w.wantAccepted(w.token(nil), "once it is up")
}

func TestWarmFetchesOnce(t *testing.T) {
	w := newWorld(t, nil)
	for range 3 {
		w.verifier.Warm(t.Context())
	}
	w.wantAsked(1, "warmed")
	w.wantAccepted(w.token(nil), "warmed")
	w.wantAsked(1, "after a token")
}

func TestProvidersThatLie(t *testing.T) {
	far := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another host was asked") }))
	t.Cleanup(far.Close)
	reply := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
	}
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
	}
	keys := make([]any, maxKeys+1)
	for i := range keys {
		keys[i] = map[string]string{"kty": "other"}
	}
	w := newWorld(t, nil)
	for name, tt := range map[string]struct {
		discovery, jwks http.HandlerFunc
		why             string
	}{
		"discovery names another issuer":         {reply(`{"issuer":"https://other.example","jwks_uri":"` + w.URL + `/jwks"}`), nil, "of the issuer"},
		"discovery names the issuer and a slash": {reply(`{"issuer":"` + w.URL + `/","jwks_uri":"` + w.URL + `/jwks"}`), nil, "of the issuer"},
		"discovery without an issuer":            {reply(`{"jwks_uri":"` + w.URL + `/jwks"}`), nil, "of the issuer"},
		"discovery names two issuers":            {reply(`{"issuer":"x","issuer":"` + w.URL + `","jwks_uri":"` + w.URL + `/jwks"}`), nil, "twice"},
		"discovery without jwks_uri":             {reply(`{"issuer":"` + w.URL + `"}`), nil, "jwks_uri"},
		"jwks_uri over http":                     {reply(`{"issuer":"` + w.URL + `","jwks_uri":"http://127.0.0.1/jwks"}`), nil, "jwks_uri"},
		"jwks_uri is a file":                     {reply(`{"issuer":"` + w.URL + `","jwks_uri":"file:///etc/passwd"}`), nil, "jwks_uri"},
		"discovery is HTML":                      {reply(`<html>`), nil, "JSON"},
		"discovery redirects to another host":    {redirect(far.URL), nil, "redirected"},
		"keys redirect to another host":          {nil, redirect(far.URL), "redirected"},
		"keys redirect to http":                  {nil, redirect("http://" + w.Listener.Addr().String() + "/jwks"), "redirected"},
		"keys redirect for ever":                 {nil, redirect("/jwks"), "redirected"},
		"keys are 404":                           {nil, http.NotFound, "404"},
		"keys are more than 1 MiB":               {nil, reply(`{"keys":[` + strings.Repeat(" ", maxBody) + `]}`), "1 MiB"},
		"more than 64 keys":                      {nil, reply(mustJSON(t, map[string]any{"keys": keys})), "64"},
		"keys are no list":                       {nil, reply(`{"keys":{}}`), "array"},
		"no keys in it":                          {nil, reply(`{}`), "keys"},
		"keys are cut off":                       {nil, reply(`{"keys":[{"kty":`), "JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			again := newWorldOf(t, w.provider, w.signer, nil)
			again.answer(tt.discovery, tt.jwks)
			if _, err := again.verifier.Caller(t.Context(), again.token(nil)); !errors.Is(err, errNoKeys) {
				t.Errorf("%v", err)
			}
			if text := again.log.String(); !strings.Contains(text, tt.why) {
				t.Errorf("want %s in %s", tt.why, text)
			}
			again.answer(nil, nil)
			again.clock.advance(time.Minute)
			again.wantAccepted(again.token(nil), "once it is honest")
		})
	}
}

func TestProviderOfAnotherCA(t *testing.T) {
	w := newWorld(t, func(i *Issuer) { i.CAPEM = nil })
	if _, err := w.verifier.Caller(t.Context(), w.token(nil)); !errors.Is(err, errNoKeys) {
		t.Errorf("%v", err)
	}
	if !strings.Contains(w.log.String(), "certificate") {
		t.Error(w.log)
	}
}

func TestRedirectOnTheSameHostIsFollowed(t *testing.T) {
	w := newWorld(t, nil)
	w.answer(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "" {
			http.Redirect(rw, r, r.URL.Path+"?again", http.StatusFound)
			return
		}
		fmt.Fprintf(rw, `{"issuer":%q,"jwks_uri":%q}`, w.URL, w.URL+"/jwks")
	}, nil)
	w.wantAccepted(w.token(nil), "after a redirect")
}

func TestJWKSURLNeedsNoDiscovery(t *testing.T) {
	w := newWorld(t, func(i *Issuer) { i.JWKSURL = i.URL + "/jwks" })
	w.wantAccepted(w.token(nil), "at first")
	if w.discovered.Load() != 0 {
		t.Error("discovered all the same")
	}
}

func TestKeysOfNoUseAreLeftOut(t *testing.T) {
	w := newWorld(t, nil)
	use, none, oct := w.signer.jwk(), w.signer.jwk(), jose.JSONWebKey{Key: []byte("secret"), KeyID: "oct"}
	use.Use, use.KeyID = "enc", "enc"
	none.KeyID = ""
	private := jose.JSONWebKey{Key: newSigner(t, "", "ES256").key, KeyID: "private"}
	w.publish(map[string]any{"kty": "new", "kid": "x"}, map[string]any{}, 7, use, none, oct, private, w.signer.jwk())
	w.wantAccepted(w.token(nil), "beside them")
	if keys := w.verifier.issuers[w.URL].keys.keys; len(keys) != 1 || len(keys["k1"]) != 1 {
		t.Errorf("%v", keys)
	}
}

func TestSlowProviderHoldsNobodyWhoGoesAway(t *testing.T) {
	w := newWorld(t, nil)
	hold := make(chan struct{})
	w.answer(func(http.ResponseWriter, *http.Request) { <-hold }, nil)
	first, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	token := w.token(nil)
	go func() { _, err := w.verifier.Caller(first, token); gone <- err }()
	for w.discovered.Load() == 0 {
		runtime.Gosched()
	}
	stays := make(chan error, 8)
	for range cap(stays) {
		go func() { _, err := w.verifier.Caller(t.Context(), token); stays <- err }()
	}
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("who went away got %v", err)
	}
	// The handler that was held answers nothing, which is no discovery document:
	// the fetch fails for all of them alike, and not by the cancellation.
	close(hold)
	for range cap(stays) {
		if err := <-stays; !errors.Is(err, errNoKeys) {
			t.Errorf("%v", err)
		}
	}
	if w.discovered.Load() != 1 || strings.Contains(w.log.String(), "canceled") {
		t.Errorf("asked %d times; %s", w.discovered.Load(), w.log)
	}
	if set := w.verifier.issuers[w.URL].keys; set.waiting != 0 {
		t.Errorf("%d still wait", set.waiting)
	}
}

func TestOneFetchServesAll(t *testing.T) {
	w := newWorld(t, nil)
	token := w.token(nil)
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			if _, err := w.verifier.Caller(t.Context(), token); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	w.wantAsked(1, "by 64 at once")
}

func TestReloadAsksNobodyAnything(t *testing.T) {
	w := newWorld(t, nil)
	w.wantAccepted(w.token(nil), "before")
	other := w.issuer
	other.URL = "https://127.0.0.1:1"
	for range 1000 {
		if _, err := w.keys.Verifier([]Issuer{other}); err != nil {
			t.Fatal(err)
		}
		w.verifier = w.make()
		w.verifier.Warm(t.Context())
	}
	w.wantAccepted(w.token(nil), "after")
	w.wantAsked(1, "over 2,000 reloads")
	for i := range 3 * maxSets {
		other.URL = fmt.Sprint("https://127.0.0.1:", i)
		if _, err := w.keys.Verifier([]Issuer{other}); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(w.keys.sets); got > maxSets {
		t.Errorf("%d JWK Sets are remembered", got)
	}
}

func TestCloseEndsTheFetchUnderWay(t *testing.T) {
	w := newWorld(t, nil)
	w.answer(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, nil)
	done := make(chan error, 1)
	token := w.token(nil)
	go func() { _, err := w.verifier.Caller(t.Context(), token); done <- err }()
	for w.discovered.Load() == 0 {
		runtime.Gosched()
	}
	begin := time.Now()
	w.keys.Close()
	if took := time.Since(begin); took > fetchTimeout/2 {
		t.Errorf("took %v", took)
	}
	if err := <-done; !errors.Is(err, errNoKeys) {
		t.Errorf("%v", err)
	}
	w.clock.advance(time.Hour)
	w.wantRefused(w.token(nil), "after Close")
	w.wantAsked(0, "after Close")
}

func TestClockThatIsSetBackDoesNotPutOffTheNextFetch(t *testing.T) {
	w := newWorld(t, nil)
	w.wantAccepted(w.token(nil), "at first")
	w.clock.advance(-48 * time.Hour)
	next := newSigner(t, "k2", "ES256")
	w.publish(next.jwk())
	w.wantAccepted(next.sign(t, w.claims(nil)), "by a new key")
}
