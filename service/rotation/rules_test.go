package rotation

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFirstVersionOfANewKeySignsAndTheOthersArePublished(t *testing.T) {
	s := start(t, &memory{}, Terms{Candidates: candidates(t, 3), VerifierCache: time.Hour, Longest: time.Minute}, noon)
	s.stands(t, "v1 active, v2 next, v3 next")
	if s.ring.active != "v1" || s.told == 0 {
		t.Errorf("%q signs, told %d times", s.ring.active, s.told)
	}
	s.at(noon.Add(1000 * time.Hour)) // without a schedule or an operator
	s.stands(t, "v1 active, v2 next, v3 next")
}

func TestFirstVersionThatWasNotReadYetIsWaitedFor(t *testing.T) {
	all := candidates(t, 2)
	terms := Terms{Candidates: []Candidate{{Place: all[0].Place}, all[1]}, Longest: time.Minute}
	s := start(t, &memory{}, terms, noon)
	s.stands(t, "")
	if s.ring.active != "" {
		t.Errorf("%q signs", s.ring.active)
	}
	s.ring.terms.Candidates = all
	s.at(noon.Add(time.Minute))
	s.stands(t, "v1 active, v2 next")
}

func TestNextVersionSignsWhenEveryVerifierKnowsItAndItsTimeHasCome(t *testing.T) {
	s := start(t, &memory{}, Terms{Candidates: candidates(t, 2), VerifierCache: 24 * time.Hour, Every: 48 * time.Hour, Longest: time.Hour}, noon)
	s.at(noon.Add(48*time.Hour - time.Second))
	s.stands(t, "v1 active, v2 next")
	s.at(noon.Add(48 * time.Hour))
	s.stands(t, "v1 retired, v2 active")

	// One that comes late has to be known first.
	s.ring.terms.Candidates = append(s.ring.terms.Candidates, Candidate{Place: "b v3", KID: "v3", SPKI: spki(t), Able: true})
	late := noon.Add(95 * time.Hour)
	s.at(late)
	s.at(noon.Add(96 * time.Hour)) // v2 has signed for long enough
	s.stands(t, "v1 gone, v2 active, v3 next")
	s.at(late.Add(24*time.Hour + Settle - time.Second))
	s.stands(t, "v1 gone, v2 active, v3 next")
	s.at(late.Add(24*time.Hour + Settle))
	s.stands(t, "v1 gone, v2 retired, v3 active")
}

func TestScheduleWithoutANextVersionIsShown(t *testing.T) {
	s := start(t, &memory{}, Terms{Candidates: candidates(t, 1), Every: 48 * time.Hour, Longest: time.Hour}, noon)
	if diff := cmp.Diff([]Step{{"v1", Retired, noon.Add(48 * time.Hour), WhyVersion}}, s.Reports()[0].Steps); diff != "" {
		t.Error(diff)
	}
	s.at(noon.Add(1000 * time.Hour))
	s.stands(t, "v1 active")
}

func TestVersionWhoseStoreIsAwayDoesNotComeToSign(t *testing.T) {
	s := start(t, &memory{}, Terms{Candidates: candidates(t, 2), Every: time.Hour, Longest: time.Minute}, noon)
	s.ring.terms.Candidates[1].Able = false
	s.at(noon.Add(2 * time.Hour))
	s.stands(t, "v1 active, v2 next")
	if steps := s.Reports()[0].Steps; len(steps) == 0 || steps[len(steps)-1].Why != WhyStore && steps[0].Why != WhyStore {
		t.Errorf("steps %v", steps)
	}
	if _, err := s.Rotate(t.Context(), "k", "v2", Will{By: "o", Force: true}, false); !errors.Is(err, ErrTooEarly) {
		t.Errorf("forced: %v", err)
	}
	s.ring.terms.Candidates[1].Able = true
	s.at(noon.Add(3 * time.Hour))
	s.stands(t, "v1 retired, v2 active")
}

