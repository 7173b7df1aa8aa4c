package rotation

import (
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNothingChangesThatIsNotRecordedOrSaved(t *testing.T) {
	store := &memory{}
	s := start(t, store, Terms{Candidates: candidates(t, 2), Longest: time.Minute}, noon)
	for name, set := range map[string]func(error){
		"the record": func(err error) { s.refuse = err },
		"the store":  func(err error) { store.fails = err },
	} {
		set(errDisk)
		if _, err := s.Rotate(t.Context(), "k", "", Will{By: "o"}, false); !errors.Is(err, errDisk) {
			t.Errorf("%s: %v", name, err)
		}
		s.stands(t, "v1 active, v2 next")
		if s.ring.active != "v1" {
			t.Errorf("%s: %q signs", name, s.ring.active)
		}
		set(nil)
	}
	if _, err := s.Rotate(t.Context(), "k", "", Will{By: "o"}, false); err != nil {
		t.Fatal(err)
	}
	s.stands(t, "v1 retired, v2 active")
}

func TestClockThatCannotBeTrustedRotatesNothing(t *testing.T) {
	s := start(t, &memory{}, Terms{Candidates: candidates(t, 2), Every: time.Hour, Longest: time.Minute}, noon)
	s.wrong = errors.New("it was never set")
	s.at(noon.AddDate(1, 0, 0))
	s.stands(t, "v1 active, v2 next")
	if s.ring.active != "v1" {
		t.Errorf("%q signs", s.ring.active)
	}
}

func TestServersThatShareAStoreAgree(t *testing.T) {
	store := &memory{}
	terms := Terms{Candidates: candidates(t, 2), Longest: time.Hour}
	first := start(t, store, terms, noon)
	second := &server{ring: &ring{terms: terms}, book: &book{id: "second", ends: map[string]time.Time{}}, now: noon}
	second.open(t, store)
	if err := second.Prepare(t.Context(), second.ring); err != nil {
		t.Fatal(err)
	}
	second.Adopt(t.Context(), second.ring)
	if second.ring.active != "v1" {
		t.Fatalf("%q signs for the second", second.ring.active)
	}
	if _, err := first.Rotate(t.Context(), "k", "", Will{By: "o"}, false); err != nil { // on top of what the second saved
		t.Fatal(err)
	}
	second.book.issued("v1", noon.Add(50*time.Minute)) // before it has looked
	second.at(noon.Add(10 * time.Second))
	if second.ring.active != "v2" {
		t.Errorf("%q signs for the second", second.ring.active)
	}
	first.at(noon.Add(Settle)) // which knows of no token of v1
	first.stands(t, "v1 retired, v2 active")
	second.at(noon.Add(Settle)) // and says what it has signed
	first.at(noon.Add(50*time.Minute + Skew - time.Second))
	first.stands(t, "v1 retired, v2 active")
	first.at(noon.Add(50*time.Minute + Skew))
	first.stands(t, "v1 gone, v2 active")
}

func TestServerWithoutItsStoreSignsOnForADayAndThenNoMore(t *testing.T) {
	broken := &brokenStore{memory: &memory{}}
	s := start(t, broken, Terms{Candidates: candidates(t, 2), Every: time.Hour, Longest: time.Minute}, noon)
	broken.fails = errDisk
	s.at(noon.Add(Outage))
	if s.ring.active != "v1" {
		t.Errorf("after a day %q signs", s.ring.active)
	}
	s.at(noon.Add(Outage + time.Second))
	if s.ring.active != "" {
		t.Errorf("after more than a day %q signs", s.ring.active)
	}
	broken.fails = nil
	s.at(noon.Add(Outage + time.Minute))
	s.stands(t, "v1 retired, v2 active")
	if s.ring.active != "v2" {
		t.Errorf("with the store back %q signs", s.ring.active)
	}
}

func TestStoreThatLostItsStateIsGivenItAgain(t *testing.T) {
	store := &memory{}
	s := start(t, store, Terms{Candidates: candidates(t, 2), Longest: time.Minute}, noon)
	if _, err := s.Rotate(t.Context(), "k", "", Will{By: "o"}, false); err != nil {
		t.Fatal(err)
	}
	store.state, store.revision = State{}, 0
	s.at(noon.Add(time.Second))
	s.stands(t, "v1 retired, v2 active")
	if store.state.Keys["k"].Active() != "v2" {
		t.Errorf("the store has %+v", store.state)
	}
}

func TestConfigurationWithoutTheVersionThatSignsIsRefused(t *testing.T) {
	store := &memory{}
	s := start(t, store, Terms{Candidates: candidates(t, 2), Longest: time.Minute}, noon)
	next := &ring{terms: Terms{Candidates: s.ring.terms.Candidates[1:], Longest: time.Minute}}
	if err := s.Prepare(t.Context(), next); err == nil {
		t.Error("accepted")
	}
	// One that was not read yet may be it.
	next.terms.Candidates = append(next.terms.Candidates, Candidate{Place: "elsewhere"})
	if err := s.Prepare(t.Context(), next); err != nil || next.active != "" {
		t.Errorf("%v, and %q signs", err, next.active)
	}
	s.stands(t, "v1 active, v2 next")
}

func TestStandingIsKnownByPlace(t *testing.T) {
	s := start(t, &memory{}, Terms{Candidates: candidates(t, 2), Longest: time.Minute}, noon)
	for place, want := range map[string]Standing{"b v1": Active, "b v2": Next, "b v9": ""} {
		if got := s.At("k", place); got != want {
			t.Errorf("%s stands %q, want %q", place, got, want)
		}
	}
}

func TestConcurrentOperatorsAndRules(t *testing.T) {
	store := &memory{}
	terms := Terms{Candidates: candidates(t, 4), Longest: time.Minute}
	s := start(t, store, terms, noon)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				_, _ = s.Rotate(t.Context(), "k", terms.Candidates[i%4].KID, Will{By: "o"}, i%2 == 0) // most come too late
				s.tick(t.Context())
				s.Published("k")
				s.Reports()
				s.Ask()
			}
		})
	}
	wg.Wait()
	if err := store.state.valid(); err != nil || store.state.Keys["k"].Active() == "" {
		t.Errorf("%v, %+v", err, store.state)
	}
}

func TestDryStoreSavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rotation.json")
	s := start(t, Dry(File{path}), Terms{Candidates: candidates(t, 2), Longest: time.Minute}, noon)
	s.stands(t, "v1 active, v2 next")
	if state, revision, err := (File{path}).Load(t.Context()); err != nil || revision != "" || len(state.Keys) > 0 {
		t.Errorf("%+v, %q, %v", state, revision, err)
	}
}

func TestWordsOfChanges(t *testing.T) {
	var all []string
	for _, c := range []Change{{To: Active}, {From: Next, To: Active}, {From: Next, To: Active, Ordered: true}} {
		all = append(all, c.String())
	}
	if diff := cmp.Diff([]string{"active", "next to active", "ordered: next to active"}, all); diff != "" {
		t.Error(diff)
	}
}
