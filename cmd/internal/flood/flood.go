// Package flood asks one thing of a gRPC server again and again, at a steady
// pace or as fast as it is answered. It writes HTTP/2 frames without a gRPC
// library, which makes a call cost a tenth: whoever measures how a server bears
// more than it can do has the same cores to do it with.
package flood

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Dialer makes a connection on which the server expects HTTP/2.
type Dialer func(context.Context) (net.Conn, error)

// Call is what is asked.
type Call struct {
	Method  string // as in /package.Service/Method
	Message []byte // the request, marshalled
}

// Party asks over connections of its own.
type Party struct {
	Dial Dialer
	Asks
}

// Asks is how much a party asks.
type Asks struct {
	Connections int
	Streams     int // calls under way on one connection at most
	// Pace is how many calls begin in a second, over all connections, whatever
	// comes of them; what finds no free stream then is not asked. 0 asks again on
	// each stream as soon as it is answered.
	Pace float64
	// Tick is how often the calls of a pace are begun, several at once.
	Tick time.Duration
}

// Run has all parties ask from the moment that the last of them is connected
// until d is over, waits for the last answers, and says what came.
func Run(ctx context.Context, call Call, parties []Party, d time.Duration) (Tally, error) {
	var conns []*conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for _, p := range parties {
		for range p.Connections {
			c, err := open(ctx, call, p)
			if err != nil {
				return Tally{}, err
			}
			conns = append(conns, c)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	began := time.Now()
	var wg sync.WaitGroup
	errs := make([]error, len(conns))
	for i, c := range conns {
		wg.Go(func() { errs[i] = c.run(ctx) })
	}
	wg.Wait()
	return sum(time.Since(began), conns), errors.Join(errs...)
}