func TestRetiredVersionIsPublishedUntilItsLastTokenHasEnded(t *testing.T) {
	for name, c := range map[string]struct {
		signed  time.Duration // the last token's end, from the rotation on; 0 is none
		forgot  bool          // the ledger is another since
		endless bool
		gone    time.Duration // from the rotation on; 0 is never
	}{
		"it signed nothing":            {gone: Settle},
		"its token ends soon":          {signed: time.Minute, gone: time.Minute + Skew},
		"its token ends late":          {signed: 20 * time.Hour, gone: 20*time.Hour + Skew},
		"nobody knows what it signed":  {forgot: true, gone: Outage + 24*time.Hour + Skew},
		"its tokens have no end":       {endless: true},
		"some have none, and one does": {signed: time.Minute, endless: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, &memory{}, Terms{Candidates: candidates(t, 2), Longest: 24 * time.Hour, Endless: c.endless}, noon)
			rotated := noon.Add(time.Hour)
			s.now = rotated
			if c.signed > 0 {
				s.book.issued("v1", rotated.Add(c.signed))
			}
			if _, err := s.Rotate(t.Context(), "k", "", Will{By: "o"}, false); err != nil {
				t.Fatal(err)
			}
			if c.forgot {
				s.book.id, s.book.ends = "another", map[string]time.Time{}
			}
			if c.gone == 0 {
				s.at(noon.AddDate(20, 0, 0))
				s.stands(t, "v1 retired, v2 active")
				return
			}
			if steps := s.Reports()[0].Steps; len(steps) == 0 || !steps[0].Time.Equal(rotated.Add(c.gone)) || steps[0].To != Gone {
				t.Errorf("planned %v, want %v", steps, rotated.Add(c.gone))
			}
			s.at(rotated.Add(c.gone - time.Second))
			s.stands(t, "v1 retired, v2 active")
			s.at(rotated.Add(c.gone))
			s.stands(t, "v1 gone, v2 active")
		})
	}
}

// The state outlives the configuration: a version that was taken out of it is
// published while it has to be.
func TestVersionTakenOutOfTheConfigurationIsPublishedWhileItIsNeeded(t *testing.T) {
	s := start(t, &memory{}, Terms{Candidates: candidates(t, 3), Longest: time.Hour}, noon)
	s.book.issued("v1", noon.Add(time.Hour))
	if _, err := s.Rotate(t.Context(), "k", "", Will{By: "o"}, false); err != nil {
		t.Fatal(err)
	}
	s.ring.terms.Candidates = s.ring.terms.Candidates[1:2]
	s.at(noon.Add(time.Minute))
	s.stands(t, "v1 retired, v2 active") // and v3, which has signed nothing, is forgotten
	s.at(noon.Add(2 * time.Hour))
	s.stands(t, "v1 gone, v2 active")
	s.at(noon.Add(3 * time.Hour))
	s.stands(t, "v2 active")
}

func TestNothingIsForgottenWhileAVersionWasNotRead(t *testing.T) {
	all := candidates(t, 3)
	s := start(t, &memory{}, Terms{Candidates: all, Longest: time.Hour}, noon)
	if _, err := s.Drop(t.Context(), "k", "v3", Will{By: "o"}, false); err != nil {
		t.Fatal(err)
	}
	s.ring.terms.Candidates = []Candidate{all[0], all[1], {Place: "somewhere else"}}
	s.at(noon.Add(time.Minute))
	s.stands(t, "v1 active, v2 next, v3 gone")
	// One that is known by its place need not be read.
	s.ring.terms.Candidates = []Candidate{all[0], {Place: all[1].Place}, {Place: all[2].Place}}
	s.at(noon.Add(2 * time.Minute))
	s.stands(t, "v1 active, v2 next, v3 gone")
}

func TestOperatorHasAVersionSignWhenItCanBeKnownOrByForceNow(t *testing.T) {
	terms := Terms{Candidates: candidates(t, 3), VerifierCache: time.Hour, Longest: time.Minute}
	s := start(t, &memory{}, terms, noon)
	dry, err := s.Rotate(t.Context(), "k", "", Will{By: "o"}, true)
	if err != nil || dry.Order == nil || dry.Order.KID != "v2" {
		t.Fatalf("dry: %+v, %v", dry.Order, err)
	}
	if k := s.view.Load().Keys["k"]; k.Order != nil {
		t.Error("a dry run is remembered")
	}
	got, err := s.Rotate(t.Context(), "k", "", Will{By: "o"}, false)
	if err != nil {
		t.Fatal(err)
	}
	ready := noon.Add(time.Hour + Settle)
	want := []Step{
		{"v2", Active, ready, WhyVerifiers}, {"v1", Retired, ready, WhyReplaced}, {"v1", Gone, ready.Add(time.Minute + Skew), WhyLimit},
	}
	if diff := cmp.Diff(want, got.Steps); diff != "" {
		t.Error(diff)
	}
	s.at(ready.Add(-time.Second))
	s.stands(t, "v1 active, v2 next, v3 next")
	if _, err := s.Rotate(t.Context(), "k", "v3", Will{By: "o", Force: true}, false); err != nil {
		t.Fatal(err)
	}
	s.stands(t, "v1 retired, v2 next, v3 active")
	if s.ring.active != "v3" {
		t.Errorf("%q signs", s.ring.active)
	}
	for kid, want := range map[string]error{"v3": ErrNoVersion, "v9": ErrNoVersion} {
		if _, err := s.Rotate(t.Context(), "k", kid, Will{By: "o"}, false); !errors.Is(err, want) {
			t.Errorf("%s: %v", kid, err)
		}
	}
	if _, err := s.Rotate(t.Context(), "nothing", "", Will{By: "o"}, false); !errors.Is(err, ErrNoVersion) {
		t.Errorf("a key that is not there: %v", err)
	}
	s.at(ready)
	if _, err := s.Rotate(t.Context(), "k", "v1", Will{By: "o"}, false); err != nil {
		t.Errorf("back to one that verifiers know: %v", err)
	}
	s.stands(t, "v1 active, v2 next, v3 retired")
}

