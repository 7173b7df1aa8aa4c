package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/publish"
	"github.com/jotsmith/jotsmith/service/servicetest"
)

func TestWatchKeysBeginsWithWhatListKeysLists(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{MaxWatches: 1})
	keys := s.Keys(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := keys.WatchKeys(ctx, &jotsmithv1.WatchKeysRequest{Profile: servicetest.Profile})
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	list, err := keys.ListKeys(t.Context(), &jotsmithv1.ListKeysRequest{Profile: servicetest.Profile})
	if err != nil {
		t.Fatal(err)
	}
	if len(first.GetKeys()) != 1 || !proto.Equal(first.GetKeys()[0], list.GetKeys()[0]) || first.GetConfigGeneration() != list.GetConfigGeneration() {
		t.Errorf("%v, and ListKeys %v", first, list)
	}
	// A watch of keys is one of the caller's watches.
	more, err := keys.WatchKeys(t.Context(), &jotsmithv1.WatchKeysRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := more.Recv(); seen(t, err).reason != "QUOTA_EXCEEDED" {
		t.Errorf("a watch too many: %v", err)
	}
	s.Service.Drain()
	if _, err := stream.Recv(); seen(t, err).reason != "DRAINING" || seen(t, err).code != codes.Unavailable {
		t.Errorf("ended with %v", err)
	}
}

func TestWatchKeysIsForThoseWithAGrant(t *testing.T) {
	nobody := uint32(4_000_000_000)
	for name, row := range map[string]struct {
		uid     *uint32
		profile string
	}{"no grant": {&nobody, ""}, "another profile": {nil, servicetest.Forbidden}, "no profile": {nil, "no-such"}} {
		s := servicetest.Start(t, servicetest.Options{UID: row.uid})
		stream, err := s.Keys(t).WatchKeys(t.Context(), &jotsmithv1.WatchKeysRequest{Profile: row.profile})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); seen(t, err).reason != "NOT_GRANTED" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestListPublishedFilesHasTheBytesThatHTTPServes(t *testing.T) {
	nobody := uint32(4_000_000_000) // without a grant: all of it is public
	s := servicetest.Start(t, servicetest.Options{UID: &nobody, Publish: publish.Plan{
		Issuers: []publish.Issuer{{URL: "https://x.example/one", Keys: []string{"key"}}},
		Keys:    []string{"gone"},
	}})
	resp, err := s.Keys(t).ListPublishedFiles(t.Context(), &jotsmithv1.ListPublishedFilesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.GetFiles()) != 6 || resp.GetConfigGeneration() != servicetest.Generation {
		t.Fatalf("%v", resp)
	}
	web := httptest.NewServer(publish.Handler(s.Service.Site, s.Service.Metrics.Published, s.Log.Logger()))
	defer web.Close()
	for _, file := range resp.GetFiles() {
		got, err := http.Get(web.URL + file.GetPath())
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(got.Body)
		_ = got.Body.Close()
		switch {
		case err != nil:
			t.Error(err)
		case file.GetPath() == "/keys/gone/jwks.json":
			if got.StatusCode != http.StatusServiceUnavailable || file.GetContent() != nil || len(file.GetMissingKeys()) != 1 {
				t.Errorf("a key that is away: %v, %v", got, file)
			}
		case !bytes.Equal(body, file.GetContent()) || got.Header.Get("Content-Type") != file.GetMediaType() || !json.Valid(body):
			t.Errorf("%s: %s, and over HTTP %s", file.GetPath(), file.GetContent(), body)
		}
	}
}

func TestListPublishedFilesListsNothingWhereNothingIsPublished(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	resp, err := s.Keys(t).ListPublishedFiles(t.Context(), &jotsmithv1.ListPublishedFilesRequest{})
	if err != nil || len(resp.GetFiles()) != 0 {
		t.Errorf("%v, %v", resp, err)
	}
}
