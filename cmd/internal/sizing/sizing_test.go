package sizing_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jotsmith/jotsmith/cmd/internal/sizing"
)

func name(err error) string { return err.Error() }

func nothing(int64, time.Duration) {}

func TestCallersAskAgainWhenTheyAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		var said []int64
		r := sizing.Load{Callers: 4, Duration: 2500 * time.Millisecond, Name: name, Ask: func(context.Context, int) (bool, error) {
			time.Sleep(10 * time.Millisecond)
			if n := asked.Add(1); n%10 == 0 {
				return false, errors.New("OVERLOADED")
			}
			return true, nil
		}}.Run(t.Context(), func(tokens int64, _ time.Duration) { said = append(said, tokens) })
		if n := asked.Load(); n < 1000 || n > 1004 || r.Tokens+r.Failed["OVERLOADED"] != n || r.Reused != r.Tokens || r.Err() != nil {
			t.Errorf("asked %d times: %+v", n, r)
		}
		if got := time.Duration(r.Latency.Max()); got < 9990*time.Microsecond || got > 10010*time.Microsecond {
			t.Errorf("longest %v", got)
		}
		if len(said) != 2 || said[0] < 355 || said[1] <= said[0] {
			t.Errorf("said %v", said)
		}
		var out strings.Builder
		if err := r.Print(&out); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"OVERLOADED    100", "p50      10.0", "█"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in\n%s", want, &out)
			}
		}
		if strings.Count(out.String(), "█") != 50 {
			t.Errorf("all took the same, and the bars are\n%s", &out)
		}
	})
}

// A server that stands still for a second does not look fast because nobody asked
// it meanwhile.
func TestWaitingForACallerCountsAtAPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		r := sizing.Load{Callers: 1, Rate: 100, Duration: 2 * time.Second, Name: name, Ask: func(context.Context, int) (bool, error) {
			if time.Since(began) < time.Second {
				time.Sleep(time.Second - time.Since(began))
			}
			return false, nil
		}}.Run(t.Context(), nothing)
		if r.Tokens < 199 || r.Tokens > 201 || r.Latency.Max() < int64(990*time.Millisecond) {
			t.Errorf("%d tokens, the longest took %v", r.Tokens, time.Duration(r.Latency.Max()))
		}
		if p25 := time.Duration(r.Latency.ValueAtQuantile(75)); p25 < 450*time.Millisecond || p25 > 550*time.Millisecond {
			t.Errorf("a quarter waited longer than %v, want half a second", p25)
		}
		if f := r.Figures(); f.Tokens != r.Tokens || f.LatencySeconds["p50"] <= 0 || f.TokensPerSecond < 95 {
			t.Errorf("%+v", f)
		}
	})
}

func TestWhereNobodyIsAnsweredTheErrorSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		denied := errors.New("DENIED")
		r := sizing.Load{Callers: 2, Rate: 10, Duration: time.Hour, Name: name, Ask: func(context.Context, int) (bool, error) {
			return false, denied
		}}.Run(ctx, func(int64, time.Duration) { cancel() })
		if !errors.Is(r.Err(), denied) || r.Failed["DENIED"] != 10 && r.Failed["DENIED"] != 11 || r.Took > 2*time.Second {
			t.Errorf("%+v, %v", r, r.Err())
		}
		var out strings.Builder
		if err := r.Print(&out); err != nil || strings.Contains(out.String(), "p50") || len(r.Figures().LatencySeconds) != 0 {
			t.Errorf("%v\n%s", err, &out)
		}
	})
}
