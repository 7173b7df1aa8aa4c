package jotsmith

import (
	"context"
	"io"
	"net/http"

	"golang.org/x/oauth2"
	"google.golang.org/grpc/credentials"
)

// TokenSource returns a source for whatever takes one of golang.org/x/oauth2. Its
// tokens expire at their refresh time, so that a wrapper that keeps them asks here
// in time; one that is for one use has expired when it is returned, so that no
// wrapper keeps it. ctx is that of every call.
func (c *Client) TokenSource(ctx context.Context, profile string, options ...Option) oauth2.TokenSource {
	return tokenSource(func() (*oauth2.Token, error) {
		token, err := c.Token(ctx, profile, options...)
		if err != nil {
			return nil, err
		}
		now := readClock()
		return &oauth2.Token{
			AccessToken: token.Reveal(), TokenType: "Bearer",
			Expiry: now.at.Round(0).Add(max(token.life.refresh-token.life.asked.age(now), 0)),
		}, nil
	})
}

type tokenSource func() (*oauth2.Token, error)

// Token returns a token.
func (s tokenSource) Token() (*oauth2.Token, error) { return s() }

// PerRPCCredentials returns credentials that put a token into the `authorization`
// of each call to another gRPC service. They are sent over TLS alone.
func (c *Client) PerRPCCredentials(profile string, options ...Option) credentials.PerRPCCredentials {
	return perRPC(func(ctx context.Context) (Token, error) { return c.Token(ctx, profile, options...) })
}

type perRPC func(context.Context) (Token, error)

// GetRequestMetadata returns what a call carries.
func (p perRPC) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	token, err := p(ctx)
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + token.Reveal()}, nil
}

// RequireTransportSecurity is true: a token is as good as a password.
func (perRPC) RequireTransportSecurity() bool { return true }

// Transport returns a RoundTripper that puts a token into the Authorization of each
// request and passes it to base, which is http.DefaultTransport where it is nil.
//
// Where the answer is 401 it asks for another token and repeats the request once, if
// the server has another, the body can be sent again (Request.GetBody) and the
// profile's tokens are not for one use. A redirect to another scheme, host or port
// gets no token.
func (c *Client) Transport(base http.RoundTripper, profile string, options ...Option) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{c.kept, base, requestOf(profile, options)}
}

type transport struct {
	kept    *keeper
	base    http.RoundTripper
	request Request
}

// RoundTrip makes the request.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if elsewhere(req) {
		return t.base.RoundTrip(req)
	}
	token, err := t.kept.token(req.Context(), t.request)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	resp, err := t.base.RoundTrip(authorized(req, token))
	if err != nil || resp.StatusCode != http.StatusUnauthorized || !again(req) {
		return resp, err
	}
	other, ok := t.kept.renew(req.Context(), t.request, token)
	if !ok {
		return resp, nil
	}
	repeated := authorized(req, other)
	if req.GetBody != nil {
		if repeated.Body, err = req.GetBody(); err != nil {
			return resp, nil //nolint:nilerr // the answer that there is stands
		}
	}
	// What is read to its end leaves the connection for the next request.
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
	return t.base.RoundTrip(repeated)
}

// authorized is a copy of a request, which a RoundTripper must not change.
func authorized(req *http.Request, token Token) *http.Request {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	return req
}

// again says whether a request can be sent once more.
func again(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

// elsewhere says whether a request follows a redirect away from where the program
// sent the first one: the answer of a server must not say who gets the token.
func elsewhere(req *http.Request) bool {
	first := req
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	return first.URL.Scheme != req.URL.Scheme || first.URL.Host != req.URL.Host
}
