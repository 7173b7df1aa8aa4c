package signer_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/jotsmith/jotsmith/backends/backendtest"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/signer"
)

// counted counts what is recorded.
type counted struct {
	mu                   sync.Mutex
	begun, ended, failed int
}

func (c *counted) Begin(context.Context, claims.Set, bool) (signer.Record, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun++
	return c, nil
}

func (c *counted) End(_ context.Context, _ signer.Signed, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended++
	if err != nil {
		c.failed++
	}
	return nil
}

func (*counted) Confirmed(context.Context) error { return nil }

// A flood of calls is not one of records: whoever is refused for how many there
// are leaves none, and every call that is let in leaves one.
func TestWhoFindsNoPlaceLeavesNoRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := backendtest.NewFake(t, "id")
		cfg := config(fake) // 4 in flight, and 3 of one caller waiting
		records := &counted{}
		cfg.Record = records
		s := loaded(t, cfg)
		release := make(chan struct{})
		fake.Fail(func(context.Context, string, string) error { <-release; return nil })
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := s.Sign(t.Context(), approved(t)); err != nil && !errors.Is(err, signer.ErrOverloaded) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		if records.begun != 7 || records.failed != 0 {
			t.Errorf("%d records begun, %d of failures", records.begun, records.failed)
		}
	})
}
