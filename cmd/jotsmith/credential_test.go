package main

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

func TestGitAnswersInTheFormThatItCanSend(t *testing.T) {
	token := &oauth2.Token{AccessToken: "a.b.c", Expiry: time.Unix(32503680000, 5)}
	for name, test := range map[string]struct{ question, want string }{
		"old": {
			"protocol=https\nhost=git.example.org\nusername=me\n\npassword=after the end\n",
			"username=me\npassword=a.b.c\npassword_expiry_utc=32503680000\n",
		},
		"new": {
			"capability[]=authtype\ncapability[]=state\nprotocol=https\nhost=git.example.org\nwwwauth[]=Basic realm=\"x\"\n",
			"capability[]=authtype\nauthtype=Bearer\ncredential=a.b.c\nephemeral=1\npassword_expiry_utc=32503680000\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			q, err := readGit(strings.NewReader(test.question))
			if err != nil {
				t.Fatal(err)
			}
			if q.protocol != "https" || q.host != "git.example.org" {
				t.Errorf("read %+v", q)
			}
			var out strings.Builder
			if err := q.write(&out, token); err != nil || out.String() != test.want {
				t.Errorf("%v: %q, want %q", err, out.String(), test.want)
			}
		})
	}
}

func TestGitIsNotToldThatATokenForOneUseIsOver(t *testing.T) {
	var out strings.Builder
	err := gitQuestion{username: "me"}.write(&out, &oauth2.Token{AccessToken: "a.b.c", Expiry: time.Now()})
	if err != nil || out.String() != "username=me\npassword=a.b.c\n" {
		t.Errorf("%v: %q", err, out.String())
	}
}

func TestGitInputIsRefusedWhereItIsNone(t *testing.T) {
	for _, text := range []string{"hello\n", "host=a\rb\n", "host=a\x00b\n", "path=" + strings.Repeat("x", maxGitInput)} {
		if _, err := readGit(strings.NewReader(text)); err == nil {
			t.Errorf("%.20q was taken", text)
		}
	}
}

func TestExecCredentialHasTheVersionThatIsAskedFor(t *testing.T) {
	for info, want := range map[string]string{
		"": "client.authentication.k8s.io/v1",
		`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}}`:      "client.authentication.k8s.io/v1",
		`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","spec":{"interactive":false}}`: "client.authentication.k8s.io/v1beta1",
		`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1alpha1"}`:                             "",
		`{"kind":"Secret","apiVersion":"client.authentication.k8s.io/v1"}`:                                           "",
		`{}`: "", `nonsense`: "",
	} {
		got, err := execCredentialVersion(info)
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", info, got, err, want)
		}
	}
}

func TestExecCredentialIsAsDocumented(t *testing.T) {
	var out strings.Builder
	err := execCredentialV1.write(&out, &oauth2.Token{AccessToken: "a.b.c", Expiry: time.Unix(1700000000, 999999999)})
	const want = `{
  "apiVersion": "client.authentication.k8s.io/v1",
  "kind": "ExecCredential",
  "spec": {},
  "status": {
    "expirationTimestamp": "2023-11-14T22:13:20Z",
    "token": "a.b.c"
  }
}
`
	if err != nil || out.String() != want {
		t.Errorf("%v: %s", err, out.String())
	}
}
