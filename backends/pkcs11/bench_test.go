//go:build cgo && unix

package pkcs11

import (
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/jotsmith/jotsmith/backends"
)

// The pool is to reach nine tenths of BenchmarkRawSign with as many sessions.
const benchSessions = 8

// BenchmarkSignPool has 16 callers share the pool's sessions.
func BenchmarkSignPool(b *testing.B) {
	h := newSoftHSM(b)
	backend := openQuick(b, h.uri(h.module, "max-sessions="+strconv.Itoa(benchSessions)))
	if _, err := backend.Sign(b.Context(), h.keys[0].ID, backends.Digest{}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	split(b, 16, func(int) error {
		_, err := backend.Sign(b.Context(), h.keys[0].ID, backends.Digest{1})
		return err
	})
}

// BenchmarkRawSign calls the module without this package.
func BenchmarkRawSign(b *testing.B) {
	h := newSoftHSM(b)
	ctx := p11.New(h.module)
	if err := ctx.Initialize(); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = ctx.Finalize() }()
	token, err := findToken(ctx, tokenFilter{label: tokenLabel})
	if err != nil {
		b.Fatal(err)
	}
	type signer struct {
		session p11.SessionHandle
		key     p11.ObjectHandle
	}
	var signers []signer
	for i := range benchSessions {
		handle, err := ctx.OpenSession(token.slot, p11.CKF_SERIAL_SESSION)
		if err != nil {
			b.Fatal(err)
		}
		if i == 0 {
			if err := ctx.Login(handle, p11.CKU_USER, userPIN); err != nil {
				b.Fatal(err)
			}
		}
		handles, err := findObjects(&session{ctx: ctx, handle: handle}, p11.CKO_PRIVATE_KEY, keyID{label: "one"})
		if err != nil || len(handles) != 1 {
			b.Fatal(handles, err)
		}
		signers = append(signers, signer{handle, handles[0]})
	}
	b.ReportAllocs()
	split(b, benchSessions, func(i int) error {
		s, digest := signers[i], backends.Digest{1}
		if err := ctx.SignInit(s.session, []*p11.Mechanism{p11.NewMechanism(p11.CKM_ECDSA, nil)}, s.key); err != nil {
			return err
		}
		_, err := ctx.Sign(s.session, digest[:])
		return err
	})
}

// BenchmarkSignSlowDevice has a device that takes 2 ms a signature, as many do:
// what matters then is that no session is ever idle.
func BenchmarkSignSlowDevice(b *testing.B) {
	h := newFaultHSM(b)
	h.set(wordSignMicros, 2000)
	backend := openQuick(b, h.uri("max-sessions="+strconv.Itoa(benchSessions)))
	mustSign(b, backend)
	split(b, 16, func(int) error { return signOnce(backend, b) })
	best := 2 * time.Millisecond * time.Duration(b.N) / benchSessions
	b.ReportMetric(100*float64(best)/float64(b.Elapsed()), "%-of-best")
}

// BenchmarkSignIsolated is BenchmarkSignPool through a child process; the CPU
// time is the parent's alone.
func BenchmarkSignIsolated(b *testing.B) {
	h := newSoftHSM(b)
	backend := openIsolatedQuick(b, h.uri(h.module, "max-sessions="+strconv.Itoa(benchSessions)))
	b.ReportAllocs()
	split(b, 16, func(int) error {
		_, err := backend.Sign(b.Context(), h.keys[0].ID, backends.Digest{1})
		return err
	})
}

// split has so many goroutines share b.N calls of f, which gets the goroutine's
// number.
func split(b *testing.B, goroutines int, f func(i int) error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	before := cpuTime(b)
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// cpuTime is what this process has used, which says more than the clock on a
// machine that has other work.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
