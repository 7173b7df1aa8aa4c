package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"

	"github.com/jotsmith/jotsmith/cmd/internal/sizing"
)

const (
	latencyTitle   = "Latency at half of capacity"
	latencyCallers = 16
	latencyRounds  = 5
	latencySlice   = 3 * time.Second
)

// latencies are those of one run.
type latencies struct{ p50, p99 time.Duration }

// latencyRun asks the server, with and without its audit log, and a bare server
// that signs, at the pace that is half of what the server can do, in turn.
func (b *benchmark) latencyRun(ctx context.Context, progress io.Writer) error {
	if !b.only.MatchString(latencyTitle) {
		return nil
	}
	slice := min(latencySlice, 8*b.slice)
	server, _, err := b.startServer(ctx, store{name: "latency", uri: "file:" + b.dir, keyID: "key.p8"})
	if err != nil {
		return err
	}
	unaudited, _, err := b.startServer(ctx, store{name: "latency-unaudited", uri: "file:" + b.dir, keyID: "key.p8", unaudited: true})
	if err != nil {
		return err
	}
	bare, err := b.startBare(ctx, "latency-bare", bareTuned)
	if err != nil {
		return err
	}
	full, err := callers(server, latencyCallers, 1)(ctx, slice)
	if err != nil {
		return err
	}
	rate := full.rate() / 2
	fmt.Fprintf(progress, "%s: %.0f a second\n", latencyTitle, rate)
	kinds := []struct {
		name string
		target
	}{{"bare tuned, the same pace", bare}, {"MintToken, 16 callers", server}, {"MintToken, 16 callers, without the audit log", unaudited}}
	found := make([][]latencies, len(kinds))
	for range latencyRounds {
		for i, kind := range kinds {
			l, err := kind.paced(ctx, rate, slice)
			if err != nil {
				return fmt.Errorf("%s: %w", latencyTitle, err)
			}
			found[i] = append(found[i], l)
		}
	}
	for i, kind := range kinds[1:] {
		for _, figure := range []struct {
			name  string
			of    func(latencies) time.Duration
			bound bound
		}{
			{"p50", func(l latencies) time.Duration { return l.p50 }, atMost(1.3)},
			{"p99", func(l latencies) time.Duration { return l.p99 }, atMost(2)},
		} {
			ours, others := typical(found[i+1], figure.of), typical(found[0], figure.of)
			b.latency = append(b.latency, compared(kind.name+", "+figure.name, milliseconds(ours),
				kinds[0].name+", "+milliseconds(others), float64(ours)/float64(others), figure.bound))
		}
	}
	return nil
}

// typical is the median of one figure.
func typical(all []latencies, of func(latencies) time.Duration) time.Duration {
	values := make([]time.Duration, len(all))
	for i, l := range all {
		values[i] = of(l)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// paced asks at a pace and says how long answers took from when they were due.
func (t target) paced(ctx context.Context, rate float64, d time.Duration) (latencies, error) {
	conns, err := t.dial(ctx, 1)
	if err != nil {
		return latencies{}, err
	}
	defer hangUp(conns) //nolint:errcheck // all has been answered
	client := jotsmithv1.NewTokenServiceClient(conns[0])
	result := sizing.Load{
		Callers: latencyCallers, Duration: d, Rate: rate,
		Ask: func(ctx context.Context, _ int) (bool, error) {
			_, err := client.MintToken(ctx, t.request())
			return false, err
		},
		Name: func(err error) string { return err.Error() },
	}.Run(ctx, func(int64, time.Duration) {})
	if len(result.Failed) > 0 || result.Tokens == 0 {
		return latencies{}, fmt.Errorf("calls failed: %v", result.Failed)
	}
	return latencies{
		p50: time.Duration(result.Latency.ValueAtQuantile(50)),
		p99: time.Duration(result.Latency.ValueAtQuantile(99)),
	}, nil
}
