package jotsmith

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

const (
	// patience is how long whoever could have the old token waits for the new one.
	patience = time.Second
	// pause is how long the server is left alone, at least, after it could not renew
	// a token that still serves.
	pause = time.Second
	// youngest is the age from which a token is made anew because its consumer
	// refused it. A younger one was not refused for its age.
	youngest = 15 * time.Second
)

// keeper keeps tokens. It is safe for concurrent use.
type keeper struct {
	ask     func(context.Context, *jotsmithv1.MintTokenRequest) (*jotsmithv1.MintTokenResponse, error)
	timeout time.Duration
	most    int // places
	now     func() reading

	mu      sync.Mutex
	places  map[place]*list.Element
	recent  *list.List // of *kept, the one that was asked for last at its front
	flights map[*flight]context.CancelFunc
	closed  bool
	running sync.WaitGroup // the flights; Add only under mu while not closed
}

// kept is what is known of one place.
type kept struct {
	at      place
	token   Token
	oneTime bool // its tokens are, as far as is known
	flights map[time.Duration]*flight

	failed reading // when the server could not renew the token
	pause  time.Duration
}

// flight is one call that several wait for. What it found is there when done is
// closed.
type flight struct {
	done  chan struct{}
	token Token
	err   error
	taken bool // a token that is for one use has its user; guarded by the keeper's mu
}

func newKeeper(ask func(context.Context, *jotsmithv1.MintTokenRequest) (*jotsmithv1.MintTokenResponse, error), timeout time.Duration, most int) *keeper {
	return &keeper{
		ask: ask, timeout: timeout, most: most, now: readClock,
		places: map[place]*list.Element{}, recent: list.New(), flights: map[*flight]context.CancelFunc{},
	}
}

// token returns a kept token or a new one.
func (k *keeper) token(ctx context.Context, r Request) (Token, error) {
	req, err := r.message()
	if err != nil {
		return Token{}, err
	}
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return Token{}, errClosed()
	}
	now, at := k.now(), r.place(req)
	entry := k.entry(at)
	old := entry.token
	spare := old.life.usable(now, r.MinRemaining)
	switch {
	case old.life.fresh(now, r.MinRemaining), spare && entry.failed.age(now) < entry.pause:
		k.mu.Unlock()
		return old, nil
	case entry.oneTime:
		k.mu.Unlock()
		return k.alone(ctx, req, entry)
	}
	shared := entry.flights[r.MinRemaining]
	if shared == nil {
		shared = k.start(ctx, req, entry, r.MinRemaining)
	}
	k.mu.Unlock()
	if !spare {
		old = Token{}
	}
	return k.await(ctx, r, shared, old, func() (Token, error) { return k.alone(ctx, req, entry) })
}

// await waits for a flight. The old token, where there is one, is what the caller
// gets while the server is away. Of a token that is for one use, all but one of
// those who waited ask alone.
func (k *keeper) await(ctx context.Context, r Request, shared *flight, old Token, alone func() (Token, error)) (Token, error) {
	var enough <-chan time.Time
	if old.reveal != nil {
		wait := patience
		if deadline, ok := ctx.Deadline(); ok {
			wait = min(wait, time.Until(deadline)/2)
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		enough = timer.C
	}
	select {
	case <-shared.done:
	case <-enough:
		return old, nil
	case <-ctx.Done():
		return Token{}, ended(ctx.Err())
	}
	switch {
	case shared.err != nil && away(shared.err) && old.life.usable(k.now(), r.MinRemaining):
		return old, nil
	case shared.err != nil:
		return Token{}, shared.err
	case !shared.token.OneTime():
		return shared.token, nil
	}
	k.mu.Lock()
	mine := !shared.taken
	shared.taken = true
	k.mu.Unlock()
	if mine {
		return shared.token, nil
	}
	return alone()
}

// start starts a flight. It goes on without whoever came first, and ends with the
// timeout or the Client. k.mu is held.
func (k *keeper) start(ctx context.Context, req *jotsmithv1.MintTokenRequest, entry *kept, atLeast time.Duration) *flight {
	shared := &flight{done: make(chan struct{})}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.timeout)
	entry.flights[atLeast] = shared
	k.flights[shared] = cancel
	k.running.Go(func() {
		defer cancel()
		asked := k.now()
		resp, err := k.ask(ctx, req)
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.flights, shared)
		delete(entry.flights, atLeast)
		shared.err = toError(err)
		if shared.err == nil {
			shared.token = received(resp, asked)
		}
		k.keep(entry, shared.token, shared.err)
		close(shared.done)
	})
	return shared
}

