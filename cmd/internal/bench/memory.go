package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// The memory run: batches over several connections, so that a million tokens
// take about a minute.
const (
	memoryCallers = 8
	memoryLimit   = 5 * time.Minute
	memoryPoints  = 10
)

// holding is what a process held at some point of the run.
type holding struct {
	tokens int
	footprint
}

// held is what a process held before its work and after.
type held struct {
	name          string
	what          string
	before, after int
}

// memoryRun has a server of its own mint b.tokens tokens, and looks at it from
// outside ten times, before the first connection and after the last.
func (b *benchmark) memoryRun(ctx context.Context, progress io.Writer) error {
	if b.tokens == 0 || !b.only.MatchString("memory") {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, memoryLimit)
	defer cancel()
	server, _, err := b.startServer(ctx, store{name: "memory", uri: "file:" + b.dir, keyID: "key.p8"})
	if err != nil {
		return err
	}
	before, err := b.idle(ctx, server, footprint{fds: -1})
	if err != nil {
		return err
	}
	conns, err := server.dial(ctx, memoryCallers)
	if err != nil {
		return err
	}
	b.holdings = nil
	for minted := 0; minted < b.tokens; {
		n, err := mintBatches(ctx, conns, server.batch(), max(batchSize*memoryCallers, b.tokens/memoryPoints))
		if err != nil {
			return errors.Join(err, hangUp(conns))
		}
		minted += n
		f, err := footprintOf(server.pid)
		if err != nil {
			return errors.Join(err, hangUp(conns))
		}
		b.holdings = append(b.holdings, holding{minted, f})
		fmt.Fprintf(progress, "\r%d tokens, %d KiB ", minted, f.rss>>10)
	}
	fmt.Fprintln(progress)
	if err := hangUp(conns); err != nil {
		return err
	}
	after, err := b.idle(ctx, server, before)
	if err != nil {
		return err
	}
	b.held = append(b.held, held{"server", "file descriptors", before.fds, after.fds})
	return nil
}

// mintBatches mints n tokens or a few more and returns how many.
func mintBatches(ctx context.Context, conns []*grpc.ClientConn, req *jotsmithv1.BatchMintTokensRequest, n int) (int, error) {
	each := (n + batchSize*len(conns) - 1) / (batchSize * len(conns))
	errs := make(chan error, len(conns))
	for _, conn := range conns {
		client := jotsmithv1.NewTokenServiceClient(conn)
		go func() {
			for range each {
				resp, err := client.BatchMintTokens(ctx, req)
				if err == nil {
					err = tokensIn(resp)
				}
				if err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	var all []error
	for range conns {
		all = append(all, <-errs)
	}
	return each * batchSize * len(conns), errors.Join(all...)
}

// idle is what the server holds with no connection open. The server sees a
// moment later than the client that a connection is closed, so that it is given
// a second to come back to what was held before.
func (b *benchmark) idle(ctx context.Context, server target, before footprint) (footprint, error) {
	if before.fds < 0 { // its first look: wait until it listens
		conns, err := server.dial(ctx, 1)
		if err != nil {
			return footprint{}, err
		}
		if err := hangUp(conns); err != nil {
			return footprint{}, err
		}
		time.Sleep(200 * time.Millisecond)
		return footprintOf(server.pid)
	}
	for range 20 {
		f, err := footprintOf(server.pid)
		if err != nil || f.fds <= before.fds {
			return f, err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return footprintOf(server.pid)
}

// growth is the memory at the end over that after the first tenth.
func (b *benchmark) growth() float64 {
	if len(b.holdings) < 2 {
		return 1
	}
	return float64(b.holdings[len(b.holdings)-1].rss) / float64(b.holdings[0].rss)
}

// finishAgents has the agents close their stores and notes what is left.
func (b *benchmark) finishAgents() error {
	for _, agent := range b.agents {
		l, err := agent.finish()
		if err != nil {
			return err
		}
		b.held = append(b.held,
			held{agent.name, "goroutines", l.Before.Goroutines, l.After.Goroutines},
			held{agent.name, "file descriptors", l.Before.FDs, l.After.FDs})
	}
	return nil
}
