package top

import (
	"math"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

var noon = time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)

// at is a sample so long after noon of a server that was started at noon.
func at(d time.Duration, s *jotsmithv1.StatusResponse) *Sample {
	if s.GetStartTime() == nil {
		s.StartTime = timestamppb.New(noon)
	}
	return &Sample{noon.Add(d), s}
}

func TestRatesAreOfTheTimeBetweenTwoLooks(t *testing.T) {
	first := at(10*time.Second, &jotsmithv1.StatusResponse{
		Minted: 100, Reused: 1000, Failed: 7, GateRefusals: 1, QuotaRefusals: 2,
		DurationBounds: []float64{0.001, 0.01},
		Methods:        []*jotsmithv1.MethodStatus{{Name: "ListKeys"}, {Name: "MintToken", DurationCounts: []int64{5, 5, 5}}},
		Backends:       []*jotsmithv1.BackendStatus{{Name: "hsm", Signatures: 50, Failed: 5, DurationCounts: []int64{0, 0, 50}}},
		Callers:        []*jotsmithv1.CallerStatus{{Name: "a", Minted: 10, Reused: 20, Failed: 30}},
		Profiles:       []*jotsmithv1.ProfileStatus{{Name: "p", Key: "k", Minted: 1, Reused: 2}},
	})
	second := at(14*time.Second, &jotsmithv1.StatusResponse{
		Minted: 140, Reused: 1002, Failed: 7, GateRefusals: 9, QuotaRefusals: 6,
		DurationBounds: []float64{0.001, 0.01},
		Methods:        []*jotsmithv1.MethodStatus{{Name: "MintToken", DurationCounts: []int64{104, 6, 5}}},
		Backends: []*jotsmithv1.BackendStatus{
			{Name: "hsm", Signatures: 54, Failed: 7, DurationCounts: []int64{0, 0, 56}}, {Name: "new", Signatures: 8},
		},
		Callers: []*jotsmithv1.CallerStatus{
			{Name: "a", Minted: 14, Reused: 20, Failed: 30}, {Name: "b", Minted: 4}, {Name: "c", Failed: 400},
		},
		Profiles: []*jotsmithv1.ProfileStatus{{Name: "p", Key: "k", Minted: 5, Reused: 0}},
	})
	r := Between(first, second)
	if r.Seconds != 4 || r.Minted != 10 || r.Reused != 0.5 || r.Failed != 0 || r.TurnedAway != 2 || r.OverQuota != 1 {
		t.Errorf("%+v", r)
	}
	// Of a hundred calls 99 lie in the first range, evenly, and one in the second.
	if p := r.MintToken; math.Abs(p.P50-0.001*50/99) > 1e-9 || math.Abs(p.P99-0.001) > 1e-9 {
		t.Errorf("%+v", p)
	}
	if b := r.Backends; len(b) != 2 || b[0].Signed != 1 || b[0].Failed != 0.5 || b[0].P50 != 0.01 || b[1].Signed != 2 {
		t.Errorf("%+v", b)
	}
	if c := r.Callers; len(c) != 3 || c[0].Minted != 1 || c[0].Reused != 0 || c[0].Total != 64 || c[1].Minted != 1 || c[2].Failed != 100 {
		t.Errorf("%+v", c)
	}
	if p := r.Profiles[0]; p.Minted != 1 || p.Reused != 0 || p.Total != 5 { // counted anew since a reload
		t.Errorf("%+v", p)
	}

	for name, earlier := range map[string]*Sample{
		"nothing before": nil,
		"another run":    at(10*time.Second, &jotsmithv1.StatusResponse{StartTime: timestamppb.New(noon.Add(-time.Hour)), Minted: 3}),
		"the same time":  second,
	} {
		if r := Between(earlier, second); r.Seconds != 0 || r.Minted != 0 || r.MintToken != (Times{}) || r.Callers[0].Total != 64 || r.Callers[2].Failed != 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestOrdersSortCallersAndProfiles(t *testing.T) {
	r := Rates{
		Callers: []CallerRate{
			{Name: "z-idle", Total: 1000}, {Name: "busy", Minted: 5, Total: 50}, {Name: "failing", Failed: 3, Total: 60}, {Name: "a-idle", Total: 1000},
		},
		Profiles: []ProfileRate{{Name: "old", Total: 9}, {Name: "new", Reused: 1, Total: 1}},
	}
	for order, want := range map[Order][]string{
		ByRate:     {"busy", "failing", "a-idle", "z-idle", "new", "old"},
		ByTotal:    {"a-idle", "z-idle", "failing", "busy", "old", "new"},
		ByFailures: {"failing", "busy", "a-idle", "z-idle", "new", "old"},
		ByName:     {"a-idle", "busy", "failing", "z-idle", "new", "old"},
	} {
		r.Sort(order)
		var got []string
		for _, c := range r.Callers {
			got = append(got, c.Name)
		}
		for _, p := range r.Profiles {
			got = append(got, p.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("by %s: %v, want %v", order, got, want)
		}
	}
}

// Whatever was counted, the quantile of a part is not above that of a greater
// part, lies within the bounds, and is in the range in which its call was counted.
func TestQuantilesAreOrderedAndInTheirRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bounds := []float64{0.001, 0.01, 0.1, 1}
		counts := rapid.SliceOfN(rapid.Int64Range(0, 50), len(bounds)+1, len(bounds)+1).Draw(t, "counts")
		var total int64
		for _, n := range counts {
			total += n
		}
		before := 0.0
		for _, part := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
			got := quantile(bounds, counts, total, part)
			if got < before || got > 1 || math.IsNaN(got) {
				t.Fatalf("%v of %v is %v, after %v", part, counts, got, before)
			}
			before = got
			if total == 0 {
				continue
			}
			var below int64
			low := 0.0
			for i, n := range counts {
				if below += n; float64(below) >= part*float64(total) || i == len(bounds) {
					if i < len(bounds) && (got < low || got > bounds[i]) || i == len(bounds) && got != bounds[i-1] {
						t.Fatalf("%v of %v is %v, in the range above %v", part, counts, got, low)
					}
					break
				}
				low = bounds[i]
			}
		}
	})
}
