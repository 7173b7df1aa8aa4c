package awskms

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

const (
	connectTimeout     = time.Second
	credentialsTimeout = 5 * time.Second  // one request for credentials
	credentialsWindow  = 30 * time.Second // credentials are renewed so long before they expire
	defaultSessionName = "jotsmith"
)

// newClient loads the SDK's environment and shared config under the settings.
// It sends nothing: credentials are fetched by the first call.
func newClient(ctx context.Context, s settings) (*kms.Client, *http.Client, error) {
	// The SDK's own providers fetch credentials once in a while, through a
	// client that nobody can close: it keeps no connections.
	base := awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = connectTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.DisableKeepAlives = true
			t.TLSHandshakeTimeout = connectTimeout
		}).
		WithTimeout(credentialsTimeout)
	window := func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = credentialsWindow }
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(base),
		config.WithCredentialsCacheOptions(window),
		config.WithLogger(nil),
	}
	if s.region != "" {
		options = append(options, config.WithRegion(s.region))
	}
	if s.profile != "" {
		options = append(options, config.WithSharedConfigProfile(s.profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, nil, fmt.Errorf("AWS config: %w", err)
	}
	if cfg.Region == "" {
		return nil, nil, errors.New("no Region: add region= to the URI, or set AWS_REGION or the profile's region")
	}
	if !matches(regionPattern, cfg.Region) {
		return nil, nil, fmt.Errorf("%q, from the environment or the profile, is not the name of a Region", cfg.Region)
	}

	client := signingClient(cfg.HTTPClient, s.maxInFlight)
	if s.roleARN != "" {
		assume := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), s.roleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = defaultSessionName
			if s.roleSessionName != "" {
				o.RoleSessionName = s.roleSessionName
			}
		})
		cfg.Credentials = aws.NewCredentialsCache(assume, window)
	}
	store := kms.NewFromConfig(cfg, func(o *kms.Options) {
		o.HTTPClient = inMemory{client}
		o.Credentials = credentials{o.Credentials}
		// The SDK's retries back off for seconds and its adaptive mode delays
		// healthy calls too: the tries are in calls.go.
		o.Retryer = aws.NopRetryer{}
		if s.endpoint != "" {
			o.BaseEndpoint = aws.String(s.endpoint)
		}
	})
	if endpoint := store.Options().BaseEndpoint; endpoint != nil {
		if err := checkEndpoint(*endpoint); err != nil {
			return nil, nil, fmt.Errorf("KMS endpoint from the environment or the profile: %w", err)
		}
	}
	return store, client, nil
}

// signingClient takes the SDK's transport, with the proxy and the CA bundle
// that the environment names, and lets it keep one connection for each call in
// flight: the SDK's default of 10 opens a new connection for most calls.
func signingClient(from config.HTTPClient, maxInFlight int) *http.Client {
	var transport *http.Transport
	if buildable, ok := from.(*awshttp.BuildableClient); ok {
		transport = buildable.GetTransport()
	} else {
		transport = awshttp.NewBuildableClient().GetTransport()
	}
	transport.DisableKeepAlives = false
	transport.MaxIdleConns = 0
	transport.MaxIdleConnsPerHost = maxInFlight
	transport.MaxConnsPerHost = maxInFlight
	// A dead HTTP/2 connection is found and dropped; with HTTP/1.1 the try's
	// own end closes it.
	transport.HTTP2 = &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: tryTimeout}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// inMemory gives net/http a body that it knows to lie in memory, in place of
// the SDK's wrapper. A request is then one write, it is sent again when the
// server has closed a kept connection, and the connection is kept afterwards:
// the wrapper, once closed, fails the write that net/http has not quite ended,
// about once in a hundred calls.
type inMemory struct{ *http.Client }

func (c inMemory) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		r.Body, _ = r.GetBody()
	}
	return c.Client.Do(r) //nolint:gosec // to KMS, or where the operator says
}
