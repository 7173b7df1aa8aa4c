package top

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/jotsmith/jotsmith/cmd/internal/terminal"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files")
	flag.Parse()
	os.Exit(m.Run())
}

// busy is a server of which every section has something to say.
func busy() (earlier, now *Sample) {
	before := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(noon.Add(-d)) }
	status := func(k int64) *jotsmithv1.StatusResponse {
		s := &jotsmithv1.StatusResponse{
			Version: "v1.2.3", StartTime: before(26 * time.Hour), ConfigGeneration: "0123456789abcdef", ConfigTime: before(90 * time.Minute),
			ReloadError: "jotsmith.yaml:3:1 unknown field \"ttl_secondz\"\n  and \x1b[2Jmore", Serving: true,
			Minted: 1000 * k, Reused: 9000 * k, Failed: 30 * k, Watches: 12, CallsInFlight: 3, KeptTokens: 420, GateRefusals: k, QuotaRefusals: 2 * k,
			DurationBounds: []float64{50e-6, 100e-6, 250e-6, 500e-6, 1e-3},
			Methods:        []*jotsmithv1.MethodStatus{{Name: "MintToken", DurationCounts: []int64{0, 50 * k, 40 * k, 9 * k, k, 0}}},
			Keys: []*jotsmithv1.KeyStatus{
				{Name: "apple", Kid: "2X9R4HXF34", Backend: "files", Healthy: true},
				{Name: "api", Kid: "api-2027", Backend: "hsm", Reason: "BACKEND_UNAVAILABLE", Error: "sign: key store is unavailable: CKR_DEVICE_ERROR"},
				{Name: "twin", Backend: "east", Healthy: true, Members: []*jotsmithv1.MemberStatus{{Backend: "east", Healthy: true}, {Backend: "west", Reason: "BACKEND_THROTTLED"}}},
			},
			Backends: []*jotsmithv1.BackendStatus{
				{Name: "files", Scheme: "file", Healthy: true, MaxInFlight: 64, Signatures: 900 * k, DurationCounts: []int64{0, 900 * k, 0, 0, 0, 0}},
				{
					Name: "hsm", Scheme: "pkcs11", InFlight: 64, MaxInFlight: 64, Waiting: 17, Signatures: 100 * k, Failed: 20 * k, DurationCounts: []int64{0, 0, 0, 0, 0, 100 * k},
					LastReason: "BACKEND_UNAVAILABLE", LastError: "sign: key store is unavailable: CKR_DEVICE_ERROR", LastErrorTime: before(3 * time.Second),
				},
			},
			Errors: []*jotsmithv1.RecentError{
				{Method: "MintToken", Reason: "BACKEND_UNAVAILABLE", Count: 20 * k, Time: before(3 * time.Second), Caller: "uri:spiffe://example.org/ci/deploy", Profile: "api", Error: "sign: key store is unavailable"},
				{Method: "MintToken", Reason: "NOT_GRANTED", Count: 4, Time: before(2 * time.Hour), Caller: "unix:uid=7,gid=7", Profile: "\x1b[31mevil", Error: "not granted"},
			},
			Disabled: []*jotsmithv1.Disabled{{
				Target: &jotsmithv1.Target{Target: &jotsmithv1.Target_Caller{Caller: "uri:spiffe://example.org/old"}}, Reason: "leaked, INC-1", Time: before(49 * time.Hour), By: "unix:uid=0,gid=0",
			}},
			Alive: []*jotsmithv1.Alive{{Profile: "asc", Kid: "2X9R4HXF34", Count: 77, NewestExpireTime: timestamppb.New(noon.Add(20 * time.Minute))}},
		}
		for i := range int64(9) {
			s.Callers = append(s.Callers, &jotsmithv1.CallerStatus{Name: fmt.Sprintf("uri:spiffe://example.org/team-%d/service", i), Minted: k * (10 - i), Reused: 100 * k * (10 - i), Failed: i})
			s.Profiles = append(s.Profiles, &jotsmithv1.ProfileStatus{Name: fmt.Sprintf("team-%d/asc", i), Key: "apple", Minted: k * i, Reused: 10 * k * i})
		}
		return s
	}
	return &Sample{noon.Add(-2 * time.Second), status(10)}, &Sample{noon, status(11)}
}

func frame(width, height int) *Frame {
	earlier, now := busy()
	f := &Frame{Width: width, Height: height, Sample: now, Rates: Between(earlier, now), Live: height > 0}
	f.Rates.Sort(f.Order)
	return f
}

// text is what a person sees of lines; what is bad has an exclamation mark at
// its end.
func text(lines []terminal.Line) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.Text)
		if l.Style == terminal.Bad {
			b.WriteString(" (!)")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/" + name
	if flag.Lookup("update").Value.String() == "true" {
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

func TestFrames(t *testing.T) {
	away := frame(80, 24)
	away.Away, away.AwaySince, away.Paused, away.Order = errors.New("cannot reach the server at \x1b[0m"), noon, true, ByFailures
	first := frame(80, 24)
	first.Rates = Between(nil, first.Sample)
	nothing := &Frame{Width: 80, Height: 24, Live: true, Away: errors.New("cannot reach the server"), AwaySince: noon}
	for name, f := range map[string]*Frame{
		"80x24.txt": frame(80, 24), "120x40.txt": frame(120, 40), "40x12.txt": frame(40, 12), "once.txt": frame(0, 0),
		"away.txt": away, "first-look.txt": first, "nothing-yet.txt": nothing,
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, text(f.Lines())) })
	}
}

// Whatever a server says and however large the screen is, the frame fits, its
// last line is that of the keys, and it has nothing but ASCII.
func TestFramesFitEveryScreen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := frame(rapid.IntRange(1, 200).Draw(t, "width"), rapid.IntRange(1, 80).Draw(t, "height"))
		s := f.Sample.Status
		word := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z0-9:/.-]{0,300}`))
		for range rapid.IntRange(0, 40).Draw(t, "more") {
			s.Errors = append(s.Errors, &jotsmithv1.RecentError{Reason: "R", Method: "M", Caller: word.Draw(t, "caller"), Profile: word.Draw(t, "profile"), Error: word.Draw(t, "error")})
			s.Callers = append(s.Callers, &jotsmithv1.CallerStatus{Name: word.Draw(t, "name")})
		}
		if rapid.Bool().Draw(t, "quiet") {
			s.Errors, s.Disabled, s.Alive, s.Keys, s.ReloadError = nil, nil, nil, nil, ""
		}
		if rapid.Bool().Draw(t, "away") {
			f.Away = errors.New(word.Draw(t, "away"))
		}
		f.Rates = Between(nil, f.Sample)
		lines := f.Lines()
		if len(lines) != f.Height {
			t.Fatalf("%d lines on a screen of %d", len(lines), f.Height)
		}
		for _, l := range lines {
			if len(l.Text) > f.Width {
				t.Fatalf("%q is wider than %d", l.Text, f.Width)
			}
			for _, b := range []byte(l.Text) {
				if b < ' ' || b > '~' {
					t.Fatalf("%q in %q", b, l.Text)
				}
			}
		}
		if last := lines[len(lines)-1].Text; last != cut("q quit   s sort (by rate)   p pause", f.Width) {
			t.Fatalf("last line %q", last)
		}
	})
}
