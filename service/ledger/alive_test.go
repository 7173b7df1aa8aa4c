package ledger

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAliveCountsWhatCanStillBeValid(t *testing.T) {
	l, _ := open(t, "")
	now := time.Date(2027, 1, 2, 3, 4, 0, 0, time.UTC)
	for i := range 100 {
		issue(t, l, "asc", "k1", now, now.Add(time.Duration(i)*time.Minute))
	}
	issue(t, l, "asc", "k2", now, now.Add(180*24*time.Hour))
	issue(t, l, "storekit", "k1", now, time.Time{}) // without an end
	issue(t, l, "api", "k3", now, now.Add(time.Minute))
	at := func(d time.Duration) []Alive { t.Helper(); return l.Alive(now.Add(d)) }
	want := []Alive{
		{"api", "k3", 1, now.Add(time.Minute)},
		{"asc", "k1", 100, now.Add(99 * time.Minute)},
		{"asc", "k2", 1, now.Add(180 * 24 * time.Hour)},
	}
	if diff := cmp.Diff(want, at(0)); diff != "" {
		t.Error(diff)
	}
	want = []Alive{{"asc", "k1", 40, now.Add(99 * time.Minute)}, want[2]}
	if diff := cmp.Diff(want, at(59*time.Minute+30*time.Second)); diff != "" {
		t.Error(diff)
	}
	if left := at(181 * 24 * time.Hour); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestTallyIsBounded(t *testing.T) {
	l, _ := open(t, "")
	now := time.Date(2027, 1, 2, 3, 4, 0, 0, time.UTC)
	for i := range 100_000 { // a token a second for more than a day
		at := now.Add(time.Duration(i) * time.Second)
		issue(t, l, "p", "k", at, at.Add(10*time.Minute))
	}
	if n := len(l.series[series{"p", "k"}].slots); n > 80 {
		t.Errorf("%d slots", n)
	}
}
