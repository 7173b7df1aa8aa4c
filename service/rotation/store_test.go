package rotation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// brokenStore is a Store that cannot be reached.
type brokenStore struct {
	*memory
	fails error
}

func (b *brokenStore) Load(ctx context.Context) (State, Revision, error) {
	if b.fails != nil {
		return State{}, "", b.fails
	}
	return b.memory.Load(ctx)
}

func state(t testing.TB, kids ...string) State {
	t.Helper()
	k := Key{}
	for _, kid := range kids {
		k.Versions = append(k.Versions, Version{KID: kid, Standing: Next, SPKI: spki(t), Published: noon})
	}
	return State{Keys: map[string]Key{"k": k}}
}

func TestFileHoldsWhatWasSavedOverTheRevisionThatWasLoaded(t *testing.T) {
	f := File{filepath.Join(t.TempDir(), "rotation.json")}
	if _, revision, err := f.Load(t.Context()); err != nil || revision != "" {
		t.Fatalf("nothing yet: %q, %v", revision, err)
	}
	first := state(t, "a")
	one, err := f.Save(t.Context(), first, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, stale := range []Revision{"", "x"} {
		if _, err := f.Save(t.Context(), state(t, "b"), stale); !errors.Is(err, ErrConflict) {
			t.Errorf("over %q: %v", stale, err)
		}
	}
	got, revision, err := f.Load(t.Context())
	if err != nil || revision != one {
		t.Fatalf("%q, %v", revision, err)
	}
	if diff := cmp.Diff(first, got); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(f.Path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestManyWhoSaveLoseNothing(t *testing.T) {
	f := File{filepath.Join(t.TempDir(), "rotation.json")}
	der := spki(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for {
				held, revision, err := f.Load(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				next := held.clone()
				k := next.Keys["k"].clone()
				k.Versions = append(k.Versions, Version{KID: fmt.Sprint(i), Standing: Next, SPKI: der, Published: noon})
				next.Keys["k"] = k
				if _, err = f.Save(t.Context(), next, revision); err == nil {
					return
				}
				if !errors.Is(err, ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if held, _, err := f.Load(t.Context()); err != nil || len(held.Keys["k"].Versions) != 8 {
		t.Errorf("%+v, %v", held, err)
	}
}

func TestFileThatNoKeeperWroteIsRefusedWithTheMend(t *testing.T) {
	valid, err := json.Marshal(state(t, "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	with := func(old, now string) string { return strings.Replace(string(valid), old, now, 1) }
	for name, content := range map[string]string{
		"empty": "", "broken": string(valid[:20]), "two": string(valid) + "{}", "unknown": `{"keys":{},"more":1}`,
		"two of a kid": with(`"b"`, `"a"`), "no kid": with(`"b"`, `""`), "strange": with(`"next"`, `"asleep"`),
		"two active": strings.ReplaceAll(string(valid), `"next"`, `"active"`), "no key": with(`"spki":"M`, `"spki":"A`),
		"no time":             with(noon.Format(time.RFC3339), "0001-01-01T00:00:00Z"),
		"an order for nobody": with(`}]}`, `}],"order":{"kid":"c","time":"2027-01-01T00:00:00Z","by":"o","proof":"p"}}`),
		"huge":                string(valid) + strings.Repeat(" ", maxFile),
	} {
		t.Run(name, func(t *testing.T) {
			f := File{filepath.Join(t.TempDir(), "rotation.json")}
			if err := os.WriteFile(f.Path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, _, err := f.Load(t.Context()); err == nil || !strings.Contains(err.Error(), f.Path) {
				t.Errorf("got %v", err)
			}
			if _, err := Open(t.Context(), Config{Store: f}); err == nil {
				t.Error("a keeper takes it")
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	valid, err := json.Marshal(state(f, "a", "b"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(valid)
	f.Add([]byte(`{"keys":{"k":{"versions":null}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parse(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		second, err := parse(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if diff := cmp.Diff(got, second); diff != "" {
			t.Error(diff)
		}
		for _, k := range got.Keys { // and no state has the rules panic
			next, _ := advance("k", k, Terms{Candidates: []Candidate{{Place: "p", KID: "a", Able: true}}}, &book{id: "i"}, noon)
			if err := (State{Keys: map[string]Key{"k": next}}).valid(); err != nil && len(next.Versions) == len(k.Versions) {
				t.Error(err)
			}
			plan(next, Terms{}, &book{id: "i"}, noon)
		}
	})
}
