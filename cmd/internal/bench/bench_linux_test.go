package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain lets the benchmark start this test as its children.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && isRole(os.Args[1]) {
		if err := runRole(context.Background(), os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestEveryRowIsMeasured runs the whole benchmark, with samples too short to
// say anything.
// TestWithoutCgoItSaysSo is what a build without cgo cannot measure.
func TestWithoutCgoItSaysSo(t *testing.T) {
	t.Setenv("TMPDIR", shortDir(t))
	var out bytes.Buffer
	o := options{only: regexp.MustCompile("SignASN1|SoftHSM"), rounds: 1, slice: 20 * time.Millisecond}
	if err := run(t.Context(), o, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "Not measured: Key in SoftHSM2") == hasCLoop {
		t.Errorf("%s", &out)
	}
}

func TestEveryRowIsMeasured(t *testing.T) {
	if !hasCLoop {
		return // the other build has measured the rest
	}
	t.Setenv("TMPDIR", shortDir(t))
	document := filepath.Join(t.TempDir(), "performance.md")
	if err := os.WriteFile(document, []byte("before\n"+beginMark+"yesterday"+endMark+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	o := options{only: regexp.MustCompile(""), rounds: 1, slice: 20 * time.Millisecond, tokens: 4096, overload: 300 * time.Millisecond, write: document}
	if err := run(t.Context(), o, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	wanted := []string{
		`backends/pkcs11, 8 sessions, 16 callers .* Go loop, 8 sessions, rate .* ≥ 0\.90 `,
		`backends/pkcs11 +goroutines +\d+ +\d+ +yes`,
		`SignASN1, 1 goroutine +\d+ +\d+\.\d µs`,
		`MintToken, Unix, 64 callers +\d+ +\d+\.\d µs +SignASN1, CPU +\d+\.\d\d ± \d\.\d\d +≤ 1\.50 +(yes|no)`,
		`MintToken, mTLS, 1 caller `,
		`Batches of 64, Unix, 8 callers .* ≤ 1\.15 `,
		`MintToken of a kept token, Unix, 64 callers .* bare echo of the same sizes, Unix, 64 callers, rate .* ≥ 0\.95 `,
		`bare default, 64 callers `,
		`the same and audit, sync: batch +\d+\.\d µs, \d+\.\d allocations .* ≤ 6\.0 µs, 15 allocations +(yes|no)`,
		`MintToken, 16 callers, p99 +\d+\.\d\d ms +bare tuned, the same pace, \d+\.\d\d ms +\d+\.\d\d +≤ 2\.00 +(yes|no)`,
		`8 replicas +\d+ tokens/s +8 times 1 replica +\d+\.\d\d +≥ 0\.90 +(yes|no)`,
		`signatures for 64 tokens, 8 replicas, 64 callers +64 for \d+ answers +64 +yes`,
		`memory of a watcher +\d+\.\d KiB +bare tuned, \d+\.\d KiB +\d+\.\d\d +≤ 10\.0 KiB +(yes|no)`,
		`backends/awskms, 16 callers .* SDK's Sign, 16 callers, CPU .* ≤ 1\.10 `,
		`MintToken, Unix, emulator, 16 callers `,
		`(?m)^10000 +79 +\d+ +\d+ +1 +1 Sign, 1 token +(yes|no) `, // on a busy machine awskms tries again
		`8 callers who want 10 times as much +\d+ .* 8 callers with 8 calls each, rate +\d+\.\d\d +≥ 0\.90 `,
		`7 of them beside one with 1024 calls .* 8 callers with 8 calls each, p99 +\d+\.\d\d +≤ 2\.00 `,
		`8 callers who want 10 times as much of it +\d+ .* ≥ 0\.90 `,
		`of those, refused with OVERLOADED +\d+ +\d+\.\d\d ms .* ≤ 1\.00 `,
		`size, stripped, with all backends +\d+\.\d MiB +≤ 40\.0 MiB +(yes|no)`,
		`start to the first token, key in a file +\d+\.\d\d ms +≤ 50\.00 ms +(yes|no)`,
		`(?m)^4\d\d\d +\d+\.\d MiB +\d+$`,
		`server +file descriptors +(\d+) +\d+ +yes`,
		`backends/awskms +goroutines +\d+ +\d+ +yes`,
	}
	for _, want := range wanted {
		if !regexp.MustCompile(want).Match(out.Bytes()) {
			t.Errorf("no line matches %s", want)
		}
	}
	if strings.Contains(out.String(), "Not measured") {
		t.Error("something is missing on this machine")
	}
	if t.Failed() {
		t.Logf("%s", &out)
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(text); !strings.HasPrefix(s, "before\n") || !strings.HasSuffix(s, "\nafter\n") ||
		strings.Contains(s, "yesterday") || !strings.Contains(s, "| MintToken, Unix, 64 callers | ") || !strings.Contains(s, "](performance.svg)") {
		t.Errorf("document is\n%s", s)
	}
}

// shortDir is a temporary directory whose name leaves room for a socket's.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "b") //nolint:usetesting // t.TempDir's names are too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, _ := os.ReadDir(dir)
		if len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		_ = os.RemoveAll(dir)
	})
	return dir
}

func TestRatioComparesNeighboursInTime(t *testing.T) {
	at := func(us ...int) (samples []sample) {
		for _, each := range us {
			samples = append(samples, sample{Count: 1000, Wall: time.Second, CPU: time.Duration(each) * time.Millisecond})
		}
		return samples
	}
	// The machine is twice as slow in the second half, for both alike.
	bare := &row{name: "bare", samples: at(10, 10, 20, 20), raw: at(10, 10, 20, 20)}
	ours := &row{name: "ours", samples: at(15, 15, 30, 30), raw: at(10, 10, 20, 20), bound: atMost(1.5)}
	rows := []*row{bare, ours}
	if ratio, spread, ok := ours.ratio(rows); !ok || ratio != 1.5 || spread != 0 || !ours.bound.met(ratio) {
		t.Errorf("ratio is %v ± %v, %v", ratio, spread, ok)
	}
	ours.against, ours.byCPU = "bare", true
	if ratio, _, ok := ours.ratio(rows); !ok || ratio != 1.5 {
		t.Errorf("CPU ratio is %v, %v", ratio, ok)
	}
	ours.byCPU, ours.bound = false, atLeast(0.9)
	if ratio, _, ok := ours.ratio(rows); !ok || ratio != 1 || !ours.bound.met(ratio) || ours.bound.met(0.89) {
		t.Errorf("rate ratio is %v, %v", ratio, ok)
	}
	if _, _, ok := ours.ratio(rows[1:]); ok {
		t.Error("compares with a row that was not measured")
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		sorted []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{1, 3}, 2}, {[]float64{1, 2, 9}, 2}} {
		if got := median(c.sorted); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.sorted, got, c.want)
		}
	}
}

// TestCPUTimeIsTheWholeProcess compares our own clock with the work that two
// goroutines have done.
func TestCPUTimeIsTheWholeProcess(t *testing.T) {
	s, err := work(t.Context(), 2, 100*time.Millisecond, ownCPU, func(context.Context, int) (int, error) {
		x := 1.0
		for range 1000 {
			x = math.Sqrt(x + 1)
		}
		return int(x), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.Count == 0 || s.CPU < 10*time.Millisecond || s.CPU > 2*time.Duration(runtime.NumCPU())*s.Wall {
		t.Errorf("sample is %+v", s)
	}
	if _, err := cpuTime(1 << 22); err == nil {
		t.Error("there is a CPU time for a process that cannot be") // 1<<22 is above every pid
	}
}

func TestWorkEndsWithTheFirstError(t *testing.T) {
	_, err := work(t.Context(), 4, time.Minute, ownCPU, func(_ context.Context, i int) (int, error) {
		if i == 100 {
			return 0, io.ErrUnexpectedEOF
		}
		return 1, nil
	})
	if err != io.ErrUnexpectedEOF { //nolint:errorlint // work hands it on as it is
		t.Errorf("error is %v", err)
	}
}
