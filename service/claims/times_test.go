package claims

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// signed is a profile without exp, whose verifier accepts a token for an hour.
func signed() Profile {
	p := jwt()
	delete(p.Rules, "exp")
	p.DefaultTTL, p.MaxTTL, p.MaxAge = 0, 0, time.Hour
	return p
}

// shared is a profile as one for Apple's push service: one token for all.
func shared() Profile {
	return Profile{
		Name: "push", Key: "apple", Rules: map[string]Rule{"iat": {Computed: IssueTime}},
		MaxAge: time.Hour, Backdate: time.Minute,
		Reuse: Reuse{Mode: Shared, MinAge: 20 * time.Minute, Grid: 30 * time.Minute},
	}
}

func TestGridGivesAllReplicasTheSameTimes(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name       string
		now        time.Duration // after noon
		issue      time.Duration
		end        time.Duration // an hour after iat
		refresh    time.Duration // the next change
		lastlyGive time.Duration // with a third of 59 minutes left
	}{
		{"on the grid but for the backdate", 0, -30 * time.Minute, 30 * time.Minute, time.Minute, 10*time.Minute + 20*time.Second},
		{"a nanosecond before the change", time.Minute - 1, -30 * time.Minute, 30 * time.Minute, time.Minute, 10*time.Minute + 20*time.Second},
		{"at the change", time.Minute, 0, time.Hour, 31 * time.Minute, 40*time.Minute + 20*time.Second},
		{"a second and a half after it", 61500 * time.Millisecond, 0, time.Hour, 31 * time.Minute, 40*time.Minute + 20*time.Second},
		{"a second before the next", 31*time.Minute - time.Second, 0, time.Hour, 31 * time.Minute, 40*time.Minute + 20*time.Second},
		{"at the next", 31 * time.Minute, 30 * time.Minute, 90 * time.Minute, 61 * time.Minute, 70*time.Minute + 20*time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, err := New([]Profile{shared()}, nil).Build(grantFor(t, "push"), Request{}, noon.Add(tt.now))
			if err != nil {
				t.Fatal(err)
			}
			want := times{
				issue: noon.Add(tt.issue), end: noon.Add(tt.end),
				refresh: noon.Add(tt.refresh), last: noon.Add(tt.lastlyGive),
			}
			if diff := cmp.Diff(want, set.times, cmp.AllowUnexported(times{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGridSetsBackExpToo(t *testing.T) {
	p := shared()
	p.Rules["exp"] = Rule{Computed: ExpireTime}
	p.DefaultTTL, p.MaxTTL, p.MaxAge = time.Hour, time.Hour, 0
	set, err := build(t, p, Request{}) // at noon
	if err != nil {
		t.Fatal(err)
	}
	noon := now().Truncate(time.Second)
	want := times{
		issue: noon.Add(-30 * time.Minute), expire: noon.Add(31 * time.Minute), end: noon.Add(31 * time.Minute),
		refresh: noon.Add(time.Minute), last: noon.Add(11 * time.Minute),
	}
	if diff := cmp.Diff(want, set.times, cmp.AllowUnexported(times{})); diff != "" {
		t.Error(diff)
	}
}

func TestTimesOfATokenWithoutExp(t *testing.T) {
	noon := now().Truncate(time.Second)
	endless := signed()
	endless.MaxAge, endless.Reuse.Mode = 0, Never
	once := signed()
	once.Reuse.Mode = ""
	for name, tt := range map[string]struct {
		profile Profile
		want    times
	}{
		"with an age":              {signed(), times{issue: noon.Add(-10 * time.Second), end: noon.Add(3590 * time.Second), refresh: noon.Add(3590*time.Second - 3590*time.Second/3), last: noon.Add(3590*time.Second - 3590*time.Second/3)}},
		"with an age, for one use": {once, times{issue: noon.Add(-10 * time.Second), end: noon.Add(3590 * time.Second)}},
		"without an end":           {endless, times{issue: noon.Add(-10 * time.Second)}},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := build(t, tt.profile, Request{Claims: `{"sub":"s"}`})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, set.times, cmp.AllowUnexported(times{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMinRemaining(t *testing.T) {
	endless := signed()
	endless.MaxAge, endless.Reuse.Mode = 0, Never
	plain := func(p Profile) Profile {
		p.Rules["sub"].Caller.Required = false
		return p
	}
	noGrid := shared()
	noGrid.Reuse.Grid = 0
	for _, tt := range []struct {
		name    string
		profile Profile
		asked   *time.Duration
		least   time.Duration
		want    string // empty accepts
	}{
		{"not asked for", plain(jwt()), nil, 100 * time.Second, ""},
		{"zero", plain(jwt()), new(time.Duration(0)), 100 * time.Second, ""},
		{"under a third", plain(jwt()), new(time.Second), 100 * time.Second, ""},
		{"over a third", plain(jwt()), new(101 * time.Second), 101 * time.Second, ""},
		{"with a fraction", plain(jwt()), new(101*time.Second + 1), 101*time.Second + 1, ""},
		{"the whole life", plain(jwt()), new(5 * time.Minute), 5 * time.Minute, ""},
		{"a nanosecond more", plain(jwt()), new(5*time.Minute + 1), 0, "is over 300s, the life of a new token"},
		{"int64 max", plain(jwt()), new(time.Duration(math.MaxInt64)), 0, "is over 300s, the life of a new token"},
		{"negative", plain(jwt()), new(time.Duration(-1)), 0, "is negative"},
		{"int64 min", plain(jwt()), new(time.Duration(math.MinInt64)), 0, "is negative"},

		{"by age, not asked for", plain(signed()), nil, 3590 * time.Second / 3, ""},
		{"by age, the whole life", plain(signed()), new(3590 * time.Second), 3590 * time.Second, ""},
		{"by age, the backdate too", plain(signed()), new(time.Hour), 0, "is over 3590s, the life of a new token"},

		{"endless, not asked for", plain(endless), nil, 0, ""},
		{"endless, zero", plain(endless), new(time.Duration(0)), 0, "cannot be set: tokens of this profile have no end"},
		{"endless, a second", plain(endless), new(time.Second), 0, "cannot be set: tokens of this profile have no end"},
		{"endless, negative", plain(endless), new(-time.Second), 0, "is negative"},

		{"shared, not asked for", shared(), nil, 59 * time.Minute / 3, ""},
		{"shared, what the grid leaves", shared(), new(29 * time.Minute), 29 * time.Minute, ""},
		{"shared, more", shared(), new(29*time.Minute + time.Second), 0, "is over 1740s, the least that a shared token of this profile has left"},
		{"shared, what the least age leaves", noGrid, new(39 * time.Minute), 39 * time.Minute, ""},
		{"shared, more than that", noGrid, new(40 * time.Minute), 0, "is over 2340s, the least that a shared token of this profile has left"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			draft, err := New([]Profile{tt.profile}, nil).Prepare(grantFor(t, tt.profile.Name), Request{MinRemaining: tt.asked})
			if tt.want != "" {
				if diff := cmp.Diff([]Violation{{"min_remaining", tt.want}}, violations(t, err)); diff != "" {
					t.Error(diff)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if draft.MinRemaining() != tt.least {
				t.Errorf("at least %v, want %v", draft.MinRemaining(), tt.least)
			}
		})
	}
}

// The longer the token, the more of it a caller can ask for.
func TestMinRemainingIsHeldToTheTTLAskedFor(t *testing.T) {
	req := Request{Claims: `{"sub":"s"}`, TTL: new(10 * time.Minute), MinRemaining: new(9 * time.Minute)}
	if _, err := build(t, jwt(), req); err != nil {
		t.Error(err)
	}
	req.TTL = new(time.Minute)
	_, err := build(t, jwt(), req)
	if diff := cmp.Diff([]Violation{{"min_remaining", "is over 60s, the life of a new token"}}, violations(t, err)); diff != "" {
		t.Error(diff)
	}
}

func TestTTLIsRefusedWhereTheCallerCannotChooseIt(t *testing.T) {
	fixedLife := shared()
	fixedLife.Rules["exp"] = Rule{Computed: ExpireTime}
	fixedLife.DefaultTTL, fixedLife.MaxTTL, fixedLife.MaxAge = time.Hour, time.Hour, 0
	noExp := signed()
	noExp.Rules["sub"].Caller.Required = false
	for name, tt := range map[string]struct {
		profile Profile
		want    string
	}{
		"without exp":        {noExp, "cannot be set: tokens of this profile do not expire"},
		"shared without exp": {shared(), "cannot be set: tokens of this profile do not expire"},
		"shared":             {fixedLife, "cannot be set: the token of this profile is shared by all callers"},
	} {
		for _, ttl := range []time.Duration{0, -1, time.Second, time.Hour, math.MaxInt64} {
			_, err := build(t, tt.profile, Request{TTL: &ttl})
			if diff := cmp.Diff([]Violation{{"ttl", tt.want}}, violations(t, err)); diff != "" {
				t.Errorf("%s, %v: %s", name, ttl, diff)
			}
		}
	}
}

func TestLongLivedTTL(t *testing.T) {
	fixed := asc()
	fixed.Rules["scope"] = Rule{Fixed: []byte(`["GET /v1/ciProducts"]`)}
	wrong := asc()
	wrong.Rules["scope"] = Rule{Fixed: []byte(`["GET /v1/apps"]`)}
	for _, tt := range []struct {
		name    string
		profile Profile
		claims  string
		ttl     time.Duration
		want    []Violation
	}{
		{"the ordinary most", asc(), "", 1080 * time.Second, nil},
		{"a second more", asc(), "", 1081 * time.Second, []Violation{{"ttl", "is over 1080s, which needs the claim scope"}}},
		{"with the caller's scope", asc(), scopeOf("GET /v1/ciProducts"), 180*day - time.Minute, nil},
		{"with the profile's scope", fixed, "", 180*day - time.Minute, nil},
		{"a second too many", fixed, "", 180*day - time.Minute + time.Second, []Violation{{"ttl", "is over this profile's limit of 15551940s"}}},
		{"with another scope", wrong, "", 1081 * time.Second, []Violation{{
			"claims.scope", "item 0 names a resource that App Store Connect gives no long-lived tokens for; the limit is then 1080s",
		}}},
		{"one of two", asc(), scopeOf("GET /v1/ciProducts", "GET /v1/apps"), 24 * time.Hour, []Violation{{
			"claims.scope", "item 1 names a resource that App Store Connect gives no long-lived tokens for; the limit is then 1080s",
		}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, err := build(t, tt.profile, Request{Claims: tt.claims, TTL: &tt.ttl})
			if tt.want != nil {
				if diff := cmp.Diff(tt.want, violations(t, err)); diff != "" {
					t.Error(diff)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := set.ExpireTime().Sub(now().Truncate(time.Second)); got != tt.ttl {
				t.Errorf("exp is %v ahead", got)
			}
		})
	}
}

func TestLastingProfilesAreThoseOfMoreThanADay(t *testing.T) {
	short, long, endless := jwt(), jwt(), signed()
	short.MaxTTL, long.MaxTTL, endless.MaxAge = 24*time.Hour, 24*time.Hour+time.Second, 0
	if short.Lasting() || !long.Lasting() || endless.Lasting() {
		t.Errorf("%t, %t, %t", short.Lasting(), long.Lasting(), endless.Lasting())
	}
	if !long.Expires() || endless.Expires() {
		t.Errorf("%t, %t", long.Expires(), endless.Expires())
	}
}
