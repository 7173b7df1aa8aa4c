package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

const (
	watchersTitle = "10,000 watchers"
	watchers      = 10_000
	watchersLimit = 2 * time.Minute
	mostOfWatcher = 10 << 10 // bytes
)

// watchersRun opens ten thousand watches of one profile, each of which gets its
// token, and looks from outside how much larger the server has become.
func (b *benchmark) watchersRun(ctx context.Context, progress io.Writer) (err error) {
	if !b.only.MatchString(watchersTitle) {
		return nil
	}
	fmt.Fprintln(progress, watchersTitle)
	ctx, cancel := context.WithTimeout(ctx, watchersLimit)
	defer cancel()
	server, _, err := b.startServer(ctx, store{
		name: "watchers", uri: "file:" + b.dir, keyID: "key.p8",
		limits: fmt.Sprintf("limits: {max_watches: %d, max_watches_per_caller: %d}", watchers, watchers),
	})
	if err != nil {
		return err
	}
	bare, err := b.startBare(ctx, "watchers-bare", bareTuned)
	if err != nil {
		return err
	}
	floor, _, err := watchersOf(ctx, bare)
	if err != nil {
		return fmt.Errorf("%s, bare: %w", watchersTitle, err)
	}
	each, took, err := watchersOf(ctx, server.askingReused())
	if err != nil {
		return fmt.Errorf("%s: %w", watchersTitle, err)
	}
	b.watched = []measure{
		{name: "memory of a watcher", measured: kibibytes(each), against: "bare tuned, " + kibibytes(floor), ratio: float64(each) / float64(floor), target: "≤ " + kibibytes(mostOfWatcher), met: each <= mostOfWatcher},
		{name: "until all have their token", measured: took.Round(time.Millisecond).String()},
	}
	return nil
}

func kibibytes(n int64) string { return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10)) }

// watchersOf is how much memory a server has for each watch, and how long it takes
// until all have their token.
func watchersOf(ctx context.Context, server target) (each int64, took time.Duration, err error) {
	conns, err := server.dial(ctx, (watchers+mostStreams-1)/mostStreams)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, hangUp(conns)) }()
	before, err := footprintOf(server.pid)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := watchAll(ctx, server, conns); err != nil {
		return 0, 0, err
	}
	took = time.Since(began)
	time.Sleep(2 * time.Second) // the collector's
	after, err := footprintOf(server.pid)
	return (after.rss - before.rss) / watchers, took, err
}

// watchAll opens the watches and returns when each has its first token. They stay
// until ctx ends or the connections do. As no client gives a watch a deadline, they
// have none: ctx's would be one, and costs a server 0.8 KiB each.
func watchAll(ctx context.Context, server target, conns []*grpc.ClientConn) error {
	open, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, cancel)
	var opening errgroup.Group
	for i, conn := range conns {
		client := jotsmithv1.NewTokenServiceClient(conn)
		opening.Go(func() error {
			for range min(mostStreams, watchers-i*mostStreams) {
				stream, err := client.WatchToken(open, &jotsmithv1.WatchTokenRequest{Request: server.request()})
				if err != nil {
					return err
				}
				if _, err := stream.Recv(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return opening.Wait()
}
