package service

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/jotsmith/jotsmith/backends"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/publish"
)

const issuerSet = "/.well-known/jwks.json"

// away has the store fail altogether.
func away(_ context.Context, op, id string) error {
	return &backends.Error{Op: op, KeyID: id, Kind: backends.ErrUnavailable}
}

// shows returns the kids of the issuer's set; "nothing" where it is not served.
func (w *watched) shows(t *testing.T) string {
	t.Helper()
	for _, d := range w.Site(t.Context()).Documents() {
		if d.Path != issuerSet {
			continue
		}
		if d.Body == nil {
			return "nothing"
		}
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(d.Body, &set); err != nil {
			t.Fatal(err)
		}
		var kids []string
		for _, key := range set.Keys {
			kids = append(kids, key.KeyID)
		}
		return strings.Join(kids, " ")
	}
	return "no set"
}

// published is the generation with its key published for an issuer.
func (in *Generation) publishing() *Generation {
	in.Published = publish.Plan{Issuers: []publish.Issuer{{URL: "https://x.example", Keys: []string{"k"}}}}
	return in
}

// inPublisher runs Publish in a bubble, over a generation whose store is away at
// first where that is said.
func inPublisher(t *testing.T, storeAway bool, test func(t *testing.T, w *watched)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t, watchedProfile())
		if storeAway {
			w.store.Fail(away)
		}
		w.Replace(generation(t, "one", w.store, watchedProfile(), true).publishing())
		if storeAway {
			w.current.Load().inherited = nil // the server has just begun
		}
		ctx, cancel := context.WithCancel(t.Context())
		end := make(chan error, 2)
		go func() { end <- w.Publish(ctx) }()
		go func() { end <- w.current.Load().Signer.Run(ctx) }()
		synctest.Wait()
		test(t, w)
		cancel()
		for range 2 {
			if err := <-end; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestWhatIsPublishedFollowsAReloadAtOnce(t *testing.T) {
	inPublisher(t, false, func(t *testing.T, w *watched) {
		if got := w.shows(t); got != "kid-one" {
			t.Errorf("at first: %s", got)
		}
		w.Replace(generation(t, "two", w.store, watchedProfile(), true).publishing())
		synctest.Wait()
		if got := w.shows(t); got != "kid-two" {
			t.Errorf("after another kid: %s", got)
		}
		w.Replace(generation(t, "two", w.store, watchedProfile(), true))
		synctest.Wait()
		if got := w.shows(t); got != "no set" {
			t.Errorf("after the section is gone: %s", got)
		}
	})
}

func TestKeyIsPublishedWithinASecondOfBeingRead(t *testing.T) {
	inPublisher(t, true, func(t *testing.T, w *watched) {
		if got := w.shows(t); got != "nothing" {
			t.Errorf("while the store is away: %s", got)
		}
		// It can be read, and does not sign: nobody is told of that.
		w.store.FailWith(backends.ErrUnavailable)
		for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
			if _, read := w.current.Load().Signer.Public("k"); read {
				break
			}
			if time.Since(began) > time.Minute {
				t.Fatal("not read in a minute")
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := w.shows(t); got != "kid-one" {
			t.Errorf("a second after it was read: %s", got)
		}
	})
}

func TestPublishedKeyStaysWhileItsStoreIsAway(t *testing.T) {
	inPublisher(t, false, func(t *testing.T, w *watched) {
		w.store.Fail(away)
		time.Sleep(time.Hour)
		if got := w.shows(t); got != "kid-one" {
			t.Errorf("an hour later: %s", got)
		}
		for range 2 { // the second inherits from one that has not read it either
			w.Replace(generation(t, "one", w.store, watchedProfile(), true).publishing())
			synctest.Wait()
			if got := w.shows(t); got != "kid-one" {
				t.Errorf("after a reload: %s", got)
			}
		}
		w.Replace(generation(t, "two", w.store, watchedProfile(), true).publishing())
		synctest.Wait()
		if got := w.shows(t); got != "nothing" {
			t.Errorf("after another kid, of which nothing is known: %s", got)
		}
	})
}

func TestWhatTheStoreSaysIsPublishedAndNotWhatWasInherited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t, watchedProfile())
		other := w.store.Replace(t, "id")
		next := generation(t, "one", w.store, watchedProfile(), true)
		w.Replace(next)
		if got := next.PublishedKeys("k"); len(got) != 1 || !got[0].PublicKey.Equal(other) {
			t.Errorf("published: %v", got)
		}
		if got := next.PublishedKeys("gone"); got != nil {
			t.Errorf("of no key: %v", got)
		}
	})
}

