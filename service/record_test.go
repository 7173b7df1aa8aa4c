package service_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/jotsmith/jotsmith/backends"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/audit"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/halt"
	"github.com/jotsmith/jotsmith/service/metrics"
	"github.com/jotsmith/jotsmith/service/servicetest"
)

// recorded returns an open log and what its file holds.
func recorded(t *testing.T) (log *audit.Log, text func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	log, err := audit.Open(audit.Config{Path: path, Sync: audit.SyncNone})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return log, func() string {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := audit.Verify(t.Context(), []string{path}); err != nil {
			t.Errorf("the log does not verify: %v", err)
		}
		return string(data)
	}
}

// TestEveryTokenLeavesItsRecord has the key outside the process, where an intent stands
// before the signature, and in it, where one record is of both.
func TestEveryTokenLeavesItsRecord(t *testing.T) {
	for _, inside := range []bool{false, true} {
		t.Run(fmt.Sprint("in the process ", inside), func(t *testing.T) { everyTokenLeavesItsRecord(t, inside) })
	}
}

func everyTokenLeavesItsRecord(t *testing.T, inside bool) {
	log, text := recorded(t)
	profiles := reusing(claims.UntilRefresh)
	profiles[0].AuditShows = []string{"n"}
	s := servicetest.Start(t, servicetest.Options{Audit: log, Profiles: profiles, InProcess: inside})
	pairs, notes := 2, 3 // pairs: the one that was signed, and the one that failed
	if inside {
		pairs, notes = 0, 5
	}
	tokens := s.Tokens(t)
	req := &jotsmithv1.MintTokenRequest{Profile: servicetest.Profile, Claims: `{"sub":"private-value","n":7}`}
	first, err := tokens.MintToken(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.MintToken(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	_, _ = tokens.MintToken(t.Context(), &jotsmithv1.MintTokenRequest{Profile: servicetest.Profile, Claims: `{"sub":7}`})
	_, _ = tokens.MintToken(t.Context(), &jotsmithv1.MintTokenRequest{Profile: servicetest.Forbidden})
	s.Store.FailWith(backends.ErrUnavailable)
	_, _ = tokens.MintToken(t.Context(), &jotsmithv1.MintTokenRequest{Profile: servicetest.Profile, Claims: `{"sub":"other"}`})

	got := text()
	digest := sha256.Sum256([]byte(first.GetToken()))
	for want, times := range map[string]int{
		`"type":"intent"`:                   pairs,
		`"type":"result"`:                   pairs,
		`"type":"note"`:                     notes,
		`"outcome":"minted"`:                2,
		`"reused":true`:                     1,
		`"reason":"INVALID_REQUEST"`:        1,
		`"reason":"NOT_GRANTED"`:            1,
		`"reason":"BACKEND_UNAVAILABLE"`:    1,
		`"grant":"grant"`:                   3,
		`"proof":"peercred"`:                5,
		hex.EncodeToString(digest[:]):       2,
		`"kid":"` + servicetest.KID + `"`:   2,
		`"generation":"0123456789abcdef"`:   5,
		first.GetToken():                    0,
		"eyJ":                               0,
		"private-value":                     0,
		`"value":7`:                         2,
		`"profile":"` + servicetest.Profile: 4,
	} {
		if n := strings.Count(got, want); n != times {
			t.Errorf("%q stands there %d times, want %d\n%s", want, n, times, got)
		}
	}
}

// TestEachTokenOfABatchLeavesItsRecord, and a batch whose records cannot be confirmed
// has no token, whatever was signed.
func TestEachTokenOfABatchLeavesItsRecord(t *testing.T) {
	for _, mode := range []claims.Mode{claims.Never, claims.UntilRefresh} {
		for _, inside := range []bool{false, true} {
			log, text := recorded(t)
			s := servicetest.Start(t, servicetest.Options{Audit: log, Profiles: reusing(mode), InProcess: inside})
			tokens := s.Tokens(t)
			batch := &jotsmithv1.BatchMintTokensRequest{}
			for i := range 20 {
				batch.Requests = append(batch.Requests, &jotsmithv1.MintTokenRequest{Profile: servicetest.Profile, Claims: fmt.Sprintf(`{"sub":"s%d"}`, i/2)})
			}
			batch.Requests = append(batch.Requests, &jotsmithv1.MintTokenRequest{Profile: servicetest.Forbidden})
			resp, err := tokens.BatchMintTokens(t.Context(), batch)
			if err != nil {
				t.Fatal(err)
			}
			got := text()
			for i, result := range resp.GetResults()[:20] {
				digest := sha256.Sum256([]byte(result.GetToken().GetToken()))
				if result.GetToken() == nil || !strings.Contains(got, hex.EncodeToString(digest[:])) {
					t.Errorf("%s, inside %t: item %d has no record, or no token: %v", mode, inside, i, result.GetError())
				}
			}
			if n := strings.Count(got, `"outcome":"minted"`); n != 20 {
				t.Errorf("%s, inside %t: %d records of 20 tokens", mode, inside, n)
			}
			if resp.GetResults()[20].GetError() == nil || strings.Count(got, `"reason":"NOT_GRANTED"`) != 1 {
				t.Errorf("%s, inside %t: the refusal has no record", mode, inside)
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			if resp, err = tokens.BatchMintTokens(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			for i, result := range resp.GetResults()[:20] {
				if result.GetToken() != nil || result.GetError().GetCode() != int32(codes.Unavailable) {
					t.Errorf("%s, inside %t: without a log, item %d is %v", mode, inside, i, result.GetError())
				}
			}
		}
	}
}

// TestWhoHoldsATokenWaitsForNoFlush: the record of a token that its caller has already
// is written at once, and confirmed soon.
func TestWhoHoldsATokenWaitsForNoFlush(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	counted := metrics.New(service.MetricsConfig())
	log, err := audit.Open(audit.Config{Path: path, Sync: audit.SyncBatch, Metrics: counted.Audit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	s := servicetest.Start(t, servicetest.Options{Audit: log, Profiles: reusing(claims.UntilRefresh), InProcess: true})
	tokens := s.Tokens(t)
	const times = 20
	for range times {
		if _, err := tokens.MintToken(t.Context(), request()); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), `"reused":true`); n != times-1 {
		t.Errorf("%d records of %d tokens that were handed out again", n, times-1)
	}
	w := httptest.NewRecorder()
	counted.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if !strings.Contains(w.Body.String(), "\njotsmith_audit_flush_duration_seconds_count 1\n") {
		t.Errorf("flushes were waited for:\n%s", w.Body)
	}
}

func TestWithoutARecordThereIsNoToken(t *testing.T) {
	for _, mode := range []claims.Mode{claims.Never, claims.UntilRefresh} {
		log, _ := recorded(t)
		s := servicetest.Start(t, servicetest.Options{Audit: log, Profiles: reusing(mode)})
		tokens := s.Tokens(t)
		if _, err := tokens.MintToken(t.Context(), request()); err != nil {
			t.Fatal(err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		before := s.Store.Signed()
		for _, text := range []string{`{"sub":"me"}`, `{"sub":"you"}`} { // one that is kept, and one that is not
			_, err := tokens.MintToken(t.Context(), &jotsmithv1.MintTokenRequest{Profile: servicetest.Profile, Claims: text})
			if got := seen(t, err); got.code != codes.Unavailable || got.reason != "AUDIT_UNAVAILABLE" || got.retry == 0 {
				t.Errorf("%s, %s: %+v", mode, text, got)
			}
		}
		if s.Store.Signed() != before {
			t.Errorf("%s: a signature was spent", mode)
		}
	}
}

func TestWhatIsStoppedMintsNothingNotEvenWhatIsKept(t *testing.T) {
	stops, err := halt.Open("")
	if err != nil {
		t.Fatal(err)
	}
	log, text := recorded(t)
	s := servicetest.Start(t, servicetest.Options{Halt: stops, Audit: log, Profiles: reusing(claims.UntilRefresh)})
	tokens := s.Tokens(t)
	if _, err := tokens.MintToken(t.Context(), request()); err != nil {
		t.Fatal(err)
	}
	target := halt.Target{Kind: halt.Profile, Name: servicetest.Profile}
	if err := stops.Stop(halt.Entry{Target: target, Reason: "it leaked", Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
	_, err = tokens.MintToken(t.Context(), request())
	if got := seen(t, err); got.code != codes.FailedPrecondition || got.reason != "DISABLED" || strings.Contains(got.message, "leaked") {
		t.Errorf("got %+v", got)
	}
	if !strings.Contains(text(), `"reason":"DISABLED"`) {
		t.Error("the refusal has no record")
	}
	if resp := explain(t, s, request()); len(resp.GetRefusals()) != 1 {
		t.Errorf("explained: %v", resp.GetRefusals())
	}
	if _, err := stops.GoOn(target); err != nil {
		t.Fatal(err)
	}
	if again, err := tokens.MintToken(t.Context(), request()); err != nil || !again.GetReused() {
		t.Errorf("after it goes on: %v, %v", again, err)
	}
}
