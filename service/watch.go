package service

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/reuse"
)

// How long a watch waits before it asks again for a token that did not come,
// or that was still the old one.
const (
	firstAsk = time.Second
	lastAsk  = 15 * time.Second
)

// WatchToken sends a token, and the next one whenever it should be replaced.
func (s *Service) WatchToken(req *jotsmithv1.WatchTokenRequest, stream grpc.ServerStreamingServer[jotsmithv1.WatchTokenResponse]) error {
	ctx := stream.Context()
	w := &watch{service: s, known: s.known, request: req.GetRequest(), send: stream.Send}
	if err := s.aside.do(func() error { return w.begin(ctx) }); err != nil {
		return err
	}
	defer w.leave(s)
	return w.end(ctx, s.follow(ctx, w))
}

// watch is one stream. There may be many, so it keeps little.
type watch struct {
	visit
	service *Service
	known   func(context.Context, *Generation) (authn.Caller, error) // who asks
	request *jotsmithv1.MintTokenRequest
	send    func(*jotsmithv1.WatchTokenResponse) error

	sent int
	held reuse.Held    // the last that was sent
	next time.Time     // when to ask for another
	wait time.Duration // how long the last ask was put off
}

// begin has the watch enter, or ends its call.
func (w *watch) begin(ctx context.Context) error {
	call := w.service.begin(ctx, "WatchToken", w.request.GetProfile())
	defer call.release()
	if call.fault != nil {
		w.service.recordRefusal(ctx, call.in, call.caller, call.profile, call.fault)
		return call.end(ctx, call.fault)
	}
	return w.enter(ctx, &call)
}

func (w *watch) end(ctx context.Context, err error) error {
	call := w.call(w.service, "WatchToken", w.request.GetProfile())
	return call.end(ctx, err, slog.Int("tokens", w.sent))
}

func (w *watch) due() time.Time { return w.next }

// look asks for a token, sends it where it is another than the last, and sets
// when to look again. Who asks is worked out each time, because the CAs and
// issuers that made him known may have been replaced since.
func (w *watch) look(ctx context.Context) error {
	in, err := w.service.use()
	if err != nil {
		return err
	}
	defer in.release()
	caller, err := w.known(ctx, in)
	if err != nil {
		w.service.recordRefusal(ctx, in, caller, w.request.GetProfile(), err)
		return w.later(err)
	}
	if err := in.watchable(caller, w.request); err != nil {
		w.service.recordRefusal(ctx, in, caller, w.request.GetProfile(), err)
		return err
	}
	minted, err := w.service.mint(ctx, in, caller, w.request, true)
	if err != nil {
		w.service.recordRefusal(ctx, in, caller, w.request.GetProfile(), err)
		return w.later(err)
	}
	if w.sent > 0 && minted.Is(w.held) {
		w.again()
		return nil
	}
	resp, err := minted.response(w.service.Clock.Wall())
	if err != nil {
		return w.later(err)
	}
	if err := w.send(&jotsmithv1.WatchTokenResponse{Token: resp}); err != nil {
		return err
	}
	w.sent++
	w.held, w.wait = minted.Held(), 0
	w.next = minted.RefreshTime
	if minted.profile.Reuse.Mode != claims.Shared { // a shared one changes at its time, not before
		life := minted.RefreshTime.Sub(w.service.Clock.Wall())
		w.next = w.next.Add(-w.service.jitter(life / 10))
	}
	return nil
}

// watchable refuses a watch of tokens that are each for one request.
func (in *Generation) watchable(caller authn.Caller, req *jotsmithv1.MintTokenRequest) error {
	grant, err := in.Policy.Decide(caller, req.GetProfile())
	if err != nil {
		return err
	}
	if profile, ok := in.Claims.Profile(grant.Profile()); ok && profile.OneTime() {
		return invalid("profile", "is one whose tokens are each for one use; call MintToken for each")
	}
	return nil
}

// again puts the next look off where the held token is still the one to have:
// to the time that was set, or, where that has come, to a little later.
func (w *watch) again() {
	now := w.service.Clock.Wall()
	if w.next.After(now) {
		return
	}
	w.wait = min(max(2*w.wait, firstAsk), lastAsk)
	w.next = now.Add(w.wait)
}

// later puts the next look off where a fault may pass and the held token is
// still valid. Any other fault ends the watch.
func (w *watch) later(err error) error {
	mayPass := w.sent > 0 && w.held.EndTime.After(w.service.Clock.Wall())
	switch toStatus(err).Code() {
	case codes.Unavailable, codes.ResourceExhausted, codes.DeadlineExceeded:
	default:
		mayPass = false
	}
	if !mayPass {
		return err
	}
	w.again()
	return nil
}

// jitter returns a duration from 0 to d, so that watches do not all look at
// once.
func (s *Service) jitter(d time.Duration) time.Duration {
	var b [8]byte
	if _, err := io.ReadFull(s.Random, b[:]); err != nil || d <= 0 {
		return 0
	}
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(d))
}
