package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/jotsmith/jotsmith/cmd/internal/flood"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// order is what a child of the role flood does.
type order struct {
	Address, CA string
	Profile     string
	Time        time.Duration
	Parties     []party
}

// party is a caller of an order, with a certificate of its own.
type party struct {
	Certificate, Key string // files
	flood.Asks
}

// runFlood has all parties of an order ask at the same time, and writes the
// tally of all.
func runFlood(ctx context.Context, text string, out io.Writer) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	message, err := proto.Marshal(target{profile: o.Profile}.request())
	if err != nil {
		return err
	}
	all := make([]flood.Party, len(o.Parties))
	for i, p := range o.Parties {
		dial, err := o.dialer(p)
		if err != nil {
			return err
		}
		all[i] = flood.Party{Dial: dial, Asks: p.Asks}
	}
	tally, err := flood.Run(ctx, flood.Call{Method: jotsmithv1.TokenService_MintToken_FullMethodName, Message: message}, all, o.Time)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(tally)
}

// dialer makes a party's connections.
func (o order) dialer(p party) (flood.Dialer, error) {
	pair, err := tls.LoadX509KeyPair(p.Certificate, p.Key)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(o.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no certificate", o.CA)
	}
	dialer := &tls.Dialer{Config: &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: pool, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"},
	}}
	return func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", o.Address) }, nil
}
