package doctor

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/backends/awskms"
	"github.com/jotsmith/jotsmith/backends/awskms/kmsfake"
)

// clockServer says the time that its clock has, which is off by so much.
func clockServer(t *testing.T, off time.Duration, date bool) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Date"] = nil
		if date {
			w.Header().Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
		}
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestClockIsComparedWithADate(t *testing.T) {
	for _, tc := range []struct {
		off  time.Duration
		want []string
	}{
		{0, nil},
		{2 * time.Second, nil},
		{-2 * time.Second, nil},
		{10 * time.Second, []string{"warning behind a server: each token has so much less time with its consumer (of 1m0s of profile p, "}},
		{-10 * time.Second, []string{"warning ahead of a server: tokens say that they were issued in the future"}},
		{time.Hour, []string{"error of profile p, 0s are left)"}},
		{-time.Hour, []string{"error ahead of"}},
	} {
		t.Run(fmt.Sprint(tc.off), func(t *testing.T) {
			e := examOf(t, plain)
			e.Now = time.Now
			s := clockServer(t, tc.off, true)
			r, findings := e.compareClock(t.Context(), s.Client(), s.URL, "a server")
			wantFindings(t, findings, tc.want...)
			if r == nil || (r.ahead+tc.off).Abs() > r.within+time.Second/2 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestClockThatCannotBeComparedIsANote(t *testing.T) {
	e := examOf(t, plain)
	e.Now = time.Now
	s := clockServer(t, 0, false)
	_, findings := e.compareClock(t.Context(), s.Client(), s.URL, "a server")
	wantFindings(t, findings, "note the answer has no Date")
	s.Close()
	_, findings = e.compareClock(t.Context(), s.Client(), s.URL, "a server")
	wantFindings(t, findings, "note could not be compared with that of a server")
}

func TestOnlyWhatIsBeyondTheRoundTripCounts(t *testing.T) {
	for _, tc := range []struct{ ahead, within, want time.Duration }{
		{4 * time.Second, time.Second, 3 * time.Second},
		{-4 * time.Second, time.Second, -3 * time.Second},
		{4 * time.Second, 5 * time.Second, 0},
		{-4 * time.Second, 4 * time.Second, 0},
	} {
		if got := (reading{ahead: tc.ahead, within: tc.within}).certain(); got != tc.want {
			t.Errorf("%v within %v: %v, want %v", tc.ahead, tc.within, got, tc.want)
		}
	}
}

func TestEachKMSIsAskedOnceForItsTime(t *testing.T) {
	server, err := kmsfake.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	e := examOf(t, `
listeners: [{unix: {path: /run/jotsmith/s}}]
backends: {a: {uri: "awskms:a"}, b: {uri: "awskms:b"}, files: {uri: "file:/keys"}}
keys: {k: {backend: a, id: k, kid: k1}}
profiles: {p: {preset: jwt, key: k, claims: {iss: {fixed: i}, aud: {fixed: a}}}}
`)
	asked := 0
	e.Now = func() time.Time { asked++; return time.Now().Add(time.Minute) }
	e.Store = func(uri string) Store {
		if uri == "file:/keys" {
			return Store{}
		}
		return Store{Endpoint: func(ctx context.Context) (*http.Client, string, error) {
			return awskms.Endpoint(ctx, server.URI())
		}}
	}
	r, findings := e.storeClocks(t.Context())
	wantFindings(t, findings, "error ahead of the KMS of backend a")
	if r == nil || asked != 2*clockSamples {
		t.Errorf("%+v, looked at the clock %d times", r, asked)
	}
}
