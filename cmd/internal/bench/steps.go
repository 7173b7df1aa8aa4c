package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/audit"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/ledger"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/signer"
	"github.com/jotsmith/jotsmith/service/token"
)

const (
	stepsTitle   = "What the rules add to a token"
	stepsCallers = 64
	stepsRounds  = 5

	mostSteps       = 6 * time.Microsecond
	mostAllocations = 15
)

// stepsRun does in this process, for 64 callers at once, what the server does
// between a call and its signature and after it: who calls, the grant, the claims,
// and both records, with everything as the benched configuration says.
func (b *benchmark) stepsRun(ctx context.Context, progress io.Writer) (err error) {
	if !b.only.MatchString(stepsTitle) {
		return nil
	}
	fmt.Fprintln(progress, stepsTitle)
	file := b.path("file.yaml") // of the server with its key in a file
	cfg, err := config.Load(file, func(string) error { return nil })
	if err != nil {
		return err
	}
	rules := policy.New(cfg.PolicyRules)
	catalog := claims.New(cfg.ClaimProfiles, rand.Reader, cfg.Narrowings()...)
	minted, err := ledger.Open("", rand.Reader, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer minted.Close()                              //nolint:errcheck // it has no file
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as the server does
	for _, mode := range []audit.Mode{"", audit.SyncBatch, audit.SyncNone} {
		step, done, err := b.steps(rules, catalog, minted, cfg.Generation, mode)
		if err != nil {
			return err
		}
		each, allocations, err := stepsOf(ctx, step, b.slice)
		if err := done(err); err != nil {
			return err
		}
		name := map[audit.Mode]string{"": "authn, policy, claims", audit.SyncBatch: "the same and audit, sync: batch", audit.SyncNone: "the same and audit, sync: none"}[mode]
		met := each <= mostSteps && allocations <= mostAllocations
		b.added = append(b.added, below(name, fmt.Sprintf("%s, %.1f allocations", microseconds(each), allocations), fmt.Sprintf("≤ %s, %d allocations", microseconds(mostSteps), mostAllocations), met))
	}
	return nil
}

// steps returns what is done for one token, with the audit log in a mode; none has
// no log.
func (b *benchmark) steps(rules *policy.Policy, catalog *claims.Catalog, minted *ledger.Ledger, generation string, mode audit.Mode) (func(context.Context) error, func(error) error, error) {
	caller := authn.FromUnix(authn.Unix{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())})
	request := claims.Request{Claims: target{}.request().GetClaims()}
	var log *audit.Log
	if mode != "" {
		var err error
		if log, err = audit.Open(audit.Config{
			Path: b.auditPath("steps-" + string(mode)), Sync: mode, Company: func() int { return stepsCallers },
		}); err != nil {
			return nil, nil, err
		}
	}
	record := service.NewRecorder(log, minted, generation)
	signed := signer.Signed{Token: token.Compact{}, KID: "bench-1"}
	step := func(ctx context.Context) error {
		grant, err := rules.Decide(caller, profileName)
		if err != nil {
			return err
		}
		draft, err := catalog.Prepare(grant, request)
		if err != nil {
			return err
		}
		set, err := draft.At(time.Now())
		if err != nil || log == nil {
			return err
		}
		signature, err := record.Begin(ctx, set, true)
		if err != nil {
			return err
		}
		if err := signature.End(ctx, signed, nil); err != nil {
			return err
		}
		return signature.Confirmed(ctx)
	}
	return step, func(err error) error {
		if log == nil || err != nil {
			return err
		}
		return log.Close()
	}, nil
}

// stepsOf is the median of what one token costs this process, in CPU time and in
// allocations.
func stepsOf(ctx context.Context, step func(context.Context) error, slice time.Duration) (time.Duration, float64, error) {
	var each []time.Duration
	var allocations []float64
	for range stepsRounds {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s, err := work(ctx, stepsCallers, slice, ownCPU, func(ctx context.Context, _ int) (int, error) { return 1, step(ctx) })
		if err != nil {
			return 0, 0, err
		}
		runtime.ReadMemStats(&after)
		each, allocations = append(each, s.each()), append(allocations, float64(after.Mallocs-before.Mallocs)/float64(s.Count))
	}
	slices.Sort(each)
	slices.Sort(allocations)
	return each[len(each)/2], median(allocations), nil
}