func TestOrderForAVersionThatIsGoneIsForgotten(t *testing.T) {
	s := start(t, &memory{}, Terms{Candidates: candidates(t, 2), VerifierCache: time.Hour, Longest: time.Minute}, noon)
	if _, err := s.Rotate(t.Context(), "k", "", Will{By: "o"}, false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Drop(t.Context(), "k", "v2", Will{By: "o"}, false); err != nil {
		t.Fatal(err)
	}
	s.at(noon.Add(2 * time.Hour))
	s.stands(t, "v1 active, v2 gone")
	if _, err := s.Rotate(t.Context(), "k", "", Will{By: "o"}, false); !errors.Is(err, ErrNoVersion) {
		t.Errorf("there is none that is next: %v", err)
	}
	if _, err := s.Rotate(t.Context(), "k", "v2", Will{By: "o", Force: true}, false); !errors.Is(err, ErrNoVersion) {
		t.Errorf("one that is gone: %v", err)
	}
}

func TestDropTakesBackWhatNobodyNeedsAndByForceTheRest(t *testing.T) {
	s := start(t, &memory{}, Terms{Candidates: candidates(t, 3), Longest: time.Hour}, noon)
	s.book.issued("v1", noon.Add(time.Hour))
	if _, err := s.Rotate(t.Context(), "k", "", Will{By: "o"}, false); err != nil {
		t.Fatal(err)
	}
	for kid, want := range map[string]error{"v1": ErrTooEarly, "v2": ErrTooEarly, "v9": ErrNoVersion} {
		if _, err := s.Drop(t.Context(), "k", kid, Will{By: "o"}, false); !errors.Is(err, want) {
			t.Errorf("%s: %v", kid, err)
		}
	}
	if _, err := s.Drop(t.Context(), "k", "v2", Will{By: "o", Force: true}, false); !errors.Is(err, ErrTooEarly) {
		t.Errorf("the one that signs, by force: %v", err)
	}
	if _, err := s.Drop(t.Context(), "k", "v1", Will{By: "o", Why: "it leaked", Force: true}, false); err != nil {
		t.Fatal(err)
	}
	s.stands(t, "v1 gone, v2 active, v3 next")
	last := s.changes[len(s.changes)-1]
	if diff := cmp.Diff(Change{"k", "v1", Retired, Gone, Will{By: "o", Why: "it leaked", Force: true}, false}, last); diff != "" {
		t.Error(diff)
	}
	var published []string
	for _, v := range s.Published("k") {
		published = append(published, v.KID)
	}
	if diff := cmp.Diff([]string{"v2", "v3"}, published); diff != "" {
		t.Error(diff)
	}
}

// Whoever publishes elsewhere is told which kids may go, for long enough, whether
// the version is still configured or not; never one that is published.
func TestSpentAreTheKidsThatArePublishedNoMore(t *testing.T) {
	all := candidates(t, 4)
	store := &memory{}
	s := start(t, store, Terms{Candidates: all, Longest: time.Hour}, noon)
	spent := func(want ...string) {
		t.Helper()
		if got := s.Spent("k"); !slices.Equal(got, want) {
			t.Errorf("spent %v, want %v", got, want)
		}
	}
	spent()
	if _, err := s.Rotate(t.Context(), "k", "", Will{By: "o"}, false); err != nil {
		t.Fatal(err)
	}
	s.stands(t, "v1 retired, v2 active, v3 next, v4 next")
	spent()
	s.ring.terms.Candidates = all[1:3] // v1 is published, configured or not; v4 has signed nothing
	s.at(noon.Add(time.Minute))
	s.stands(t, "v1 retired, v2 active, v3 next")
	spent("v4")
	gone := noon.Add(2 * time.Hour)
	s.at(gone)
	spent("v1", "v4")
	s.at(gone.Add(time.Minute)) // it is no version any more
	s.stands(t, "v2 active, v3 next")
	spent("v1", "v4")
	s.ring.terms.Candidates = all[1:]
	s.at(gone.Add(2 * time.Minute))
	s.stands(t, "v2 active, v3 next, v4 next")
	spent("v1")
	s.open(t, store) // after a restart
	spent("v1")
	s.Adopt(t.Context(), s.ring)
	s.at(gone.Add(leftFor + time.Hour))
	spent()
	if len(s.view.Load().Keys["k"].Left) != 0 {
		t.Errorf("left %v", s.view.Load().Keys["k"].Left)
	}
	if got := s.Spent("no key"); len(got) != 0 {
		t.Errorf("of no key: %v", got)
	}
}
