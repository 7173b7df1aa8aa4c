package service

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/authn"
)

// keysEvery is how often a watch of keys looks for changes that nobody told it
// of, and whether its caller is still known.
const keysEvery = 15 * time.Second

// WatchKeys sends the public keys of the profiles that the caller may mint, and
// again whenever they change.
func (s *Service) WatchKeys(req *jotsmithv1.WatchKeysRequest, stream grpc.ServerStreamingServer[jotsmithv1.WatchKeysResponse]) error {
	ctx := stream.Context()
	w := &keyWatch{service: s, known: s.known, profile: req.GetProfile(), send: stream.Send}
	if err := s.aside.do(func() error { return w.begin(ctx) }); err != nil {
		return err
	}
	defer w.leave(s)
	return w.end(ctx, s.follow(ctx, w))
}

// keyWatch is one stream.
type keyWatch struct {
	visit
	service *Service
	known   func(context.Context, *Generation) (authn.Caller, error) // who asks
	profile string
	send    func(*jotsmithv1.WatchKeysResponse) error

	sent int
	held []*jotsmithv1.Key // the last that were sent
	next time.Time         // when to look again
}

// begin has the watch enter, or ends its call.
func (w *keyWatch) begin(ctx context.Context) error {
	call := w.service.begin(ctx, "WatchKeys", w.profile)
	defer call.release()
	if call.fault != nil {
		return call.end(ctx, call.fault)
	}
	return w.enter(ctx, &call)
}

func (w *keyWatch) end(ctx context.Context, err error) error {
	call := w.call(w.service, "WatchKeys", w.profile)
	return call.end(ctx, err, slog.Int("sets", w.sent))
}

func (w *keyWatch) due() time.Time { return w.next }

// look sends the keys where they are others than the last, and sets when to look
// again. Who asks is worked out each time, as for tokens.
func (w *keyWatch) look(ctx context.Context) error {
	w.next = w.service.Clock.Wall().Add(keysEvery - w.service.jitter(keysEvery/3))
	in, err := w.service.use()
	if err != nil {
		return err
	}
	defer in.release()
	caller, err := w.known(ctx, in)
	if err != nil {
		return err
	}
	keys, err := in.keys(caller, w.profile)
	if err != nil {
		return err
	}
	if w.sent > 0 && slices.EqualFunc(w.held, keys, func(a, b *jotsmithv1.Key) bool { return proto.Equal(a, b) }) {
		return nil
	}
	if err := w.send(&jotsmithv1.WatchKeysResponse{Keys: keys, ConfigGeneration: in.ID}); err != nil {
		return err
	}
	w.sent++
	w.held = keys
	return nil
}