// startKeys runs a watch of keys and returns what it sends and what brings its
// end.
func (w *watched) startKeys(ctx context.Context) (sets <-chan *jotsmithv1.WatchKeysResponse, end <-chan error) {
	sent, ended := make(chan *jotsmithv1.WatchKeysResponse, 16), make(chan error, 1)
	running := &keyWatch{
		service: w.Service, known: w.caller,
		send: func(resp *jotsmithv1.WatchKeysResponse) error { sent <- resp; return nil },
	}
	go func() { ended <- w.follow(ctx, running) }()
	return sent, ended
}

func inKeyWatch(t *testing.T, test func(t *testing.T, w *watched, sets <-chan *jotsmithv1.WatchKeysResponse, end <-chan error)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t, watchedProfile())
		ctx, cancel := context.WithCancel(t.Context())
		sets, end := w.startKeys(ctx)
		synctest.Wait()
		test(t, w, sets, end)
		cancel()
		synctest.Wait()
	})
}

func TestWatchKeysSendsTheKeysNowAndWhenTheyChange(t *testing.T) {
	inKeyWatch(t, func(t *testing.T, w *watched, sets <-chan *jotsmithv1.WatchKeysResponse, end <-chan error) {
		first := <-sets
		if keys := first.GetKeys(); len(keys) != 1 || keys[0].GetKid() != "kid-one" || first.GetConfigGeneration() != "one" {
			t.Errorf("at first: %v", first)
		}
		w.KeysChanged()                                                  // and nothing has
		w.Replace(generation(t, "one", w.store, watchedProfile(), true)) // the same
		w.store.Fail(away)                                               // and the store goes
		w.Replace(generation(t, "one", w.store, watchedProfile(), true))
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(sets) != 0 {
			t.Errorf("sent again: %v", <-sets)
		}
		w.store.Fail(nil)
		w.Replace(generation(t, "two", w.store, watchedProfile(), true))
		synctest.Wait()
		if second := <-sets; len(second.GetKeys()) != 1 || second.GetKeys()[0].GetKid() != "kid-two" || second.GetConfigGeneration() != "two" {
			t.Errorf("after the change: %v", second)
		}
		still(t, end)
	})
}

func TestWatchKeysEndsWithTheGrantTheCallerOrTheServer(t *testing.T) {
	for name, row := range map[string]struct {
		then func(t *testing.T, w *watched)
		want error
	}{
		"the grant": {func(t *testing.T, w *watched) {
			w.Replace(generation(t, "two", w.store, watchedProfile(), false))
		}, policy.ErrNotGranted},
		"the caller": {func(_ *testing.T, w *watched) {
			w.mu.Lock()
			w.unknown = ErrUnauthenticated
			w.mu.Unlock()
			time.Sleep(keysEvery)
		}, ErrUnauthenticated},
		"the server": {func(_ *testing.T, w *watched) { w.Drain() }, errDraining},
	} {
		inKeyWatch(t, func(t *testing.T, w *watched, _ <-chan *jotsmithv1.WatchKeysResponse, end <-chan error) {
			row.then(t, w)
			synctest.Wait()
			if err := <-end; !errors.Is(err, row.want) {
				t.Errorf("%s: ended with %v", name, err)
			}
		})
	}
}
