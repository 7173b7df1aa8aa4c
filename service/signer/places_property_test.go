package signer_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"pgregory.net/rapid"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/service/signer"
)

// mood is what a place does with the calls that it gets.
type mood struct {
	name  string
	fault func(context.Context, string, string) error
	lies  bool
	serve time.Duration // how long a signature takes; 0 is no signature
}

func kindOf(kind error, after time.Duration) func(context.Context, string, string) error {
	return func(ctx context.Context, op, id string) error {
		select {
		case <-time.After(after):
			return &backends.Error{Op: op, KeyID: id, Kind: kind}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

const near, far, crawling = 10 * time.Millisecond, 60 * time.Millisecond, 300 * time.Millisecond

// moods are all but the lie, which ends the key.
func moods() []mood {
	return []mood{
		{"near", slowly(near), false, near},
		{"far", slowly(far), false, far},
		{"crawling", slowly(crawling), false, crawling},
		{"away", kindOf(backends.ErrUnavailable, time.Millisecond), false, 0},
		{"away after a while", kindOf(backends.ErrUnavailable, 150*time.Millisecond), false, 0},
		{"throttling", kindOf(backends.ErrThrottled, time.Millisecond), false, 0},
		{"throttling after a while", kindOf(backends.ErrThrottled, 200*time.Millisecond), false, 0},
		{"silent", blackHole, false, 0},
		{"disabled", kindOf(backends.ErrKeyDisabled, time.Millisecond), false, 0},
		{"denied", kindOf(backends.ErrAccessDenied, time.Millisecond), false, 0},
	}
}

func lying() mood { return mood{"lying", slowly(near), true, near} }

// step is one thing that happens: a call with so much time, where it is 0 the
// server's own; a place that changes its mood; or a pause.
type step struct {
	call  time.Duration
	place int // -1 for none
	mood  mood
	pause time.Duration
}

func drawSteps(rt *rapid.T, places int, all []mood) []step {
	names := make([]string, len(all))
	for i, m := range all {
		names[i] = m.name
	}
	steps := make([]step, rapid.IntRange(1, 30).Draw(rt, "steps"))
	for i := range steps {
		steps[i].place = -1
		switch rapid.IntRange(0, 3).Draw(rt, "action") {
		case 0:
			steps[i].place = rapid.IntRange(0, places-1).Draw(rt, "place")
			steps[i].mood = all[slices.Index(names, rapid.SampledFrom(names).Draw(rt, "mood"))]
		case 1:
			steps[i].pause = rapid.SampledFrom([]time.Duration{time.Millisecond, 100 * time.Millisecond, time.Second, 30 * time.Second, 3 * time.Minute}).Draw(rt, "pause")
		default:
			steps[i].call = rapid.SampledFrom([]time.Duration{
				100 * time.Millisecond, 150 * time.Millisecond, 300 * time.Millisecond, time.Second, 3 * time.Second, 5 * time.Second, forever,
			}).Draw(rt, "left")
		}
	}
	return steps
}

// forever is a call without a deadline, which has the server's own.
const forever = 10 * time.Second

// world is a signer over places with moods, in a bubble of time.
type world struct {
	t      *testing.T
	wrong  []string // what the promises did not let happen
	signer *signer.Signer
	stores []*replica
	moods  []mood
	lied   bool // a place that lied was asked
}

func (w *world) fault(format string, args ...any) {
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

func (w *world) set(place int, m mood) {
	w.moods[place] = m
	w.stores[place].fail(m.fault)
	w.stores[place].lie.Store(nil)
	if m.lies {
		lie := func(sig backends.Signature) backends.Signature { sig[40] ^= 1; return sig }
		w.stores[place].lie.Store(&lie)
	}
}

// call asks for a token and holds the answer to the promises: it verifies, it
// comes in time, and it comes where one place could make it in the time.
func (w *world) call(left time.Duration) {
	ctx, cancel := w.t.Context(), func() {}
	if left < forever {
		ctx, cancel = context.WithTimeout(ctx, left)
	}
	defer cancel()
	began := time.Now()
	signed, err := w.signer.Sign(ctx, approved(w.t))
	if took := time.Since(began); took > left {
		w.fault("took %v of %v", took, left)
	}
	if err == nil {
		if w.lied {
			w.fault("a token of a key that is latched")
		}
		parsed, err := jose.ParseSignedCompact(signed.Token.Reveal(), []jose.SignatureAlgorithm{jose.ES256})
		if err == nil {
			_, err = parsed.Verify(w.stores[0].Public("id"))
		}
		if err != nil {
			w.fault("a wrong token: %v", err)
		}
		return
	}
	w.lied = w.lied || errors.Is(err, backends.ErrSignatureInvalid)
	serves := func(m mood) bool { return m.serve > 0 }
	if left >= 3*time.Second && !w.lied && slices.ContainsFunc(w.moods, serves) {
		w.fault("no token within %v, and one place could sign: %v; %s", left, err, w.told())
	}
}

func (w *world) told() string {
	text := ""
	for i, m := range w.signer.Members("k") {
		text += fmt.Sprintf("%s is %s, known as %v after %v; ", m.Store, w.moods[i].name, m.Fault, m.Latency)
	}
	return text
}

// run has it all happen.
func (w *world) run(steps []step) {
	for _, step := range steps {
		switch {
		case step.call > 0:
			w.call(step.call)
		case step.place >= 0:
			w.set(step.place, step.mood)
		default:
			time.Sleep(step.pause)
		}
		w.lied = w.lied || errors.Is(w.signer.Fault("k"), backends.ErrSignatureInvalid) // to a canary
	}
	// What is over is over.
	for i := range w.stores {
		w.set(i, moods()[0])
	}
	time.Sleep(3 * time.Minute)
	for _, m := range w.signer.Members("k") {
		if m.Fault != nil && !w.lied {
			w.fault("three minutes after all faults: %+v", m)
		}
	}
}

// seeded is random bytes that are the same again.
type seeded struct {
	mu     sync.Mutex
	chacha *rand.ChaCha8
}

func (s *seeded) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.chacha.Read(b)
}

// explore has places change their moods between calls, for some minutes.
func explore(t *testing.T, all []mood) {
	rapid.Check(t, func(rt *rapid.T) {
		count := rapid.IntRange(1, 3).Draw(rt, "places")
		steps := drawSteps(rt, count, all)
		seed := rapid.Uint64().Draw(rt, "seed of the jitter")
		var w *world
		synctest.Test(t, func(t *testing.T) {
			cfg, stores := places(t, count)
			cfg.Random = &seeded{chacha: rand.NewChaCha8([32]byte(binary.LittleEndian.AppendUint64(make([]byte, 24), seed)))}
			w = &world{t: t, stores: stores, moods: make([]mood, count)}
			for i := range stores {
				w.set(i, moods()[0]) // each is read once: who was never read cannot sign
			}
			w.signer = loaded(t, cfg)
			running(t, w.signer)
			w.run(steps)
		})
		if len(w.wrong) > 0 {
			rt.Fatalf("%q", w.wrong)
		}
	})
}

func TestWhateverThePlacesDoTokensAreRightAndInTimeAndComeWhereOneCan(t *testing.T) {
	explore(t, moods())
}

func TestNoLieOfAnyPlaceIsReleased(t *testing.T) {
	explore(t, append(moods()[:4], lying(), lying()))
}
