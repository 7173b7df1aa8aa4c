package awskms_test

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/awskms"
	"github.com/jotsmith/jotsmith/backends/awskms/kmsfake"
)

// atOnce is far more than an answer takes that waits for nothing, on a busy
// machine and under the race detector.
const atOnce = 500 * time.Millisecond

// eventually polls what another goroutine or process is about to make true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10s: %s", what)
		}
	}
}

func TestThrottlingStormIsAnsweredAtOnceAndPasses(t *testing.T) {
	fakeCredentials(t)
	s, id := startFake(t, newKey(t))
	b := open(t, s.URI())
	if _, err := b.Describe(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	s.Inject(kmsfake.Throttle(0))
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			start := time.Now()
			_, err := b.Sign(t.Context(), id, backends.Digest{1})
			if failure := (*backends.Error)(nil); !errors.As(err, &failure) || !errors.Is(err, backends.ErrThrottled) || failure.RetryAfter <= 0 {
				t.Errorf("Sign in the storm: %v", err)
			}
			if took := time.Since(start); took > atOnce {
				t.Errorf("a throttled Sign took %v", took)
			}
		})
	}
	wg.Wait()
	if got := s.Calls(kmsfake.Sign); got != 64 {
		t.Errorf("KMS was asked %d times for 64 signatures: a throttle must not be retried", got)
	}
	s.Clear()
	eventually(t, "a signature after the storm", func() bool {
		_, err := b.Sign(t.Context(), id, backends.Digest{1})
		return err == nil
	})
}

