package signer_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/awskms"
	"github.com/jotsmith/jotsmith/backends/awskms/kmsfake"
	"github.com/jotsmith/jotsmith/service/signer"
)

// regions is a multi-Region key: one key in two KMS, each reached over HTTP by
// a backend of its own.
func regions(t *testing.T) (signer.Config, []*kmsfake.Server, string) {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "111122223333", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(name, value)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(nil)
	cfg.Timeout = 5 * time.Second
	cfg.Stores, cfg.Keys[0].Members = map[string]signer.Store{}, nil
	var servers []*kmsfake.Server
	arn := ""
	for _, name := range []string{"s1", "s2"} {
		server, err := kmsfake.New()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Close() })
		servers = append(servers, server)
		arn = server.AddKey(key)
		backend, err := awskms.Open(t.Context(), server.URI(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = backend.Close() })
		cfg.Stores[name] = signer.Store{Backend: backend, MaxInFlight: 64, MaxQueue: 64, MinTime: 100 * time.Millisecond}
		cfg.Keys[0].Members = append(cfg.Keys[0].Members, signer.Member{Store: name, ID: arn})
	}
	return cfg, servers, arn
}

// load has callers ask for so many tokens, each within five seconds, and returns
// how long they took, in order. during runs beside it.
func load(t *testing.T, s *signer.Signer, calls int, during func()) []time.Duration {
	t.Helper()
	const callers = 8
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	set := approved(t)
	for range callers {
		wg.Go(func() {
			for range calls / callers {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				began := time.Now()
				_, err := s.Sign(ctx, set)
				d := time.Since(began)
				cancel()
				if err != nil {
					t.Errorf("after %v: %v", d, err)
				}
				mu.Lock()
				took = append(took, d)
				mu.Unlock()
			}
		})
	}
	if during != nil {
		during()
	}
	wg.Wait()
	slices.Sort(took)
	return took
}

func p99(took []time.Duration) time.Duration { return took[len(took)*99/100] }

// soon waits until something is so.
func soon(t *testing.T, so func() bool, otherwise func() any) {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", otherwise())
		}
	}
}

// becomes waits until a member is as it should be.
func becomes(t *testing.T, s *signer.Signer, store string, want func(signer.MemberStatus) bool) {
	t.Helper()
	soon(t, func() bool { return want(member(t, s, store)) }, func() any { return member(t, s, store) })
}

func well(m signer.MemberStatus) bool { return m.Fault == nil }

// distance is how much farther the other Region is.
const distance = 50 * time.Millisecond

func TestRegionThatFallsSilentUnderLoad(t *testing.T) {
	cfg, servers, _ := regions(t)
	servers[1].Inject(kmsfake.Fault{Operation: kmsfake.Sign, Delay: distance})
	s := loaded(t, cfg)
	running(t, s)
	before := load(t, s, 240, nil)
	silent := servers[0] // the near one
	began := silent.Calls(kmsfake.Sign)
	out := load(t, s, 240, func() {
		soon(t, func() bool { return silent.Calls(kmsfake.Sign) > began+50 }, func() any { return "the load has not begun" })
		silent.Inject(kmsfake.Fault{Hang: true})
	})
	becomes(t, s, "s1", func(m signer.MemberStatus) bool { return errors.Is(m.Fault, backends.ErrUnavailable) })
	after := load(t, s, 240, nil)
	t.Logf("p99 %v before, at the most %v while it was found out, p99 %v after", p99(before), out[len(out)-1], p99(after))
	if most := out[len(out)-1]; most > 4900*time.Millisecond {
		t.Errorf("a call took %v", most)
	}
	if p99(after) > distance+2*p99(before)+200*time.Millisecond {
		t.Errorf("p99 is %v with one Region, and was %v with two", p99(after), p99(before))
	}
	silent.Clear()
	becomes(t, s, "s1", well)
}

