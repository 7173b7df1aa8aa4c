package jotsmith

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// Watch yields a token at once, and each that replaces it, until ctx ends, which is
// no error, or the caller breaks off. Where the server stops or the connection
// ends, it goes on with another at once, and then with longer and longer waits. It
// ends with one error, an *Error and no token, when the server refuses, when no
// first token comes within the Client's timeout, or when the server stays away until
// the last token has passed its margin.
func (c *Client) Watch(ctx context.Context, profile string, options ...Option) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		req, err := requestOf(profile, options).message()
		if err != nil {
			yield(Token{}, err)
			return
		}
		w := watch{c: c, req: req, until: time.Now().Add(c.timeout)}
		for {
			err := w.once(ctx, yield)
			if w.left || over(ctx) {
				return
			}
			if err = w.goOn(ctx, err); err != nil {
				if ctx.Err() == nil {
					yield(Token{}, err)
				}
				return
			}
		}
	}
}

// over says whether ctx has ended. The server may see its deadline a little earlier
// than it is here, and end the stream.
func over(ctx context.Context) bool {
	const little = 100 * time.Millisecond
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < little {
		<-ctx.Done()
	}
	return ctx.Err() != nil
}

// lived is how long a stream has been quiet, at least, where its end says nothing
// about how the server is.
const lived = 10 * time.Second

// watch is one Watch.
type watch struct {
	c     *Client
	req   *jotsmithv1.MintTokenRequest
	last  Token
	until time.Time // when a token must have come
	wait  waits
	came  bool // a message, in the stream that ended
	left  bool // the caller broke off
}

// once runs one stream until it ends.
func (w *watch) once(ctx context.Context, yield func(Token, error) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// The stream itself has no deadline, but what it must bring has.
	late := time.AfterFunc(time.Until(w.until), func() { cancel(context.DeadlineExceeded) })
	defer late.Stop()
	w.came = false
	asked, first := readClock(), time.Time{}
	defer func() {
		if asked.age(readClock()) >= lived { // of the newest message, or of the call
			w.wait = waits{}
		}
	}()
	stream, err := w.c.tokens.WatchToken(ctx, &jotsmithv1.WatchTokenRequest{Request: w.req})
	for err == nil {
		var resp *jotsmithv1.WatchTokenResponse
		if resp, err = stream.Recv(); err != nil {
			break
		}
		answered := resp.GetToken().GetAnswerTime().AsTime()
		if w.came { // it was made that much later, by the server's clock, however late it is read
			asked = asked.after(answered.Sub(first), readClock())
		}
		w.came, first = true, answered
		token := received(resp.GetToken(), asked)
		late.Stop() // the server says itself when an open stream has no more to bring
		w.until = time.Now().Add(max(token.life.margin()-token.life.asked.age(readClock()), w.c.timeout))
		same := token.Reveal() == w.last.Reveal()
		w.last = token
		// A new stream begins with the token that the old one ended with.
		if !same && !yield(token, nil) {
			w.left = true
			return nil
		}
	}
	if cause := context.Cause(ctx); errors.Is(cause, context.DeadlineExceeded) {
		return ended(cause)
	}
	if errors.Is(err, io.EOF) { // a server ends a watch with a reason, and this one was cut short
		err = status.Error(codes.Unavailable, "the server ended the watch")
	}
	return toError(err)
}

// goOn waits until the next stream may begin, or returns the error that ends the
// watch.
func (w *watch) goOn(ctx context.Context, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Code != codes.Unavailable && e.Code != codes.ResourceExhausted {
		return err
	}
	// The server that stops, or that closes a connection because it is old, had
	// served until then: another one, or the same, is asked at once, but not over
	// and over.
	if w.came && w.wait == (waits{}) && e.Code == codes.Unavailable && (e.Reason == "" || e.Reason == "DRAINING") {
		w.wait.last = firstBackoff / 2
		return nil
	}
	ctx, cancel := context.WithDeadline(ctx, w.until)
	defer cancel()
	if sleep(ctx, w.wait.next(err)) != nil {
		return err
	}
	return nil
}
