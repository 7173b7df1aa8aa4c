package service

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jotsmith/jotsmith/service/authn"
)

func TestRecentKeepsTheNewestOfEachKindAndForgetsTheKindThatIsOldest(t *testing.T) {
	r := newRecent()
	at := func(i int) time.Time { return time.Unix(int64(i), 0) }
	add := func(method, reason, text string, i int) {
		r.add(recentError{recentKind: recentKind{method, reason}, text: text, time: at(i)})
	}
	for i := range maxRecent {
		add("M", fmt.Sprint(i), "first", i)
	}
	add("M", "0", "second", 100)
	add("M", "other", "x", 101) // for which 1 has to go
	all := r.list()
	if len(all) != maxRecent {
		t.Fatalf("%d are remembered", len(all))
	}
	if all[0].reason != "other" || all[1].reason != "0" || all[1].count != 2 || all[1].text != "second" || !all[1].time.Equal(at(100)) {
		t.Errorf("%+v, %+v", all[0], all[1])
	}
	for _, e := range all {
		if e.reason == "1" {
			t.Error("the oldest is still there")
		}
	}
	add("N", "0", "another method", 102)
	if all := r.list(); all[0].count != 1 || len(all) != maxRecent {
		t.Errorf("%+v of %d", all[0], len(all))
	}
}

func TestTextOfAFailureIsBoundedAndAlwaysUTF8(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "",
		"short":                     "short",
		"not \xff UTF-8":            "not ? UTF-8",
		strings.Repeat("x", 20):     strings.Repeat("x", 20),
		strings.Repeat("x", 21):     strings.Repeat("x", 17) + "...",
		strings.Repeat("ä", 11):     strings.Repeat("ä", 8) + "...",
		strings.Repeat("\xff", 200): "?...",
	} {
		got := bounded(text, 20)
		if got != want && text[0] != 0xff || len(got) > 20 || !utf8.ValidString(got) {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func caller(i int) authn.Caller { return authn.FromUnix(authn.Unix{UID: uint32(i), GID: uint32(i)}) }

func TestCallersWhoAskMostAreKeptWhileOthersComeAndGo(t *testing.T) {
	c := newCallers()
	for i := range 50_000 {
		c.token(caller(i%10), i%2 == 0)
		c.token(caller(100+i), false)
		if i%100 == 0 {
			c.failure(caller(7))
		}
	}
	c.token(authn.Caller{}, false)
	c.failure(authn.Caller{})
	all := c.list()
	if len(all) > callerShards*shardCallers {
		t.Errorf("%d callers are kept", len(all))
	}
	for i, got := range all[:10] {
		if got.minted+got.reused != 5000 {
			t.Errorf("place %d: %+v", i, got)
		}
		if got.name == caller(7).String() && got.failed != 500 {
			t.Errorf("%+v", got)
		}
		if got.name == "nobody" {
			t.Error("nobody is somebody")
		}
	}
	long := authn.FromToken(authn.Token{Issuer: "i", Subject: strings.Repeat("x", 16<<10)}, time.Time{})
	for range 20_000 {
		c.token(long, false)
	}
	if got := c.list()[0]; got.minted <= 20_000-noticed || got.minted > 20_000 || len(got.name) > maxCallerName || !strings.HasPrefix(got.name, "oidc:i:xxx") {
		t.Errorf("%+v", got)
	}
}

// BenchmarkCaller is what it costs to count a token for its caller: of a few, and
// of more than are kept.
func BenchmarkCaller(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := newCallers()
			all := make([]authn.Caller, n)
			for i := range all {
				all[i] = caller(i)
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					c.token(all[i%n], true)
				}
			})
		})
	}
}
