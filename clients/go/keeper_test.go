package jotsmith

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// scripted is a server whose tokens live ten minutes and whose clock is off.
type scripted struct {
	calls   atomic.Int32
	skew    time.Duration
	oneTime bool
	endless bool
	takes   time.Duration // how long an answer takes
	kept    bool          // it answers with the same token each time

	mu   sync.Mutex
	fail error
	last *jotsmithv1.MintTokenRequest
}

func (s *scripted) failWith(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func (s *scripted) ask(ctx context.Context, req *jotsmithv1.MintTokenRequest) (*jotsmithv1.MintTokenResponse, error) {
	n := s.calls.Add(1)
	if s.kept {
		n = 1
	}
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = req
	if s.fail != nil {
		return nil, s.fail
	}
	now := time.Now().Add(s.skew)
	resp := &jotsmithv1.MintTokenResponse{
		Token: fmt.Sprintf("token-%d", n), Kid: "kid", AnswerTime: timestamppb.New(now), IssueTime: timestamppb.New(now.Add(-time.Minute)),
	}
	if !s.endless {
		resp.ExpireTime = timestamppb.New(now.Add(10 * time.Minute))
	}
	if !s.oneTime {
		resp.RefreshTime = timestamppb.New(now.Add(400 * time.Second))
	}
	return resp, nil
}

func failure(code codes.Code, reason string, retry time.Duration) error {
	st := status.New(code, "told")
	st, _ = st.WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: "jotsmith"})
	if retry > 0 {
		st, _ = st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retry)})
	}
	return st.Err()
}

// keep runs a test over a keeper in a bubble whose time is the test's.
func keep(t *testing.T, s *scripted, test func(t *testing.T, k *keeper)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(s.ask, 10*time.Second, 8)
		defer k.close()
		test(t, k)
	})
}

func (k *keeper) must(t *testing.T, want string, r Request) Token {
	t.Helper()
	token, err := k.token(t.Context(), r)
	if err != nil || token.Reveal() != want {
		t.Fatalf("got %q, %v; want %s", token.Reveal(), err, want)
	}
	return token
}

func (k *keeper) mustFail(t *testing.T, reason string, r Request) *Error {
	t.Helper()
	token, err := k.token(t.Context(), r)
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Reason != reason || token.Reveal() != "" {
		t.Fatalf("got %q, %v; want %s", token.Reveal(), err, reason)
	}
	return e
}

func TestATokenIsKeptUntilItsRefreshTimeWhateverTheClocksSay(t *testing.T) {
	for _, skew := range []time.Duration{0, 34 * time.Second, -34 * time.Second, 24 * time.Hour, -24 * time.Hour} {
		s := &scripted{skew: skew}
		keep(t, s, func(t *testing.T, k *keeper) {
			r := Request{Profile: "p"}
			k.must(t, "token-1", r)
			time.Sleep(400*time.Second - 1)
			token := k.must(t, "token-1", r)
			if got := token.Remaining(); got != 200*time.Second+1 || !token.Fresh() {
				t.Errorf("skew %s: %s remain, fresh %v", skew, got, token.Fresh())
			}
			time.Sleep(time.Nanosecond)
			k.must(t, "token-2", r)
			if token.Fresh() {
				t.Error("the old one is still fresh")
			}
			time.Sleep(time.Hour)
			if token.Remaining() != 0 {
				t.Error("an expired token has time left")
			}
		})
	}
}

func TestAnOldTokenServesWhileTheServerIsAwayAndNeverPastItsMargin(t *testing.T) {
	s := &scripted{}
	keep(t, s, func(t *testing.T, k *keeper) {
		r := Request{Profile: "p"}
		k.must(t, "token-1", r)
		s.failWith(failure(codes.Unavailable, "DRAINING", 5*time.Second))
		time.Sleep(400 * time.Second)
		k.must(t, "token-1", r)
		before := s.calls.Load()
		k.must(t, "token-1", r) // the server said when to come again
		if s.calls.Load() != before {
			t.Error("the server was asked before it wanted to be")
		}
		time.Sleep(100*time.Second - 1)
		k.must(t, "token-1", r)
		time.Sleep(time.Nanosecond)
		e := k.mustFail(t, "DRAINING", r)
		if !e.Retryable || e.RetryAfter != 5*time.Second {
			t.Errorf("%+v", e)
		}
		s.failWith(nil)
		k.must(t, fmt.Sprintf("token-%d", s.calls.Load()+1), r)
	})
}

func TestARefusedRenewalIsNotIgnored(t *testing.T) {
	for _, code := range []codes.Code{codes.PermissionDenied, codes.FailedPrecondition, codes.Unauthenticated, codes.Internal} {
		s := &scripted{}
		keep(t, s, func(t *testing.T, k *keeper) {
			r := Request{Profile: "p"}
			k.must(t, "token-1", r)
			s.failWith(failure(code, "SAID_NO", 0))
			time.Sleep(400 * time.Second)
			k.mustFail(t, "SAID_NO", r)
			s.failWith(failure(codes.Unavailable, "AWAY", 0))
			k.mustFail(t, "AWAY", r) // the old one is gone
		})
	}
}

