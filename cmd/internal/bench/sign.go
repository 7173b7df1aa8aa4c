package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"
)

// nonce says where a signature's nonce comes from.
type nonce bool

const (
	drawn   nonce = false // from crypto/rand: SignASN1 as everybody calls it
	derived nonce = true  // from key and digest (RFC 6979)
)

// sign makes one signature with crypto/ecdsa, which is what all CPU times are
// compared with.
func (n nonce) sign(key *ecdsa.PrivateKey, digest []byte) ([]byte, error) {
	if n == derived {
		return key.Sign(nil, digest, crypto.SHA256)
	}
	return ecdsa.SignASN1(rand.Reader, key, digest)
}

// signFor signs in this process for d, in so many goroutines. The CPU time is
// the whole process's: a signature's garbage has to be collected.
func signFor(ctx context.Context, key *ecdsa.PrivateKey, n nonce, goroutines int, d time.Duration) (sample, error) {
	return work(ctx, goroutines, d, ownCPU, func(_ context.Context, i int) (int, error) {
		_, err := n.sign(key, digestOf(i))
		return 1, err
	})
}

// digestOf makes a digest of 32 bytes that differs with i.
func digestOf(i int) []byte {
	return []byte{31: byte(i), 30: byte(i >> 8), 29: byte(i >> 16), 28: byte(i >> 24)}
}

// work has workers call step for d, again as soon as it answers, and counts
// what the steps say they have done. The first error ends it.
func work(ctx context.Context, workers int, d time.Duration, cpu func() (time.Duration, error), step func(ctx context.Context, i int) (int, error)) (sample, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	before, err := cpu()
	if err != nil {
		return sample{}, err
	}
	var counts, steps atomic.Int64
	began := time.Now()
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			count := 0
			defer func() { counts.Add(int64(count)) }()
			for ctx.Err() == nil && time.Since(began) < d {
				n, err := step(ctx, int(steps.Add(1)))
				if err != nil {
					cancel(err)
					return
				}
				count += n
			}
		})
	}
	group.Wait()
	wall := time.Since(began)
	after, err := cpu()
	if err != nil {
		return sample{}, err
	}
	if err := context.Cause(ctx); err != nil {
		return sample{}, err
	}
	return sample{Count: int(counts.Load()), Wall: wall, CPU: after - before}, nil
}
