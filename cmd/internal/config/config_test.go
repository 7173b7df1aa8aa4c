package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// update writes the golden files anew: go test ./cmd/internal/config -update
func update() bool { return flag.Lookup("update").Value.String() == "true" }

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files")
	flag.Parse()
	os.Exit(m.Run())
}

// checkURI stands for the backends, which say themselves what is wrong.
func checkURI(uri string) error {
	for _, scheme := range []string{"file:/", "awskms:", "pkcs11:"} {
		if strings.HasPrefix(uri, scheme) && !strings.Contains(uri, "pin-value") {
			return nil
		}
	}
	return errors.New("no key store is known by this URI")
}

// golden compares a text with the file that has this ending in the place of
// .yaml.
func golden(t *testing.T, yamlFile, ending, got string) {
	t.Helper()
	file := strings.TrimSuffix(yamlFile, ".yaml") + ending
	if update() {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil { //nolint:gosec // part of the source
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

func testFiles(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(files) == 0 {
		t.Fatal(len(files), err)
	}
	return files
}

func TestGoodFilesLoad(t *testing.T) {
	for _, file := range testFiles(t, "*.good.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if _, err := Load(file, checkURI); err != nil {
				t.Error(err)
			}
		})
	}
}

// Each bad file's whole error stands beside it. It is the same however often it
// is asked for, and each line of it names the file, a line and a column.
func TestBadFilesSayWhatIsWrongAndWhere(t *testing.T) {
	for _, file := range testFiles(t, "*.bad.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c, err := Parse(filepath.Base(file), data, checkURI)
			if err == nil || c != nil {
				t.Fatalf("accepted: %v", err)
			}
			golden(t, file, ".txt", err.Error()+"\n")
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !placed.MatchString(line) {
					t.Errorf("without a place: %s", line)
				}
			}
			for range 3 {
				if _, again := Parse(filepath.Base(file), data, checkURI); again == nil || again.Error() != err.Error() {
					t.Fatalf("another error: %v", again)
				}
			}
		})
	}
}

var placed = regexp.MustCompile(`^[a-z0-9-]+\.bad\.yaml:[1-9][0-9]*:[1-9][0-9]* .`)
