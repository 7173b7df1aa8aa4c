package service_test

import (
	"context"
	"strings"
	"testing"
	"time"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/servicetest"
)

// Who sends batches and goes has no more done and recorded than was begun.
func TestBatchWhoseCallerGoesBeginsNoMoreItems(t *testing.T) {
	log, text := recorded(t)
	s := servicetest.Start(t, servicetest.Options{Audit: log, InProcess: true, MaxInFlight: 2})
	release, begun := make(chan struct{}), make(chan struct{}, 256)
	s.Store.Fail(func(context.Context, string, string) error {
		begun <- struct{}{}
		<-release
		return nil
	})
	batch := &jotsmithv1.BatchMintTokensRequest{}
	for range cap(begun) {
		batch.Requests = append(batch.Requests, request())
	}
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := s.Tokens(t).BatchMintTokens(ctx, batch)
		gone <- err
	}()
	<-begun
	<-begun
	cancel()
	if <-gone == nil {
		t.Error("a batch that was given up")
	}
	time.Sleep(100 * time.Millisecond) // for the server to hear of it
	close(release)
	for limit := time.Now().Add(10 * time.Second); s.Service.State().CallsInFlight > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("the call goes on")
		}
	}
	if n := strings.Count(text(), `"type":"note"`); n > 2*8 {
		t.Errorf("%d items are recorded", n)
	}
	s.Store.Fail(nil)
	wantUsable(t, s.Tokens(t))
}
