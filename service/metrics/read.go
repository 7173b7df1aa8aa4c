package metrics

import (
	"cmp"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Bounds returns the upper bounds of the ranges that durations are counted in,
// in seconds.
func Bounds() []float64 { return buckets() }

// MethodCount is what was counted of a method.
type MethodCount struct {
	Name             string
	Answered, Failed int64
	Durations        []int64 // of those answered: for each of Bounds, and beyond; nil for a stream
}

// ProfileCount is what was counted of a profile.
type ProfileCount struct {
	Minted, Reused int64
}

// BackendCount is what was counted of a key store.
type BackendCount struct {
	Signatures, Failed int64
	Durations          []int64 // of all answers: for each of Bounds, and beyond
}

// ReadMethods returns what was counted of each method, by name.
func (m *Metrics) ReadMethods() []MethodCount {
	all := make([]MethodCount, 0, len(m.methods))
	for name, counted := range m.methods {
		c := MethodCount{Name: name, Answered: count(counted.ok), Failed: counted.errors.Load()}
		if counted.answered != nil {
			c.Durations = durations(counted.answered)
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b MethodCount) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// ReadProfile returns what was counted of a profile.
func (m *Metrics) ReadProfile(name string) ProfileCount {
	counted, ok := (*m.profiles.Load())[name]
	if !ok {
		return ProfileCount{}
	}
	return ProfileCount{count(counted.minted), count(counted.reused)}
}

// Read returns what was counted of a key store.
func (b *Backend) Read() BackendCount {
	if b == nil {
		return BackendCount{}
	}
	c := BackendCount{Signatures: count(b.signatures), Durations: durations(b.times)}
	for counter := range maps.Values(b.errors) {
		c.Failed += count(counter)
	}
	return c
}

// count reads a counter.
func count(c prometheus.Counter) int64 {
	var out dto.Metric
	if c.Write(&out) != nil { // which no counter does
		return 0
	}
	return int64(out.GetCounter().GetValue())
}

// durations reads a histogram: how many fell into each range, and beyond all.
func durations(h prometheus.Histogram) []int64 {
	var out dto.Metric
	if h.Write(&out) != nil { // which no histogram does
		return nil
	}
	counts := make([]int64, 0, len(out.GetHistogram().GetBucket())+1)
	var before uint64
	for _, b := range out.GetHistogram().GetBucket() {
		counts = append(counts, int64(b.GetCumulativeCount()-before))
		before = b.GetCumulativeCount()
	}
	return append(counts, int64(out.GetHistogram().GetSampleCount()-before))
}
