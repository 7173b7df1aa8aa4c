package service_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/durationpb"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/clock"
	"github.com/jotsmith/jotsmith/service/servicetest"
)

func TestMintedTokenSaysWhatTheAnswerSays(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	s := servicetest.Start(t, servicetest.Options{Wall: func() time.Time { return now }})
	req := request()
	req.Ttl = durationpb.New(90 * time.Second)
	resp, err := s.Tokens(t).MintToken(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jose.ParseSignedCompact(resp.GetToken(), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := parsed.Verify(s.Store.Public(servicetest.KeyID))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"aud":"https://api.example","exp":1893553535,"iat":1893553445,"iss":"https://issuer.example","sub":"me"}`
	if string(payload) != want {
		t.Errorf("claims %s, want %s", payload, want)
	}
	if resp.GetKid() != servicetest.KID || parsed.Signatures[0].Header.KeyID != servicetest.KID || resp.GetConfigGeneration() != servicetest.Generation {
		t.Errorf("answer %v", resp)
	}
	issue, expire := resp.GetIssueTime().AsTime(), resp.GetExpireTime().AsTime()
	if issue.Unix() != 1893553445 || expire.Unix() != 1893553535 {
		t.Errorf("times %v, %v", issue, expire)
	}
	if resp.GetRefreshTime() != nil || resp.GetReused() || resp.GetPublicKey() != "" {
		t.Errorf("a token for one use: %v", resp)
	}
}

func TestTokensVerifyOutsideGo(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	resp, err := s.Tokens(t).MintToken(t.Context(), request())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := s.Keys(t).ListKeys(t.Context(), &jotsmithv1.ListKeysRequest{Profile: servicetest.Profile})
	if err != nil {
		t.Fatal(err)
	}
	const script = `
import json, sys, jwt
given = json.load(sys.stdin)
key = jwt.PyJWK(json.loads(given["jwk"]))
assert key.key_id == given["kid"] and jwt.get_unverified_header(given["token"])["kid"] == given["kid"]
claims = jwt.decode(given["token"], key, algorithms=["ES256"], audience="https://api.example",
                    issuer="https://issuer.example", options={"require": ["exp", "iat", "sub"]})
print(claims["sub"])
for i in range(len(given["token"]) - 86, len(given["token"]) - 1, 9):  # no change of the signature passes
    wrong = given["token"][:i] + ("A" if given["token"][i] != "A" else "B") + given["token"][i+1:]
    try:
        jwt.decode(wrong, key, algorithms=["ES256"], audience="https://api.example")
    except jwt.InvalidSignatureError:
        continue
    sys.exit("a changed token verifies")
`
	input, err := json.Marshal(map[string]string{"token": resp.GetToken(), "jwk": keys.GetKeys()[0].GetJwk(), "kid": resp.GetKid()})
	if err != nil {
		t.Fatal(err)
	}
	python := "../.cache/verify/bin/python"
	if _, err := os.Stat(python); err != nil {
		t.Fatalf("%v; run: deploy/dev/setup.sh", err)
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", script)
	cmd.Stdin = strings.NewReader(string(input))
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "me" {
		t.Errorf("PyJWT: %v: %s", err, out)
	}
}

func TestListKeysShowsTheGrantedProfilesAlone(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	for _, profile := range []string{"", servicetest.Profile} {
		resp, err := s.Keys(t).ListKeys(t.Context(), &jotsmithv1.ListKeysRequest{Profile: profile})
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.GetKeys()) != 1 || resp.GetConfigGeneration() != servicetest.Generation {
			t.Fatalf("answer %v", resp)
		}
		key := resp.GetKeys()[0]
		if key.GetKid() != servicetest.KID || key.GetAlgorithm() != "ES256" || len(key.GetSpki()) != 91 ||
			len(key.GetProfiles()) != 1 || key.GetProfiles()[0] != servicetest.Profile {
			t.Errorf("key %v", key)
		}
		var jwk map[string]string
		if err := json.Unmarshal([]byte(key.GetJwk()), &jwk); err != nil {
			t.Fatal(err)
		}
		if jwk["kty"] != "EC" || jwk["crv"] != "P-256" || jwk["kid"] != servicetest.KID || jwk["d"] != "" {
			t.Errorf("jwk %v", jwk)
		}
	}
}

func TestManyCallersEachGetTheirOwnToken(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	tokens := s.Tokens(t)
	var mu sync.Mutex
	unique := map[string]bool{}
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 20 {
				resp, err := tokens.MintToken(t.Context(), request())
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				unique[resp.GetToken()] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(unique) != 64*20 {
		t.Errorf("%d different tokens of %d", len(unique), 64*20)
	}
}

func TestLogHasOneLineForEachCallAndNoSecret(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	tokens := s.Tokens(t)
	if _, err := tokens.MintToken(t.Context(), &jotsmithv1.MintTokenRequest{Profile: servicetest.Profile, Claims: `{"sub":"private-value"}`}); err != nil {
		t.Fatal(err)
	}
	_, _ = tokens.MintToken(t.Context(), &jotsmithv1.MintTokenRequest{Profile: servicetest.Profile, Claims: `{"sub":"private-value","x":"private-value"}`})
	_, _ = tokens.MintToken(t.Context(), &jotsmithv1.MintTokenRequest{Profile: strings.Repeat("private-value", 100)})
	if _, err := tokens.BatchMintTokens(t.Context(), &jotsmithv1.BatchMintTokensRequest{Requests: []*jotsmithv1.MintTokenRequest{request(), {}}}); err != nil {
		t.Fatal(err)
	}
	log := s.Log.String()
	if n := strings.Count(log, `"msg":"rpc"`); n != 4 {
		t.Errorf("%d lines for 4 calls: %s", n, log)
	}
	for _, secret := range []string{"eyJ", "private-value"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q: %s", secret, log)
		}
	}
	if !strings.Contains(log, `"items":2,"failed":1,"first_error":"not granted"`) {
		t.Errorf("the batch's line: %s", log)
	}
}

func TestHealthIsServedToEveryoneWhoConnects(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	s.Health.SetServingStatus("key/key", healthv1.HealthCheckResponse_NOT_SERVING)
	client := healthv1.NewHealthClient(s.Dial(t, nil))
	for name, want := range map[string]healthv1.HealthCheckResponse_ServingStatus{
		"": healthv1.HealthCheckResponse_SERVING, "key/key": healthv1.HealthCheckResponse_NOT_SERVING,
	} {
		resp, err := client.Check(t.Context(), &healthv1.HealthCheckRequest{Service: name})
		if err != nil || resp.GetStatus() != want {
			t.Errorf("%q: %v, %v", name, resp, err)
		}
	}
}

func TestPanicIsOneInternalErrorAndNotTheEnd(t *testing.T) {
	// A Service without a Policy panics in the middle of the path.
	server := servicetest.StartService(t, service.New(service.Config{Clock: clock.System()}))
	_, err := server.Tokens(t).MintToken(t.Context(), request(), grpc.WaitForReady(true))
	if got := seen(t, err); got.reason != "INTERNAL" {
		t.Errorf("got %+v", got)
	}
	_, err = server.Tokens(t).MintToken(t.Context(), request())
	if got := seen(t, err); got.reason != "INTERNAL" {
		t.Errorf("the next call: %+v", got)
	}
	stream, err := server.Tokens(t).WatchToken(t.Context(), &jotsmithv1.WatchTokenRequest{Request: request()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	if got := seen(t, err); got.reason != "INTERNAL" {
		t.Errorf("a watch: %+v", got)
	}
}
