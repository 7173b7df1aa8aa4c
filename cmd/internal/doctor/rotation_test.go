package doctor

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/service/rotation"
)

func version(t *testing.T, kid string, standing rotation.Standing, since time.Duration) rotation.Version {
	t.Helper()
	spki, err := x509.MarshalPKIXPublicKey(issue(t, nil, kid, ca).key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return rotation.Version{KID: kid, Standing: standing, SPKI: spki, Published: start().Add(-since), Activated: start().Add(-since)}
}

func rotating(t *testing.T, path, versions, every string) *Exam {
	t.Helper()
	return examOf(t, `
listeners: [{unix: {path: /run/jotsmith/s}}]
backends: {local: {uri: "file:/keys"}}
rotation_file: `+path+`
keys: {k: {versions: [`+versions+`], rotation: {verifier_cache: 24h`+every+`}}}
profiles: {p: {preset: jwt, key: k, claims: {iss: {fixed: "https://id.example.org"}, aud: {fixed: a}}}}
`)
}

const (
	versionOne = "{backend: local, id: one.pem, kid: v1}"
	versionTwo = "{backend: local, id: two.pem, kid: v2}"
	day        = 24 * time.Hour
)

func TestVersionsThatAreDueAndHaveNobodyToFollow(t *testing.T) {
	for name, tc := range map[string]struct {
		configured, every string
		remembered        []rotation.Version
		want              []string
	}{
		"by hand":               {versionOne, "", []rotation.Version{version(t, "v1", rotation.Active, 90*day)}, nil},
		"far off":               {versionOne, ", every: 720h", []rotation.Version{version(t, "v1", rotation.Active, day)}, []string{"note there is none yet"}},
		"soon":                  {versionOne, ", every: 720h", []rotation.Version{version(t, "v1", rotation.Active, 28*day+time.Hour)}, []string{"warning in 47h0m0s, and there is none"}},
		"over":                  {versionOne, ", every: 720h", []rotation.Version{version(t, "v1", rotation.Active, 31*day)}, []string{"error was to be followed"}},
		"next is remembered":    {versionOne + ", " + versionTwo, ", every: 720h", []rotation.Version{version(t, "v1", rotation.Active, 31*day), version(t, "v2", rotation.Next, day)}, nil},
		"next is new":           {versionOne + ", " + versionTwo, ", every: 720h", []rotation.Version{version(t, "v1", rotation.Active, 31*day)}, nil},
		"the other was retired": {versionOne + ", " + versionTwo, ", every: 720h", []rotation.Version{version(t, "v1", rotation.Retired, 62*day), version(t, "v2", rotation.Active, 31*day)}, []string{"error version v2 was to be followed"}},
		"nothing has run":       {versionOne, ", every: 720h", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a directory
				t.Fatal(err)
			}
			path := filepath.Join(dir, "rotation.json")
			state := rotation.State{Keys: map[string]rotation.Key{"k": {Versions: tc.remembered}}}
			if _, err := (rotation.File{Path: path}).Save(t.Context(), state, ""); err != nil {
				t.Fatal(err)
			}
			got, findings := rotating(t, path, tc.configured, tc.every).rotation(t.Context())
			wantFindings(t, findings, tc.want...)
			if got == nil {
				t.Error("no state")
			}
		})
	}
}

func TestRotationFileIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rotation.json")
	_, findings := rotating(t, path, versionOne, "").rotation(t.Context())
	wantFindings(t, findings, "note is not there yet")
	if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, findings = rotating(t, path, versionOne, "").rotation(t.Context())
	wantFindings(t, findings, "error rotation state")
	if state, findings := examOf(t, plain).rotation(t.Context()); state != nil || findings != nil {
		t.Errorf("%+v, %+v", state, findings)
	}
}

func TestVerifiersAreToKnowWhatIsRemembered(t *testing.T) {
	retired, gone := version(t, "v1", rotation.Retired, day), version(t, "v0", rotation.Gone, day)
	read := []known{{"k", "v2", &issue(t, nil, "x", ca).key.PublicKey}, {"other", "o1", &issue(t, nil, "y", ca).key.PublicKey}}
	state := &rotation.State{Keys: map[string]rotation.Key{"k": {Versions: []rotation.Version{gone, retired}}}}
	got := expected(read, state)
	if len(got) != 2 || got[0].kid != "o1" || got[1].kid != "v1" {
		t.Errorf("%+v", got)
	}
	if got := expected(read, nil); len(got) != 2 {
		t.Errorf("%+v", got)
	}
}
