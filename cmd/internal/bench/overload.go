package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/jotsmith/jotsmith/backends/awskms/kmsfake"
	"github.com/jotsmith/jotsmith/cmd/internal/flood"
)

// The runs under more load than the server can bear: its parties, and the store
// that is the limit in one of them.
const (
	overloadTitle = "Ten times the load"

	fairParties   = 8
	fairConns     = 2 // of each
	fairStreams   = 4 // on each of them: enough to keep the server busy
	floodingConns = 8 // of the party that floods
	tenTimes      = 10

	slowSign     = 20 * time.Millisecond
	slowInFlight = 16
	slowQueue    = 64

	// Calls of a pace begin several at once. Finer ticks would be most of the
	// machine's work where there are many, coarser ones have them wait for each
	// other.
	coarseTick, fineTick = 5 * time.Millisecond, time.Millisecond

	// A flood begins before the others are measured and ends after them.
	floodLead = time.Second
)

// strain is a line of the table: what came of a load.
type strain struct {
	name     string
	rate     float64
	p50, p99 time.Duration
	against  string
	ratio    float64 // 0 is none
	bound    bound
}

func strainTable(strains []strain) table {
	t := table{title: overloadTitle, header: []string{"what", "per second", "p50", "p99", "compared to", "ratio", "target", "met"}}
	for _, s := range strains {
		ratio, target, met := "", "", ""
		if s.ratio != 0 {
			ratio = fmt.Sprintf("%.2f", s.ratio)
		}
		if s.bound != (bound{}) {
			target, met = s.bound.String(), yesNo(s.bound.met(s.ratio))
		}
		t.rows = append(t.rows, []string{
			s.name, fmt.Sprintf("%.0f", s.rate), milliseconds(s.p50), milliseconds(s.p99), s.against, ratio, target, met,
		})
	}
	return t
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}

// overloadRun puts more load on two servers than they can bear: one whose own
// signatures are the limit, and one whose key store is.
func (b *benchmark) overloadRun(ctx context.Context, progress io.Writer) error {
	if b.overload == 0 || !b.only.MatchString(overloadTitle) {
		return nil
	}
	fmt.Fprintf(progress, "%s, %s each time\n", overloadTitle, b.overload)
	if err := b.overloadFile(ctx); err != nil {
		return fmt.Errorf("%s: %w", overloadTitle, err)
	}
	if err := b.overloadStore(ctx); err != nil {
		return fmt.Errorf("%s, slow store: %w", overloadTitle, err)
	}
	return nil
}

// overloadFile is the server with its key in a file, where processors are the
// limit: everybody asks for ten times as much, and one party does while the
// others ask for as much as before.
func (b *benchmark) overloadFile(ctx context.Context) error {
	_, server, err := b.startServer(ctx, store{name: "overload", uri: "file:" + b.dir, keyID: "key.p8", tls: true})
	if err != nil {
		return err
	}
	fair := flood.Asks{Connections: fairConns, Streams: fairStreams}
	busy := fmt.Sprintf("%d callers with %d calls each", fairParties, fairConns*fairStreams)
	bears, _, err := b.tenfold(ctx, server, fair, coarseTick, busy, "")
	if err != nil {
		return err
	}
	others, err := b.parties("party", fairParties-1, fair)
	if err != nil {
		return err
	}
	flooding, err := b.parties("flooding", 1, flood.Asks{Connections: floodingConns, Streams: mostStreams})
	if err != nil {
		return err
	}
	rest, flooded, err := b.besides(ctx, server, others, flooding)
	if err != nil {
		return err
	}
	calm, one := of(rest, codes.OK), of(flooded, codes.OK)
	b.strains = append(b.strains, strain{
		name: fmt.Sprintf("%d of them beside one with %d calls", fairParties-1, floodingConns*mostStreams),
		rate: calm.rate, p50: calm.P50, p99: calm.P99,
		against: busy + ", p99", ratio: float64(calm.P99) / float64(bears.P99), bound: atMost(2),
	}, strain{name: "that one", rate: one.rate, p50: one.P50, p99: one.P99})
	return nil
}

// overloadStore is the server with a key in a store that takes its time: the
// server has processors to spare, and refuses what the store cannot do.
func (b *benchmark) overloadStore(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	_, answer, err := b.startPiped(ctx, ready, self, nil, roleKMS, b.path("key.p8"), slowSign.String())
	if err != nil {
		return err
	}
	endpoint, arn, _ := strings.Cut(answer, " ")
	_, server, err := b.startServer(ctx, store{
		name: "slow", uri: "awskms:?region=" + kmsfake.Region + "&endpoint=" + endpoint + "&rate=100000", keyID: arn,
		env: b.awsEnvironment(), tls: true, more: fmt.Sprintf(", max_in_flight: %d, max_queue: %d", slowInFlight, slowQueue),
	})
	if err != nil {
		return err
	}
	fair := flood.Asks{Connections: 1, Streams: 2 * slowInFlight / fairParties}
	busy := fmt.Sprintf("a store that takes %s, %d at once", slowSign, slowInFlight)
	_, tenfold, err := b.tenfold(ctx, server, fair, fineTick, busy, " of it")
	if err != nil {
		return err
	}
	refused := of(tenfold, codes.ResourceExhausted)
	b.strains = append(b.strains, strain{
		name: "of those, refused with OVERLOADED", rate: refused.rate, p50: refused.P50, p99: refused.P99,
		against: "1 ms, p50", ratio: float64(refused.P50) / float64(time.Millisecond), bound: atMost(1),
	})
	return nil
}

