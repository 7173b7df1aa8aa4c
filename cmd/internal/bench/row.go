package main

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"os"
	"slices"
	"time"
)

// sample is one measurement: what was done, how long it took, and the CPU time
// that the measured process alone spent on it.
type sample struct {
	Count int           `json:"count"`
	Wall  time.Duration `json:"wall"`
	CPU   time.Duration `json:"cpu"`
}

func (s sample) rate() float64 { return float64(s.Count) / s.Wall.Seconds() }

func (s sample) each() time.Duration {
	if s.Count == 0 {
		return 0
	}
	return s.CPU / time.Duration(s.Count)
}

// load works for d and says what came of it.
type load func(ctx context.Context, d time.Duration) (sample, error)

// row is a line of the table.
type row struct {
	section string
	name    string
	load    load

	// The row is compared with SignASN1 by CPU time, or, where against names
	// another row, by rate, or with byCPU by CPU time.
	against string
	byCPU   bool
	bound   bound // the target for the ratio

	samples []sample
	raw     []sample // of SignASN1, each taken just before the sample beside it
}

// bound is a target: a ratio that must not be passed, upwards or downwards. The
// zero bound is none.
type bound struct {
	value float64
	floor bool
}

func atMost(value float64) bound { return bound{value: value} }

func atLeast(value float64) bound { return bound{value: value, floor: true} }

// met says whether the ratio keeps the target.
func (b bound) met(ratio float64) bool {
	if b.floor {
		return ratio >= b.value
	}
	return ratio <= b.value
}

func (b bound) String() string {
	if b.floor {
		return fmt.Sprintf("≥ %.2f", b.value)
	}
	return fmt.Sprintf("≤ %.2f", b.value)
}

// rounds takes n samples of every row, in turn, so that a slow minute of the
// machine falls on all rows alike. Each sample has one of SignASN1 beside it:
// ratios are of neighbours in time.
func rounds(ctx context.Context, rows []*row, n int, slice time.Duration, key *ecdsa.PrivateKey, progress func(done, all int)) error {
	if err := warmUp(ctx, rows, slice); err != nil {
		return err
	}
	for round := range n {
		for i, r := range rows {
			raw, err := signFor(ctx, key, drawn, 1, slice/4)
			if err != nil {
				return err
			}
			s, err := r.load(ctx, slice)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			r.raw, r.samples = append(r.raw, raw), append(r.samples, s)
			progress(round*len(rows)+i+1, n*len(rows))
		}
	}
	return nil
}

func warmUp(ctx context.Context, rows []*row, slice time.Duration) error {
	for _, r := range rows {
		if _, err := r.load(ctx, slice/2); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

// rate is the median of what was done in a second.
func (r *row) rate() float64 {
	return medianOf(r.samples, sample.rate)
}

// each is the median of the CPU time that one took.
func (r *row) each() time.Duration {
	return time.Duration(medianOf(r.samples, func(s sample) float64 { return float64(s.each()) }))
}

// ratio is the median over the rounds of this row divided by what it is
// compared with in the same round, and the half of the middle half's width.
func (r *row) ratio(rows []*row) (ratio, spread float64, ok bool) {
	var ratios []float64
	for i, s := range r.samples {
		other := r.raw[i]
		if r.against != "" {
			j := slices.IndexFunc(rows, func(o *row) bool { return o.name == r.against })
			if j < 0 {
				return 0, 0, false // -only left it out
			}
			other = rows[j].samples[i]
		}
		if r.against != "" && !r.byCPU {
			ratios = append(ratios, s.rate()/other.rate())
		} else {
			ratios = append(ratios, float64(s.each())/float64(other.each()))
		}
	}
	if len(ratios) == 0 {
		return 0, 0, false
	}
	slices.Sort(ratios)
	return median(ratios), (ratios[len(ratios)*3/4] - ratios[len(ratios)/4]) / 2, true
}

func medianOf(samples []sample, f func(sample) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = f(s)
	}
	slices.Sort(values)
	return median(values)
}

func median(sorted []float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// ownCPU is the CPU time that this process has used.
func ownCPU() (time.Duration, error) { return cpuTime(os.Getpid()) }