// alone asks for a token that nobody else gets.
func (k *keeper) alone(ctx context.Context, req *jotsmithv1.MintTokenRequest, entry *kept) (Token, error) {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	asked := k.now()
	resp, err := k.ask(ctx, req)
	if err != nil {
		return Token{}, toError(err)
	}
	token := received(resp, asked)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keep(entry, token, nil)
	return token, nil
}

// keep takes up what the server answered. A refusal is as good as an answer: the
// token before it is not handed out any more. k.mu is held.
func (k *keeper) keep(entry *kept, token Token, err error) {
	e, failed := errors.AsType[*Error](err)
	switch {
	case !failed:
		entry.oneTime, entry.token = token.OneTime(), Token{}
		if !entry.oneTime {
			entry.token = token
		}
		entry.pause = 0
		return
	case e.Retryable:
		entry.failed, entry.pause = k.now(), max(e.RetryAfter, pause)
	case e.Code != codes.InvalidArgument && e.Code != codes.Canceled: // the request was wrong, or nobody asked any more
		entry.token = Token{}
	}
	if entry.token.reveal == nil && len(entry.flights) == 0 {
		k.drop(entry)
	}
}

// entry returns the place's, new where there is none, and lets go of the one that
// was not asked for the longest where there are too many. k.mu is held.
func (k *keeper) entry(at place) *kept {
	if element, ok := k.places[at]; ok {
		k.recent.MoveToFront(element)
		return element.Value.(*kept)
	}
	if k.recent.Len() >= k.most {
		k.drop(k.recent.Back().Value.(*kept))
	}
	entry := &kept{at: at, flights: map[time.Duration]*flight{}}
	k.places[at] = k.recent.PushFront(entry)
	return entry
}

// drop forgets a place. Its flights find their way to those who wait, and nobody
// else. k.mu is held.
func (k *keeper) drop(entry *kept) {
	if element, ok := k.places[entry.at]; ok && element.Value == entry {
		k.recent.Remove(element)
		delete(k.places, entry.at)
	}
}

// invalidate forgets the places of a profile.
func (k *keeper) invalidate(profile string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for at, element := range k.places {
		if at.profile == profile {
			k.drop(element.Value.(*kept))
		}
	}
}

// renew returns another token than one that its consumer has refused, or false
// where there is none. The server makes a new one instead of the same only where
// its profile lets callers ask for a longer life.
func (k *keeper) renew(ctx context.Context, r Request, refused Token) (Token, bool) {
	req, err := r.message()
	if err != nil || refused.OneTime() {
		return Token{}, false
	}
	k.mu.Lock()
	if element, ok := k.places[r.place(req)]; ok {
		// Another's renewal has come between, or is under way and is joined.
		if entry := element.Value.(*kept); entry.token.Reveal() == refused.Reveal() {
			k.drop(entry)
		}
	}
	k.mu.Unlock()
	longer := r
	if refused.life.ends && refused.life.asked.age(k.now()) >= youngest {
		longer.MinRemaining = max(r.MinRemaining, refused.Remaining().Truncate(time.Second)+5*time.Second)
	}
	token, err := k.token(ctx, longer)
	if e, ok := errors.AsType[*Error](err); ok && e.Code == codes.InvalidArgument && longer.MinRemaining != r.MinRemaining {
		token, err = k.token(ctx, r)
	}
	return token, err == nil && token.Reveal() != refused.Reveal()
}

// close ends the flights and waits for them.
func (k *keeper) close() {
	k.mu.Lock()
	k.closed = true
	for _, cancel := range k.flights {
		cancel()
	}
	k.mu.Unlock()
	k.running.Wait()
}

func errClosed() error { return fromStatus(status.New(codes.Canceled, "the client is closed")) }