// tenfold measures what a server gives to callers that ask fairly, which is its
// capacity, and then what it gives to the same when each wants ten times his part
// of it. Capacity is looked at before and after, so that a machine that becomes
// faster or slower meanwhile falsifies nothing; its mean rate counts, and the
// latencies of the later look, which what follows is nearest to.
func (b *benchmark) tenfold(ctx context.Context, server target, fair flood.Asks, tick time.Duration, busy, what string) (bears answered, tenfold flood.Tally, err error) {
	if err := server.answers(ctx); err != nil {
		return bears, tenfold, err
	}
	all, err := b.parties("party", fairParties, fair)
	if err != nil {
		return bears, tenfold, err
	}
	before, err := b.flood(ctx, server, b.overload/2, all)
	if err != nil {
		return bears, tenfold, err
	}
	greedy := slices.Clone(all)
	for i := range greedy {
		greedy[i].Streams, greedy[i].Pace, greedy[i].Tick = mostStreams, tenTimes*before.Of(codes.OK)/fairParties, tick
	}
	if tenfold, err = b.flood(ctx, server, b.overload, greedy); err != nil {
		return bears, tenfold, err
	}
	after, err := b.flood(ctx, server, b.overload/2, all)
	if err != nil {
		return bears, tenfold, err
	}
	bears, got := of(after, codes.OK), of(tenfold, codes.OK)
	bears.rate = (before.Of(codes.OK) + after.Of(codes.OK)) / 2
	b.strains = append(b.strains, strain{name: busy, rate: bears.rate, p50: bears.P50, p99: bears.P99}, strain{
		name: fmt.Sprintf("%d callers who want %d times as much%s", fairParties, tenTimes, what),
		rate: got.rate, p50: got.P50, p99: got.P99,
		against: busy + ", rate", ratio: got.rate / bears.rate, bound: atLeast(0.9),
	})
	return bears, tenfold, nil
}

// answers waits until the server does.
func (t target) answers(ctx context.Context) error {
	conns, err := t.dial(ctx, 1)
	if err != nil {
		return err
	}
	return hangUp(conns)
}

// parties are callers that ask alike, each with a certificate.
func (b *benchmark) parties(name string, n int, asks flood.Asks) ([]party, error) {
	all := make([]party, n)
	for i := range all {
		name := name + "-" + strconv.Itoa(i)
		all[i] = party{b.path(name + ".pem"), b.path(name + ".key"), asks}
		pair, err := b.ca.client(name)
		if err != nil {
			return nil, err
		}
		if err := b.writePair(name+".pem", name+".key", pair); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// flood has parties ask in a process of their own.
func (b *benchmark) flood(ctx context.Context, server target, d time.Duration, parties []party) (flood.Tally, error) {
	text, err := json.Marshal(order{
		Address: strings.TrimPrefix(server.address, "dns:///"), CA: b.path(caCert), Profile: server.profile, Time: d, Parties: parties,
	})
	if err != nil {
		return flood.Tally{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return flood.Tally{}, err
	}
	cmd := b.command(ctx, self, nil, roleFlood, string(text))
	var out, wrong bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &wrong
	if err := cmd.Run(); err != nil {
		return flood.Tally{}, fmt.Errorf("%w: %s", err, strings.TrimSpace(wrong.String()))
	}
	var tally flood.Tally
	err = json.Unmarshal(out.Bytes(), &tally)
	return tally, err
}

// besides has parties ask while others flood the server.
func (b *benchmark) besides(ctx context.Context, server target, parties, flooding []party) (theirs, floods flood.Tally, err error) {
	ended := make(chan error, 1)
	go func() {
		var err error
		floods, err = b.flood(ctx, server, b.overload+2*floodLead, flooding)
		ended <- err
	}()
	select {
	case err := <-ended:
		return theirs, floods, err
	case <-time.After(floodLead):
	}
	theirs, err = b.flood(ctx, server, b.overload, parties)
	if floodErr := <-ended; err == nil {
		err = floodErr
	}
	return theirs, floods, err
}

// answered are the calls that ended with a code, and how many in a second.
type answered struct {
	flood.Answers
	rate float64
}

func of(t flood.Tally, code codes.Code) answered { return answered{t.Answers[code], t.Of(code)} }
