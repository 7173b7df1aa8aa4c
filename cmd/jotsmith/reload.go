package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/authn/oidc"
	"github.com/jotsmith/jotsmith/service/authn/spiffe"
)

// reloader takes up changed configurations: a whole new generation is built and
// checked beside the one that answers, then one pointer is swapped, and the old
// one is closed when its calls have ended. One that is wrong changes nothing.
type reloader struct {
	file    string
	service *service.Service
	health  *keyHealth
	log     *slog.Logger

	books     books
	tokenKeys *oidc.Keys             // of the issuers, which outlive a generation
	trusts    []*authn.Trust         // of the listeners, in their order; nil where there is no TLS
	sources   map[int]*spiffe.Source // of the listeners with an agent, by their place
	published *serverCertificate     // of the published keys; nil where there is none

	requests chan chan<- error
	current  *generation // Run's alone, once it runs
	retiring sync.WaitGroup
	status   atomic.Pointer[service.ReloadStatus]

	listeners atomic.Pointer[configv1.Config] // whose files are watched
}

func newReloader(file string, first *generation, svc *service.Service, health *keyHealth, books books, tokenKeys *oidc.Keys, log *slog.Logger) *reloader {
	r := &reloader{
		file: file, service: svc, health: health, log: log, books: books, tokenKeys: tokenKeys, current: first,
		requests: make(chan chan<- error),
		sources:  map[int]*spiffe.Source{},
	}
	now := time.Now()
	r.status.Store(&service.ReloadStatus{Generation: first.ID, Since: now, Last: now, Taken: 1})
	r.listeners.Store(first.cfg.Config)
	return r
}

// report returns what became of the configurations so far.
func (r *reloader) report() service.ReloadStatus { return *r.status.Load() }

// run watches over the keys of the generation that answers, and reloads
// whenever trigger says so or somebody asks, until ctx ends. It returns when
// every generation but the last is closed.
func (r *reloader) run(ctx context.Context, trigger <-chan struct{}) error {
	r.current.watch(ctx)
	defer r.retiring.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-trigger:
			_ = r.reload(ctx) // it has logged
		case done := <-r.requests:
			done <- r.reload(ctx)
		}
	}
}

// adopt has the keys of a generation that answers rotated.
func (r *reloader) adopt(ctx context.Context, g *generation) {
	if g.Versions != nil {
		g.Versions.Adopt(ctx, g.rings)
	}
}

// ask has the configuration read anew, and returns what became of it.
func (r *reloader) ask(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case r.requests <- done:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reload takes up the configuration as it is now.
func (r *reloader) reload(ctx context.Context) error {
	before := r.report()
	next, take, err := r.build(ctx)
	if err != nil {
		r.log.ErrorContext(ctx, "configuration not taken up; the one before goes on", "config_generation", before.Generation, "error", err)
		before.Refused++
		before.Err = err
		before.Last = time.Now()
		r.status.Store(&before)
		return err
	}
	next.watch(ctx)
	for _, take := range take {
		take()
	}
	r.health.adopt(next.health)
	r.service.Replace(next.Generation)
	r.adopt(ctx, next)
	old := r.current
	r.current = next
	r.listeners.Store(next.cfg.Config)
	now := time.Now()
	r.status.Store(&service.ReloadStatus{Generation: next.ID, Since: now, Last: now, Taken: before.Taken + 1, Refused: before.Refused})
	r.log.InfoContext(ctx, "configuration taken up", "config_generation", next.ID, "config_generation_before", old.ID)
	r.retiring.Go(func() {
		if err := old.close(); err != nil {
			r.log.ErrorContext(ctx, "key store not closed", "config_generation", old.ID, "error", err)
		}
	})
	return nil
}

// build makes the next generation of the file as it is now, reads the
// certificates of the TLS listeners, and returns what takes those up.
func (r *reloader) build(ctx context.Context) (_ *generation, take []func(), _ error) {
	if r.file == "-" {
		return nil, nil, errors.New("the configuration was read from standard input, which cannot be read again")
	}
	cfg, err := config.Load(r.file, checkURI)
	if err != nil {
		return nil, nil, err
	}
	if fixed := changedForGood(r.current.cfg, cfg); len(fixed) > 0 {
		return nil, nil, fmt.Errorf("%s: a change of %s needs a restart", r.file, strings.Join(fixed, ", "))
	}
	for i, l := range cfg.GetListeners() {
		if l.GetTcp() == nil {
			continue
		}
		takeTerms, err := r.nextTerms(i, l.GetTcp())
		if err != nil {
			return nil, nil, err
		}
		take = append(take, takeTerms)
	}
	if p := cfg.GetPublish(); p.GetCertificateFile() != "" {
		pair, err := readCertificate(p)
		if err != nil {
			return nil, nil, err
		}
		take = append(take, func() { r.published.Store(&pair) })
	}
	next, err := openGeneration(ctx, cfg, r.health.next(), r.books, r.tokenKeys, r.log)
	return next, take, err
}

// files returns the files that a reload reads anew, key stores aside.
func (r *reloader) files() []string {
	if r.file == "-" {
		return nil
	}
	cfg := r.listeners.Load()
	files := []string{r.file, cfg.GetPublish().GetCertificateFile(), cfg.GetPublish().GetKeyFile()}
	for _, l := range cfg.GetListeners() {
		files = append(files, l.GetTcp().GetCertificateFile(), l.GetTcp().GetKeyFile(), l.GetTcp().GetClientCaFile())
	}
	return slices.DeleteFunc(files, func(file string) bool { return file == "" })
}

// changedForGood returns the sections that a running server cannot take up, of
// those that differ.
func changedForGood(before, after *config.Config) []string {
	first, second := fixed(before), fixed(after)
	var changed []string
	fields := first.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if !proto.Equal(only(first, field), only(second, field)) {
			changed = append(changed, string(field.Name()))
		}
	}
	return changed
}

// fixed returns what of a configuration a running server cannot change.
func fixed(cfg *config.Config) *configv1.Config {
	rest := proto.CloneOf(cfg.Config)
	rest.Backends, rest.Keys, rest.Profiles, rest.Grants, rest.Issuers = nil, nil, nil, nil, nil
	for _, l := range rest.GetListeners() {
		if t := l.GetTcp(); t != nil {
			t.CertificateFile, t.KeyFile, t.ClientCaFile, t.ClientCertificateOptional = "", "", "", false
			if t.GetSpiffe() != nil {
				t.Spiffe = &configv1.Spiffe{WorkloadApi: t.GetSpiffe().GetWorkloadApi()}
			}
		}
	}
	p := rest.GetPublish()
	rest.Publish = nil
	if p.GetAddress() != "" {
		rest.Publish = &configv1.Publish{Address: p.GetAddress(), MaxConnections: p.GetMaxConnections()}
		if p.GetCertificateFile() != "" { // another can be taken up, and none cannot
			rest.Publish.CertificateFile, rest.Publish.KeyFile = "some", "some"
		}
	}
	return rest
}

// only returns a configuration that has but one section of another.
func only(cfg *configv1.Config, field protoreflect.FieldDescriptor) proto.Message {
	part := cfg.ProtoReflect().New()
	if cfg.ProtoReflect().Has(field) {
		part.Set(field, cfg.ProtoReflect().Get(field))
	}
	return part.Interface()
}