func TestRegionInTrouble(t *testing.T) {
	for name, trouble := range map[string]struct {
		fault kmsfake.Fault
		kind  error // nil is that it stays in use
	}{
		"failing":    {kmsfake.InternalError(0), backends.ErrUnavailable},
		"resetting":  {kmsfake.Fault{Reset: true}, backends.ErrUnavailable},
		"throttling": {kmsfake.Throttle(0), nil},
		"denied":     {kmsfake.AccessDenied(0), backends.ErrAccessDenied},
		"slow":       {kmsfake.Fault{Operation: kmsfake.Sign, Delay: 2 * time.Second}, backends.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, servers, _ := regions(t)
			s := loaded(t, cfg)
			first, troubled := firstOf(t, s), servers[0]
			if first == "s2" {
				troubled = servers[1]
			}
			troubled.Inject(trouble.fault)
			load(t, s, 80, nil)
			// On a machine that is busy it may have been too slow on top.
			if fault := member(t, s, first).Fault; !errors.Is(fault, trouble.kind) && !errors.Is(fault, backends.ErrUnavailable) || s.Fault("k") != nil {
				t.Errorf("%v, and the key: %v", fault, s.Fault("k"))
			}
			troubled.Clear()
			running(t, s)
			for _, m := range cfg.Keys[0].Members {
				becomes(t, s, m.Store, well)
			}
		})
	}
}

func TestKeyThatIsDisabledInItsRegions(t *testing.T) {
	cfg, servers, arn := regions(t)
	s := loaded(t, cfg)
	running(t, s)
	servers[0].SetDisabled(arn, true)
	load(t, s, 80, nil)
	servers[1].SetDisabled(arn, true)
	if _, err := s.Sign(t.Context(), approved(t)); !errors.Is(err, backends.ErrKeyDisabled) {
		t.Errorf("disabled in both: %v", err)
	}
	if _, err := s.Version("k"); !errors.Is(err, backends.ErrKeyDisabled) {
		t.Errorf("disabled in both: version %v", err)
	}
	servers[1].SetDisabled(arn, false)
	becomes(t, s, "s2", well)
	load(t, s, 80, nil)
}

func TestRegionThatLies(t *testing.T) {
	cfg, servers, _ := regions(t)
	s := loaded(t, cfg)
	for _, server := range servers {
		server.Inject(kmsfake.Fault{Operation: kmsfake.Sign, WrongDigest: true})
	}
	signed := servers[0].Calls(kmsfake.Sign) + servers[1].Calls(kmsfake.Sign)
	for range 3 {
		if _, err := s.Sign(t.Context(), approved(t)); !errors.Is(err, backends.ErrSignatureInvalid) {
			t.Errorf("a lie: %v", err)
		}
	}
	if n := servers[0].Calls(kmsfake.Sign) + servers[1].Calls(kmsfake.Sign) - signed; n != 1 {
		t.Errorf("asked for %d signatures, want the one that was wrong", n)
	}
}

func TestRegionsAtTheStart(t *testing.T) {
	for name, fault := range map[string]kmsfake.Fault{
		"silent": {Hang: true}, "away": {Reset: true}, "failing": kmsfake.InternalError(0),
	} {
		cfg, servers, _ := regions(t)
		servers[0].Inject(fault)
		s := loaded(t, cfg)
		load(t, s, 8, nil)
		if member(t, s, "s1").Fault == nil || s.Fault("k") != nil {
			t.Errorf("%s: %+v", name, s.Members("k"))
		}
		running(t, s)
		servers[0].Clear()
		becomes(t, s, "s1", well)
	}
	cfg, servers, _ := regions(t)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	servers[1].SetAlias("alias/k", servers[1].AddKey(other))
	cfg.Keys[0].Members[1].ID = "alias/k"
	s, err := signer.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(t.Context()); !errors.Is(err, backends.ErrKeyMismatch) || !strings.Contains(err.Error(), "hold different keys") {
		t.Errorf("an alias of another key: %v", err)
	}
}
