package metrics

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.yaml.in/yaml/v3"
)

// busy returns metrics in which every metric has a value.
func busy() *Metrics {
	noon := time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)
	m := New(Config{
		Version: "1.2.3", Calls: []string{"MintToken"}, Streams: []string{"WatchToken"}, Reasons: []string{"NOT_GRANTED", "INTERNAL"},
		Kinds: []string{"throttled", "unavailable"},
		State: func() State {
			return State{
				CallsInFlight: 1, GateRefusals: 2, QuotaRefusals: 3, Handshakes: 11, Watches: 4, Tokens: 5, TokenBytes: 6,
				Backends:     []BackendState{{"hsm", 7, 8}},
				Keys:         []KeyState{{"k", true, false, map[string]bool{"hsm": false, "kms": true}}, {"l", false, true, nil}},
				NewestExpiry: map[string]time.Time{"asc": noon},
				Generation:   "0123456789abcdef", TakenUp: noon, Reloads: 9, RefusedReloads: 10, LastReload: noon.Add(time.Second), LastRefused: true,
				Certificates: []Certificate{{"127.0.0.1:8443", noon}},
			}
		},
	})
	m.SetNames([]string{"asc", "api"}, []string{"hsm"})
	m.Call("MintToken", "OK", "", 70*time.Microsecond)
	m.Call("MintToken", "PermissionDenied", "NOT_GRANTED", 3*time.Millisecond)
	m.Call("WatchToken", "OK", "", time.Hour)
	m.Call("NoSuchMethod", "OK", "", time.Hour)
	m.Failure("NOT_GRANTED")
	m.Failure("NO_SUCH_REASON")
	m.Panic()
	m.Published(304)
	m.Token("asc", false)
	m.Token("asc", true)
	m.Token("no such profile", true)
	b := m.Backend("hsm")
	b.Answered(time.Minute)
	b.Signed()
	b.Failed("unavailable")
	b.Failed("no such kind")
	m.Audit.Recorded(3)
	m.Audit.Flushed(time.Millisecond)
	m.Audit.Failed(2)
	return m
}

// scraped returns what Prometheus would read of our own metrics.
func scraped(t testing.TB, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatal(w.Code, w.Body)
	}
	var ours []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "jotsmith_") {
			ours = append(ours, line)
		}
	}
	if !strings.Contains(w.Body.String(), "\ngo_goroutines ") {
		t.Error("nothing of the Go runtime")
	}
	return strings.Join(ours, "")
}

