package service

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/publish"
	"github.com/jotsmith/jotsmith/service/signer"
)

const (
	// minCache and maxCache bound for how long a verifier is told to keep the
	// keys that it has got.
	minCache = 5 * time.Minute
	maxCache = time.Hour
	// publishEvery is how often Publish looks for changes that nobody told it of.
	publishEvery = time.Second
)

// PublishedKeys returns the keys that verifiers of a configured key's tokens are
// to know. It is the one answer to that question: for ListKeys and WatchKeys,
// over HTTP and in files. There is none while the key has not been read from its
// store, neither under this configuration nor under the one before. Of a key with
// versions it is every version that signs, will sign, or has signed a token that
// can be valid.
func (in *Generation) PublishedKeys(name string) []publish.Key {
	if longest, versioned := in.VerifierCache[name]; versioned {
		return in.publishedVersions(name, longest)
	}
	public, ok := in.Signer.Public(name)
	if !ok {
		if public, ok = in.inherited[name]; !ok {
			return nil
		}
	}
	return []publish.Key{{KID: public.KID, PublicKey: public.PublicKey, VerifierCache: minCache}}
}

// publishedVersions returns the versions of a key that verifiers are to know,
// which keep them for longest at the most. They are told a part of that: the rest
// is for libraries that keep keys by a clock of their own.
func (in *Generation) publishedVersions(name string, longest time.Duration) []publish.Key {
	const part = 24
	cache := min(max(longest/part, minCache), maxCache)
	var keys []publish.Key
	for _, v := range in.Versions.Published(name) {
		public, err := v.PublicKey()
		if err != nil {
			continue // it was checked when it was loaded
		}
		keys = append(keys, publish.Key{KID: v.KID, PublicKey: public, VerifierCache: cache})
	}
	return keys
}

// SpentKIDs returns the kids of versions that were published and are no longer,
// because no token of theirs can be valid or an operator has dropped them.
func (in *Generation) SpentKIDs() []string {
	if in.Versions == nil {
		return nil
	}
	var spent []string
	for _, name := range in.Published.KeyNames() {
		spent = append(spent, in.Versions.Spent(name)...)
	}
	return spent
}

// inherit takes over the public keys that the configuration before has read from
// their stores: what is published stays so while its store is away.
func (in *Generation) inherit(before *Generation) {
	in.inherited = map[string]signer.Public{}
	for _, key := range in.Signer.Keys() {
		public, ok := before.Signer.Public(key.Name)
		if !ok {
			public, ok = before.inherited[key.Name]
		}
		if ok && key.Fits(public) {
			in.inherited[key.Name] = public
		}
	}
}

// Site returns what is published now.
func (s *Service) Site(ctx context.Context) *publish.Site { return s.published(ctx).Site }

// published returns what is published now.
func (s *Service) published(ctx context.Context) *published {
	if s.site.Load() == nil { // Publish has not begun
		s.refreshSite(ctx)
	}
	return s.site.Load()
}

// published is a site with what it was made of.
type published struct {
	*publish.Site
	in   *Generation
	keys []publish.Key
}

// Publish keeps the site as the configuration and its keys are, until ctx ends.
// It returns nil.
func (s *Service) Publish(ctx context.Context) error {
	look := time.NewTicker(publishEvery)
	defer look.Stop()
	for {
		change := s.watches.next() // before the look, so that no change after it is missed
		s.refreshSite(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-change:
		case <-look.C:
		}
	}
}

// refreshSite makes the site anew where anything that it is made of has changed.
func (s *Service) refreshSite(ctx context.Context) {
	in, before := s.current.Load(), s.site.Load()
	var keys []publish.Key
	now := map[string][]publish.Key{} // one look, so that no two documents differ
	for _, name := range in.Published.KeyNames() {
		now[name] = in.PublishedKeys(name)
		keys = append(keys, now[name]...)
	}
	if before != nil && before.in == in && slices.EqualFunc(before.keys, keys, publish.Key.Equal) {
		return
	}
	site, err := in.Published.Build(func(name string) []publish.Key { return now[name] })
	if err != nil { // which a plan that was checked and a key that was read do not bring about
		s.Log.ErrorContext(ctx, "nothing is published", "error", err)
		site = &publish.Site{}
	}
	s.site.Store(&published{site, in, keys})
	if !in.Published.Empty() && (before == nil || !slices.EqualFunc(before.keys, keys, publish.Key.Equal)) {
		var kids []string
		for _, key := range keys {
			kids = append(kids, key.KID)
		}
		s.Log.InfoContext(ctx, "keys to publish", "kids", kids, "config_generation", in.ID)
	}
}

// ListPublishedFiles lists what the server publishes over HTTP.
func (s *Service) ListPublishedFiles(ctx context.Context, _ *jotsmithv1.ListPublishedFilesRequest) (*jotsmithv1.ListPublishedFilesResponse, error) {
	call := s.begin(ctx, "ListPublishedFiles", "")
	defer call.release()
	if call.fault != nil {
		return nil, call.end(ctx, call.fault)
	}
	site := s.published(ctx)
	resp := &jotsmithv1.ListPublishedFilesResponse{ConfigGeneration: site.in.ID, SpentKids: site.in.SpentKIDs()}
	for _, d := range site.Documents() {
		resp.Files = append(resp.Files, &jotsmithv1.PublishedFile{
			Path: d.Path, MediaType: d.MediaType, Content: d.Body, MaxAge: durationpb.New(d.MaxAge), MissingKeys: d.Missing,
		})
	}
	return resp, call.end(ctx, nil)
}
