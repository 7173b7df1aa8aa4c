package filekey

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/jotsmith/jotsmith/backends"
)

func TestURIForms(t *testing.T) {
	for uri, want := range map[string]string{
		"file:/etc/jotsmith/keys":    "/etc/jotsmith/keys",
		"file:///etc/jotsmith/keys":  "/etc/jotsmith/keys",
		"file:/etc/jotsmith/keys/":   "/etc/jotsmith/keys",
		"file:/a//b/./c/../d":        "/a/b/d",
		"file:/with%20space/50%25":   "/with space/50%",
		"FILE:/etc":                  "/etc",
		"file:/":                     "/",
		"file:/%E9%8D%B5/what%3F%23": "/鍵/what?#",
	} {
		dir, err := parseURI(uri)
		if err != nil || dir != want {
			t.Errorf("parseURI(%q) = %q, %v; want %q", uri, dir, err, want)
		}
		if err := CheckURI(uri); err != nil {
			t.Errorf("CheckURI(%q) = %v", uri, err)
		}
	}
}

func TestURIRefused(t *testing.T) {
	for uri, want := range map[string]string{
		"":                    `uri "" is not of the scheme file: write file:/absolute/directory`,
		"/etc/keys":           `uri "/etc/keys" is not of the scheme file: write file:/absolute/directory`,
		"awskms:///x":         `uri "awskms:///x" is not of the scheme file: write file:/absolute/directory`,
		"file:":               `file uri "file:" holds no absolute path: write file:/absolute/directory`,
		"file://":             `file uri "file://" holds no absolute path: write file:/absolute/directory`,
		"file:keys":           `file uri "file:keys" holds no absolute path: write file:/absolute/directory`,
		"file:./keys":         `file uri "file:./keys" holds no absolute path: write file:/absolute/directory`,
		"file://etc/keys":     `file uri "file://etc/keys" names a host: write file:/absolute/directory, with one slash or three`,
		"file://localhost/k":  `file uri "file://localhost/k" names a host: write file:/absolute/directory, with one slash or three`,
		"file://me@/keys":     `file uri "file://me@/keys" names a host: write file:/absolute/directory, with one slash or three`,
		"file:/keys?mode=600": `file uri "file:/keys?mode=600" has a query or fragment, which mean nothing here: write ? as %3F and # as %23`,
		"file:/keys?":         `file uri "file:/keys?" has a query or fragment, which mean nothing here: write ? as %3F and # as %23`,
		"file:/keys#":         `file uri "file:/keys#" has a query or fragment, which mean nothing here: write ? as %3F and # as %23`,
		"file:/50%":           `file uri "file:/50%" cannot be read: write file:/absolute/directory, a percent sign as %25`,
		"file:/a%00b":         `file uri "file:/a%00b" holds a NUL byte: remove %00`,
	} {
		if err := CheckURI(uri); err == nil || err.Error() != want {
			t.Errorf("CheckURI(%q)\n got %v\nwant %s", uri, err, want)
		}
	}
}

func TestSplitKeyURI(t *testing.T) {
	for uri, want := range map[string][2]string{
		"file:/dir/AuthKey_X.p8":    {"file:/dir", "AuthKey_X.p8"},
		"file:///dir/sub/key.pem":   {"file:/dir/sub", "key.pem"},
		"file:/key.p8":              {"file:/", "key.p8"},
		"file:/my%20keys/a%3Fb.p8":  {"file:/my%20keys", "a?b.p8"},
		"file:/what%3F/100%25/k.p8": {"file:/what%3F/100%25", "k.p8"},
	} {
		uri, id, err := SplitKeyURI(uri)
		if err != nil || uri != want[0] || id != want[1] {
			t.Errorf("split into %q, %q, %v; want %q", uri, id, err, want)
		}
		if err := CheckURI(uri); err != nil {
			t.Errorf("the directory's uri %q is refused: %v", uri, err)
		}
	}
	for _, uri := range []string{"file:/", "file:/dir/", "file:key.p8", "/dir/key.p8", "file:/dir/key.p8?x"} {
		if dir, id, err := SplitKeyURI(uri); err == nil {
			t.Errorf("%q is split into %q and %q", uri, dir, id)
		}
	}
}

func TestOpenSaysWhatIsWrongWithTheDirectory(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "key.p8", "")
	for uri, want := range map[string]string{
		"file:keys":                               `open: key store is unavailable: file uri "file:keys" holds no absolute path: write file:/absolute/directory`,
		"file:" + filepath.Join(dir, "key.p8"):    "open: key store is unavailable: " + dir + "/key.p8 is not a directory: the backend's uri names the directory, the key's id the file in it",
		"file:" + filepath.Join(dir, "elsewhere"): "open: key store is unavailable: stat " + dir + "/elsewhere: no such file or directory: create the directory, or mend the path in the backend's uri",
	} {
		_, err := Open(t.Context(), uri, slog.New(slog.DiscardHandler))
		if !errors.Is(err, backends.ErrUnavailable) || err.Error() != want {
			t.Errorf("Open(%q)\n got %v\nwant %s", uri, err, want)
		}
	}
}

func TestADirectoryThatComesBackIsUsedAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b := open(t, dir)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Describe(t.Context(), "key.p8"); !errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("Describe without the directory = %v, want %v", err, backends.ErrUnavailable)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Describe(t.Context(), "key.p8"); !errors.Is(err, backends.ErrKeyNotFound) {
		t.Errorf("Describe in the empty directory = %v, want %v", err, backends.ErrKeyNotFound)
	}
	write(t, dir, "key.p8", opensslText(t, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"))
	if _, err := b.Describe(t.Context(), "key.p8"); err != nil {
		t.Errorf("Describe = %v", err)
	}
}
