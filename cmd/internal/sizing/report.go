package sizing

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// The histogram has a line for each step by the factor of the square root of two,
// and the longest bar so many blocks.
const (
	step     = math.Sqrt2
	barWidth = 50
)

// Print writes what came of a load, with a histogram of the latencies.
func (r *Result) Print(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "tokens\t%d\t%.0f a second\n", r.Tokens, r.rate())
	fmt.Fprintf(out, "of them kept\t%d\t\n", r.Reused)
	for _, name := range slices.Sorted(maps.Keys(r.Failed)) {
		fmt.Fprintf(out, "%s\t%d\t\n", name, r.Failed[name])
	}
	if err := out.Flush(); err != nil || r.Tokens == 0 {
		return err
	}
	for _, percent := range percents() {
		fmt.Fprintf(out, "p%v\t%s\n", percent, words(r.at(percent)))
	}
	fmt.Fprintf(out, "longest\t%s\n\n", words(time.Duration(r.Latency.Max())))
	for _, line := range r.lines() {
		fmt.Fprintf(out, "%s\t%d\t%s\n", words(line.upTo), line.count, line.bar)
	}
	return out.Flush()
}

// Figures are the result for a program.
type Figures struct {
	Seconds         float64            `json:"seconds"`
	Tokens          int64              `json:"tokens"`
	TokensPerSecond float64            `json:"tokens_per_second"`
	Reused          int64              `json:"reused"`
	Failed          map[string]int64   `json:"failed"`
	LatencySeconds  map[string]float64 `json:"latency_seconds"`
}

// Figures returns the result for a program.
func (r *Result) Figures() Figures {
	f := Figures{
		Seconds: r.Took.Seconds(), Tokens: r.Tokens, TokensPerSecond: r.rate(), Reused: r.Reused,
		Failed: r.Failed, LatencySeconds: map[string]float64{},
	}
	if r.Tokens > 0 {
		for _, percent := range percents() {
			f.LatencySeconds[fmt.Sprintf("p%v", percent)] = r.at(percent).Seconds()
		}
		f.LatencySeconds["longest"] = time.Duration(r.Latency.Max()).Seconds()
	}
	return f
}

func percents() []float64 { return []float64{50, 90, 99, 99.9} }

func (r *Result) at(percent float64) time.Duration {
	return time.Duration(r.Latency.ValueAtQuantile(percent))
}

func (r *Result) rate() float64 {
	if r.Took <= 0 {
		return 0
	}
	return float64(r.Tokens) / r.Took.Seconds()
}

// line is a line of the histogram: how many took longer than the line before, and
// not longer than this.
type line struct {
	upTo  time.Duration
	count int64
	bar   string
}

func (r *Result) lines() []line {
	var lines []line
	most := int64(1)
	bars := r.Latency.Distribution()
	for upTo := float64(shortest); len(bars) > 0; upTo *= step {
		var count int64
		for len(bars) > 0 && float64(bars[0].From) <= upTo {
			count += bars[0].Count
			bars = bars[1:]
		}
		if count > 0 || len(lines) > 0 {
			lines = append(lines, line{upTo: time.Duration(upTo), count: count})
		}
		most = max(most, count)
	}
	for len(lines) > 0 && lines[len(lines)-1].count == 0 {
		lines = lines[:len(lines)-1]
	}
	for i := range lines {
		lines[i].bar = strings.Repeat("█", int(lines[i].count*barWidth/most))
	}
	return lines
}

// words is a latency to three digits.
func words(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.0f µs", float64(d)/float64(time.Microsecond))
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
