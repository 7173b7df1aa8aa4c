package pkcs11

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const goodQuery = "?module-path=/usr/lib/m.so&pin-source=file:/etc/pin"

func TestParseURI(t *testing.T) {
	base := config{modulePath: "/usr/lib/m.so", pinSource: "/etc/pin", maxSessions: defaultSessions}
	with := func(change func(*config)) config {
		c := base
		change(&c)
		return c
	}
	for uri, want := range map[string]config{
		"pkcs11:token=t" + goodQuery:                   with(func(c *config) { c.token.label = "t" }),
		"pkcs11:serial=%30%31" + goodQuery:             with(func(c *config) { c.token.serial = "01" }),
		"pkcs11:token=a%20b+c;slot-id=007" + goodQuery: with(func(c *config) { c.token.label, c.token.slotID = "a b+c", "7" }),
		"pkcs11:model=m;manufacturer=f;token=%c3%a9" + goodQuery: with(func(c *config) {
			c.token.model, c.token.manufacturer, c.token.label = "m", "f", "é"
		}),
		"pkcs11:token=t?pin-source=/etc/pin&module-path=/usr/lib/../lib/m.so": with(func(c *config) { c.token.label = "t" }),
		"pkcs11:token=t?pin-source=file:///etc/pin&module-path=/usr/lib/m.so": with(func(c *config) { c.token.label = "t" }),
		"pkcs11:token=t" + goodQuery + "&max-sessions=3&serialize=true&isolate=false&init-args=a%26b&pin-state=/var/p": with(func(c *config) {
			c.token.label, c.maxSessions, c.serialize, c.initArgs, c.pinState = "t", 3, true, "a&b", "/var/p"
		}),
	} {
		got, err := parseURI(uri)
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(config{}, tokenFilter{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", uri, diff)
		}
	}
}

func TestParseURIRefuses(t *testing.T) {
	for uri, want := range map[string]string{
		"":                                                         "write pkcs11:token=LABEL",
		"file:/x":                                                  "not a PKCS#11 URI",
		"PKCS11:token=t" + goodQuery:                               "not a PKCS#11 URI",
		"pkcs11:" + goodQuery:                                      "names no token",
		"pkcs11:slot-id=1" + goodQuery:                             "names no token",
		"pkcs11:token=t":                                           "module-path is missing",
		"pkcs11:token=t?module-path=/m":                            "pin-source is missing",
		"pkcs11:token=" + goodQuery:                                "token is empty",
		"pkcs11:token=t;" + goodQuery:                              "not of the form name=value",
		"pkcs11:token=t;token=u" + goodQuery:                       "given twice",
		"pkcs11:token=t;tokn=u" + goodQuery:                        "expected one of token, serial",
		"pkcs11:token=t;object=k" + goodQuery:                      "move it to the key's id",
		"pkcs11:token=t;slot-id=x" + goodQuery:                     "not a number",
		"pkcs11:token=a b" + goodQuery:                             "must be written as %20",
		"pkcs11:token=%zz" + goodQuery:                             "two hexadecimal digits",
		"pkcs11:token=%e" + goodQuery:                              "two hexadecimal digits",
		"pkcs11:token=%00" + goodQuery:                             "without NUL",
		"pkcs11:token=%ff" + goodQuery:                             "not UTF-8",
		"pkcs11:token=t" + goodQuery + "#f":                        "must be written as %23",
		"pkcs11:token=t" + goodQuery + "&isolated=true":            "expected one of module-path, pin-source",
		"pkcs11:token=t" + goodQuery + "&isolate=yes":              "neither true nor false",
		"pkcs11:token=t" + goodQuery + "&max-sessions=0":           "from 1 to 1024",
		"pkcs11:token=t" + goodQuery + "&max-sessions=1025":        "from 1 to 1024",
		"pkcs11:token=t" + goodQuery + "&pin-value=47%zz11":        "use pin-source",
		"pkcs11:token=t" + goodQuery + "&module-name=softhsm":      "use module-path",
		"pkcs11:token=t?module-path=m.so&pin-source=file:/etc/pin": "not an absolute path",
		"pkcs11:token=t?module-path=/m&pin-source=file:4711":       "not an absolute path",
		"pkcs11:token=t?module-path=/m&pin-source=4711":            "write pin-source=file:/path/of/pin",
		"pkcs11:token=t?module-path=/m&pin-source=|ask-pin":        "write pin-source=file:/path/of/pin",
		"pkcs11:token=" + strings.Repeat("x", maxURI) + goodQuery:  "longer than",
	} {
		err := CheckURI(uri)
		switch {
		case err == nil:
			t.Errorf("%s is accepted", uri)
		case !strings.Contains(err.Error(), want):
			t.Errorf("%s: %v, want it to say %q", uri, err, want)
		case strings.Contains(err.Error(), "47"):
			t.Errorf("%s: the error repeats what may be a PIN: %v", uri, err)
		}
	}
}

func TestParseKeyID(t *testing.T) {
	for id, want := range map[string]keyID{
		"object=k":                {label: "k"},
		"id=%01%fF":               {id: "\x01\xff"},
		"id=%01;object=a%3Bb":     {id: "\x01", label: "a;b"},
		"type=private;object=k":   {label: "k"},
		"object=k;id=ab":          {label: "k", id: "ab"},
		"object=%C3%A9;id=%00%00": {label: "é", id: "\x00\x00"},
	} {
		if got, err := parseKeyID(id); err != nil || got != want {
			t.Errorf("%s = %+v, %v, want %+v", id, got, err, want)
		}
	}
	for _, id := range []string{
		"", ";", "k", "object", "object=", "id=", "object=a;object=b", "type=private", "type=public;object=k",
		"token=t;object=k", "object=%00", "object=k?x=y", "id=%1",
	} {
		if got, err := parseKeyID(id); err == nil {
			t.Errorf("%q is accepted as %+v", id, got)
		}
	}
}

func TestSplitKeyURI(t *testing.T) {
	backend, key, err := SplitKeyURI("pkcs11:token=t;id=%01;serial=9;object=k;type=private" + goodQuery)
	if err != nil || backend != "pkcs11:token=t;serial=9"+goodQuery || key != "id=%01;object=k" {
		t.Errorf("SplitKeyURI = %q, %q, %v", backend, key, err)
	}
	for uri, want := range map[string]string{
		"pkcs11:token=t" + goodQuery:                    "names no key",
		"pkcs11:object=k" + goodQuery:                   "names no token",
		"pkcs11:token=t;object=k":                       "module-path is missing",
		"pkcs11:token=t;object=k;type=cert" + goodQuery: "does not sign",
		"pkcs11:token=t;object=k;object=l" + goodQuery:  "given twice",
		"awskms:key": "not a PKCS#11 URI",
	} {
		if _, _, err := SplitKeyURI(uri); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to say %q", uri, err, want)
		}
	}
}

