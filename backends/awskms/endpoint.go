package awskms

import (
	"context"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// Endpoint returns where the backend of a URI sends its requests, and a client
// that reaches it as the backend does, through the same proxy and CAs. Nothing
// is sent, and what is sent through the client has no credentials: KMS refuses
// it, with its clock in the answer. The caller closes the client's idle
// connections.
func Endpoint(ctx context.Context, uri string) (*http.Client, string, error) {
	s, err := parseBackendURI(uri)
	if err != nil {
		return nil, "", err
	}
	store, client, err := newClient(ctx, s)
	if err != nil {
		return nil, "", fmt.Errorf("open %s: %w", Scheme, err)
	}
	options := store.Options()
	resolved, err := options.EndpointResolverV2.ResolveEndpoint(ctx, kms.EndpointParameters{
		Region:       &options.Region,
		Endpoint:     options.BaseEndpoint,
		UseFIPS:      aws.Bool(options.EndpointOptions.UseFIPSEndpoint == aws.FIPSEndpointStateEnabled),
		UseDualStack: aws.Bool(options.EndpointOptions.UseDualStackEndpoint == aws.DualStackEndpointStateEnabled),
	})
	if err != nil {
		return nil, "", fmt.Errorf("open %s: %w", Scheme, err)
	}
	return client, resolved.URI.String(), nil
}
