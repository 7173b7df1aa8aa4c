package main

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/service/servicetest"
)

// TestTheServiceKeepsNoGoroutine counts from inside what the memory run cannot
// see from outside.
func TestTheServiceKeepsNoGoroutine(t *testing.T) {
	profiles := servicetest.Profiles()[:1]
	profiles[0].Name = profileName
	server := servicetest.Start(t, servicetest.Options{InProcess: true, Profiles: profiles})
	at := target{pid: os.Getpid(), address: "unix://" + server.Socket, profile: profileName}
	burst := func() {
		for _, l := range []load{callers(at, 64, 8), batches(at, 4, 2)} {
			if _, err := l(t.Context(), 100*time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
	}
	now := func() remains {
		f, err := footprintOf(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		return remains{runtime.NumGoroutine(), f.fds}
	}
	// Connections end a moment later on the server's side, so that a count is
	// taken again until it is good, for ten seconds at most.
	until := func(good func(remains) bool) remains {
		poll := time.NewTicker(50 * time.Millisecond)
		defer poll.Stop()
		for range 200 {
			if r := now(); good(r) {
				return r
			}
			<-poll.C
		}
		return now()
	}
	// What is made once is made now, but for the goroutines that sign for calls that
	// wait: those come, all together, when calls first do.
	const stay = 64
	burst()
	var last remains
	before := until(func(r remains) bool {
		same := r == last
		last = r
		return same
	})
	for range 5 { // of which one more that leaves any behind would leave five times as many
		burst()
	}
	noMore := func(r remains) bool { return r.Goroutines <= before.Goroutines+stay && r.FDs <= before.FDs }
	if after := until(noMore); !noMore(after) {
		t.Errorf("held %+v before and %+v after", before, after)
	}
}