func FuzzParseURI(f *testing.F) {
	f.Add("pkcs11:token=t" + goodQuery)
	f.Add("pkcs11:token=a%20b;serial=1;manufacturer=m;model=n;slot-id=3" + goodQuery + "&init-args=x%00&serialize=true&isolate=true")
	f.Add("pkcs11:token=t;id=%01;object=k;type=private" + goodQuery)
	f.Fuzz(func(t *testing.T, uri string) {
		if c, err := parseURI(uri); err == nil {
			again, err := parseURI(c.String())
			if err != nil || again != c {
				t.Errorf("%q is read as %+v and written as %q, which is %+v, %v", uri, c, c, again, err)
			}
		}
		if backend, key, err := SplitKeyURI(uri); err == nil {
			if err := CheckURI(backend); err != nil {
				t.Errorf("the backend's half of %q: %v", uri, err)
			}
			if _, err := parseKeyID(key); err != nil {
				t.Errorf("the key's half of %q: %v", uri, err)
			}
		}
	})
}

func FuzzParseKeyID(f *testing.F) {
	f.Add("object=k;id=%01;type=private")
	f.Fuzz(func(t *testing.T, id string) {
		if k, err := parseKeyID(id); err == nil {
			if again, err := parseKeyID(k.String()); err != nil || again != k {
				t.Errorf("%q is read as %+v and written as %q, which is %+v, %v", id, k, k, again, err)
			}
		}
	})
}
