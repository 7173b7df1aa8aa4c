package awskms

import (
	"net/http"
	"testing"

	"github.com/jotsmith/jotsmith/backends/awskms/kmsfake"
)

func TestEndpointIsTheBackendsOwn(t *testing.T) {
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KMS", "AWS_USE_FIPS_ENDPOINT", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	for uri, want := range map[string]string{
		"awskms:?region=eu-west-1":                                  "https://kms.eu-west-1.amazonaws.com",
		"awskms:?region=cn-north-1":                                 "https://kms.cn-north-1.amazonaws.com.cn",
		"awskms:?region=eu-west-1&endpoint=https://kms.example:444": "https://kms.example:444",
	} {
		client, got, err := Endpoint(t.Context(), uri)
		if err != nil || got != want {
			t.Errorf("Endpoint(%s) = %q, %v; want %q", uri, got, err, want)
			continue
		}
		client.CloseIdleConnections()
	}
	if _, _, err := Endpoint(t.Context(), "awskms:?regoin=x"); err == nil {
		t.Error("a malformed URI has an endpoint")
	}
}

func TestEndpointAnswersStrangersWithItsTime(t *testing.T) {
	server, err := kmsfake.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	client, url, err := Endpoint(t.Context(), "awskms:?region=eu-west-1&endpoint="+server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is read of it
	if _, err := http.ParseTime(resp.Header.Get("Date")); err != nil || resp.StatusCode < 400 {
		t.Errorf("%s, %v", resp.Status, err)
	}
}
