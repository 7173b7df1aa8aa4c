package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/jotsmith/jotsmith/backends/awskms/kmsfake"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

const (
	replicasTitle = "Replicas"
	// A replica's key store does four signatures at once, and takes its time for
	// each, so that a replica leaves the processors alone most of the time.
	replicaSign     = 40 * time.Millisecond
	replicaInFlight = 4
	replicaSlice    = 4 * time.Second
	distinctTokens  = 64
)

// replicasRun has 1, 2, 4 and 8 servers, each a process with the same key in a KMS of
// a fixed latency, answer callers who go round them; and then callers who want the
// same few tokens again and again, and who find the replica by what they want.
func (b *benchmark) replicasRun(ctx context.Context, progress io.Writer) error {
	if !b.only.MatchString(replicasTitle) {
		return nil
	}
	fmt.Fprintln(progress, replicasTitle)
	all, err := b.startReplicas(ctx, 8)
	if err != nil {
		return err
	}
	slice := min(replicaSlice, 10*b.slice)
	var one float64
	for n := 1; n <= len(all); n *= 2 {
		s, err := roundRobin(all[:n])(ctx, slice)
		if err != nil {
			return fmt.Errorf("%s: %w", replicasTitle, err)
		}
		if n == 1 {
			one = s.rate()
			b.replicas = append(b.replicas, measure{name: "1 replica", measured: fmt.Sprintf("%.0f tokens/s", one)})
			continue
		}
		b.replicas = append(b.replicas, compared(fmt.Sprintf("%d replicas", n), fmt.Sprintf("%.0f tokens/s", s.rate()),
			fmt.Sprintf("%d times 1 replica", n), s.rate()/(one*float64(n)), atLeast(0.9)))
	}
	for run, callers := range []int{8, 64} { // each asks for tokens of its own
		signed, asked, err := byRequest(ctx, all, callers, distinctTokens*run)
		if err != nil {
			return fmt.Errorf("%s: %w", replicasTitle, err)
		}
		b.replicas = append(b.replicas, below(fmt.Sprintf("signatures for %d tokens, 8 replicas, %d callers", distinctTokens, callers),
			fmt.Sprintf("%d for %d answers", signed, asked), fmt.Sprintf("%d", distinctTokens), signed == distinctTokens))
	}
	return nil
}

// startReplicas starts servers that share a key in a KMS.
func (b *benchmark) startReplicas(ctx context.Context, n int) ([]target, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	_, answer, err := b.startPiped(ctx, ready, self, nil, roleKMS, b.path("key.p8"), replicaSign.String())
	if err != nil {
		return nil, err
	}
	endpoint, arn, _ := strings.Cut(answer, " ")
	all := make([]target, n)
	for i := range all {
		all[i], _, err = b.startServer(ctx, store{
			name: fmt.Sprintf("replica-%d", i), uri: "awskms:?region=" + kmsfake.Region + "&endpoint=" + endpoint + "&rate=100000", keyID: arn,
			env: b.awsEnvironment(), more: fmt.Sprintf(", max_in_flight: %d", replicaInFlight),
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// roundRobin is a load by callers who go round the replicas, twice as many for each
// as its key store has places.
func roundRobin(replicas []target) load {
	return func(ctx context.Context, d time.Duration) (s sample, err error) {
		conns, err := dialAll(ctx, replicas)
		if err != nil {
			return sample{}, err
		}
		defer func() { err = errors.Join(err, hangUp(conns)) }()
		return work(ctx, 2*replicaInFlight*len(replicas), d, ownCPU, func(ctx context.Context, i int) (int, error) {
			_, err := jotsmithv1.NewTokenServiceClient(conns[i%len(conns)]).MintToken(ctx, replicas[0].request())
			return 1, err
		})
	}
}

// byRequest has callers ask for a few tokens, each of them many times, at the replica
// that the request itself names by its hash, and counts the signatures.
func byRequest(ctx context.Context, replicas []target, callers, from int) (signed, asked int, err error) {
	conns, err := dialAll(ctx, replicas)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, hangUp(conns)) }()
	var made atomic.Int64
	s, err := work(ctx, callers, 2*time.Second, ownCPU, func(ctx context.Context, i int) (int, error) {
		req := replicas[0].askingReused().request()
		req.Claims = fmt.Sprintf(`{"sub":"user-%08x"}`, from+i%distinctTokens)
		hashed := fnv.New32a()
		_, _ = hashed.Write([]byte(req.GetProfile() + req.GetClaims())) // a hash takes all
		resp, err := jotsmithv1.NewTokenServiceClient(conns[int(hashed.Sum32())%len(conns)]).MintToken(ctx, req)
		if err == nil && !resp.GetReused() {
			made.Add(1)
		}
		return 1, err
	})
	return int(made.Load()), s.Count, err
}

func dialAll(ctx context.Context, replicas []target) ([]*grpc.ClientConn, error) {
	conns := make([]*grpc.ClientConn, 0, len(replicas))
	for _, replica := range replicas {
		conn, err := replica.dial(ctx, 1)
		if err != nil {
			return nil, errors.Join(err, hangUp(conns))
		}
		conns = append(conns, conn...)
	}
	return conns, nil
}
