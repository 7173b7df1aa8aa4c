package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"google.golang.org/grpc"
)

// What the program has to keep to besides speed.
const (
	smallTitle = "The program"
	mostSize   = 40 << 20
	mostStart  = 50 * time.Millisecond

	// starts is how often the server is started for the median.
	starts = 9
	// knock is how often a server that is starting is asked.
	knock = time.Millisecond
)

// small is how large the program is, and how soon it has a token.
type small struct {
	size  int64
	start time.Duration // from the start of the process to the token in its caller's hands
}

func (s *small) table() table {
	return table{
		title:  smallTitle,
		header: []string{"what", "measured", "target", "met"},
		rows: [][]string{
			{"size, stripped, with all backends", mebibytes(s.size), "≤ " + mebibytes(mostSize), yesNo(s.size <= mostSize)},
			{"start to the first token, key in a file", milliseconds(s.start), "≤ " + milliseconds(mostStart), yesNo(s.start <= mostStart)},
		},
	}
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// smallRun builds the program as it is shipped and starts it some times.
func (b *benchmark) smallRun(ctx context.Context, progress io.Writer) error {
	if !b.only.MatchString(smallTitle) {
		return nil
	}
	stripped := b.path("stripped")
	if err := b.build(ctx, stripped, nil, "-trimpath", "-ldflags", "-s -w"); err != nil {
		return err
	}
	info, err := os.Stat(stripped)
	if err != nil {
		return err
	}
	took := make([]time.Duration, min(starts, max(b.rounds, 1)))
	for i := range took {
		if took[i], err = b.startOnce(ctx, fmt.Sprintf("start-%d", i)); err != nil {
			return fmt.Errorf("%s: %w", smallTitle, err)
		}
	}
	slices.Sort(took)
	b.small = &small{info.Size(), took[len(took)/2]}
	fmt.Fprintf(progress, "%d starts\n", len(took))
	return nil
}

// startOnce is how long it takes a server from the start of its process until
// somebody who waits for it has a token.
func (b *benchmark) startOnce(ctx context.Context, name string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	var began time.Time
	server, _, err := b.startServer(ctx, store{name: name, uri: "file:" + b.dir, keyID: "key.p8", starting: func() { began = time.Now() }})
	if err != nil {
		return 0, err
	}
	conn, err := grpc.NewClient(server.address, server.options()...)
	if err != nil {
		return 0, err
	}
	defer conn.Close() //nolint:errcheck // it has served
	for {
		_, err := jotsmithv1.NewTokenServiceClient(conn).MintToken(ctx, server.request())
		if err == nil {
			return time.Since(began), nil
		}
		conn.ResetConnectBackoff()
		select {
		case <-ctx.Done():
			return 0, err
		case <-time.After(knock):
		}
	}
}