// Another program uses most of the account's quota: we settle below what is
// left and go on signing.
func TestRateSettlesBelowASmallerQuota(t *testing.T) {
	fakeCredentials(t)
	s, id := startFake(t, newKey(t))
	const quota = 200
	s.SetQuota(quota)
	b := open(t, s.URI("rate=800"))
	if _, err := b.Describe(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	const length = 4 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var mu sync.Mutex
	signed := 0
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := b.Sign(ctx, id, backends.Digest{1}); err == nil {
					mu.Lock()
					signed++
					mu.Unlock()
				} else if ctx.Err() == nil && !errors.Is(err, backends.ErrThrottled) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	asked := s.Calls(kmsfake.Sign)
	t.Logf("%d signatures of %d possible, %d requests throttled", signed, int(quota*length.Seconds()), asked-signed)
	if signed < quota*int(length.Seconds())*4/10 {
		t.Errorf("%d signatures in %v under a quota of %d a second", signed, length, quota)
	}
	if throttled := asked - signed; throttled > asked/3 {
		t.Errorf("%d of %d requests were throttled: the rate did not settle", throttled, asked)
	}
}

func TestOwnLimitIsAnsweredAtOnceAndAsksNothing(t *testing.T) {
	fakeCredentials(t)
	s, id := startFake(t, newKey(t))
	b := open(t, s.URI("rate=1"))
	if _, err := b.Sign(t.Context(), id, backends.Digest{1}); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err := b.Sign(t.Context(), id, backends.Digest{1})
	if failure := wantFailure(t, err, "sign", backends.ErrThrottled); failure.RetryAfter > time.Second {
		t.Errorf("says to wait %v at one signature a second", failure.RetryAfter)
	}
	if took := time.Since(start); took > atOnce {
		t.Errorf("took %v", took)
	}
	if got := s.Calls(kmsfake.Sign); got != 1 {
		t.Errorf("KMS was asked %d times", got)
	}
}

func TestServerErrorsAreRetriedWithinTheDeadline(t *testing.T) {
	fakeCredentials(t)
	s, id := startFake(t, newKey(t))
	b := open(t, s.URI())
	if _, err := b.Describe(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for name, fault := range map[string]kmsfake.Fault{"500": kmsfake.InternalError(2), "reset": {Times: 2, Reset: true}} {
		t.Run(name, func(t *testing.T) {
			before := s.Calls(kmsfake.Sign)
			s.Inject(fault)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if _, err := b.Sign(ctx, id, backends.Digest{1}); err != nil {
				t.Errorf("two failures, then success: %v", err)
			}
			// net/http may send once more what a kept connection did not take.
			if got := s.Calls(kmsfake.Sign) - before; got != 3 && name == "500" || got > 4 {
				t.Errorf("KMS was asked %d times", got)
			}
			s.Clear()
		})
	}
	t.Run("no time for another", func(t *testing.T) {
		before := s.Calls(kmsfake.Sign)
		s.Inject(kmsfake.InternalError(0))
		defer s.Clear()
		ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(45*time.Millisecond))
		defer cancel()
		_, err := b.Sign(ctx, id, backends.Digest{1})
		if !errors.Is(err, backends.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Sign: %v", err)
		}
		if got := s.Calls(kmsfake.Sign) - before; got > 1 {
			t.Errorf("KMS was asked %d times in 45ms", got)
		}
	})
}

func TestHangEndsWithTheDeadline(t *testing.T) {
	fakeCredentials(t)
	s, id := startFake(t, newKey(t))
	b := open(t, s.URI())
	if _, err := b.Describe(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	s.Inject(kmsfake.Fault{Hang: true})
	wantDeadline(t, b, id)
	s.Clear()
	// A hang of one connection does not eat a long deadline.
	s.Inject(kmsfake.Fault{Hang: true, Times: 1})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	start := time.Now()
	if _, err := b.Sign(ctx, id, backends.Digest{1}); err != nil {
		t.Errorf("one hang, then success: %v", err)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("took %v", took)
	}
}

func wantDeadline(t *testing.T, b *awskms.Backend, id string) {
	t.Helper()
	const deadline = 300 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	start := time.Now()
	if _, err := b.Sign(ctx, id, backends.Digest{1}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Sign: %v, want the deadline", err)
	}
	if took := time.Since(start); took > deadline+atOnce {
		t.Errorf("took %v of %v", took, deadline)
	}
}

// The network swallows everything, new connections too, and comes back.
func TestBlackHole(t *testing.T) {
	fakeCredentials(t)
	s, id := startFake(t, newKey(t))
	l := startLink(t, s.URL()[len("http://"):])
	b := open(t, "awskms:?region=eu-west-1&endpoint=http://"+l.addr)
	if _, err := b.Sign(t.Context(), id, backends.Digest{1}); err != nil {
		t.Fatal(err)
	}
	l.cut()
	hole, err := net.Listen("tcp", l.addr) // the kernel takes connections, nobody reads them
	if err != nil {
		t.Fatal(err)
	}
	wantDeadline(t, b, id)
	hole.Close()
	l.restore()
	eventually(t, "a signature after the black hole", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := b.Sign(ctx, id, backends.Digest{1})
		return err == nil
	})
}

func TestFullFlightIsLeftAtTheDeadline(t *testing.T) {
	fakeCredentials(t)
	s, id := startFake(t, newKey(t))
	b := open(t, s.URI("max-in-flight=1"))
	if _, err := b.Describe(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	hold := make(chan struct{})
	s.Inject(kmsfake.Fault{Operation: kmsfake.Sign, Times: 1, Hold: hold})
	first := make(chan error, 1)
	go func() {
		_, err := b.Sign(t.Context(), id, backends.Digest{1})
		first <- err
	}()
	eventually(t, "the first is in flight", func() bool { return s.Calls(kmsfake.Sign) == 1 })
	wantDeadline(t, b, id)
	if got := s.Calls(kmsfake.Sign); got != 1 {
		t.Errorf("%d in flight, want 1 at most", got)
	}
	close(hold)
	if err := <-first; err != nil {
		t.Errorf("the first: %v", err)
	}
}

func TestAliasIsResolvedByDescribe(t *testing.T) {
	fakeCredentials(t)
	old, next := newKey(t), newKey(t)
	s, oldARN := startFake(t, old)
	nextARN := s.AddKey(next)
	s.SetAlias("alias/tokens", oldARN)
	b := open(t, s.URI())
	if info, err := b.Describe(t.Context(), "alias/tokens"); err != nil || info.CanonicalID != oldARN {
		t.Fatalf("Describe: %v, %v", info, err)
	}
	s.SetAlias("alias/tokens", nextARN)
	digest := backends.Digest{1}
	sig, err := b.Sign(t.Context(), "alias/tokens", digest)
	if err != nil || !sig.Verify(&old.PublicKey, digest) || s.Last().KeyID != oldARN {
		t.Errorf("after the alias moved: %v, asked for %s, want the key of the last Describe", err, s.Last().KeyID)
	}
	if info, err := b.Describe(t.Context(), "alias/tokens"); err != nil || info.CanonicalID != nextARN {
		t.Fatalf("the next Describe: %v, %v", info, err)
	}
	sig, err = b.Sign(t.Context(), "alias/tokens", digest)
	if err != nil || !sig.Verify(&next.PublicKey, digest) {
		t.Errorf("after the next Describe: %v", err)
	}
}

func TestFirstCallerLeavesTheSharedDescribe(t *testing.T) {
	fakeCredentials(t)
	s, id := startFake(t, newKey(t))
	b := open(t, s.URI())
	hold := make(chan struct{})
	s.Inject(kmsfake.Fault{Operation: kmsfake.GetPublicKey, Hold: hold})
	ctx, cancel := context.WithCancel(t.Context())
	sign := func(ctx context.Context) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := b.Sign(ctx, id, backends.Digest{1})
			done <- err
		}()
		return done
	}
	first := sign(ctx)
	eventually(t, "the first asks", func() bool { return s.Calls(kmsfake.GetPublicKey) == 1 })
	others := []chan error{sign(t.Context()), sign(t.Context()), sign(t.Context())}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first: %v", err)
	}
	close(hold)
	for _, other := range others {
		if err := <-other; err != nil {
			t.Errorf("another: %v", err)
		}
	}
	if got := s.Calls(kmsfake.GetPublicKey); got != 1 {
		t.Errorf("KMS was asked %d times for one public key", got)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	fakeCredentials(t)
	for _, c := range []struct{ callers, inFlight int }{{16, 64}, {64, 64}, {64, 8}} {
		s, id := startFake(t, newKey(t))
		b, err := awskms.Open(t.Context(), s.URI("rate=100000", "max-in-flight="+strconv.Itoa(c.inFlight)), discard())
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range c.callers {
			wg.Go(func() {
				for range 10 {
					if _, err := b.Sign(t.Context(), id, backends.Digest{1}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		b.Close()
		got := s.Connections()
		t.Logf("%d callers, max-in-flight %d: %d connections for %d calls", c.callers, c.inFlight, got, c.callers*10)
		if most := c.inFlight * 5 / 4; got > most { // net/http now and then drops one
			t.Errorf("%d callers opened %d connections, want %d at most", c.callers, got, most)
		}
	}
}

func TestCloseDoesNotWaitForAHang(t *testing.T) {
	fakeCredentials(t)
	s, id := startFake(t, newKey(t))
	b := open(t, s.URI())
	if _, err := b.Describe(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	s.Inject(kmsfake.Fault{Hang: true})
	done := make(chan error, 1)
	go func() {
		_, err := b.Sign(t.Context(), id, backends.Digest{1})
		done <- err
	}()
	eventually(t, "the call is under way", func() bool { return s.Calls(kmsfake.Sign) == 1 })
	start := time.Now()
	b.Close()
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("Close took %v", took)
	}
	wantFailure(t, <-done, "sign", backends.ErrUnavailable)
	if got := s.Calls(kmsfake.Sign); got != 1 {
		t.Errorf("KMS was asked %d times, a closed backend tries no more", got)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	fakeCredentials(t)
	s, id := startFake(t, newKey(t))
	use := func() {
		b, err := awskms.Open(t.Context(), s.URI(), discard())
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				if _, err := b.Sign(t.Context(), id, backends.Digest{1}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		b.Close()
	}
	use() // what the first use starts for good, such as a resolver, is not counted
	var goroutines, fds int
	eventually(t, "the first use ends", func() bool {
		g, f := runtime.NumGoroutine(), openFiles(t)
		settled := g == goroutines && f == fds
		goroutines, fds = g, f
		return settled
	})
	for range 5 {
		use()
	}
	eventually(t, "goroutines and descriptors are as few as before", func() bool {
		return runtime.NumGoroutine() <= goroutines && openFiles(t) <= fds
	})
}

// openFiles counts the process's descriptors: /dev/fd is on Linux and on macOS.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
