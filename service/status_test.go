package service_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/jotsmith/jotsmith/backends"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/halt"
	"github.com/jotsmith/jotsmith/service/servicetest"
)

// statusOf asks a server for its state as an operator's command does.
func statusOf(t *testing.T, s *servicetest.Server, reloads service.ReloadStatus) *jotsmithv1.StatusResponse {
	t.Helper()
	admin := &service.Admin{AdminConfig: service.AdminConfig{
		Service: s.Service, Version: "1.2.3", Start: time.Now(),
		Status: func() service.ReloadStatus { return reloads },
		Certificates: func() []service.CertificateStatus {
			return []service.CertificateStatus{{Address: "127.0.0.1:8443", Err: errors.New("no agent \xff")}}
		},
	}}
	resp, err := admin.Status(t.Context(), &jotsmithv1.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := proto.Marshal(resp); err != nil {
		t.Errorf("no message: %v", err)
	}
	return resp
}

func started(t *testing.T) *servicetest.Server {
	t.Helper()
	stops, err := halt.Open("")
	if err != nil {
		t.Fatal(err)
	}
	return servicetest.Start(t, servicetest.Options{Halt: stops, MaxInFlight: 3, MaxQueue: 5})
}

func TestStatusSaysWhatHappened(t *testing.T) {
	s := started(t)
	tokens := s.Tokens(t)
	if resp := statusOf(t, s, service.ReloadStatus{}); len(resp.GetErrors()) > 0 || len(resp.GetCallers()) > 0 || !resp.GetServing() {
		t.Errorf("before anything happened: %v", resp)
	}
	for range 3 {
		wantUsable(t, tokens)
	}
	for _, profile := range []string{"no such", "another"} {
		if _, err := tokens.MintToken(t.Context(), &jotsmithv1.MintTokenRequest{Profile: profile}); err == nil {
			t.Error("minted")
		}
	}
	_, err := tokens.BatchMintTokens(t.Context(), &jotsmithv1.BatchMintTokensRequest{Requests: []*jotsmithv1.MintTokenRequest{
		request(), {Profile: "of a batch"}, {Profile: servicetest.Profile},
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.Store.Fail(func(_ context.Context, op, id string) error {
		return &backends.Error{Op: op, KeyID: id, Kind: backends.ErrUnavailable, Err: errors.New("its own words \xff\x1b[2J")}
	})
	if _, err := tokens.MintToken(t.Context(), request()); err == nil {
		t.Error("minted")
	}

	resp := statusOf(t, s, service.ReloadStatus{Err: errors.New("wrong \xff")})
	if resp.GetMinted() != 4 || resp.GetFailed() != 5 || resp.GetServing() || resp.GetReloadError() != "wrong ?" {
		t.Errorf("%d minted, %d failed, serving %t, %q", resp.GetMinted(), resp.GetFailed(), resp.GetServing(), resp.GetReloadError())
	}

	var kinds []string
	for _, e := range resp.GetErrors() {
		kinds = append(kinds, e.GetMethod()+" "+e.GetReason())
		if time.Since(e.GetTime().AsTime()) > time.Minute || e.GetCaller() != authn.FromUnix(authn.Unix{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}).String() {
			t.Errorf("%v", e)
		}
	}
	slices.Sort(kinds[1:]) // the items of a batch end in any order
	if want := []string{
		"MintToken BACKEND_UNAVAILABLE",
		"BatchMintTokens INVALID_REQUEST", "BatchMintTokens NOT_GRANTED", "MintToken NOT_GRANTED",
	}; !slices.Equal(kinds, want) {
		t.Errorf("errors %q, want %q", kinds, want)
	}
	if e := resp.GetErrors()[0]; !strings.Contains(e.GetError(), "its own words ?") || e.GetProfile() != servicetest.Profile {
		t.Errorf("%v", e)
	}
	last := resp.GetErrors()[len(kinds)-1]
	if last.GetCount() != 2 || last.GetProfile() != "another" {
		t.Errorf("%v", last)
	}

	if len(resp.GetBackends()) != 1 {
		t.Fatalf("backends %v", resp.GetBackends())
	}
	b := resp.GetBackends()[0]
	if b.GetName() != "store" || b.GetHealthy() || b.GetMaxInFlight() != 3 || b.GetMaxWaiting() != 5 || b.GetSignatures() != 5 || b.GetFailed() != 1 ||
		b.GetLastReason() != "BACKEND_UNAVAILABLE" || !strings.Contains(b.GetLastError(), "its own words") || sum(b.GetDurationCounts()) != 6 ||
		time.Since(b.GetLastErrorTime().AsTime()) > time.Minute {
		t.Errorf("%v", b)
	}
	if len(resp.GetCallers()) != 1 {
		t.Fatalf("callers %v", resp.GetCallers())
	}
	if c := resp.GetCallers()[0]; c.GetMinted() != 4 || c.GetReused() != 0 || c.GetFailed() != 5 {
		t.Errorf("%v", c)
	}
	for _, p := range resp.GetProfiles() {
		if want := map[string]int64{servicetest.Profile: 4}[p.GetName()]; p.GetMinted() != want || p.GetKey() != "key" {
			t.Errorf("%v", p)
		}
	}
	for _, m := range resp.GetMethods() {
		want := map[string][2]int64{"MintToken": {3, 3}, "BatchMintTokens": {1, 0}}[m.GetName()]
		if m.GetAnswered() != want[0] || m.GetFailed() != want[1] {
			t.Errorf("%v", m)
		}
		if m.GetName() == "MintToken" && (sum(m.GetDurationCounts()) != 3 || len(m.GetDurationCounts()) != len(resp.GetDurationBounds())+1) {
			t.Errorf("%v", m)
		}
	}

	s.Store.FailWith(nil) // which the watch over the keys would find by itself, in a second
	eventually(t, func() string {
		if _, err := tokens.MintToken(t.Context(), request()); err != nil {
			return err.Error()
		}
		return ""
	})
	resp = statusOf(t, s, service.ReloadStatus{})
	if b := resp.GetBackends()[0]; !b.GetHealthy() || b.GetLastErrorTime() == nil || !resp.GetServing() {
		t.Errorf("after it came back: %v", b)
	}
}

func TestFaultOfOneKeyIsNoneOfItsStore(t *testing.T) {
	s := started(t)
	for kind, away := range map[error]bool{
		backends.ErrKeyDisabled: false, backends.ErrAccessDenied: false, backends.ErrThrottled: true, backends.ErrUnavailable: true, backends.ErrPINLocked: true,
	} {
		s.Store.FailWith(kind)
		if _, err := s.Tokens(t).MintToken(t.Context(), request()); err == nil {
			t.Error("minted")
		}
		b := statusOf(t, s, service.ReloadStatus{}).GetBackends()[0]
		if b.GetHealthy() == away || b.GetLastErrorTime() == nil {
			t.Errorf("%v: %v", kind, b)
		}
		s.Store.FailWith(nil)
		wantUsable(t, s.Tokens(t))
	}
}

func sum(counts []int64) (total int64) {
	for _, n := range counts {
		total += n
	}
	return total
}