func TestWhatHappenedIsWhatPrometheusReads(t *testing.T) {
	got := scraped(t, busy())
	for _, want := range []string{
		`jotsmith_build_info{go_version="go1.`,
		`jotsmith_calls_total{code="OK",method="MintToken"} 1`,
		`jotsmith_calls_total{code="OK",method="WatchToken"} 1`,
		`jotsmith_calls_total{code="PermissionDenied",method="MintToken"} 1`,
		`jotsmith_call_duration_seconds_bucket{method="MintToken",outcome="ok",le="5e-05"} 0`,
		`jotsmith_call_duration_seconds_bucket{method="MintToken",outcome="ok",le="0.0001"} 1`,
		`jotsmith_call_duration_seconds_count{method="MintToken",outcome="failed"} 1`,
		`jotsmith_failures_total{reason="INTERNAL"} 0`,
		`jotsmith_failures_total{reason="NOT_GRANTED"} 2`,
		`jotsmith_panics_total 1`,
		`jotsmith_tokens_total{profile="api",reused="true"} 0`,
		`jotsmith_tokens_total{profile="asc",reused="false"} 1`,
		`jotsmith_tokens_total{profile="asc",reused="true"} 1`,
		`jotsmith_backend_signatures_total{backend="hsm"} 1`,
		`jotsmith_backend_errors_total{backend="hsm",kind="throttled"} 0`,
		`jotsmith_backend_errors_total{backend="hsm",kind="unavailable"} 1`,
		`jotsmith_backend_signature_duration_seconds_bucket{backend="hsm",le="10"} 0`,
		`jotsmith_backend_signature_duration_seconds_count{backend="hsm"} 1`,
		`jotsmith_audit_records_total 3`,
		`jotsmith_audit_failures_total 2`,
		`jotsmith_audit_flush_duration_seconds_count 1`,
		`jotsmith_calls_in_flight 1`,
		`jotsmith_gate_refusals_total 2`,
		`jotsmith_quota_refusals_total 3`,
		`jotsmith_handshake_failures_total 11`,
		`jotsmith_watches_open 4`,
		`jotsmith_cached_tokens 5`,
		`jotsmith_cached_tokens_bytes 6`,
		`jotsmith_backend_signatures_in_flight{backend="hsm"} 7`,
		`jotsmith_backend_calls_waiting{backend="hsm"} 8`,
		`jotsmith_key_healthy{key="k"} 1`,
		`jotsmith_key_healthy{key="l"} 0`,
		`jotsmith_key_latched{key="l"} 1`,
		`jotsmith_key_backend_healthy{backend="hsm",key="k"} 0`,
		`jotsmith_key_backend_healthy{backend="kms",key="k"} 1`,
		`jotsmith_token_newest_expiry_timestamp_seconds{profile="asc"} 1.8039024e+09`,
		`jotsmith_config_info{generation="0123456789abcdef"} 1`,
		`jotsmith_config_taken_up_timestamp_seconds 1.8039024e+09`,
		`jotsmith_config_reloads_total{result="taken_up"} 9`,
		`jotsmith_config_reloads_total{result="refused"} 10`,
		`jotsmith_config_last_reload_refused 1`,
		`jotsmith_config_last_reload_timestamp_seconds 1.803902401e+09`,
		`jotsmith_certificate_expiry_timestamp_seconds{listener="127.0.0.1:8443"} 1.8039024e+09`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s", want)
		}
	}
	for _, never := range []string{"no such", "NoSuch", "NO_SUCH", `_duration_seconds_count{method="WatchToken"`} {
		if strings.Contains(got, never) {
			t.Errorf("%s is among them", never)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}

func TestNamesThatTheConfigurationLostAreForgottenAndOthersGoOn(t *testing.T) {
	m := busy()
	old := m.Backend("hsm")
	m.SetNames([]string{"api", "asc"}, []string{"hsm", "kms"})
	if m.Backend("hsm") != old {
		t.Error("a backend that stays is counted anew")
	}
	m.Token("asc", false)
	if got := scraped(t, m); !strings.Contains(got, `jotsmith_tokens_total{profile="asc",reused="false"} 2`) {
		t.Errorf("a profile that stays is counted anew:\n%s", got)
	}
	m.SetNames([]string{"api"}, []string{"kms"})
	m.Backend("kms")
	m.Token("asc", false)
	old.Signed() // of a call that began under the configuration before
	old.Failed("unavailable")
	got := scraped(t, m)
	for _, gone := range []string{`profile="asc",reused`, `_total{backend="hsm"`, `_count{backend="hsm"`, `backend_errors_total{backend="hsm"`} {
		if strings.Contains(got, gone) {
			t.Errorf("%s is still there:\n%s", gone, got)
		}
	}
}

// Half of what follows is Prometheus' own opinion of names and units.
func TestNamesAreAsPrometheusWantsThem(t *testing.T) {
	families, err := busy().registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "jotsmith_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// described is a metric as it describes itself.
type described struct{ Labels, Help string }

func all(t *testing.T) map[string]described {
	t.Helper()
	form := regexp.MustCompile(`^Desc\{fqName: "(jotsmith_\w+)", help: "(.*)", unit: ".*", constLabels: \{\}, variableLabels: \{(.*)\}\}$`)
	out := make(chan *prometheus.Desc)
	go func() {
		defer close(out)
		busy().registry.Describe(out)
	}()
	found := map[string]described{}
	for d := range out {
		if m := form.FindStringSubmatch(d.String()); m != nil {
			found[m[1]] = described{strings.ReplaceAll(m[3], ",", ", "), m[2]}
		}
	}
	if len(found) < 20 {
		t.Fatalf("only %d metrics", len(found))
	}
	return found
}

func TestDocumentHasEveryMetricAndNoOther(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `(jotsmith_\\w+)` \\| (.*?) ?\\| (.*) \\|$")
	documented := map[string]described{}
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		documented[m[1]] = described{strings.ReplaceAll(m[2], "`", ""), strings.ReplaceAll(m[3], "`", "")}
	}
	if diff := cmp.Diff(all(t), documented); diff != "" {
		t.Errorf("the code (-) and docs/operations.md (+) differ:\n%s", diff)
	}
}

// The rules' form is Prometheus' own, of which no more is needed here.
type ruleFile struct {
	Groups []struct {
		Name     string
		Interval string `yaml:",omitempty"`
		Rules    []struct {
			Alert       string
			Expr        string
			For         string `yaml:",omitempty"`
			Labels      map[string]string
			Annotations map[string]string
		}
	}
}

// family is the metric that a name belongs to, which for a histogram is several.
func family(name string) string {
	for _, suffix := range []string{"_seconds_bucket", "_seconds_count", "_seconds_sum"} {
		if base, ok := strings.CutSuffix(name, suffix); ok {
			return base + "_seconds"
		}
	}
	return name
}

func TestAlertRulesNameMetricsAndLabelsThatAreThere(t *testing.T) {
	data, err := os.ReadFile("../../deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file ruleFile
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	known := all(t)
	shown := scraped(t, busy())
	name := regexp.MustCompile(`jotsmith_\w+`)
	matched := regexp.MustCompile(`(jotsmith_\w+)\{([^}]*)\}`)
	label := regexp.MustCompile(`(\w+)\s*(?:=~|!=|=)\s*"([^"]*)"`)
	var alerts []string
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			alerts = append(alerts, rule.Alert)
			if rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
				t.Errorf("%s lacks its severity, summary or description", rule.Alert)
			}
			if rule.For != "" {
				if _, err := time.ParseDuration(rule.For); err != nil {
					t.Errorf("%s: %v", rule.Alert, err)
				}
			}
			for _, metric := range name.FindAllString(rule.Expr, -1) {
				if _, ok := known[family(metric)]; !ok {
					t.Errorf("%s: there is no metric %s", rule.Alert, metric)
				}
				if !strings.Contains(shown, metric) {
					t.Errorf("%s: %s is not what Prometheus reads", rule.Alert, metric)
				}
			}
			for _, m := range matched.FindAllStringSubmatch(rule.Expr, -1) {
				labels := strings.Split(known[family(m[1])].Labels, ", ")
				for _, l := range label.FindAllStringSubmatch(m[2], -1) {
					if !slices.Contains(labels, l[1]) {
						t.Errorf("%s: %s has no label %s", rule.Alert, m[1], l[1])
					}
				}
			}
			if strings.Count(rule.Expr, "(") != strings.Count(rule.Expr, ")") || !name.MatchString(rule.Expr) && !strings.Contains(rule.Expr, "up{") {
				t.Errorf("%s: %s", rule.Alert, rule.Expr)
			}
		}
	}
	if len(alerts) < 8 {
		t.Errorf("only %v", alerts)
	}
}

func TestNilPartsCountNothing(t *testing.T) {
	var b *Backend
	b.Answered(1)
	b.Signed()
	b.Failed("x")
	var a *Audit
	a.Recorded(1)
	a.Flushed(1)
	a.Failed(1)
}

func TestCountingAllocatesNothing(t *testing.T) {
	m := busy()
	b := m.Backend("hsm")
	if n := testing.AllocsPerRun(1000, func() { countOne(m, b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// countOne counts what one minted token is counted by.
func countOne(m *Metrics, b *Backend) {
	b.Answered(50 * time.Microsecond)
	b.Signed()
	m.Token("asc", false)
	m.Call("MintToken", "OK", "", 70*time.Microsecond)
}

// BenchmarkCount is all that metrics cost a token that is signed.
func BenchmarkCount(b *testing.B) {
	m := busy()
	store := m.Backend("hsm")
	b.ReportAllocs()
	for b.Loop() {
		countOne(m, store)
	}
}

// BenchmarkCountAtOnce is the same where all processors count the same.
func BenchmarkCountAtOnce(b *testing.B) {
	m := busy()
	store := m.Backend("hsm")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			countOne(m, store)
		}
	})
}
