package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"

	"github.com/jotsmith/jotsmith/cmd/internal/terminal"
)

// Frame is what is shown at once.
type Frame struct {
	Width, Height int     // of the screen; 0 is no limit
	Sample        *Sample // nil where the server has not answered yet
	Rates         Rates   // in the order that they are shown in
	Order         Order
	Live          bool // the keys do something
	Paused        bool
	Away          error // why the server does not answer; nil where it does
	AwaySince     time.Time
}

// Lines returns the lines of the frame, none wider and not more than the screen.
func (f *Frame) Lines() []terminal.Line {
	lines := f.head()
	footer := f.footer()
	if f.Sample != nil {
		left := 0
		if f.Height > 0 {
			left = max(f.Height-len(lines)-len(footer), 0)
		}
		if f.Height == 0 || left > 0 {
			lines = append(lines, f.sections(left)...)
		}
	}
	if f.Height > 0 {
		lines = lines[:min(len(lines), max(f.Height-len(footer), 0))]
		for len(footer) > 0 && len(lines) < f.Height-len(footer) {
			lines = append(lines, terminal.Line{})
		}
	}
	lines = append(lines, footer...)
	for i := range lines {
		lines[i].Text = cut(lines[i].Text, f.Width)
	}
	return lines
}

// head is what stands on top: what runs, how fast, and what is wrong with it as
// a whole.
func (f *Frame) head() []terminal.Line {
	if f.Sample == nil {
		return append([]terminal.Line{{Text: "jotsmith", Style: terminal.Title}}, f.alarms()...)
	}
	clock := f.Sample.At.Format(time.TimeOnly)
	if f.Paused {
		clock = "paused " + clock
	}
	s, r := f.Sample.Status, f.Rates
	up := max(f.Sample.At.Sub(s.GetStartTime().AsTime()), 0)
	lines := []terminal.Line{
		{Text: f.spread(fmt.Sprintf("jotsmith %s, up %s", terminal.Cells(s.GetVersion()), short(up)), clock), Style: terminal.Title},
		{Text: fmt.Sprintf("configuration %s, %s old", s.GetConfigGeneration(), short(max(f.Sample.At.Sub(s.GetConfigTime().AsTime()), 0)))},
	}
	if r.Seconds > 0 {
		lines = append(lines,
			terminal.Line{Text: fmt.Sprintf("per second   %s minted, %s reused, %s failed, %s turned away, %s over quota",
				f.rate(r.Minted), f.rate(r.Reused), f.rate(r.Failed), f.rate(r.TurnedAway), f.rate(r.OverQuota))},
			terminal.Line{Text: fmt.Sprintf("MintToken    p50 %s, p99 %s", seconds(r.MintToken.P50, s), seconds(r.MintToken.P99, s))})
	}
	lines = append(lines,
		terminal.Line{Text: fmt.Sprintf("since start  %d minted, %d reused, %d failed", s.GetMinted(), s.GetReused(), s.GetFailed())},
		terminal.Line{Text: fmt.Sprintf("now          %d calls, %d watches, %d kept tokens", s.GetCallsInFlight(), s.GetWatches(), s.GetKeptTokens())})
	return append(lines, f.alarms()...)
}

// alarms are what is wrong with the server as a whole.
func (f *Frame) alarms() []terminal.Line {
	var lines []terminal.Line
	alarm := func(format string, args ...any) {
		lines = append(lines, terminal.Line{Text: "! " + fmt.Sprintf(format, args...), Style: terminal.Bad})
	}
	if f.Away != nil {
		alarm("no answer since %s, trying again: %s", f.AwaySince.Format(time.TimeOnly), terminal.Cells(f.Away.Error()))
	}
	if f.Sample == nil {
		return lines
	}
	s := f.Sample.Status
	if s.GetReloadError() != "" {
		alarm("configuration not taken up: %s", terminal.Cells(s.GetReloadError()))
	}
	if !s.GetServing() {
		alarm("no key can sign")
	}
	if stopped := s.GetDisabled(); len(stopped) > 0 {
		var names []string
		for _, d := range stopped {
			names = append(names, terminal.Cells(TargetText(d.GetTarget())))
		}
		alarm("stopped by an operator: %s", strings.Join(names, ", "))
	}
	return lines
}

// spread puts a text to the right end of a line.
func (f *Frame) spread(left, right string) string {
	return left + strings.Repeat(" ", max(f.Width-len(left)-len(right), 2)) + right
}