func TestASilentServerDelaysAnOldTokenByASecondAtMost(t *testing.T) {
	s := &scripted{}
	keep(t, s, func(t *testing.T, k *keeper) {
		r := Request{Profile: "p"}
		k.must(t, "token-1", r)
		time.Sleep(400 * time.Second)
		s.takes = time.Hour
		start := time.Now()
		k.must(t, "token-1", r)
		if took := time.Since(start); took != time.Second {
			t.Errorf("it took %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if token, err := k.token(ctx, r); err != nil || token.Reveal() != "token-1" {
			t.Errorf("with a deadline: %v, %v", token, err)
		}
	})
}

func TestAHundredCallersAreOneRequest(t *testing.T) {
	s := &scripted{takes: time.Second}
	keep(t, s, func(t *testing.T, k *keeper) {
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { k.must(t, "token-1", Request{Profile: "p", Claims: map[string]any{"b": 1, "a": "é"}}) })
		}
		wg.Wait()
		k.must(t, "token-1", Request{Profile: "p", Claims: `{ "a":"é", "b":1 }`})
		if n := s.calls.Load(); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestNoTwoCallersGetATokenThatIsForOneUse(t *testing.T) {
	s := &scripted{oneTime: true, takes: time.Second}
	keep(t, s, func(t *testing.T, k *keeper) {
		var seen sync.Map
		ask := func() {
			token, err := k.token(t.Context(), Request{Profile: "p"})
			if _, twice := seen.LoadOrStore(token.Reveal(), true); err != nil || twice || !token.OneTime() || token.Fresh() {
				t.Errorf("%q, twice %v, %v", token.Reveal(), twice, err)
			}
		}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(ask)
		}
		wg.Wait()
		ask()
		if n := s.calls.Load(); n != 21 {
			t.Errorf("%d requests for 21 tokens", n)
		}
		s.oneTime = false // another configuration
		k.must(t, "token-22", Request{Profile: "p"})
		k.must(t, "token-22", Request{Profile: "p"})
	})
}

func TestATokenWithoutTheServersTimeIsNotKept(t *testing.T) {
	token := received(&jotsmithv1.MintTokenResponse{Token: "x", RefreshTime: timestamppb.New(time.Now().Add(time.Hour))}, readClock())
	if token.Fresh() || token.Remaining() != 0 {
		t.Error("its life was made up")
	}
}

func TestATokenWithoutEndHasNoMargin(t *testing.T) {
	s := &scripted{endless: true}
	keep(t, s, func(t *testing.T, k *keeper) {
		r := Request{Profile: "p"}
		k.must(t, "token-1", r)
		s.failWith(failure(codes.Unavailable, "AWAY", 0))
		time.Sleep(400*time.Second - 1)
		k.must(t, "token-1", r)
		time.Sleep(time.Nanosecond)
		k.mustFail(t, "AWAY", r)
	})
}

func TestMinRemainingIsKept(t *testing.T) {
	s := &scripted{}
	keep(t, s, func(t *testing.T, k *keeper) {
		long := Request{Profile: "p", MinRemaining: 9 * time.Minute}
		k.must(t, "token-1", Request{Profile: "p"})
		k.must(t, "token-1", long)
		time.Sleep(time.Minute + 1)
		k.must(t, "token-2", long)
		if got := s.last.GetMinRemaining().AsDuration(); got != 9*time.Minute {
			t.Errorf("asked for %s", got)
		}
		time.Sleep(2 * time.Minute)
		s.failWith(failure(codes.Unavailable, "AWAY", 0))
		k.must(t, "token-2", Request{Profile: "p"})
		k.mustFail(t, "AWAY", long) // the old one has less
	})
}

func TestACallerWhoGivesUpStopsNobodyElse(t *testing.T) {
	s := &scripted{takes: time.Second}
	keep(t, s, func(t *testing.T, k *keeper) {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := k.token(ctx, Request{Profile: "p"})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() { k.must(t, "token-1", Request{Profile: "p"}) })
		synctest.Wait()
		cancel()
		wg.Wait()
	})
}

