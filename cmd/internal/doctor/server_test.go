package doctor

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

func TestStateOfTheServerIsJudged(t *testing.T) {
	e := examOf(t, plain)
	generation := e.Config.Generation
	for name, tc := range map[string]struct {
		status *jotsmithv1.StatusResponse
		want   []string
	}{
		"well":        {&jotsmithv1.StatusResponse{Serving: true, ConfigGeneration: generation, Keys: []*jotsmithv1.KeyStatus{{Name: "k", Healthy: true}}}, nil},
		"older file":  {&jotsmithv1.StatusResponse{Serving: true, ConfigGeneration: "0123"}, []string{"warning answers under configuration 0123"}},
		"refused one": {&jotsmithv1.StatusResponse{Serving: true, ConfigGeneration: "0123", ReloadError: "no key"}, []string{"error has refused a newer one: no key"}},
		"sick keys": {&jotsmithv1.StatusResponse{ConfigGeneration: generation, Keys: []*jotsmithv1.KeyStatus{
			{Name: "k", Reason: "KEY_STORE_UNAVAILABLE", Error: "away"},
			{Name: "two", Healthy: true, Members: []*jotsmithv1.MemberStatus{{Backend: "a", Healthy: true}, {Backend: "b", Reason: "THROTTLED"}}},
		}}, []string{"error no key can sign", "error the server cannot sign with it: KEY_STORE_UNAVAILABLE", "warning backend b is out of use"}},
		"certificates": {&jotsmithv1.StatusResponse{Serving: true, ConfigGeneration: generation, Certificates: []*jotsmithv1.CertificateStatus{
			{Address: "a", ExpireTime: timestamppb.New(start().Add(time.Hour))},
			{Address: "b", ExpireTime: timestamppb.New(start().Add(-time.Hour)), Error: "no entry"},
		}}, []string{"warning no entry", "error over since 1h0m0s"}},
		"stopped": {&jotsmithv1.StatusResponse{Serving: true, ConfigGeneration: generation, Disabled: []*jotsmithv1.Disabled{
			{Target: &jotsmithv1.Target{Target: &jotsmithv1.Target_Caller{Caller: "unix:uid=1"}}, By: "root", Reason: "drill"},
			{Target: &jotsmithv1.Target{Target: &jotsmithv1.Target_Everything{Everything: true}}, By: "root", Reason: "drill"},
		}}, []string{`warning was stopped by root: "drill"`, "warning was stopped by root"}},
		"failures": {&jotsmithv1.StatusResponse{Serving: true, ConfigGeneration: generation, Errors: []*jotsmithv1.RecentError{
			{Method: "MintToken", Reason: "NOT_GRANTED", Count: 3}, {Method: "a"}, {Method: "b"}, {Method: "c"},
		}}, []string{"note 3 calls of MintToken have failed with NOT_GRANTED", "note ", "note "}},
	} {
		t.Run(name, func(t *testing.T) { wantFindings(t, e.judgeStatus("server", tc.status), tc.want...) })
	}
}

func TestServerThatDoesNotAnswer(t *testing.T) {
	wantFindings(t, examOf(t, plain).server(t.Context()), "note there is no section admin")
	dir, err := os.MkdirTemp("", "jot") //nolint:usetesting // a socket's path is short, t.TempDir's is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	e := examOf(t, plain+"admin: {path: "+path+", state_file: /state}")
	wantFindings(t, e.server(t.Context()), "note no server runs")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	for code, want := range map[codes.Code]string{
		codes.PermissionDenied: "warning none of its operators",
		codes.Unauthenticated:  "warning none of its operators",
		codes.DeadlineExceeded: "error does not answer",
	} {
		e.Status = func(context.Context) (*jotsmithv1.StatusResponse, error) { return nil, status.Error(code, "no") }
		wantFindings(t, e.server(t.Context()), want)
	}
}

func TestSPIFFEAgentIsLookedFor(t *testing.T) {
	dir, err := os.MkdirTemp("", "jot") //nolint:usetesting // a socket's path is short, t.TempDir's is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "agent")
	e := examOf(t, `
listeners: [{tcp: {address: "127.0.0.1:8443", spiffe: {workload_api: "unix://`+path+`"}}}]
backends: {local: {uri: "file:/keys"}}
keys: {k: {backend: local, id: k.pem, kid: k1}}
profiles: {p: {preset: jwt, key: k, claims: {iss: {fixed: i}, aud: {fixed: a}}}}
`)
	wantFindings(t, e.spiffe(t.Context()), "error cannot be reached")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	wantFindings(t, e.spiffe(t.Context()))
	if err := os.Chmod(dir, 0o777); err != nil { //nolint:gosec // which is what is to be found
		t.Fatal(err)
	}
	wantFindings(t, e.spiffe(t.Context()), "error whoever answers there says whom the server trusts")
}
