package spiffe

import (
	"context"
	"crypto/x509"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"

	"github.com/jotsmith/jotsmith/service/authn/spiffe/agenttest"
)

// An hour in the life of a server whose agent has gone away.
func TestEndOfAnSVIDIsWarnedOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		var told atomic.Int64
		source := newSource(Config{Log: slog.New(slog.NewJSONHandler(&log, nil)), OnChange: func() { told.Add(1) }})
		ctx, cancel := context.WithCancel(t.Context())
		source.running.Go(func() { source.watchEnd(ctx) })
		defer source.running.Wait()
		defer cancel()

		ours := domain(t, "example.org")
		hand := func(life time.Duration) *agenttest.Leaf {
			leaf := issue(t, ours, "jotsmith", func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = time.Now(), time.Now().Add(life)
			})
			source.take(&workloadapi.X509Context{Bundles: bundles(t, ours), SVIDs: []*x509svid.SVID{{
				ID: spiffeid.RequireFromString("spiffe://example.org/jotsmith"), Certificates: []*x509.Certificate{leaf.Certificate}, PrivateKey: leaf.Key,
			}}})
			return leaf
		}
		pass := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
		warnings := func() int { return log.count("the SVID is near its end") }
		client := issue(t, ours, "ci", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(4 * time.Hour) })

		hand(time.Hour)
		pass(44 * time.Minute)
		if warnings() != 0 {
			t.Error("a warning before a quarter of the life is left")
		}
		pass(2 * time.Minute)
		if warnings() != 1 || log.count(`"WARN"`, "near its end", "the agent has brought no other in time") != 1 {
			t.Error(log.String())
		}
		hand(time.Hour) // in time
		pass(44 * time.Minute)
		if warnings() != 1 {
			t.Errorf("%d warnings after another SVID", warnings())
		}
		who, err := meet(t, source.Trust(), client)
		if err != nil {
			t.Fatal(err)
		}
		source.failed(errSilent)
		pass(16*time.Minute - time.Second)
		if n := warnings(); n < 4 || n > 6 { // 15, 7.5, 3.75 and 1.9 minutes before, and the last one
			t.Errorf("%d warnings", n)
		}
		if log.count("near its end", errSilent.Error()) < 3 {
			t.Error("why there is no other is not said")
		}
		if caller, err := who(); err != nil || !caller.Known() {
			t.Errorf("just before: %v, %v", caller, err)
		}
		before := told.Load()
		pass(2 * time.Second)
		if log.count(`"ERROR"`, "the SVID has expired; no client certificate is accepted") != 1 || told.Load() != before+1 {
			t.Errorf("told %d times: %s", told.Load()-before, log.String())
		}
		if caller, err := who(); err == nil || caller.Known() {
			t.Errorf("after the end: %v, %v", caller, err)
		}
		pass(10 * time.Minute)
		if n := log.count("the SVID has expired"); n > 12 {
			t.Errorf("said %d times", n)
		}
		last := hand(time.Hour)
		pass(time.Second)
		if caller, err := who(); err != nil || !caller.Known() || !source.Trust().Certificate().Equal(last.Certificate) {
			t.Errorf("with another: %v, %v", caller, err)
		}
		if source.Status().Fault != nil || log.count("the SPIFFE agent is back") != 1 {
			t.Error(log.String())
		}
	})
}

func TestPacesGrowAndBeginAnew(t *testing.T) {
	p := paces{}.NewBackoff()
	last := time.Duration(0)
	for range 100 {
		next := p.Next()
		if next < last || next > lastPause {
			t.Fatalf("%v after %v", next, last)
		}
		last = next
	}
	p.Reset()
	if last != lastPause || p.Next() != firstPause {
		t.Error(last)
	}
}
