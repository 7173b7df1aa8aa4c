package awskms_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/awskms"
	"github.com/jotsmith/jotsmith/backends/awskms/kmsfake"
)

// asked describes the key and returns what KMS saw of the caller.
func asked(t *testing.T, s *kmsfake.Server, id, uri string) kmsfake.Request {
	t.Helper()
	if _, err := open(t, uri).Describe(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return s.Last()
}

func TestSettingsOfTheEnvironmentAndTheProfile(t *testing.T) {
	s, id := startFake(t, newKey(t))
	shared := `
[default]
region = us-east-1

[profile signer]
region = eu-west-1
aws_access_key_id = OFTHEPROFILE
aws_secret_access_key = ` + secretKey + `
services = here

[services here]
kms =
  endpoint_url = ` + s.URL() + `
`
	withProfiles := func(t *testing.T) {
		fakeCredentials(t)
		file := filepath.Join(t.TempDir(), "aws")
		if err := os.WriteFile(file, []byte(shared), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("AWS_CONFIG_FILE", file)
		t.Setenv("AWS_ACCESS_KEY_ID", "")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	}
	t.Run("profile in the URI", func(t *testing.T) {
		withProfiles(t)
		if got := asked(t, s, id, "awskms:?profile=signer"); got.AccessKey != "OFTHEPROFILE" || got.Region != "eu-west-1" {
			t.Errorf("KMS saw %+v", got)
		}
	})
	t.Run("AWS_PROFILE", func(t *testing.T) {
		withProfiles(t)
		t.Setenv("AWS_PROFILE", "signer")
		if got := asked(t, s, id, "awskms:"); got.AccessKey != "OFTHEPROFILE" {
			t.Errorf("KMS saw %+v", got)
		}
	})
	t.Run("AWS_REGION and AWS_ENDPOINT_URL_KMS", func(t *testing.T) {
		fakeCredentials(t)
		t.Setenv("AWS_REGION", "eu-west-1")
		t.Setenv("AWS_ENDPOINT_URL_KMS", s.URL())
		if got := asked(t, s, id, "awskms:"); got.AccessKey != accessKey || got.Region != "eu-west-1" {
			t.Errorf("KMS saw %+v", got)
		}
	})
	t.Run("the URI comes before the environment", func(t *testing.T) {
		fakeCredentials(t)
		t.Setenv("AWS_REGION", "us-east-1")
		t.Setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1")
		if got := asked(t, s, id, s.URI()); got.Region != "eu-west-1" {
			t.Errorf("KMS saw %+v", got)
		}
	})
	t.Run("an unknown profile", func(t *testing.T) {
		withProfiles(t)
		wantOpenError(t, "awskms:?profile=nobody", "nobody")
	})
	t.Run("no Region", func(t *testing.T) {
		fakeCredentials(t)
		wantOpenError(t, "awskms:", "add region= to the URI, or set AWS_REGION")
	})
	t.Run("plain HTTP to another machine", func(t *testing.T) {
		fakeCredentials(t)
		t.Setenv("AWS_ENDPOINT_URL_KMS", "http://kms.example")
		wantOpenError(t, "awskms:?region=eu-west-1", "http is for loopback addresses only")
	})
	t.Run("a Region that is no name", func(t *testing.T) {
		fakeCredentials(t)
		t.Setenv("AWS_REGION", "evil.example/")
		wantOpenError(t, "awskms:", "not the name of a Region")
	})
	t.Run("a wrong URI", func(t *testing.T) {
		fakeCredentials(t)
		wantOpenError(t, "awskms:?colour=red", "unknown attribute")
	})
}

func wantOpenError(t *testing.T, uri, want string) {
	t.Helper()
	if _, err := awskms.Open(t.Context(), uri, discard()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Open(%s): %v, want an error with %q", uri, err, want)
	}
}

func TestRoles(t *testing.T) {
	fakeCredentials(t)
	m := startMinistack(t)
	s, id := startFake(t, newKey(t))
	const role = "arn:aws:iam::111122223333:role/minter"
	t.Run("role-arn", func(t *testing.T) {
		fakeCredentials(t)
		t.Setenv("AWS_ENDPOINT_URL_STS", m.url)
		got := asked(t, s, id, s.URI("role-arn="+role, "role-session-name=tests"))
		if got.AccessKey == accessKey || !strings.HasPrefix(got.AccessKey, "ASIA") {
			t.Errorf("KMS saw %+v, want the role's access key", got)
		}
	})
	t.Run("web identity", func(t *testing.T) {
		fakeCredentials(t)
		file := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(file, []byte("e30.e30.c2ln"), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("AWS_ACCESS_KEY_ID", "")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "")
		t.Setenv("AWS_ENDPOINT_URL_STS", m.url)
		t.Setenv("AWS_ROLE_ARN", role)
		t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", file)
		if got := asked(t, s, id, s.URI()); !strings.HasPrefix(got.AccessKey, "ASIA") {
			t.Errorf("KMS saw %+v, want the role's access key", got)
		}
	})
	t.Run("session name", func(t *testing.T) {
		fakeCredentials(t)
		var form string
		sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.ParseForm()
			form = r.Form.Encode()
			w.WriteHeader(http.StatusForbidden)
		}))
		defer sts.Close()
		t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)
		b := open(t, s.URI("role-arn="+role))
		_, err := b.Describe(t.Context(), id)
		wantFailure(t, err, "describe", backends.ErrAccessDenied)
		if want := "RoleSessionName=jotsmith"; !strings.Contains(form, want) {
			t.Errorf("STS was asked %s, want %s", form, want)
		}
	})
}

// Serving needs kms:Sign and kms:GetPublicKey and no other permission, and the
// log holds neither credentials nor signatures.
func TestServingUsesTwoOperationsAndLogsNoSecret(t *testing.T) {
	fakeCredentials(t)
	s, id := startFake(t, newKey(t))
	var log bytes.Buffer
	b, err := awskms.Open(t.Context(), s.URI(), slog.New(slog.NewJSONHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := b.Sign(t.Context(), id, backends.Digest{1}); err != nil {
			t.Fatal(err)
		}
	}
	s.Inject(kmsfake.Throttle(1))
	_, err = b.Sign(t.Context(), id, backends.Digest{1})
	wantFailure(t, err, "sign", backends.ErrThrottled)
	b.Close()
	if gets, signs := s.Calls(kmsfake.GetPublicKey), s.Calls(kmsfake.Sign); gets != 1 || signs != 4 {
		t.Errorf("%d GetPublicKey and %d Sign for four signatures, want 1 and 4", gets, signs)
	}
	if text := log.String(); !strings.Contains(text, `"key store is throttling"`) || strings.Contains(text, secretKey) {
		t.Errorf("the log is %s", text)
	}
}