func TestACallHasADeadline(t *testing.T) {
	s := &scripted{takes: time.Hour}
	keep(t, s, func(t *testing.T, k *keeper) {
		start := time.Now()
		e := k.mustFail(t, "DEADLINE_EXCEEDED", Request{Profile: "p"})
		if time.Since(start) != 10*time.Second || !errors.Is(e, context.DeadlineExceeded) || e.Code != codes.DeadlineExceeded || !e.Retryable {
			t.Errorf("after %s: %+v", time.Since(start), e)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := k.token(ctx, Request{Profile: "p"}); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 11*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	s := &scripted{}
	keep(t, s, func(t *testing.T, k *keeper) {
		for i := range 100 {
			k.must(t, fmt.Sprintf("token-%d", i+1), Request{Profile: "p", Claims: map[string]int{"n": i}})
		}
		if len(k.places) != 8 || k.recent.Len() != 8 {
			t.Errorf("%d places, %d in order", len(k.places), k.recent.Len())
		}
		k.must(t, "token-93", Request{Profile: "p", Claims: `{"n":92}`})
		k.must(t, "token-101", Request{Profile: "q"})
		k.must(t, "token-93", Request{Profile: "p", Claims: `{"n":92}`}) // asked for since
		s.failWith(failure(codes.PermissionDenied, "NOT_GRANTED", 0))
		for i := range 100 {
			k.mustFail(t, "NOT_GRANTED", Request{Profile: fmt.Sprint("x", i)})
		}
		if len(k.places) != 7 {
			t.Errorf("what was refused has %d places", len(k.places))
		}
	})
}

func TestInvalidateForgetsWhatIsUnderWayToo(t *testing.T) {
	s := &scripted{takes: time.Second}
	keep(t, s, func(t *testing.T, k *keeper) {
		var wg sync.WaitGroup
		wg.Go(func() { k.must(t, "token-1", Request{Profile: "p"}) })
		synctest.Wait()
		k.invalidate("p")
		k.must(t, "token-2", Request{Profile: "p"})
		wg.Wait()
		k.must(t, "token-2", Request{Profile: "p"})
		k.invalidate("other")
		k.must(t, "token-2", Request{Profile: "p"})
	})
}

func TestARefusedTokenIsMadeAnewOnceItIsOldEnough(t *testing.T) {
	s := &scripted{}
	keep(t, s, func(t *testing.T, k *keeper) {
		r := Request{Profile: "p"}
		first := k.must(t, "token-1", r)
		other, ok := k.renew(t.Context(), r, first)
		if !ok || other.Reveal() != "token-2" || s.last.GetMinRemaining() != nil {
			t.Errorf("%q, %v", other.Reveal(), ok)
		}
		// A second caller who was refused the first token gets what is kept now.
		if again, ok := k.renew(t.Context(), r, first); !ok || again.Reveal() != "token-2" {
			t.Errorf("%q, %v", again.Reveal(), ok)
		}
		time.Sleep(time.Minute)
		if third, ok := k.renew(t.Context(), r, other); !ok || third.Reveal() != "token-3" {
			t.Errorf("%q, %v", third.Reveal(), ok)
		}
		if got := s.last.GetMinRemaining().AsDuration(); got != 9*time.Minute+5*time.Second {
			t.Errorf("asked for %s more than the old one had", got)
		}
	})
	same := &scripted{kept: true}
	keep(t, same, func(t *testing.T, k *keeper) {
		if other, ok := k.renew(t.Context(), Request{Profile: "p"}, k.must(t, "token-1", Request{Profile: "p"})); ok {
			t.Errorf("the same token again: %q", other.Reveal())
		}
	})
}

func TestACloseEndsWhatIsUnderWay(t *testing.T) {
	s := &scripted{takes: time.Hour}
	keep(t, s, func(t *testing.T, k *keeper) {
		var wg sync.WaitGroup
		wg.Go(func() { k.mustFail(t, "CANCELLED", Request{Profile: "p"}) })
		synctest.Wait()
		k.close()
		wg.Wait()
		if _, err := k.token(t.Context(), Request{Profile: "p"}); err == nil {
			t.Error("a closed client answers")
		}
	})
}

// A laptop's monotonic clock stands still while it sleeps.
func TestAgeIsTheLongerOfBothClocks(t *testing.T) {
	start := time.Now()
	asleep := reading{start.Round(0).Add(time.Hour)}
	if got := (reading{start}).age(asleep); got != time.Hour {
		t.Errorf("an hour's sleep: %s", got)
	}
	synctest.Test(t, func(t *testing.T) {
		then := readClock()
		time.Sleep(time.Minute)
		if got := then.age(readClock()); got != time.Minute {
			t.Errorf("a minute: %s", got)
		}
	})
}

func TestUnavailableIsTriedAgainWhenTheServerSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, calls := time.Now(), 0
		err := retry(t.Context(), func(context.Context) error {
			if calls++; calls < 3 {
				return failure(codes.Unavailable, "NOT_READY", 2*time.Second)
			}
			return nil
		})
		if took := time.Since(start); err != nil || calls != 3 || took < 4*time.Second || took > 4800*time.Millisecond {
			t.Errorf("%d calls in %s: %v", calls, took, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		err = retry(ctx, func(context.Context) error { return failure(codes.Unavailable, "NOT_READY", 2*time.Second) })
		if e, ok := errors.AsType[*Error](err); !ok || e.Reason != "NOT_READY" || time.Since(start) != 0 {
			t.Errorf("waited %s for nothing: %v", time.Since(start), err)
		}
		for _, code := range []codes.Code{codes.ResourceExhausted, codes.Internal, codes.PermissionDenied} {
			calls = 0
			err = retry(t.Context(), func(context.Context) error { calls++; return failure(code, "R", time.Second) })
			if err == nil || calls != 1 {
				t.Errorf("%s was tried %d times", code, calls)
			}
		}
	})
}