func (f *Frame) footer() []terminal.Line {
	if !f.Live {
		return nil
	}
	pause := "pause"
	if f.Paused {
		pause = "go on"
	}
	return []terminal.Line{{Text: fmt.Sprintf("q quit   s sort (by %s)   p %s", f.Order, pause), Style: terminal.Faint}}
}

// sections returns the tables in so many lines: each gets its title and two rows,
// as far as there is room, then whoever has more gets more, in turn.
func (f *Frame) sections(room int) []terminal.Line {
	tables := []*table{
		f.keys(), f.backends(), f.callers(), f.profiles(), f.failures(), f.stopped(), f.alive(),
	}
	tables = slices.DeleteFunc(tables, func(t *table) bool { return len(t.rows) == 0 })
	shares := make([]int, len(tables))
	spaced := 0
	if room > 0 {
		if room >= 6*len(tables) { // room enough for a line between them
			spaced = 1
		}
		left := room
		for i, t := range tables {
			want := spaced + 1 + min(len(t.rows), 2)
			if left < spaced+2 {
				break
			}
			shares[i] = min(want, left)
			left -= shares[i]
		}
		for grew := true; grew && left > 0; {
			grew = false
			for i, t := range tables {
				if left > 0 && shares[i] > 0 && shares[i] < spaced+1+len(t.rows) {
					shares[i]++
					left--
					grew = true
				}
			}
		}
	}
	var lines []terminal.Line
	for i, t := range tables {
		if room > 0 && shares[i] == 0 {
			continue
		}
		if spaced > 0 || room == 0 {
			lines = append(lines, terminal.Line{})
		}
		lines = append(lines, t.lines(f.Width, max(shares[i]-spaced, 0))...)
	}
	return lines
}

func (f *Frame) keys() *table {
	t := &table{columns: []column{{title: "KEY"}, {title: "KID"}, {title: "BACKEND"}, {title: "STATE"}}, bad: map[int]bool{}}
	keys := slices.Clone(f.Sample.Status.GetKeys())
	slices.SortStableFunc(keys, func(a, b *jotsmithv1.KeyStatus) int { return cmp.Compare(wellness(a), wellness(b)) })
	for _, k := range keys {
		state := "can sign"
		var ill []string
		for _, m := range k.GetMembers() {
			if !m.GetHealthy() {
				ill = append(ill, m.GetBackend()+" "+m.GetReason())
			}
		}
		switch {
		case !k.GetHealthy():
			state = k.GetReason() + ": " + terminal.Cells(k.GetError())
		case len(ill) > 0:
			state = "can sign, not in " + terminal.Cells(strings.Join(ill, ", "))
		}
		t.bad[len(t.rows)] = wellness(k) < well
		t.rows = append(t.rows, []string{k.GetName(), cmp.Or(k.GetKid(), "-"), k.GetBackend(), state})
	}
	return t
}

// well is the wellness of a key that can sign in all its places.
const well = 2

func wellness(k *jotsmithv1.KeyStatus) int {
	if !k.GetHealthy() {
		return 0
	}
	for _, m := range k.GetMembers() {
		if !m.GetHealthy() {
			return 1
		}
	}
	return well
}

func (f *Frame) backends() *table {
	t := &table{columns: []column{
		{title: "BACKEND"},
		{title: "KIND"},
		{title: "STATE"},
		{"SIGN/S", true},
		{"FAIL/S", true},
		{"P50", true},
		{"P99", true},
		{"FLIGHT", true},
		{"WAIT", true},
		{title: "LAST FAILURE"},
	}, bad: map[int]bool{}}
	for i, b := range f.Sample.Status.GetBackends() {
		r, state, last := f.Rates.Backends[i], "there", "-"
		if !b.GetHealthy() {
			state = "away"
		}
		if b.GetLastErrorTime() != nil {
			last = fmt.Sprintf("%s ago %s: %s", f.ago(b.GetLastErrorTime().AsTime()), b.GetLastReason(), terminal.Cells(b.GetLastError()))
		}
		t.bad[len(t.rows)] = !b.GetHealthy()
		t.rows = append(t.rows, []string{
			b.GetName(), b.GetScheme(), state, f.rate(r.Signed), f.rate(r.Failed), seconds(r.P50, f.Sample.Status), seconds(r.P99, f.Sample.Status),
			fmt.Sprintf("%d/%d", b.GetInFlight(), b.GetMaxInFlight()), fmt.Sprint(b.GetWaiting()), last,
		})
	}
	return t
}

