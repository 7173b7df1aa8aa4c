package service

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStrangersCannotFillTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		log := slog.New(slog.NewTextHandler(&text, nil))
		r := newRefusals()
		count := func(known bool, times int) (allowed int) {
			for range times {
				if r.allow(t.Context(), known, log) {
					allowed++
				}
			}
			return allowed
		}
		if n := count(false, 5000); n != strangersAtOnce {
			t.Errorf("%d of strangers are recorded", n)
		}
		if !strings.Contains(text.String(), "skipped=1\n") {
			t.Errorf("the log says %q", text.String())
		}
		if n := count(true, 5000); n != refusalsAtOnce-strangersAtOnce {
			t.Errorf("%d of those who are known are recorded", n)
		}
		time.Sleep(10 * time.Second)
		if n := count(false, 5000); n != 10*strangersPerSecond {
			t.Errorf("%d of strangers are recorded later", n)
		}
		// Each that was skipped is said, sooner or later, and once in a while alone.
		if got := strings.Count(text.String(), "too many to be recorded"); got != 2 {
			t.Errorf("said %d times: %s", got, text.String())
		}
		if !strings.Contains(text.String(), "skipped=9000\n") {
			t.Errorf("the log says %q", text.String())
		}
	})
}
