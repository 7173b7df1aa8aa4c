// Command serve runs the stand-in for the App Store Connect API on a loopback
// address until it is interrupted, and prints its URL:
//
//	go run ./clients/conformance/standin/serve --issuer UUID --jwks FILE
package main

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jotsmith/jotsmith/clients/conformance/standin"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) //nolint:forbidigo // main starts the root context
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "standin:", err)
		stop()
		os.Exit(1) //nolint:forbidigo,gocritic // main ends the program; what is deferred has been done
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("standin", flag.ContinueOnError)
	address := flags.String("listen", "127.0.0.1:0", "the address to listen on")
	issuer := flags.String("issuer", "57246542-96fe-1a63-e053-0824d011072a", "the issuer id of the team")
	jwks := flags.String("jwks", "", "a JWK Set with the team's public keys, read again for each request")
	if err := flags.Parse(args); err != nil {
		return err
	}
	read := func() (map[string]*ecdsa.PublicKey, error) { return standin.ReadKeys(*jwks) }
	if _, err := read(); err != nil {
		return fmt.Errorf("--jwks: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *address)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           standin.New(standin.Config{Issuer: *issuer, Keys: read, Now: time.Now}),
		ReadHeaderTimeout: 10 * time.Second,
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	fmt.Fprintf(os.Stdout, "http://%s\n", listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
