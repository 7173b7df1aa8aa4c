package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// errNoToken says that a watch began and no token came.
var errNoToken = errors.New("no token came in time; give it longer with --timeout")

// watchToken prints a token, and each that replaces it, until ctx ends, which is no
// error, or the server ends the watch, which is one. The server closes a
// connection that has grown old, and the watch then begins anew.
func (f *tokenFlags) watchToken(ctx context.Context, tokens jotsmithv1.TokenServiceClient, req *jotsmithv1.MintTokenRequest, stdout io.Writer) error {
	last := ""
	for {
		received, err := f.watchOnce(ctx, tokens, req, func(resp *jotsmithv1.MintTokenResponse) error {
			if resp.GetToken() == last { // a new watch begins with the token that the old one ended with
				return nil
			}
			last = resp.GetToken()
			text, err := f.render(resp)
			if err == nil {
				_, err = fmt.Fprintln(stdout, text)
			}
			return err
		})
		select {
		case <-ctx.Done():
			return nil
		default:
		}
		if _, ours := errors.AsType[*exitError](err); ours {
			return err
		}
		if !received || !aged(err) {
			return f.client.fault(err)
		}
	}
}

// watchOnce runs one watch until it ends. The first token has to come within
// the time that --timeout gives.
func (f *tokenFlags) watchOnce(ctx context.Context, tokens jotsmithv1.TokenServiceClient, req *jotsmithv1.MintTokenRequest, each func(*jotsmithv1.MintTokenResponse) error) (received bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(f.timeout, func() { cancel(errNoToken) })
	defer timer.Stop()
	stream, err := tokens.WatchToken(ctx, &jotsmithv1.WatchTokenRequest{Request: req})
	for err == nil {
		var resp *jotsmithv1.WatchTokenResponse
		if resp, err = stream.Recv(); err != nil {
			break
		}
		timer.Stop()
		received = true
		if err := each(resp.GetToken()); err != nil {
			return received, fail(exitFailure, err)
		}
	}
	if errors.Is(context.Cause(ctx), errNoToken) {
		return received, fail(exitTryAgain, errNoToken)
	}
	return received, err
}

// aged says whether a watch ended because its connection did: Jotsmith itself
// never says UNAVAILABLE without a reason.
func aged(err error) bool {
	st := status.Convert(err)
	for _, detail := range st.Details() {
		if _, ok := detail.(*errdetails.ErrorInfo); ok {
			return false
		}
	}
	return st.Code() == codes.Unavailable
}
