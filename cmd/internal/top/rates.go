package top

import (
	"cmp"
	"slices"
	"strings"
	"time"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// Sample is a server's state at a time.
type Sample struct {
	At     time.Time
	Status *jotsmithv1.StatusResponse
}

// Rates is what happened between two samples, each second, and what is. Without
// an earlier sample of the same run of the server nothing is known of the time
// between: Seconds is then 0, and so are all rates.
type Rates struct {
	Seconds    float64 `json:"seconds"`
	Minted     float64 `json:"minted_per_second"`
	Reused     float64 `json:"reused_per_second"`
	Failed     float64 `json:"failed_per_second"`
	TurnedAway float64 `json:"turned_away_per_second"`
	OverQuota  float64 `json:"over_quota_per_second"`

	MintToken Times         `json:"mint_token"`
	Backends  []BackendRate `json:"backends"`
	Callers   []CallerRate  `json:"callers"`
	Profiles  []ProfileRate `json:"profiles"`
}

// Times are how long half, and all but one in a hundred, of some calls took, in
// seconds, as near as the ranges are in which they are counted. Both are 0 where
// there were no calls, and the greatest bound where it was longer.
type Times struct {
	P50 float64 `json:"p50_seconds"`
	P99 float64 `json:"p99_seconds"`
}

// BackendRate is what a key store did, each second.
type BackendRate struct {
	Name   string  `json:"name"`
	Signed float64 `json:"signed_per_second"`
	Failed float64 `json:"failed_per_second"`
	Times
}

// CallerRate is what a caller got, each second and in all.
type CallerRate struct {
	Name   string  `json:"name"`
	Minted float64 `json:"minted_per_second"`
	Reused float64 `json:"reused_per_second"`
	Failed float64 `json:"failed_per_second"`
	Total  int64   `json:"total"` // failures too
}

// ProfileRate is what of a profile was handed out, each second and in all.
type ProfileRate struct {
	Name   string  `json:"name"`
	Key    string  `json:"key"`
	Minted float64 `json:"minted_per_second"`
	Reused float64 `json:"reused_per_second"`
	Total  int64   `json:"total"`
}

// Between returns what happened from an earlier sample, which may be nil, to now.
func Between(earlier, now *Sample) Rates {
	r := Rates{}
	s := now.Status
	before := &jotsmithv1.StatusResponse{}
	if earlier != nil && sameRun(earlier.Status, s) {
		r.Seconds = now.At.Sub(earlier.At).Seconds()
		before = earlier.Status
	}
	each := func(now, before int64) float64 {
		if r.Seconds <= 0 || now < before { // it was counted anew
			return 0
		}
		return float64(now-before) / r.Seconds
	}
	r.Minted = each(s.GetMinted(), before.GetMinted())
	r.Reused = each(s.GetReused(), before.GetReused())
	r.Failed = each(s.GetFailed(), before.GetFailed())
	r.TurnedAway = each(s.GetGateRefusals(), before.GetGateRefusals())
	r.OverQuota = each(s.GetQuotaRefusals(), before.GetQuotaRefusals())

	methods := byName(before.GetMethods())
	for _, m := range s.GetMethods() {
		if m.GetName() == "MintToken" && r.Seconds > 0 {
			r.MintToken = timesOf(s.GetDurationBounds(), m.GetDurationCounts(), methods[m.GetName()].GetDurationCounts())
		}
	}
	backends := byName(before.GetBackends())
	for _, b := range s.GetBackends() {
		was := backends[b.GetName()]
		rate := BackendRate{Name: b.GetName(), Signed: each(b.GetSignatures(), was.GetSignatures()), Failed: each(b.GetFailed(), was.GetFailed())}
		if r.Seconds > 0 {
			rate.Times = timesOf(s.GetDurationBounds(), b.GetDurationCounts(), was.GetDurationCounts())
		}
		r.Backends = append(r.Backends, rate)
	}
	callers := byName(before.GetCallers())
	for _, c := range s.GetCallers() {
		was := callers[c.GetName()]
		r.Callers = append(r.Callers, CallerRate{
			Name:   c.GetName(),
			Minted: each(c.GetMinted(), was.GetMinted()), Reused: each(c.GetReused(), was.GetReused()), Failed: each(c.GetFailed(), was.GetFailed()),
			Total: c.GetMinted() + c.GetReused() + c.GetFailed(),
		})
	}
	profiles := byName(before.GetProfiles())
	for _, p := range s.GetProfiles() {
		was := profiles[p.GetName()]
		r.Profiles = append(r.Profiles, ProfileRate{
			Name: p.GetName(), Key: p.GetKey(),
			Minted: each(p.GetMinted(), was.GetMinted()), Reused: each(p.GetReused(), was.GetReused()),
			Total: p.GetMinted() + p.GetReused(),
		})
	}
	return r
}

// sameRun says whether two states are of one run of a server.
func sameRun(a, b *jotsmithv1.StatusResponse) bool {
	return a.GetStartTime().AsTime().Equal(b.GetStartTime().AsTime())
}

func byName[T interface{ GetName() string }](all []T) map[string]T {
	named := make(map[string]T, len(all))
	for _, one := range all {
		named[one.GetName()] = one
	}
	return named
}

// timesOf works out the times of the calls that were counted since before.
func timesOf(bounds []float64, now, before []int64) Times {
	counts := slices.Clone(now)
	var total int64
	for i := range counts {
		if i < len(before) {
			counts[i] = max(counts[i]-before[i], 0)
		}
		total += counts[i]
	}
	return Times{quantile(bounds, counts, total, 0.5), quantile(bounds, counts, total, 0.99)}
}

// quantile is the time that a part of the calls took at the most, if those of a
// range lie evenly in it.
func quantile(bounds []float64, counts []int64, total int64, part float64) float64 {
	want, below, low := part*float64(total), 0.0, 0.0
	for i, n := range counts {
		if i >= len(bounds) {
			break
		}
		if n > 0 && below+float64(n) >= want {
			return min(low+(bounds[i]-low)*(want-below)/float64(n), bounds[i])
		}
		below += float64(n)
		low = bounds[i]
	}
	if total == 0 {
		return 0
	}
	return low
}

// Order is what callers and profiles are sorted by.
type Order int

// The orders, in the turn in which a key changes them.
const (
	ByRate Order = iota
	ByTotal
	ByFailures
	ByName
	orders
)

// String names the order.
func (o Order) String() string {
	return [...]string{"rate", "total", "failures", "name"}[o%orders]
}

// Sort puts callers and profiles in an order, the first of them first.
func (r *Rates) Sort(order Order) {
	slices.SortStableFunc(r.Callers, func(a, b CallerRate) int {
		return cmp.Or(order.compare(a.Minted+a.Reused+a.Failed, b.Minted+b.Reused+b.Failed, a.Total, b.Total, a.Failed, b.Failed), strings.Compare(a.Name, b.Name))
	})
	slices.SortStableFunc(r.Profiles, func(a, b ProfileRate) int {
		return cmp.Or(order.compare(a.Minted+a.Reused, b.Minted+b.Reused, a.Total, b.Total, 0, 0), strings.Compare(a.Name, b.Name))
	})
}

// compare compares by the order's own figure, then by the total.
func (o Order) compare(aRate, bRate float64, aTotal, bTotal int64, aFailed, bFailed float64) int {
	switch o {
	case ByRate:
		return cmp.Or(cmp.Compare(bRate, aRate), cmp.Compare(bTotal, aTotal))
	case ByTotal:
		return cmp.Compare(bTotal, aTotal)
	case ByFailures:
		return cmp.Or(cmp.Compare(bFailed, aFailed), cmp.Compare(bRate, aRate), cmp.Compare(bTotal, aTotal))
	case ByName, orders:
	}
	return 0
}
