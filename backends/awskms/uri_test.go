package awskms_test

import (
	"strings"
	"testing"

	"github.com/jotsmith/jotsmith/backends/awskms"
)

const someARN = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

func TestCheckURIAccepts(t *testing.T) {
	for _, uri := range []string{
		"awskms:",
		"awskms:///",
		"awskms:?region=eu-west-1",
		"awskms:///?region=us-gov-west-1",
		"awskms:?region=eu-west-1&profile=prod&role-arn=arn:aws:iam::111122223333:role/path/minter&role-session-name=a%2Bb@c&rate=1&max-in-flight=4096",
		"awskms:?endpoint=http://127.0.0.1:5000", "awskms:?endpoint=http://[::1]:5000/", "awskms:?endpoint=http://localhost:5000",
		"awskms:?endpoint=https://vpce-0123.kms.eu-west-1.vpce.amazonaws.com",
		"awskms:?profile=two%20words",
	} {
		if err := awskms.CheckURI(uri); err != nil {
			t.Errorf("%s: %v", uri, err)
		}
	}
}

// Each message names the mistake or the mend.
func TestCheckURIRefuses(t *testing.T) {
	for uri, want := range map[string]string{
		"":                                   `scheme is "", want awskms`,
		"file:///x":                          `scheme is "file"`,
		"awskms://eu-west-1/alias/x":         "has a host: write three slashes",
		"awskms://user@/alias/x":             "has a host",
		"awskms:#x":                          "fragment",
		"awskms:alias/x":                     `names the key "alias/x": leave it out`,
		"awskms:///alias/x?region=eu-west-1": `names the key "alias/x"`,
		"awskms:?regoin=eu-west-1":           "known are endpoint, max-in-flight, profile, rate, region, role-arn, role-session-name",
		"awskms:?Region=eu-west-1":           `unknown attribute "Region"`,
		"awskms:?region=a-1&region=a-1":      "region is given twice",
		"awskms:?region=":                    "region is empty",
		"awskms:?region":                     "region is empty",
		"awskms:?region=ireland":             "such as eu-west-1",
		"awskms:?region=evil.example-1":      "such as eu-west-1",
		"awskms:?region=eu-west-1;rate=3":    "malformed attributes",
		"awskms:?region=%zz":                 "malformed attributes",
		"awskms:?profile=a%0ab":              "profile",
		"awskms:?role-arn=minter":            "arn:aws:iam::111122223333:role/NAME",
		"awskms:?role-session-name=abc":      "without role-arn",
		"awskms:?role-arn=arn:aws:iam::111122223333:role/r&role-session-name=a+b": "write %2B for +",
		"awskms:?rate=0":                           "1 to 100000",
		"awskms:?rate=1.5":                         "1 to 100000",
		"awskms:?rate=999999999999999999999":       "1 to 100000",
		"awskms:?max-in-flight=4097":               "1 to 4096",
		"awskms:?endpoint=http://kms.example":      "plain HTTP to another machine",
		"awskms:?endpoint=http://127.0.0.1.evil":   "plain HTTP to another machine",
		"awskms:?endpoint=http://10.0.0.1:80":      "plain HTTP to another machine",
		"awskms:?endpoint=127.0.0.1:5000":          "want https://HOST",
		"awskms:?endpoint=ftp://127.0.0.1":         "want https://HOST",
		"awskms:?endpoint=https://u:p@kms.example": "want https://HOST",
		"awskms:?endpoint=https://kms.example/x":   "want https://HOST",
		"awskms:%zz":                               "malformed",
		"awskms:\x00":                              "malformed",
	} {
		err := awskms.CheckURI(uri)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", uri, err, want)
		}
	}
}

func TestSplitKeyURI(t *testing.T) {
	for uri, want := range map[string][2]string{
		"awskms:///alias/a/b?region=eu-west-1":                         {"awskms:?region=eu-west-1", "alias/a/b"},
		"awskms:alias/a?rate=5":                                        {"awskms:?rate=5", "alias/a"},
		"awskms:alias%2Fa":                                             {"awskms:", "alias/a"},
		"awskms:" + someARN:                                            {"awskms:?region=eu-west-1", someARN},
		"awskms:///" + someARN + "?rate=5":                             {"awskms:?rate=5&region=eu-west-1", someARN},
		"awskms:///" + someARN + "?region=eu-west-1":                   {"awskms:?region=eu-west-1", someARN},
		"awskms:///1234abcd-12ab-34cd-56ef-1234567890ab":               {"awskms:", "1234abcd-12ab-34cd-56ef-1234567890ab"},
		"awskms:mrk-1234abcd12ab34cd56ef1234567890ab":                  {"awskms:", "mrk-1234abcd12ab34cd56ef1234567890ab"},
		"awskms:arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/x": {"awskms:?region=us-gov-west-1", "arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/x"},
	} {
		backendURI, keyID, err := awskms.SplitKeyURI(uri)
		if got := [2]string{backendURI, keyID}; err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", uri, got, err, want)
		}
	}
	for uri, want := range map[string]string{
		"awskms:":                          "names no key: write awskms:///alias/NAME",
		"awskms:tokens":                    "alias/NAME with the word alias",
		"awskms:alias/":                    "malformed alias",
		"awskms:alias/a%20b":               "malformed alias",
		"awskms:alias/a?colour=red":        "unknown attribute",
		"awskms:arn:aws:kms:eu-west-1:1:x": "malformed ARN",
		"awskms:arn:aws:kms:eu-west-1:111122223333:grant/x": "no key and no alias",
		"awskms:" + someARN + "?region=us-east-1":           "use a backend with region=eu-west-1",
	} {
		if _, _, err := awskms.SplitKeyURI(uri); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", uri, err, want)
		}
	}
}

func FuzzURI(f *testing.F) {
	f.Add("awskms:///" + someARN + "?region=eu-west-1&rate=5")
	f.Add("awskms:?endpoint=http://127.0.0.1:5000&profile=p")
	f.Add("awskms:alias%2Fa?role-arn=arn:aws:iam::111122223333:role/r&role-session-name=ab")
	f.Fuzz(func(t *testing.T, uri string) {
		backendURI, keyID, err := awskms.SplitKeyURI(uri)
		if err != nil {
			return
		}
		if awskms.CheckURI(uri) == nil {
			t.Errorf("%q is the URI of a key and of a backend", uri)
		}
		if err := awskms.CheckURI(backendURI); err != nil {
			t.Errorf("%q gives the backend %q: %v", uri, backendURI, err)
		}
		again := strings.Replace(backendURI, "awskms:", "awskms:///"+keyID, 1)
		if backend, key, err := awskms.SplitKeyURI(again); err != nil || backend != backendURI || key != keyID {
			t.Errorf("%q is split into %q and %q, and joined into %q, %q, %v", uri, backendURI, keyID, backend, key, err)
		}
	})
}
