package httpjson_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/httpjson"
)

// tokens answers as a test says.
type tokens struct {
	jotsmithv1.UnimplementedTokenServiceServer
	mint func(context.Context, *jotsmithv1.MintTokenRequest) (*jotsmithv1.MintTokenResponse, error)
}

func (s *tokens) MintToken(ctx context.Context, req *jotsmithv1.MintTokenRequest) (*jotsmithv1.MintTokenResponse, error) {
	return s.mint(ctx, req)
}

const (
	mint   = "http://jotsmith/jotsmith.v1.TokenService/MintToken"
	origin = "https://console.example"
)

// serve runs a handler on a Unix socket and returns a client of it.
func serve(t *testing.T, s *tokens) *http.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	raw, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler: httpjson.New(httpjson.Config{
			Services: []httpjson.Service{{Desc: &jotsmithv1.TokenService_ServiceDesc, Impl: s}},
			Intercept: func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
				return handler(ctx, req)
			},
			Origins: []string{origin},
			Domain:  "jotsmith",
		}),
		ConnContext: httpjson.ConnContext, ReadHeaderTimeout: time.Second,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(httpjson.Listen(raw, authn.UnixCredentials())) }()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return &http.Client{Transport: transport}
}

// ask makes a request and returns its status, its headers and what was answered.
func ask(t *testing.T, client *http.Client, method, url, body string, headers ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

const contentType = "Content-Type"

// schema compiles one schema of the OpenAPI document.
func schema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(httpjson.Document))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("openapi.json#/components/schemas/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func valid(t *testing.T, name, text string) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err == nil {
		err = schema(t, name).Validate(v)
	}
	if err != nil {
		t.Errorf("not a %s: %v\n%s", name, err, text)
	}
}

func TestACallHasItsIdentityAndItsAnswer(t *testing.T) {
	at := timestamppb.New(time.Unix(1_800_000_000, 0))
	client := serve(t, &tokens{mint: func(ctx context.Context, req *jotsmithv1.MintTokenRequest) (*jotsmithv1.MintTokenResponse, error) {
		caller, err := authn.FromContext(ctx)
		if err != nil || !caller.Known() {
			t.Errorf("caller %v: %v", caller, err)
		}
		if got := metadata.ValueFromIncomingContext(ctx, "authorization"); len(got) != 2 || got[1] != "two" {
			t.Errorf("authorization %q", got)
		}
		if req.GetProfile() != "p" || req.GetClaims() != `{"a":1}` || req.GetTtl().AsDuration() != time.Minute || req.GetMinRemaining().AsDuration() != time.Second {
			t.Errorf("request %v", req)
		}
		return &jotsmithv1.MintTokenResponse{Token: "t", Kid: "<&>", IssueTime: at, ExpireTime: at, RefreshTime: at, Reused: true, AnswerTime: at}, nil
	}})
	body := `{"profile": "p", "claims": "{\"a\":1}", "ttl": "60s", "min_remaining": "1s"}`
	status, header, text := ask(t, client, http.MethodPost, mint, body, contentType, "application/json; charset=UTF-8", "Authorization", "Bearer one", "Authorization", "two")
	if status != http.StatusOK || header.Get(contentType) != "application/json" || header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v %s", status, header, text)
	}
	valid(t, "jotsmith.v1.MintTokenResponse", text)
	valid(t, "jotsmith.v1.MintTokenRequest", `{"profile": "p", "claims": "{}", "ttl": "60s", "minRemaining": "1.5s"}`)
	var answer map[string]any
	if err := json.Unmarshal([]byte(text), &answer); err != nil || answer["kid"] != "<&>" || answer["expireTime"] != "2027-01-15T08:00:00Z" {
		t.Errorf("%v: %s", err, text)
	}
}

func TestAnErrorKeepsItsDetails(t *testing.T) {
	var answer error
	client := serve(t, &tokens{mint: func(context.Context, *jotsmithv1.MintTokenRequest) (*jotsmithv1.MintTokenResponse, error) {
		return nil, answer
	}})
	for code, want := range map[codes.Code]int{
		codes.Canceled: 499, codes.Unknown: 500, codes.InvalidArgument: 400, codes.DeadlineExceeded: 504, codes.NotFound: 404,
		codes.PermissionDenied: 403, codes.ResourceExhausted: 429, codes.FailedPrecondition: 400, codes.Unimplemented: 501,
		codes.Internal: 500, codes.Unavailable: 503, codes.Unauthenticated: 401,
	} {
		st, err := status.New(code, "because").WithDetails(&errdetails.ErrorInfo{Reason: "REASON", Domain: "jotsmith"}, &errdetails.RetryInfo{RetryDelay: durationpb.New(1100 * time.Millisecond)})
		if err != nil {
			t.Fatal(err)
		}
		answer = st.Err()
		got, header, text := ask(t, client, http.MethodPost, mint, `{}`, contentType, "application/json")
		if got != want || header.Get("Retry-After") != "2" {
			t.Errorf("%v: %d %v", code, got, header)
		}
		valid(t, "Error", text)
		if !strings.Contains(text, `"message":"because"`) || !strings.Contains(text, `"reason":"REASON"`) || !strings.Contains(text, `"retryDelay":"1.100s"`) {
			t.Errorf("%v: %s", code, text)
		}
	}
}