func (f *Frame) callers() *table {
	t := &table{columns: []column{{title: "CALLER"}, {"MINT/S", true}, {"REUSE/S", true}, {"FAIL/S", true}, {"TOTAL", true}}}
	for _, c := range f.Rates.Callers {
		t.rows = append(t.rows, []string{terminal.Cells(c.Name), f.rate(c.Minted), f.rate(c.Reused), f.rate(c.Failed), fmt.Sprint(c.Total)})
	}
	return t
}

func (f *Frame) profiles() *table {
	t := &table{columns: []column{{title: "PROFILE"}, {title: "KEY"}, {"MINT/S", true}, {"REUSE/S", true}, {"TOTAL", true}}}
	for _, p := range f.Rates.Profiles {
		t.rows = append(t.rows, []string{p.Name, p.Key, f.rate(p.Minted), f.rate(p.Reused), fmt.Sprint(p.Total)})
	}
	return t
}

func (f *Frame) failures() *table {
	t := &table{columns: []column{
		{title: "FAILED"}, {title: "METHOD"}, {"TIMES", true}, {"LAST", true}, {title: "CALLER"}, {title: "PROFILE"}, {title: "ERROR"},
	}}
	for _, e := range f.Sample.Status.GetErrors() {
		t.rows = append(t.rows, []string{
			e.GetReason(), e.GetMethod(), fmt.Sprint(e.GetCount()), f.ago(e.GetTime().AsTime()),
			terminal.Cells(e.GetCaller()), cmp.Or(terminal.Cells(e.GetProfile()), "-"), terminal.Cells(e.GetError()),
		})
	}
	return t
}

func (f *Frame) stopped() *table {
	t := &table{columns: []column{{title: "STOPPED"}, {"FOR", true}, {title: "BY"}, {title: "WHY"}}, bad: map[int]bool{}}
	for i, d := range f.Sample.Status.GetDisabled() {
		t.bad[i] = true
		t.rows = append(t.rows, []string{
			terminal.Cells(TargetText(d.GetTarget())), f.ago(d.GetTime().AsTime()), terminal.Cells(d.GetBy()), terminal.Cells(d.GetReason()),
		})
	}
	return t
}

func (f *Frame) alive() *table {
	t := &table{columns: []column{{title: "STILL VALID"}, {title: "KID"}, {"TOKENS", true}, {title: "UNTIL"}}}
	for _, a := range f.Sample.Status.GetAlive() {
		until := a.GetNewestExpireTime().AsTime()
		t.rows = append(t.rows, []string{
			a.GetProfile(), a.GetKid(), fmt.Sprint(a.GetCount()),
			fmt.Sprintf("%s, in %s", until.Format(time.RFC3339), short(max(until.Sub(f.Sample.At), 0))),
		})
	}
	return t
}

// ago is how long before the sample something was.
func (f *Frame) ago(t time.Time) string { return short(max(f.Sample.At.Sub(t), 0)) }

// TargetText names what an operator has stopped.
func TargetText(t *jotsmithv1.Target) string {
	switch x := t.GetTarget().(type) {
	case *jotsmithv1.Target_Key:
		return "key " + x.Key
	case *jotsmithv1.Target_Profile:
		return "profile " + x.Profile
	case *jotsmithv1.Target_Caller:
		return "caller " + x.Caller
	}
	return "everything"
}

// short is a duration in its two greatest units.
func short(d time.Duration) string {
	day := 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%02dh", d/day, d%day/time.Hour)
	}
}

// rate is a number each second in three digits or so; - where it is not known.
func (f *Frame) rate(r float64) string {
	switch {
	case f.Rates.Seconds == 0:
		return "-"
	case r == 0:
		return "0"
	case r < 10:
		return fmt.Sprintf("%.1f", r)
	default:
		return fmt.Sprintf("%.0f", r)
	}
}

// seconds is a time that was worked out, - for none, and where it is the greatest
// bound more than that.
func seconds(t float64, s *jotsmithv1.StatusResponse) string {
	d := time.Duration(t * float64(time.Second))
	more := ""
	if bounds := s.GetDurationBounds(); len(bounds) > 0 && t >= bounds[len(bounds)-1] {
		more = ">"
	}
	switch {
	case d <= 0:
		return "-"
	case d < time.Millisecond:
		return fmt.Sprintf("%s%dus", more, d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%s%.1fms", more, d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%s%dms", more, d.Milliseconds())
	default:
		return fmt.Sprintf("%s%.1fs", more, d.Seconds())
	}
}
