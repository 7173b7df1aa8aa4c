package main

import (
	"bytes"
	"context"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// jotsmith runs a command line and returns its exit code and what it printed.
func jotsmith(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &err)
	return code, out.String(), err.String()
}

// tree returns the files below a directory, by their paths in it.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	if err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(dir, path))
		files["/"+path] = string(text)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return files
}

func TestPublishedFilesAreWhatHTTPServes(t *testing.T) {
	r, address := startPublisher(t, "https://x.example/t")
	served, offline := t.TempDir(), t.TempDir()
	code, stdout, stderr := jotsmith(t, "key", "publish", "--to", served, "--address", "unix://"+r.dir+"/s")
	if code != exitOK || !strings.Contains(stdout, "wrote      "+served+"/t/.well-known/jwks.json +kid-1\n") || stderr != "serve them with: Cache-Control: public, max-age=300, must-revalidate\n" {
		t.Fatalf("%d: %s%s", code, stdout, stderr)
	}
	files := tree(t, served)
	if len(files) != 5 {
		t.Errorf("%d files: %v", len(files), files)
	}
	for path, text := range files {
		if status, body := get(t, http.DefaultClient, "http://"+address+path); status != http.StatusOK || body != text {
			t.Errorf("%s: %s, and over HTTP %d: %s", path, text, status, body)
		}
		if info, err := os.Stat(filepath.Join(served, path)); err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	if code, _, stderr := jotsmith(t, "key", "publish", "--to", offline, "--config", filepath.Join(r.dir, "jotsmith.yaml")); code != exitOK {
		t.Fatalf("%d: %s", code, stderr)
	}
	for path, text := range tree(t, offline) {
		if text != files[path] {
			t.Errorf("%s without the server: %s", path, text)
		}
	}
	if a, b := len(files), len(tree(t, offline)); a != b {
		t.Errorf("%d files, and without the server %d", a, b)
	}

	// What has not changed is not touched.
	old := time.Now().Add(-time.Hour).Truncate(time.Second)
	set := filepath.Join(served, "t/.well-known/jwks.json")
	if err := os.Chtimes(set, old, old); err != nil {
		t.Fatal(err)
	}
	code, stdout, _ = jotsmith(t, "key", "publish", "--to", served, "--address", "unix://"+r.dir+"/s")
	if code != exitOK || strings.Count(stdout, "unchanged  ") != 5 || strings.Contains(stdout, "wrote") {
		t.Errorf("%d: %s", code, stdout)
	}
	if info, err := os.Stat(set); err != nil || !info.ModTime().Equal(old) {
		t.Errorf("%v, %v", info.ModTime(), err)
	}
}

// offlineFile is a configuration without a server, with a key for each kid.
func offlineFile(t *testing.T, kids ...string) (r *reloadable, file string) {
	t.Helper()
	r = &reloadable{dir: t.TempDir()}
	r.newKey(t, "k.pem")
	r.newKey(t, "next.pem")
	r.rewrite(t, kids...)
	return r, filepath.Join(r.dir, "jotsmith.yaml")
}

// rewrite has the issuer's set consist of k.pem and next.pem, under these kids;
// an empty one leaves the key out.
func (r *reloadable) rewrite(t *testing.T, kids ...string) {
	t.Helper()
	text := r.publishing("https://x.example/t", `{issuers: [{url: "https://x.example/t", keys: [next]}]}`)
	next := ", next: {backend: files, id: next.pem, kid: " + kids[1] + "}}"
	if kids[1] == "" {
		text, next = r.publishing("https://x.example/t", "{}"), "}"
	}
	r.write(t, strings.Replace(text, "kid: kid-1}}", "kid: "+kids[0]+"}"+next, 1))
}

func TestPublishedKeyIsNotDroppedUnlessItIsForced(t *testing.T) {
	r, file := offlineFile(t, "a", "b")
	dir := t.TempDir()
	set := filepath.Join(dir, "t/.well-known/jwks.json")
	do := func(more ...string) (int, string, string) {
		t.Helper()
		return jotsmith(t, append([]string{"key", "publish", "--to", dir, "--config", file}, more...)...)
	}
	code, stdout, _ := do("--dry-run")
	if code != exitOK || !strings.Contains(stdout, "write      "+set+" +a +b\n") || len(tree(t, dir)) != 0 {
		t.Fatalf("%d: %s, %v", code, stdout, tree(t, dir))
	}
	if code, stdout, stderr := do(); code != exitOK || !strings.Contains(stdout, "wrote      "+set+" +a +b\n") {
		t.Fatalf("%d: %s%s", code, stdout, stderr)
	}
	first := tree(t, dir)

	r.rewrite(t, "a", "")
	code, stdout, stderr := do()
	if code != exitFailure || stdout != "" || !strings.Contains(stderr, "b would be gone from "+set) || !strings.Contains(stderr, "--force") {
		t.Errorf("%d: %s%s", code, stdout, stderr)
	}
	if code, stdout, _ := do("--dry-run"); code != exitFailure || !strings.Contains(stdout, set+" -b\n") {
		t.Errorf("dry: %d: %s", code, stdout)
	}
	if got := tree(t, dir); got["/t/.well-known/jwks.json"] != first["/t/.well-known/jwks.json"] || len(got) != len(first) {
		t.Errorf("something was written: %v", got)
	}
	if code, stdout, stderr := do("--force"); code != exitOK || !strings.Contains(stdout, "wrote      "+set+" -b\n") || !strings.Contains(stderr, "forced: b would be gone") {
		t.Errorf("forced: %d: %s%s", code, stdout, stderr)
	}

	// The same kid for another key is as bad.
	r.newKey(t, "k.pem")
	if code, _, stderr := do(); code != exitFailure || !strings.Contains(stderr, "a would be gone from "+set+", or be another key's") {
		t.Errorf("another key: %d: %s", code, stderr)
	}
	if code, stdout, _ := do("--force"); code != exitOK || !strings.Contains(stdout, set+" +a -a\n") {
		t.Errorf("another key, forced: %d: %s", code, stdout)
	}

	// An issuer that is gone keeps its files, and is named.
	r.write(t, r.publishing("https://x.example/u", "{}"))
	code, _, stderr = do("--force")
	if code != exitOK || !strings.Contains(stderr, "not published now, and left where it is: "+set+"\n") {
		t.Errorf("another issuer: %d: %s", code, stderr)
	}
	if _, err := os.Stat(set); err != nil {
		t.Error(err)
	}
}

func TestFilesAreNotWrittenInPart(t *testing.T) {
	r, file := offlineFile(t, "a", "b")
	dir := t.TempDir()
	do := func(more ...string) (int, string) {
		t.Helper()
		code, _, stderr := jotsmith(t, append([]string{"key", "publish", "--to", dir, "--config", file}, more...)...)
		return code, stderr
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Where a directory has to be stands a file: of the last document alone.
	write(".well-known/oauth-authorization-server", "a file")
	if code, stderr := do(); code != exitFailure {
		t.Errorf("%d: %s", code, stderr)
	}
	if files := tree(t, dir); len(files) != 1 {
		t.Errorf("left: %v", files)
	}
	if err := os.Remove(filepath.Join(dir, ".well-known/oauth-authorization-server")); err != nil {
		t.Fatal(err)
	}
	// A file that this command has not written is not replaced.
	for _, text := range []string{"", "{", `{"keys":[{"kty":"oct","k":"AA"}]} `, `{"keys":[{"kty":"EC"}]}`, `[]`} {
		write("t/.well-known/jwks.json", text)
		code, stderr := do()
		if code != exitFailure || !strings.Contains(stderr, "this command has not written it") {
			t.Errorf("%s: %d: %s", text, code, stderr)
		}
		if files := tree(t, dir); len(files) != 1 || files["/t/.well-known/jwks.json"] != text {
			t.Errorf("left: %v", files)
		}
	}
	write("t/.well-known/jwks.json", `{"keys":[]}`)
	if code, stderr := do(); code != exitOK {
		t.Errorf("over an empty set: %d: %s", code, stderr)
	}
	var names []string
	for name := range tree(t, dir) {
		names = append(names, name)
	}
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "/.well-known/jwks.json /.well-known/oauth-authorization-server/t /.well-known/openid-configuration/t /t/.well-known/jwks.json /t/.well-known/openid-configuration" {
		t.Error(got)
	}
	for args, want := range map[string]int{
		"--to " + dir + "/none --config " + file:          exitUsage,
		"--to " + file + " --config " + file:              exitUsage,
		"--config " + file:                                exitUsage,
		"--to " + dir + " --config " + dir + "/none":      exitConfig,
		"--to " + dir + " --address unix://" + dir + "/s": exitTryAgain,
	} {
		if code, _, stderr := jotsmith(t, append([]string{"key", "publish"}, strings.Fields(args)...)...); code != want {
			t.Errorf("%s: %d: %s", args, code, stderr)
		}
	}
	r.write(t, r.config("a", ""))
	if code, stderr := do(); code != exitConfig || !strings.Contains(stderr, "publishes nothing; it needs a section publish") {
		t.Errorf("without the section: %d: %s", code, stderr)
	}
	r.rewrite(t, "a", "b")
	if err := os.Remove(filepath.Join(r.dir, "next.pem")); err != nil {
		t.Fatal(err)
	}
	if code, stderr := do(); code != exitConfig || !strings.Contains(stderr, "key next") {
		t.Errorf("without a key: %d: %s", code, stderr)
	}
}

// scriptedFiles is a server that publishes what it is told to.
type scriptedFiles struct {
	jotsmithv1.UnimplementedKeyServiceServer
	files []*jotsmithv1.PublishedFile
}

func (s *scriptedFiles) ListPublishedFiles(context.Context, *jotsmithv1.ListPublishedFilesRequest) (*jotsmithv1.ListPublishedFilesResponse, error) {
	return &jotsmithv1.ListPublishedFilesResponse{Files: s.files}, nil
}

// publishFrom runs key publish against a server of these files.
func publishFrom(t *testing.T, dir string, files []*jotsmithv1.PublishedFile, more ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Chdir(t.TempDir()) // a socket's path is short
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", "s")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	jotsmithv1.RegisterKeyServiceServer(server, &scriptedFiles{files: files})
	go server.Serve(listener)
	defer server.Stop()
	return jotsmith(t, append([]string{"key", "publish", "--to", dir, "--address", "unix:s"}, more...)...)
}

func TestKeysThatAreMissingAreLeftOutByForceAlone(t *testing.T) {
	dir := t.TempDir()
	files := []*jotsmithv1.PublishedFile{
		{Path: "/.well-known/jwks.json", MediaType: "application/jwk-set+json", Content: []byte(`{"keys":[]}`), MaxAge: durationpb.New(10 * time.Second), MissingKeys: []string{"b"}},
		{Path: "/keys/b/jwks.json", MediaType: "application/jwk-set+json", MissingKeys: []string{"b"}},
	}
	code, stdout, stderr := publishFrom(t, dir, files)
	if code != exitTryAgain || stdout != "" || !strings.Contains(stderr, "not read from their stores yet: b; try again") || len(tree(t, dir)) != 0 {
		t.Errorf("%d: %s%s", code, stdout, stderr)
	}
	code, stdout, stderr = publishFrom(t, dir, files, "--force")
	if code != exitOK || !strings.Contains(stdout, "left out   "+dir+"/keys/b/jwks.json\n") || !strings.Contains(stderr, "max-age=10,") || len(tree(t, dir)) != 1 {
		t.Errorf("forced: %d: %s%s, %v", code, stdout, stderr, tree(t, dir))
	}
}

func TestServerCannotHaveFilesWrittenElsewhere(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "to")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "/", "x", "../x", "/../x", "/a/../../x", "//x", "/a/./x", "/a//x", "/x/"} {
		code, _, stderr := publishFrom(t, dir, []*jotsmithv1.PublishedFile{{Path: path, MediaType: "application/json", Content: []byte("{}")}})
		if code != exitFailure || !strings.Contains(stderr, "which is no path of a file") || len(tree(t, parent)) != 0 {
			t.Errorf("%q: %d: %s, %v", path, code, stderr, tree(t, parent))
		}
	}
	if code, _, stderr := publishFrom(t, dir, nil); code != exitConfig || !strings.Contains(stderr, "publishes nothing") {
		t.Errorf("nothing: %d: %s", code, stderr)
	}
}