func TestWhatIsNoCallIsRefused(t *testing.T) {
	client := serve(t, &tokens{mint: func(context.Context, *jotsmithv1.MintTokenRequest) (*jotsmithv1.MintTokenResponse, error) {
		t.Error("it became a call")
		return &jotsmithv1.MintTokenResponse{}, nil
	}})
	const secret = "sshh"
	for _, row := range []struct {
		name, method, url, body string
		headers                 []string
		status                  int
		says                    string
	}{
		{"another method", http.MethodGet, mint, "", nil, 405, "POST"},
		{"another path", http.MethodPost, mint + "/", "{}", nil, 404, "openapi.json"},
		{"another service", http.MethodPost, "http://jotsmith/jotsmith.v1.AdminService/Status", "{}", nil, 404, ""},
		{"a stream", http.MethodPost, "http://jotsmith/jotsmith.v1.TokenService/WatchToken", "{}", nil, 501, "gRPC"},
		{"no type", http.MethodPost, mint, "{}", nil, 415, "application/json"},
		{"a form", http.MethodPost, mint, "{}", []string{contentType, "text/plain"}, 415, ""},
		{"another charset", http.MethodPost, mint, "{}", []string{contentType, "application/json; charset=latin1"}, 415, ""},
		{"compressed", http.MethodPost, mint, "{}", []string{contentType, "application/json", "Content-Encoding", "gzip"}, 415, ""},
		{"empty", http.MethodPost, mint, " ", []string{contentType, "application/json"}, 400, "it is empty"},
		{"an unknown field", http.MethodPost, mint, `{"profil": "` + secret + `"}`, []string{contentType, "application/json"}, 400, `unknown field \"profil\" (line 1:2)`},
		{"a field twice", http.MethodPost, mint, `{"profile": "` + secret + `", "profile": "p"}`, []string{contentType, "application/json"}, 400, `duplicate field \"profile\"`},
		{"another type", http.MethodPost, mint, `{"profile": 1234, "claims": "` + secret + `"}`, []string{contentType, "application/json"}, 400, "line 1:13"},
		{"an object for claims", http.MethodPost, mint, `{"claims": {"a": "` + secret + `"}}`, []string{contentType, "application/json"}, 400, "line 1:12"},
		{"no duration", http.MethodPost, mint, `{"ttl": "` + secret + `"}`, []string{contentType, "application/json"}, 400, "line 1:9"},
		{"more behind", http.MethodPost, mint, `{} {"a": "` + secret + `"}`, []string{contentType, "application/json"}, 400, "line 1:4"},
		{"no UTF-8", http.MethodPost, mint, "{\"profile\": \"\xff" + secret + `"}`, []string{contentType, "application/json"}, 400, "is not the JSON"},
		{"a large body", http.MethodPost, mint, `{"claims": "` + strings.Repeat("a", httpjson.MaxBody) + `"}`, []string{contentType, "application/json"}, 413, "64 KiB"},
		{"a page's", http.MethodPost, mint, `{}`, []string{contentType, "application/json", "Origin", "https://evil.example"}, 403, "web pages"},
		{"a page's without a name", http.MethodPost, mint, `{}`, []string{contentType, "application/json", "Origin", "null"}, 403, ""},
		{"a page's with two", http.MethodPost, mint, `{}`, []string{contentType, "application/json", "Origin", origin, "Origin", origin}, 403, ""},
		{"a page's question", http.MethodOptions, mint, ``, []string{"Origin", "https://evil.example"}, 403, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			status, header, text := ask(t, client, row.method, row.url, row.body, row.headers...)
			if status != row.status || !strings.Contains(text, row.says) {
				t.Errorf("%d %s", status, text)
			}
			if strings.Contains(text, secret) {
				t.Errorf("a value is repeated: %s", text)
			}
			if header.Get("Access-Control-Allow-Origin") != "" {
				t.Error("a page may read it")
			}
			valid(t, "Error", text)
		})
	}
}

func TestAListedOriginMayCall(t *testing.T) {
	client := serve(t, &tokens{mint: func(context.Context, *jotsmithv1.MintTokenRequest) (*jotsmithv1.MintTokenResponse, error) {
		return &jotsmithv1.MintTokenResponse{Token: "t"}, nil
	}})
	status, header, _ := ask(t, client, http.MethodOptions, mint, "", "Origin", origin, "Access-Control-Request-Method", "POST")
	if status != http.StatusNoContent || header.Get("Access-Control-Allow-Origin") != origin || header.Get("Access-Control-Allow-Methods") != http.MethodPost || header.Get("Vary") != "Origin" {
		t.Errorf("%d %v", status, header)
	}
	status, header, text := ask(t, client, http.MethodPost, mint, "{}", "Origin", origin, contentType, "application/json")
	if status != http.StatusOK || header.Get("Access-Control-Allow-Origin") != origin || header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("%d %v %s", status, header, text)
	}
}

func TestTheDocumentIsAnswered(t *testing.T) {
	status, _, text := ask(t, serve(t, &tokens{}), http.MethodGet, "http://jotsmith/openapi.json", "")
	if status != http.StatusOK || text != string(httpjson.Document) {
		t.Errorf("%d %.100s", status, text)
	}
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct{ OperationID string }
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil || doc.OpenAPI != "3.1.0" {
		t.Fatal(err, doc.OpenAPI)
	}
	for path, operations := range doc.Paths {
		if operations["post"].OperationID != strings.ReplaceAll(strings.TrimPrefix(path, "/jotsmith.v1."), "/", "_") {
			t.Errorf("%s: %v", path, operations)
		}
	}
	if len(doc.Paths) != 6 {
		t.Errorf("%d paths", len(doc.Paths))
	}
}

// TestOneSlowAtItsGreetingStopsNobody opens a TLS connection that never greets.
func TestOneSlowAtItsGreetingStopsNobody(t *testing.T) {
	raw, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := httpjson.Listen(raw, authn.LoopbackCredentials())
	t.Cleanup(func() { listener.Close() })
	for range 3 {
		silent, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", raw.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { silent.Close() })
		accepted, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { accepted.Close() })
	}
}
