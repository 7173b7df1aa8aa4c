package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// target is a server under load: its process and how to reach it.
type target struct {
	pid     int
	address string
	profile string      // that the load asks for
	tls     *tls.Config // nil for a Unix socket
}

// dialLimit is how long a server may take until it answers.
const dialLimit = 30 * time.Second

// askingReused is the same server under a load that asks for tokens that are kept.
func (t target) askingReused() target {
	t.profile = reusedProfile
	return t
}

// dial makes the connections and waits until each answers.
func (t target) dial(ctx context.Context, connections int, more ...grpc.DialOption) ([]*grpc.ClientConn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	options := append(t.options(), more...)
	conns := make([]*grpc.ClientConn, 0, connections)
	for range connections {
		conn, err := grpc.NewClient(t.address, options...)
		if err != nil {
			return nil, errors.Join(err, hangUp(conns))
		}
		conns = append(conns, conn)
		_, err = jotsmithv1.NewTokenServiceClient(conn).MintToken(ctx, t.request(), grpc.WaitForReady(true))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("first call to %s: %w", t.address, err), hangUp(conns))
		}
	}
	return conns, nil
}

// options are how the server is reached.
func (t target) options() []grpc.DialOption {
	creds := insecure.NewCredentials()
	if t.tls != nil {
		creds = credentials.NewTLS(t.tls)
	}
	return []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1.5, MaxDelay: 100 * time.Millisecond},
			MinConnectTimeout: dialLimit, // else the first try has no more than BaseDelay
		}),
	}
}

func hangUp(conns []*grpc.ClientConn) error {
	var errs []error
	for _, conn := range conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// request is what all callers ask for: a token with a claim of their own.
func (t target) request() *jotsmithv1.MintTokenRequest {
	return &jotsmithv1.MintTokenRequest{Profile: t.profile, Claims: `{"sub":"user-8d1f4c20"}`}
}

// mostStreams is how many calls may be under way on one connection: as many as the
// server takes.
const mostStreams = 128

// batchSize is the number of tokens in a batch.
const batchSize = 64

// batch is as many requests in one message.
func (t target) batch() *jotsmithv1.BatchMintTokensRequest {
	b := &jotsmithv1.BatchMintTokensRequest{}
	for range batchSize {
		b.Requests = append(b.Requests, t.request())
	}
	return b
}

// callers is a load of MintToken by so many callers on so many connections,
// each asking again as soon as it has its token.
func callers(t target, n, connections int) load {
	return t.load(n, connections, func(ctx context.Context, client jotsmithv1.TokenServiceClient) (int, error) {
		resp, err := client.MintToken(ctx, t.request())
		if err == nil && resp.GetToken() == "" {
			err = errors.New("answer without a token")
		}
		return 1, err
	})
}

// batches is a load of BatchMintTokens with batchSize tokens each.
func batches(t target, n, connections int) load {
	req := t.batch()
	return t.load(n, connections, func(ctx context.Context, client jotsmithv1.TokenServiceClient) (int, error) {
		resp, err := client.BatchMintTokens(ctx, req)
		if err != nil {
			return 0, err
		}
		return batchSize, tokensIn(resp)
	})
}

// tokensIn fails unless the answer to a batch is a token for each request.
func tokensIn(resp *jotsmithv1.BatchMintTokensResponse) error {
	if len(resp.GetResults()) != batchSize {
		return fmt.Errorf("%d results for %d requests", len(resp.GetResults()), batchSize)
	}
	for _, result := range resp.GetResults() {
		if result.GetToken().GetToken() == "" {
			return fmt.Errorf("result without a token: %s", result.GetError().GetMessage())
		}
	}
	return nil
}

func (t target) load(n, connections int, call func(context.Context, jotsmithv1.TokenServiceClient) (int, error)) load {
	return func(ctx context.Context, d time.Duration) (s sample, err error) {
		conns, err := t.dial(ctx, connections)
		if err != nil {
			return sample{}, err
		}
		defer func() { err = errors.Join(err, hangUp(conns)) }()
		clients := make([]jotsmithv1.TokenServiceClient, len(conns))
		for i, conn := range conns {
			clients[i] = jotsmithv1.NewTokenServiceClient(conn)
		}
		cpu := func() (time.Duration, error) { return cpuTime(t.pid) }
		return work(ctx, n, d, cpu, func(ctx context.Context, i int) (int, error) {
			return call(ctx, clients[i%len(clients)])
		})
	}
}
