package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/cmd/internal/config"
	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/authn/oidc"
	"github.com/jotsmith/jotsmith/service/ledger"
	"github.com/jotsmith/jotsmith/service/publish"
	"github.com/jotsmith/jotsmith/service/signer"
	"github.com/jotsmith/jotsmith/service/statefile"
)

// keyPublishFlags are the flags of `jotsmith key publish`.
type keyPublishFlags struct {
	client  client
	to      string
	file    string
	force   bool
	dryRun  bool
	timeout time.Duration
}

func newKeyPublish() *cobra.Command {
	var f keyPublishFlags
	cmd := &cobra.Command{
		Use:   "publish --to DIR",
		Short: "Write the published keys as files, for a static host",
		Long: `Write below DIR what the server publishes over HTTP, byte for byte, each file at
the path of its URL: JWK Sets and, for issuers, the documents of OpenID Connect
Discovery. DIR can then be copied to a bucket or be the root of a static host.

The files are those of the running server or, with --config FILE, what a server
of that configuration would publish. Its key stores are then opened, and each key
signs a canary, as "jotsmith config check" does.

Each file is replaced whole, and none before all are ready; one that has not
changed is left alone. Nothing is ever removed: a set that is no longer published
is named, and yours to remove.

A key that is in a file of DIR stays in it, unless a rotation has found that no
token of it can be valid. Where it would no longer be, or its kid would be
another key's, nothing is written: a token that it signed may still be alive. Once
the last of them has expired, say so with --force. Nothing is written either while
a key could not be read from its store, unless it is with --force.`,
		Example: `  jotsmith key publish --to /var/www/tokens
  jotsmith key publish --to public --config jotsmith.yaml --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
			defer cancel()
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
			return f.run(ctx, log, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.to, "to", "", "the directory to write to, which must be there")
	flags.StringVarP(&f.file, "config", "c", "", "publish what this configuration says, without a server; - reads standard input")
	flags.BoolVar(&f.force, "force", false, "write even where a published key would be gone or is missing")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print what would change, and write nothing")
	flags.DurationVar(&f.timeout, "timeout", 30*time.Second, "how long to wait for the server or the key stores")
	f.client.addFlags(flags)
	_ = cmd.MarkFlagRequired("to") // the flag exists
	return cmd
}

func (f *keyPublishFlags) run(ctx context.Context, log *slog.Logger, stdout, stderr io.Writer) error {
	if info, err := os.Stat(f.to); err != nil || !info.IsDir() {
		return fail(exitUsage, fmt.Errorf("--to: %s is not a directory; make it first", f.to))
	}
	now, err := f.publication(ctx, log)
	if err != nil {
		return err
	}
	changes, err := f.compare(now)
	if err != nil {
		return err
	}
	refusal := f.refusal(changes)
	done := "write"
	if !f.dryRun {
		if refusal != nil && !f.force {
			return refusal
		}
		if err := replaceAll(changes); err != nil {
			return fail(exitFailure, err)
		}
		done = "wrote"
	}
	for _, c := range changes {
		fmt.Fprintln(stdout, c.line(done))
	}
	for _, file := range f.others(changes) {
		fmt.Fprintf(stderr, "not published now, and left where it is: %s\n", file)
	}
	if refusal != nil && f.force {
		fmt.Fprintf(stderr, "forced: %v\n", refusal)
		refusal = nil
	}
	served := slices.DeleteFunc(now.documents, func(d publish.Document) bool { return d.Body == nil })
	if len(served) > 0 {
		soonest := slices.MinFunc(served, func(a, b publish.Document) int { return cmp.Compare(a.MaxAge, b.MaxAge) })
		fmt.Fprintf(stderr, "serve them with: Cache-Control: %s\n", publish.CacheControl(soonest.MaxAge))
	}
	return refusal
}

// publication is what is published.
type publication struct {
	documents []publish.Document
	spent     []string // kids that were published, and that no verifier needs
}

// publication returns what is published, by the server or the configuration.
func (f *keyPublishFlags) publication(ctx context.Context, log *slog.Logger) (publication, error) {
	published, where := f.served, "the server's configuration"
	if f.file != "" {
		published, where = f.configured, f.file
	}
	now, err := published(ctx, log)
	if err == nil && len(now.documents) == 0 {
		err = fail(exitConfig, fmt.Errorf("%s publishes nothing; it needs a section publish", where))
	}
	return now, err
}

// served asks the server.
func (f *keyPublishFlags) served(ctx context.Context, _ *slog.Logger) (publication, error) {
	conn, err := f.client.dial()
	if err != nil {
		return publication{}, err
	}
	defer conn.Close() //nolint:errcheck // one call was all
	resp, err := jotsmithv1.NewKeyServiceClient(conn).ListPublishedFiles(ctx, &jotsmithv1.ListPublishedFilesRequest{})
	if err != nil {
		return publication{}, f.client.fault(err)
	}
	now := publication{spent: resp.GetSpentKids()}
	for _, file := range resp.GetFiles() {
		if clean := path.Clean(file.GetPath()); clean != file.GetPath() || !path.IsAbs(clean) || !filepath.IsLocal(filepath.FromSlash(clean[1:])) {
			return publication{}, fail(exitFailure, fmt.Errorf("the server publishes at %q, which is no path of a file", file.GetPath()))
		}
		now.documents = append(now.documents, publish.Document{
			Path: file.GetPath(), MediaType: file.GetMediaType(), Body: file.GetContent(), MaxAge: file.GetMaxAge().AsDuration(), Missing: file.GetMissingKeys(),
		})
	}
	return now, nil
}

// configured does what a server of the configuration would do, and remembers
// nothing of it.
func (f *keyPublishFlags) configured(ctx context.Context, log *slog.Logger) (publication, error) {
	cfg, err := config.Load(f.file, checkURI)
	if err != nil || cfg.Published.Empty() {
		return publication{}, fail(exitConfig, err)
	}
	onlyPublished(cfg)
	minted, err := ledger.Open("", rand.Reader, log)
	if err != nil {
		return publication{}, fail(exitFailure, err)
	}
	system := func() (time.Time, error) { return time.Now(), nil }
	versions, err := openVersions(ctx, cfg, true, nil, minted, system, func() {}, log)
	if err != nil {
		return publication{}, fail(exitConfig, err)
	}
	tokenKeys := oidc.NewKeys(oidc.KeysConfig{Now: time.Now, Random: rand.Reader, Log: log})
	defer tokenKeys.Close()
	in, err := openGeneration(ctx, cfg, newKeyHealth().next(), books{minted: minted, versions: versions}, tokenKeys, log)
	if err != nil {
		return publication{}, fail(exitConfig, err)
	}
	site, err := in.Published.Build(in.PublishedKeys)
	if err := errors.Join(err, in.close(), minted.Close()); err != nil {
		return publication{}, fail(exitFailure, err)
	}
	return publication{site.Documents(), in.SpentKIDs()}, nil
}

// onlyPublished leaves of a configuration's keys and stores those that are asked
// for a key to publish, and of its callers none.
func onlyPublished(cfg *config.Config) {
	cfg.Issuers = nil
	names, stores := cfg.Published.KeyNames(), map[string]bool{}
	cfg.SigningKeys = slices.DeleteFunc(cfg.SigningKeys, func(key signer.Key) bool { return !slices.Contains(names, key.Name) })
	for _, key := range cfg.SigningKeys {
		for _, m := range key.Members {
			stores[m.Store] = true
		}
	}
	maps.DeleteFunc(cfg.Rotations, func(name string, _ config.Rotation) bool { return !slices.Contains(names, name) })
	maps.DeleteFunc(cfg.GetBackends(), func(name string, _ *configv1.Backend) bool { return !stores[name] })
}

// fileChange is one file, as it is and as it shall be.
type fileChange struct {
	file       string
	document   publish.Document
	same       bool
	come, gone []string // kids of a set; a kid of another key is both
	spent      []string // kids that go because no verifier needs them
}

// line is what the command prints of the file; done is its word for writing.
func (c fileChange) line(done string) string {
	switch {
	case c.document.Body == nil:
		done = "left out"
	case c.same:
		done = "unchanged"
	}
	words := []string{fmt.Sprintf("%-9s  %s", done, c.file)}
	for _, kid := range c.come {
		words = append(words, "+"+kid)
	}
	for _, kid := range slices.Concat(c.gone, c.spent) {
		words = append(words, "-"+kid)
	}
	return strings.Join(words, " ")
}

// maxPublished is the largest file that is taken for one that was published.
const maxPublished = 16 << 20

// compare says what would change, file by file. Sets come first, so that no
// verifier is sent to one that is not there yet.
func (f *keyPublishFlags) compare(now publication) ([]fileChange, error) {
	changes := make([]fileChange, 0, len(now.documents))
	for _, d := range now.documents {
		c := fileChange{file: filepath.Join(f.to, filepath.FromSlash(d.Path)), document: d}
		before, err := backends.ReadFile(c.file, maxPublished)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fail(exitFailure, err)
		}
		c.same = err == nil && bytes.Equal(before, d.Body)
		if err := c.compareKeys(before, now.spent); err != nil {
			return nil, fail(exitFailure, fmt.Errorf("%s: %w; this command has not written it, so move it away", c.file, err))
		}
		changes = append(changes, c)
	}
	slices.SortStableFunc(changes, func(a, b fileChange) int {
		switch {
		case a.document.IsSet() == b.document.IsSet():
			return 0
		case a.document.IsSet():
			return -1
		default:
			return 1
		}
	})
	return changes, nil
}

// compareKeys says which kids a set would get and lose.
func (c *fileChange) compareKeys(before []byte, spent []string) error {
	if !c.document.IsSet() || c.document.Body == nil {
		return nil
	}
	had, err := byKID(before)
	if err != nil {
		return err
	}
	has, err := byKID(c.document.Body)
	if err != nil {
		return err
	}
	for _, kid := range slices.Sorted(maps.Keys(has)) {
		if had[kid] != has[kid] {
			c.come = append(c.come, kid)
		}
	}
	for _, kid := range slices.Sorted(maps.Keys(had)) {
		switch {
		case had[kid] == has[kid]:
		case has[kid] == "" && slices.Contains(spent, kid):
			c.spent = append(c.spent, kid)
		default:
			c.gone = append(c.gone, kid)
		}
	}
	return nil
}

// byKID returns the thumbprints of a set's keys; none of no set at all.
func byKID(set []byte) (map[string]string, error) {
	if set == nil {
		return nil, nil
	}
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(set, &keys); err != nil {
		return nil, fmt.Errorf("no JWK Set: %w", err)
	}
	thumbprints := map[string]string{}
	for _, key := range keys.Keys {
		thumbprint, err := key.Thumbprint(crypto.SHA256)
		if err != nil {
			return nil, fmt.Errorf("no JWK Set: %w", err)
		}
		thumbprints[key.KeyID] = string(thumbprint)
	}
	return thumbprints, nil
}

// refusal says why the files had better stay as they are.
func (f *keyPublishFlags) refusal(changes []fileChange) error {
	var missing []string
	var gone []error
	for _, c := range changes {
		missing = append(missing, c.document.Missing...)
		if len(c.gone) > 0 {
			gone = append(gone, fmt.Errorf("%s would be gone from %s, or be another key's", strings.Join(c.gone, ", "), c.file))
		}
	}
	if len(gone) > 0 {
		gone = append(gone, errors.New("tokens that such a key has signed verify no longer; once the last of them has expired, use --force"))
		return fail(exitFailure, errors.Join(gone...))
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fail(exitTryAgain, fmt.Errorf("not read from their stores yet: %s; try again, or leave them out with --force", strings.Join(slices.Compact(missing), ", ")))
	}
	return nil
}

// replaceAll replaces the files that change, and none before the next content of all
// is on the disk.
func replaceAll(changes []fileChange) (err error) {
	var staged []statefile.Staged
	defer func() {
		for _, s := range staged { // those that were not put into place
			err = errors.Join(err, s.Discard())
		}
	}()
	for _, c := range changes {
		if c.same || c.document.Body == nil {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(c.file), 0o755); err != nil { //nolint:gosec // everybody may read it
			return err
		}
		s, err := statefile.Stage(c.file, c.document.Body, 0o644)
		if err != nil {
			return err
		}
		staged = append(staged, s)
	}
	for len(staged) > 0 {
		next := staged[0]
		staged = staged[1:]
		if err := next.Commit(); err != nil {
			return fmt.Errorf("%w; some files are new and some old, each of them whole: try again", err)
		}
	}
	return nil
}

// others returns the files below the directory that look like published ones and
// are not: an issuer's that is no longer there, for one.
func (f *keyPublishFlags) others(changes []fileChange) []string {
	known := map[string]bool{}
	for _, c := range changes {
		known[c.file] = true
	}
	var others []string
	_ = filepath.WalkDir(f.to, func(file string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && !known[file] && publish.Looks(filepath.ToSlash(strings.TrimPrefix(file, filepath.Clean(f.to)))) {
			others = append(others, file)
		}
		return nil // what cannot be read is not looked at
	})
	return others
}
