package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/cmd/internal/proxy"
)

// proxyFlags are the flags of `jotsmith proxy`.
type proxyFlags struct {
	wanted     wanted
	to         string
	listen     string
	secretFile string
	maxCalls   int
}

func newProxy() *cobra.Command {
	var f proxyFlags
	cmd := &cobra.Command{
		Use:   "proxy --to URL --profile P",
		Short: "Put a token into the requests of programs of this machine",
		Long: `Listen on the loopback interface or on a Unix socket, and send each request on to
URL with a token in its Authorization header. One that came with the request is
replaced. A tool that can only sign with a .p8 file of its own then needs no real
one. The tool's base URL is printed on standard output.

Whoever can connect can use the token at URL. On a loopback port that is every
process of the machine, of other users too: give it --secret-file, and the base URL
ends with the secret, or listen on unix:PATH, whose socket has mode 0600. What a
browser sends for a page is refused.

Nothing is followed: a redirect, or an absolute link in an answer, leads the tool
past the proxy, where it has no token. A 401 has the token renewed once, and the
request repeated if its body has at most 64 KiB and its length was said.`,
		Example: `  jotsmith proxy --to https://api.appstoreconnect.apple.com --profile asc --listen 127.0.0.1:8099
  jotsmith proxy --to https://api.appstoreconnect.apple.com --profile asc --listen unix:/run/user/1000/asc.sock
  curl --unix-socket /run/user/1000/asc.sock http://localhost/v1/apps`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.to, "to", "", "the server, https://HOST[/PATH]; http:// for a loopback address alone")
	flags.StringVar(&f.listen, "listen", "127.0.0.1:0", "127.0.0.1:PORT, [::1]:PORT or unix:PATH; port 0 is any that is free")
	flags.StringVar(&f.secretFile, "secret-file", "", "a file with 16 characters or more of A-Z a-z 0-9 _ -, which each path must begin with")
	flags.IntVar(&f.maxCalls, "max-calls", 64, "how many requests may be under way at once")
	f.wanted.addFlags(flags)
	for _, name := range []string{"to", "profile"} {
		_ = cmd.MarkFlagRequired(name) // the flag exists
	}
	return cmd
}

// The bounds of the proxy's own connections. What goes through takes what time it
// takes.
const (
	proxyConnections = 256
	proxyAnswerTime  = 2 * time.Minute // until the server begins to answer
	proxyGrace       = 10 * time.Second
)

func (f *proxyFlags) run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
	to, err := f.upstream()
	if err != nil {
		return fail(exitUsage, err)
	}
	where, err := f.address()
	if err != nil {
		return fail(exitUsage, err)
	}
	secret, err := f.secret()
	if err != nil {
		return fail(exitUsage, err)
	}
	if f.maxCalls < 1 {
		return fail(exitUsage, errors.New("--max-calls is at least 1"))
	}
	options, err := f.wanted.options(stdin)
	if err != nil {
		return err
	}
	c, err := f.wanted.connect()
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // the process ends

	l := &listener{address: where, own: proxyConnections}
	if err := l.listen(ctx, nil); err != nil {
		return fail(exitFailure, err)
	}
	base, hosts := "unix:"+l.name, []string(nil)
	if l.network == "tcp" {
		_, port, _ := net.SplitHostPort(l.name) // which the listener itself has written
		base, hosts = "http://"+l.name, []string{l.name, net.JoinHostPort("localhost", port)}
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	// The connections are looked after by net/http; a server that never begins to
	// answer is not waited for.
	upstream := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: proxyAnswerTime, IdleConnTimeout: 90 * time.Second,
		MaxIdleConnsPerHost: f.maxCalls, DisableCompression: true,
	}
	server := newHTTPServer(ctx, nil, log)
	server.server.Handler = proxy.New(proxy.Config{
		To: to, Transport: c.Transport(upstream, f.wanted.profile, options...), Hosts: hosts, Secret: secret, MaxCalls: f.maxCalls, Log: log,
	})
	server.server.ReadTimeout, server.server.WriteTimeout = 0, 0 // what is streamed may take long
	fmt.Fprintln(stdout, base)
	return fail(exitFailure, errors.Join(serveUntil(ctx, server, l), l.remove()))
}

// serveUntil answers until ctx ends, and then for as long as the grace lets it.
func serveUntil(ctx context.Context, server *httpServer, l *listener) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		defer time.AfterFunc(proxyGrace, server.Stop).Stop()
		server.GracefulStop()
	})
	err := server.Serve(l.listener)
	if !stop() { // it has begun
		<-stopped
	}
	return err
}

// upstream returns where requests are sent.
func (f *proxyFlags) upstream() (*url.URL, error) {
	to, err := url.Parse(f.to)
	switch {
	case err != nil || to.Host == "" || to.User != nil || to.RawQuery != "" || to.Fragment != "" || to.Opaque != "":
		return nil, errors.New("--to is https://HOST, with a path at most")
	case to.Scheme == "https":
		return to, nil
	}
	if host, err := netip.ParseAddr(to.Hostname()); to.Scheme != "http" || err != nil || !host.IsLoopback() {
		return nil, errors.New("--to: a token is sent over https alone, or over http to a loopback address")
	}
	return to, nil
}

// address returns where to listen.
func (f *proxyFlags) address() (address, error) {
	if path, ok := strings.CutPrefix(f.listen, "unix:"); ok {
		return address{"unix", strings.TrimPrefix(path, "//"), 0o600}, nil
	}
	at, err := netip.ParseAddrPort(f.listen)
	if err != nil || !at.Addr().IsLoopback() || at.Addr().Is4In6() {
		return address{}, fmt.Errorf("--listen is 127.0.0.1:PORT, [::1]:PORT or unix:PATH, not %q: whoever connects can use the token", f.listen)
	}
	return address{network: "tcp", name: f.listen}, nil
}

// goodSecret is what a path can have as it is, and nobody guesses.
var goodSecret = regexp.MustCompile(`^[A-Za-z0-9_-]{16,128}$`)

// secret reads the secret; empty where none is wanted.
func (f *proxyFlags) secret() (string, error) {
	if f.secretFile == "" {
		return "", nil
	}
	data, err := backends.ReadSecretFile(f.secretFile, 1<<10)
	if err != nil {
		return "", fmt.Errorf("--secret-file: %w", err)
	}
	text := strings.TrimSpace(string(data))
	if !goodSecret.MatchString(text) {
		return "", fmt.Errorf("--secret-file: %s has no line of 16 characters or more of A-Z a-z 0-9 _ -", f.secretFile)
	}
	return text, nil
}
