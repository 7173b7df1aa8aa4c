package signer_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/backendtest"
)

func TestCloseWaitsForThoseWhoHoldTheSignerAndLetsNobodyElseIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := loaded(t, config(backendtest.NewFake(t, "id")))
		for range 2 {
			if !s.Acquire() {
				t.Fatal("an open signer was not to be had")
			}
		}
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		synctest.Wait()
		if _, err := s.Sign(t.Context(), approved(t)); err != nil {
			t.Errorf("a holder: %v", err)
		}
		s.Release()
		synctest.Wait()
		if len(closed) != 0 {
			t.Error("closed while it was held")
		}
		s.Release()
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if s.Acquire() {
			t.Error("a closed signer was to be had")
		}
		if _, err := s.Sign(t.Context(), approved(t)); !errors.Is(err, backends.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("closed again: %v", err)
		}
	})
}
