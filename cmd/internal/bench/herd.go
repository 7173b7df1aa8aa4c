package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// The herd: callers who all want one token that nobody has made yet.
const (
	herdCallers = 10_000
	herdLimit   = time.Minute
	herdTitle   = "10,000 callers for one cold token (KMS emulator)"

	// herdHold is how long the proxy keeps the signature back at most, so that
	// all have asked before it is there: less than what backends/awskms gives
	// one try, for the next try would be a second Sign.
	herdHold = time.Second
)

// stampede is what came of a herd.
type stampede struct {
	callers, connections int

	waiting int // had asked when the Sign went on to the emulator
	signs   int // requests of the operation Sign
	tokens  int // different ones
	made    int // answers that say that the token was made for them
	took    time.Duration
}

// met says whether one signature served all.
func (s *stampede) met() bool { return s.signs == 1 && s.tokens == 1 && s.made == 1 }

func (s *stampede) table() table {
	return table{
		title:  herdTitle,
		header: []string{"callers", "connections", "asked before it was signed", "Sign requests", "tokens", "target", "met", "took"},
		rows: [][]string{{
			fmt.Sprint(s.callers), fmt.Sprint(s.connections), fmt.Sprint(s.waiting), fmt.Sprint(s.signs), fmt.Sprint(s.tokens),
			"1 Sign, 1 token", yesNo(s.met()), s.took.Round(time.Millisecond).String(),
		}},
	}
}

// herdRun has a server of its own, with its key in the emulator, answer the
// herd, and counts on the way to the emulator what is signed.
func (b *benchmark) herdRun(ctx context.Context, progress io.Writer) (err error) {
	if !b.only.MatchString(herdTitle) {
		return nil
	}
	if b.emulator == "" {
		b.notes = append(b.notes, herdTitle+": not installed: deploy/dev/kms.sh install")
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, herdLimit)
	defer cancel()
	h := newHerd(herdCallers)
	proxy, err := startCounting(ctx, b.emulator, h.hold)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, proxy.Close()) }()
	server, err := b.startOnEmulator(ctx, "herd", proxy.url)
	if err != nil {
		return err
	}
	b.herd, err = h.run(ctx, server, func() int { return int(proxy.signs.Load()) })
	if err != nil {
		return fmt.Errorf("%s: %w", herdTitle, err)
	}
	fmt.Fprintf(progress, "%d callers, %d Sign\n", b.herd.callers, b.herd.signs)
	return nil
}

// herd is the callers while they run. It sees as a stats.Handler of their
// connections when each has asked.
type herd struct {
	callers int
	running atomic.Bool  // what was sent before is no caller's
	asked   atomic.Int64 // callers whose request has been sent
	waiting atomic.Int64 // asked, when the Sign went on
	all     chan struct{}
}

func newHerd(callers int) *herd { return &herd{callers: callers, all: make(chan struct{})} }

// run has all callers ask at once for a token that is not there yet, over as
// few connections as the server allows. signs counts the signatures so far;
// those before the herd, of canaries and of first calls, are not the herd's.
func (h *herd) run(ctx context.Context, server target, signs func() int) (s *stampede, err error) {
	server = server.askingReused()
	conns, err := server.dial(ctx, (h.callers+mostStreams-1)/mostStreams, grpc.WithStatsHandler(h))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, hangUp(conns)) }()
	cold := &jotsmithv1.MintTokenRequest{Profile: reusedProfile, Claims: `{"sub":"herd-0badcafe"}`}
	answers := make([]*jotsmithv1.MintTokenResponse, h.callers)
	errs := make([]error, h.callers)
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range h.callers {
		group.Go(func() {
			<-start
			answers[i], errs[i] = jotsmithv1.NewTokenServiceClient(conns[i/mostStreams]).MintToken(ctx, cold)
		})
	}
	before := signs()
	h.running.Store(true)
	began := time.Now()
	close(start)
	group.Wait()
	s = &stampede{callers: h.callers, connections: len(conns), took: time.Since(began)}
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return nil, errs[i] // one of ten thousand says enough
	}
	s.signs, s.waiting = signs()-before, int(h.waiting.Load())
	s.count(answers)
	return s, nil
}

// count looks at what the callers got.
func (s *stampede) count(answers []*jotsmithv1.MintTokenResponse) {
	tokens := map[string]bool{}
	for _, answer := range answers {
		tokens[answer.GetToken()] = true
		if !answer.GetReused() {
			s.made++
		}
	}
	s.tokens = len(tokens)
}

// hold waits until all callers have asked, herdHold at most.
func (h *herd) hold() {
	if !h.running.Load() {
		return
	}
	timer := time.NewTimer(herdHold)
	defer timer.Stop()
	select {
	case <-h.all:
	case <-timer.C:
	}
	h.waiting.Store(h.asked.Load())
}

// HandleRPC takes note of a request that has been sent.
func (h *herd) HandleRPC(_ context.Context, event stats.RPCStats) {
	if _, sent := event.(*stats.OutPayload); sent && h.running.Load() && int(h.asked.Add(1)) == h.callers {
		close(h.all)
	}
}

// TagRPC does nothing.
func (h *herd) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// TagConn does nothing.
func (h *herd) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn does nothing.
func (h *herd) HandleConn(context.Context, stats.ConnStats) {}

// counting is a way to a KMS on which signatures are counted.
type counting struct {
	*http.Server
	url   string
	signs atomic.Int64
}

// startCounting listens on the loopback interface and passes everything on to
// a KMS, each Sign once hold has returned. The caller closes it.
func startCounting(ctx context.Context, kms string, hold func()) (*counting, error) {
	to, err := url.Parse(kms)
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &counting{url: "http://" + listener.Addr().String()}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // it is in the request's signature
	}}
	c.Server = &http.Server{
		ReadHeaderTimeout: herdLimit,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Amz-Target") == "TrentService.Sign" {
				c.signs.Add(1)
				hold()
			}
			proxy.ServeHTTP(w, r)
		}),
	}
	go c.Serve(listener) //nolint:errcheck // it ends with Close, and whoever asks sees why it does not answer
	return c, nil
}
