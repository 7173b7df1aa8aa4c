package filekey

import (
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"
)

// Scheme is the scheme of this backend's URIs.
const Scheme = "file"

// CheckURI says what is wrong with a backend's URI and how to mend it. It does
// no I/O: a good URI may name a directory that does not exist.
func CheckURI(uri string) error {
	_, err := parseURI(uri)
	return err
}

// SplitKeyURI splits the URI of one key's file into the URI of its directory
// and the key id, as [Open] and Describe take them:
// file:/dir/AuthKey_X.p8 is file:/dir and AuthKey_X.p8. It does no I/O.
func SplitKeyURI(uri string) (backendURI, keyID string, err error) {
	file, err := parsePath(uri)
	if err != nil {
		return "", "", err
	}
	if strings.HasSuffix(file, "/") {
		return "", "", fmt.Errorf("key uri %q names a directory: add the key's file name", uri)
	}
	dir, id := path.Split(path.Clean(file))
	return (&url.URL{Scheme: Scheme, OmitHost: true, Path: path.Clean(dir)}).String(), id, nil
}

// Path returns the file that a backend's URI and a key's id name; empty if they
// name none.
func Path(uri, id string) string {
	dir, err := parseURI(uri)
	if err != nil || checkID(id) != nil {
		return ""
	}
	return filepath.Join(dir, filepath.FromSlash(id))
}

// parseURI returns the directory that a backend's URI names.
func parseURI(uri string) (dir string, err error) {
	p, err := parsePath(uri)
	if err != nil {
		return "", err
	}
	return filepath.FromSlash(path.Clean(p)), nil
}

// parsePath returns the absolute path in a file URI (RFC 8089), slashed and
// not cleaned.
func parsePath(uri string) (string, error) {
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return "", fmt.Errorf("file uri %q cannot be read: write file:/absolute/directory, a percent sign as %%25", uri)
	case u.Scheme != Scheme:
		return "", fmt.Errorf("uri %q is not of the scheme file: write file:/absolute/directory", uri)
	case strings.ContainsAny(uri, "?#"):
		return "", fmt.Errorf("file uri %q has a query or fragment, which mean nothing here: write ? as %%3F and # as %%23", uri)
	case u.User != nil || u.Host != "":
		return "", fmt.Errorf("file uri %q names a host: write file:/absolute/directory, with one slash or three", uri)
	case !path.IsAbs(u.Path):
		return "", fmt.Errorf("file uri %q holds no absolute path: write file:/absolute/directory", uri)
	case strings.ContainsRune(u.Path, 0):
		return "", fmt.Errorf("file uri %q holds a NUL byte: remove %%00", uri)
	}
	return u.Path, nil
}
